import { GrammarError } from './limits.ts';
import { Locals } from './locals.ts';
import { BOTTOM, type Config, type Frame, Machine, type Thread } from './machine.ts';
import { INF } from './net.ts';
import type { Program } from './program.ts';
import { NONE, type PlainTokens, Runs } from './runs.ts';
import { GROUP, type TokenTrie } from './trie.ts';

/** Subtrees of more nodes are asked whether they can change anything at all. */
const MANY = 24;

/** What one rule allows on its own, and where in the trie its caller takes over. */
interface Entry {
  /** Many tokens as bits, few as a list. */
  bits: Uint32Array | undefined; // [V / 32]
  ids: Int32Array | undefined;
  count: number;
  /** Trie nodes at which the rule has just ended. */
  pops: Int32Array;
  /** The same walk continued in a caller. */
  next: Map<string, Entry>;
}

export interface MaskLimits {
  /** Bytes of masks that one grammar keeps. Default 2 MiB. */
  maskBytes?: number;
  /** Automaton steps that one mask may take before it throws GrammarError. Default 20 million, about a second. */
  maskWork?: number;
}

/**
 * Token masks of one program, cached by what stands on top of the stack (the adaptive token mask cache of XGrammar, arXiv 2411.15100):
 * a walk over the trie decides the tokens that stay inside the top rule and notes where it ends; only from there is the caller asked.
 * Counters far from their bounds share one entry: a token of n symbols cannot tell "n + 1 left" from "any number left".
 */
export class Masks {
  readonly machine: Machine;
  private readonly trie: TokenTrie;
  private readonly maxBytes: number;
  private readonly maxWork: number;
  private readonly locals: Locals;
  private readonly plain: PlainTokens;
  private readonly entries = new Map<string, Entry>();
  private bytes = 0;
  /** The current walk: tokens found, local at each depth, nodes where the rule ends. */
  private readonly found: Uint32Array; // [V / 32]
  private readonly path: Int32Array;
  private pops: number[] = [];
  private count = 0;
  /** Whether the rule walked has a caller: of the outermost one, which in free text may end at every node, no end is noted. */
  private called = true;

  constructor(program: Program, trie: TokenTrie, plain: PlainTokens, limits: MaskLimits) {
    this.machine = new Machine(program);
    this.trie = trie;
    this.maxBytes = limits.maskBytes ?? 2 << 20;
    this.maxWork = limits.maskWork ?? 20_000_000;
    this.locals = new Locals(this.machine, new Runs(this.machine, trie.longest));
    this.plain = plain;
    this.found = new Uint32Array((trie.size + 31) >> 5);
    this.path = new Int32Array(trie.longest + 1);
  }

  /** Writes the tokens that may follow. Returns false, and writes nothing of use, when every token of the trie may. Stops are the caller's. */
  fill(config: Config, out: Uint32Array): boolean {
    if (this.bytes + this.locals.bytes > this.maxBytes || this.locals.full()) this.drop();
    const end = this.machine.work + this.maxWork;
    out.fill(0);
    const seen = new Map<Entry, Set<Frame>>();
    for (const t of config.threads) {
      const e = this.top(t, end);
      if (e.count === this.trie.count) return false;
      merge(out, e);
      if (e.pops.length > 0) for (const up of t.ups) this.below(e, up, out, seen, end);
    }
    return true;
  }

  private drop(): void {
    this.entries.clear();
    this.locals.clear();
    this.bytes = 0;
  }

  private clamp(x: number): number {
    return x > this.trie.longest ? INF : x;
  }

  private top(t: Thread, end: number): Entry {
    const lo = this.clamp(t.lo);
    const hi = this.clamp(t.hi);
    const called = t.ups.some((up) => up !== BOTTOM);
    const key = `${t.set},${lo},${hi}${called ? '' : '!'}`;
    const known = this.entries.get(key);
    if (known) return known;
    this.called = called;
    const start = this.locals.start(t.set, lo, hi);
    const run = this.locals.run(start, called);
    if (run.groups !== 0) {
      const { bits, count } = this.plain.of(run);
      this.found.set(bits);
      this.count = count;
    }
    this.walk(0, start, end, run);
    const entry = this.take();
    this.entries.set(key, entry);
    return entry;
  }

  private below(e: Entry, up: Frame, out: Uint32Array, seen: Map<Entry, Set<Frame>>, end: number): void {
    if (up === BOTTOM) return;
    const lo = this.clamp(up.lo);
    const hi = this.clamp(up.hi);
    const key = `${up.set},${lo},${hi}`;
    let next = e.next.get(key);
    if (!next) {
      const start = this.locals.resume(up.set, lo, hi);
      for (const node of e.pops) {
        if (this.locals.accepting(start)) this.pops.push(node);
        this.walk(node, start, end);
      }
      next = this.take();
      e.next.set(key, next);
    }
    const from = seen.get(next) ?? new Set<Frame>();
    if (from.has(up)) return;
    if (from.size === 0) merge(out, next);
    seen.set(next, from.add(up));
    if (next.pops.length > 0) for (const u of up.ups) this.below(next, u, out, seen, end);
  }

  /** Walks the subtree below a node, not the node itself; the tokens of `run` have been found already. */
  private walk(root: number, start: number, end: number, run = NONE): void {
    const { symbol, depth, after, groups, reach, first } = this.trie;
    const { locals, path } = this;
    const { classOf } = this.machine.program;
    const last = after[root];
    path[depth[root]] = start;
    let plain = depth[root]; // down to this depth the path is of the run's groups
    for (let n = root + 1; n < last; ) {
      const d = depth[n];
      if (plain >= d - 1) {
        const own = (run.groups & (1 << GROUP[symbol[n]])) !== 0;
        if (own && (groups[n] & ~run.groups) === 0 && (run.whole || reach[n] <= run.length)) {
          n = after[n];
          continue;
        }
        plain = own ? d : d - 1;
      }
      const to = locals.next(path[d - 1], classOf[symbol[n]]);
      if (to < 0) {
        n = after[n];
        continue;
      }
      if (first[n] < first[n + 1]) this.takeTokens(n, n + 1);
      if (this.called && locals.accepting(to) && after[n] > n + 1) this.pops.push(n);
      const below = after[n];
      path[d] = locals.counted(to) ? locals.relaxed(to, reach[n] - d) : to;
      if (!locals.open(to)) n = below;
      else if (below - n > MANY && this.allBelow(n, to)) {
        this.takeTokens(n + 1, below);
        n = below;
      } else n++;
      if (this.machine.work > end || locals.exhausted()) {
        this.take();
        throw new GrammarError(
          '',
          '',
          'the schema is too ambiguous to be followed token by token; simplify its anyOf branches and patterns',
        );
      }
    }
  }

  /** Whether every token below a node may come, wherever it leads. */
  private allBelow(n: number, local: number): boolean {
    const { groups, reach, depth } = this.trie;
    const run = this.locals.run(local, this.called);
    return (groups[n] & ~run.groups) === 0 && reach[n] - depth[n] <= run.length;
  }

  /** All tokens of nodes from..to - 1. */
  private takeTokens(from: number, to: number): void {
    const { order, first } = this.trie;
    const { found } = this;
    for (let i = first[from]; i < first[to]; i++) {
      const id = order[i];
      this.count += ~(found[id >> 5] >>> (id & 31)) & 1;
      found[id >> 5] |= 1 << (id & 31);
    }
  }

  /** What the walks since the last call found. */
  private take(): Entry {
    const { found, count, pops } = this;
    const all = count === this.trie.count; // then nothing else is asked of it
    const dense = !all && count > found.length;
    const entry: Entry = {
      bits: dense ? found.slice() : undefined,
      ids: dense || all ? undefined : members(found, count),
      count,
      pops: Int32Array.from(pops),
      next: new Map(),
    };
    this.bytes += 4 * (dense ? found.length : all ? 0 : count) + 4 * pops.length + 300;
    found.fill(0);
    this.count = 0;
    this.pops = [];
    this.called = true;
    return entry;
  }
}

/** The set bits, `count` of them at most. */
function members(bits: Uint32Array, count: number): Int32Array {
  const out = new Int32Array(count);
  let n = 0;
  for (let w = 0; n < count && w < bits.length; w++) {
    for (let rest = bits[w]; rest !== 0; rest &= rest - 1) out[n++] = (w << 5) + 31 - Math.clz32(rest & -rest);
  }
  return out.subarray(0, n);
}

function merge(out: Uint32Array, e: Entry): void {
  if (e.bits) for (let i = 0; i < out.length; i++) out[i] |= e.bits[i];
  else if (e.ids) for (const id of e.ids) out[id >> 5] |= 1 << (id & 31);
}

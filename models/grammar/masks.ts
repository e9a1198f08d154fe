import { GrammarError, LIMITS } from './limits.ts';
import { BOTTOM, type Config, type Frame, Machine, type Thread } from './machine.ts';
import { INF } from './net.ts';
import type { Program } from './program.ts';
import type { TokenTrie } from './trie.ts';

/** A configuration met during a walk, with its successors by class. */
interface Local {
  config: Config;
  row: (Local | null | undefined)[];
}

/** What one rule allows on its own, and where in the trie its caller takes over. */
interface Entry {
  bits: Uint32Array | undefined; // [V / 32]
  ids: Int32Array | undefined;
  count: number;
  /** Trie nodes at which the rule has just ended. */
  pops: Int32Array;
  /** The same walk continued in a caller. */
  next: Map<string, Entry>;
}

const MAX_LOCALS = 20_000;

/**
 * Token masks of one program, cached by what stands on top of the stack (the adaptive token mask cache of XGrammar, arXiv 2411.15100):
 * a walk over the trie decides the tokens that stay inside the top rule and notes where it ends; only from there is the caller asked.
 * Counters far from their bounds share one entry: a token of n symbols cannot tell "n + 1 left" from "any number left".
 */
export class Masks {
  readonly machine: Machine;
  private readonly trie: TokenTrie;
  private readonly budget: number;
  private readonly entries = new Map<string, Entry>();
  private readonly locals = new Map<string, Local>();
  private readonly frames = new Map<string, number>();
  private bytes = 0;
  private workStart = 0;

  /** `budget`: bytes of cached masks kept. */
  constructor(program: Program, trie: TokenTrie, budget: number) {
    this.machine = new Machine(program);
    this.trie = trie;
    this.budget = budget;
  }

  /** Writes the tokens that may follow. Returns false, and writes nothing of use, when every token of the trie may. Stops are the caller's. */
  fill(config: Config, out: Uint32Array): boolean {
    this.workStart = this.machine.work;
    if (this.bytes > this.budget) this.drop();
    out.fill(0);
    const seen = new Map<Entry, Set<Frame>>();
    for (const t of config.threads) {
      const e = this.top(t);
      if (e.count === this.trie.count) return false;
      merge(out, e);
      if (e.pops.length > 0) for (const up of t.ups) this.below(e, up, out, seen);
    }
    return true;
  }

  private drop(): void {
    this.entries.clear();
    this.locals.clear();
    this.frames.clear();
    this.bytes = 0;
  }

  private clamp(x: number): number {
    return x > this.trie.longest ? INF : x;
  }

  private top(t: Thread): Entry {
    const lo = this.clamp(t.lo);
    const hi = this.clamp(t.hi);
    const key = `${t.set},${lo},${hi}`;
    const known = this.entries.get(key);
    if (known) return known;
    const walk = new Walk(this.trie);
    this.walk(walk, 0, this.local({ threads: [{ set: t.set, lo, hi, ups: [BOTTOM] }], accepting: false }));
    const entry = this.entry(walk);
    this.entries.set(key, entry);
    return entry;
  }

  private below(e: Entry, up: Frame, out: Uint32Array, seen: Map<Entry, Set<Frame>>): void {
    if (up === BOTTOM) return;
    const lo = this.clamp(up.lo);
    const hi = this.clamp(up.hi);
    const key = `${up.set},${lo},${hi}`;
    let next = e.next.get(key);
    if (!next) {
      const walk = new Walk(this.trie);
      const start = this.local(this.machine.resume(up.set, lo, hi));
      for (const node of e.pops) {
        if (start.config.accepting) walk.pops.push(node);
        this.walk(walk, node, start);
      }
      next = this.entry(walk);
      e.next.set(key, next);
    }
    const from = seen.get(next) ?? new Set<Frame>();
    if (from.has(up)) return;
    if (from.size === 0) merge(out, next);
    seen.set(next, from.add(up));
    if (next.pops.length > 0) for (const u of up.ups) this.below(next, u, out, seen);
  }

  /** Walks the subtree below a node, not the node itself. */
  private walk(walk: Walk, root: number, start: Local): void {
    const { symbol, depth, after, token, twin } = this.trie;
    const { classOf } = this.machine.program;
    const end = after[root];
    const path = walk.path as Local[];
    path[depth[root]] = start;
    for (let n = root + 1; n < end; ) {
      const d = depth[n];
      const here = path[d - 1];
      const cls = classOf[symbol[n]];
      let to = here.row[cls];
      if (to === undefined) to = this.successor(here, cls);
      if (to === null) {
        n = after[n];
        continue;
      }
      for (let id = token[n]; id >= 0; id = twin[id]) walk.ids.push(id);
      if (to.config.accepting && after[n] > n + 1) walk.pops.push(n);
      if (to.config.threads.length === 0) {
        n = after[n];
        continue;
      }
      path[d] = to;
      n++;
    }
  }

  private successor(from: Local, cls: number): Local | null {
    const config = this.machine.step(from.config, cls);
    if (this.machine.work - this.workStart > LIMITS.maskWork) {
      throw new GrammarError('', '', 'the schema is too ambiguous to be followed token by token; simplify its anyOf branches and patterns');
    }
    const to = config && this.local(config);
    from.row[cls] = to;
    return to;
  }

  private local(config: Config): Local {
    let key = config.accepting ? 'a' : '';
    for (const t of config.threads) key += `/${t.set},${t.lo},${t.hi}:${t.ups.map((f) => this.frameId(f)).join()}`;
    const known = this.locals.get(key);
    if (known) return known;
    if (this.locals.size >= MAX_LOCALS) this.locals.clear();
    const row = new Array<Local | null | undefined>(this.machine.program.classes).fill(undefined);
    const made: Local = { config, row };
    this.locals.set(key, made);
    this.bytes += 8 * row.length + 200;
    return made;
  }

  private frameId(f: Frame): number {
    if (f.id >= 0) return f.id;
    const key = `${f.set},${f.lo},${f.hi}:${f.ups.map((u) => this.frameId(u)).join()}`;
    f.id = this.frames.get(key) ?? this.frames.size + 1;
    this.frames.set(key, f.id);
    return f.id;
  }

  private entry(walk: Walk): Entry {
    const words = (this.trie.size + 31) >> 5;
    const ids = walk.ids;
    const dense = ids.length > words;
    const bits = dense ? new Uint32Array(words) : undefined;
    if (bits) for (const id of ids) bits[id >> 5] |= 1 << (id & 31);
    this.bytes += (dense ? words : ids.length) * 4 + walk.pops.length * 4 + 300;
    return { bits, ids: dense ? undefined : Int32Array.from(ids), count: ids.length, pops: Int32Array.from(walk.pops), next: new Map() };
  }
}

class Walk {
  readonly ids: number[] = [];
  readonly pops: number[] = [];
  readonly path: (Local | undefined)[];

  constructor(trie: TokenTrie) {
    this.path = new Array<Local | undefined>(trie.longest + 1).fill(undefined);
  }
}

function merge(out: Uint32Array, e: Entry): void {
  if (e.bits) for (let i = 0; i < out.length; i++) out[i] |= e.bits[i];
  else if (e.ids) for (const id of e.ids) out[id >> 5] |= 1 << (id & 31);
}

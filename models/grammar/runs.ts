import type { Machine } from './machine.ts';
import { ALPHABET, EXIT, INC, INF } from './net.ts';
import { GROUP, GROUPS, type TokenTrie } from './trie.ts';

/** Bytes of bitmaps that one trie keeps. */
const KEPT_BYTES = 1 << 19;
/** State sets that are looked at for the first time in one search; what lies beyond is left to the walk. */
const NEW_SETS = 32;

/** Every text of these groups of symbols (bit `groupOf(symbol)`) may come, up to so many symbols. */
export interface Run {
  readonly groups: number;
  /** INF: however many. */
  readonly length: number;
  /** No longer text of these groups may come. */
  readonly whole: boolean;
}

export const NONE: Run = { groups: 0, length: 0, whole: false };

/** The tokens of a trie that are made of some groups of symbols alone, as bits. All grammars over a vocabulary share them. */
export class PlainTokens {
  private readonly trie: TokenTrie;
  private readonly known = new Map<number, { bits: Uint32Array; count: number }>();

  constructor(trie: TokenTrie) {
    this.trie = trie;
  }

  /** Those that a run takes. */
  of({ groups, length }: Run): { bits: Uint32Array; count: number } {
    const longest = Math.min(length, this.trie.longest);
    const key = groups * 512 + longest;
    const known = this.known.get(key);
    if (known) return known;
    const { size, byLength, ofLength } = this.trie;
    const short = ofLength[longest + 1]; // tokens before this one in `byLength` are short enough
    const most = byLength.length - short < short && longest < this.trie.longest;
    const all = most ? this.of({ groups, length: INF, whole: true }) : undefined;
    const made = { bits: all ? all.bits.slice() : new Uint32Array((size + 31) >> 5), count: all?.count ?? 0 };
    if (all) this.turn(made, groups, short, byLength.length);
    else this.turn(made, groups, 0, short);
    if ((this.known.size + 1) * made.bits.byteLength > KEPT_BYTES) this.known.clear();
    this.known.set(key, made);
    return made;
  }

  /** Puts in, or takes out, tokens of the groups. */
  private turn(made: { bits: Uint32Array; count: number }, groups: number, from: number, to: number): void {
    const { byLength, kinds } = this.trie;
    const by = from === 0 ? 1 : -1;
    for (let i = from; i < to; i++) {
      const id = byLength[i];
      if ((kinds[id] & ~groups) !== 0) continue;
      made.bits[id >> 5] ^= 1 << (id & 31);
      made.count += by;
    }
  }
}

/** What the symbols of each group do in a state set. */
interface Ways {
  /** Groups of which every symbol may come, and groups of which some may. */
  all: number;
  some: number;
  /** By group: where its symbols lead, each once, as `Machine.arc` writes it. */
  to: readonly (readonly number[])[];
}

/**
 * Finds runs. Inside a string nearly everything is letters, digits and the like, whatever their order: such tokens are allowed by what
 * they are made of, and the trie is walked for the others alone.
 */
export class Runs {
  private readonly machine: Machine;
  private readonly longest: number;
  private readonly classes: readonly (readonly number[])[]; // [GROUPS], those of its symbols
  private readonly ways = new Map<number, Ways>();

  constructor(machine: Machine, longest: number) {
    this.machine = machine;
    this.longest = longest;
    const { classOf } = machine.program;
    const classes = Array.from({ length: GROUPS }, () => new Set<number>());
    for (let symbol = 0; symbol < ALPHABET; symbol++) classes[GROUP[symbol]].add(classOf[symbol]);
    this.classes = classes.map((c) => [...c]);
  }

  /** What may come at a set alone, `hi` INC arcs still allowed. `called`: the ends of the rule matter, and are not passed over. */
  of(set: number, hi: number, called: boolean): Run {
    const groups = this.lasting(set);
    if (groups === 0 || !this.quiet(set, called)) return NONE;
    const seen = new Set([set]);
    let level = [set];
    let [counts, rests, loops] = [false, false, false];
    let whole = false;
    let length = 0;
    for (let fresh = NEW_SETS; level.length > 0; length++) {
      if (length >= this.longest) break;
      fresh -= level.filter((s) => !this.ways.has(s)).length;
      if (fresh < 0 || !level.every((s) => this.quiet(s, called))) break;
      const ways = level.map((s) => this.waysOf(s));
      if (ways.some((w) => (groups & ~w.all) !== 0)) {
        whole = !loops && ways.every((w) => (groups & w.some) === 0);
        break;
      }
      const next = new Set<number>();
      for (const way of ways.flatMap((w) => w.to.filter((_, g) => (groups & (1 << g)) !== 0).flat())) {
        if ((way & 3) === INC) counts = true;
        else rests = true;
        if (seen.has(way >> 2)) loops = true;
        else next.add(way >> 2);
      }
      level = [...next];
      for (const s of level) seen.add(s);
    }
    if (level.length === 0 || length >= this.longest) length = INF;
    if (counts && hi < length) return hi === 0 ? NONE : { groups, length: hi, whole: !rests };
    return length === 0 ? NONE : { groups, length, whole };
  }

  /** Groups that may come at a set, without those after which others of them may not: a backslash ends what letters go on with. */
  private lasting(set: number): number {
    const { all, to } = this.waysOf(set);
    let groups = all;
    for (let before = 0; before !== groups; ) {
      before = groups;
      for (let g = 0; g < GROUPS; g++)
        if ((groups & (1 << g)) !== 0 && to[g].some((way) => (groups & ~this.waysOf(way >> 2).all) !== 0)) groups &= ~(1 << g);
    }
    return groups === 0 ? all : groups;
  }

  /** Nothing is entered here, and no end is to be noted: a text that is here is nowhere else. */
  private quiet(set: number, called: boolean): boolean {
    return this.machine.pushes(set).length === 0 && !(called && this.machine.sets[set].final);
  }

  private waysOf(set: number): Ways {
    const known = this.ways.get(set);
    if (known) return known;
    let [all, some] = [0, 0];
    const to = this.classes.map((classes, g) => {
      const targets = new Set<number>();
      let dead = false;
      for (const c of classes) {
        const way = this.machine.arc(set, c);
        if (way >= 0) targets.add(way);
        if (way < 0 || (way & 3) === EXIT) dead = true;
      }
      if (!dead) all |= 1 << g;
      if (targets.size > 0) some |= 1 << g;
      return [...targets];
    });
    const ways = { all, some, to };
    this.ways.set(set, ways);
    return ways;
  }
}

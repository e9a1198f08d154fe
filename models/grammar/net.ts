import type { CharSet } from './charset.ts';
import { codePoints } from './charset.ts';
import { GrammarError, LIMITS } from './limits.ts';
import { type Spelling, spellings, utf8Spellings } from './spell.ts';

/** The alphabet: 256 bytes, then whole tokens that are no text: OTHER for any special token, then one symbol for each tag. */
export const OTHER = 256;
export const FIRST_TAG = 257;
export const ALPHABET = 272;

/** What an arc does to its rule's counter. INC needs room below the maximum, EXIT needs the minimum reached. */
export const NO_TAG = 0;
export const INC = 1;
export const EXIT = 2;

/** No upper bound; also "beyond this token" while masks are computed. */
export const INF = 0x3fffffff;

export interface Rule {
  start: number;
  end: number;
  /** Counter on entry: INC arcs still needed before EXIT, INC arcs still allowed. Absent: the rule has no counted arcs. */
  count?: { lo: number; hi: number };
}

/** A first byte and the rule of the rest, or -1. */
interface Head {
  ranges: readonly number[];
  rule: number;
}

/** Adds paths between two states. */
export type Fragment = (from: number, to: number) => void;

/**
 * A grammar as a recursive transition network: states with arcs over the alphabet, silent arcs, and calls of rules. A rule has one start
 * and one end. Everything is appended; `Program` trims and freezes it. Symbols that no token spells get no arc: what would need one is
 * trimmed with it, and never offered.
 */
export class Net {
  /** Flat per state: lo, hi, to, tag. */
  readonly arcs: number[][] = [];
  /** Per state: targets of silent arcs. */
  readonly silent: number[][] = [];
  /** Flat per state: rule, to. */
  readonly calls: number[][] = [];
  readonly rules: Rule[] = [];
  private count = 0;
  private readonly tails = new Map<string, number>();
  private readonly heads = new Map<string, Head[]>();
  private readonly alone: Uint8Array; // [ALPHABET]
  /** Symbols that an arc wanted and that no token spells. */
  readonly lacking = new Set<number>();

  /** `alone`: 1 for each symbol that has a token of its own (trie.ts). */
  constructor(alone: Uint8Array = new Uint8Array(ALPHABET).fill(1)) {
    this.alone = alone;
  }

  /** Whether a token spells this symbol. */
  readonly spells = (symbol: number): boolean => this.alone[symbol] === 1;

  state(): number {
    if (this.arcs.length >= LIMITS.states)
      throw new GrammarError('', '', `the grammar needs more than ${LIMITS.states} states; make it smaller`);
    this.arcs.push([]);
    this.silent.push([]);
    this.calls.push([]);
    return this.arcs.length - 1;
  }

  rule(count?: { lo: number; hi: number }): number {
    if (this.rules.length >= LIMITS.rules)
      throw new GrammarError('', '', `the grammar needs more than ${LIMITS.rules} rules; make it smaller`);
    this.rules.push({ start: this.state(), end: this.state(), ...(count ? { count } : {}) });
    return this.rules.length - 1;
  }

  /** A rule made of one fragment. */
  define(body: Fragment, count?: { lo: number; hi: number }): number {
    const id = this.rule(count);
    body(this.rules[id].start, this.rules[id].end);
    return id;
  }

  /** An arc over those symbols of lo..hi that can be spelt. */
  arc(from: number, lo: number, hi: number, to: number, tag: number = NO_TAG): void {
    for (let c = lo; c <= hi; c++) {
      if (!this.spells(c)) {
        this.lacking.add(c);
        continue;
      }
      const first = c;
      while (c < hi && this.spells(c + 1)) c++;
      this.any(from, first, c, to, tag);
    }
  }

  /** An arc over lo..hi, for text that may end or go on anyhow. */
  any(from: number, lo: number, hi: number, to: number, tag: number = NO_TAG): void {
    if (++this.count > LIMITS.arcs) throw new GrammarError('', '', `the grammar needs more than ${LIMITS.arcs} arcs; make it smaller`);
    this.arcs[from].push(lo, hi, to, tag);
  }

  skip(from: number, to: number): void {
    this.silent[from].push(to);
  }

  call(from: number, rule: number, to: number): void {
    this.calls[from].push(rule, to);
  }

  /** ASCII text, byte for byte; the tag sits on its first byte. */
  text(s: string, tag: number = NO_TAG): Fragment {
    return (from, to) => {
      let at = from;
      for (let i = 0; i < s.length; i++) {
        const c = s.charCodeAt(i);
        const next = i === s.length - 1 ? to : this.state();
        this.arc(at, c, c, next, i === 0 ? tag : NO_TAG);
        at = next;
      }
      if (s.length === 0) this.skip(from, to);
    };
  }

  ruleCall(rule: number): Fragment {
    return (from, to) => this.call(from, rule, to);
  }

  seq(...parts: readonly Fragment[]): Fragment {
    return (from, to) => {
      let at = from;
      parts.forEach((part, i) => {
        const next = i === parts.length - 1 ? to : this.state();
        part(at, next);
        at = next;
      });
      if (parts.length === 0) this.skip(from, to);
    };
  }

  alt(...parts: readonly Fragment[]): Fragment {
    return (from, to) => {
      for (const part of parts) part(from, to);
    };
  }

  /** One character of the set as a JSON string writes it; the tag sits on its first byte. */
  char(set: CharSet, tag: number = NO_TAG): Fragment {
    return this.spelled(`json ${set.join()}`, () => spellings(set, this.spells), tag);
  }

  /** One character of the set in UTF-8; the tag sits on its first byte. */
  utf8(set: CharSet, tag: number = NO_TAG): Fragment {
    return this.spelled(`utf8 ${set.join()}`, () => utf8Spellings(set), tag);
  }

  private spelled(key: string, list: () => Spelling[], tag: number): Fragment {
    const heads = this.heads.get(key) ?? this.split(list());
    this.heads.set(key, heads);
    return (from, to) => {
      const entries = new Map<number, number>(); // rule → state that calls it
      for (const { ranges, rule } of heads) {
        let next = to;
        if (rule >= 0) {
          next = entries.get(rule) ?? this.state();
          if (!entries.has(rule)) this.call(next, rule, to);
          entries.set(rule, next);
        }
        for (let i = 0; i < ranges.length; i += 2) this.arc(from, ranges[i], ranges[i + 1], next, tag);
      }
    };
  }

  /** Spellings by first byte; what follows it is a rule, shared by all states of the net. */
  private split(list: readonly Spelling[]): Head[] {
    const byFirst = new Map<string, Spelling[]>();
    for (const s of list) byFirst.set(s[0].join(), [...(byFirst.get(s[0].join()) ?? []), s.slice(1)]);
    return [...byFirst].map(([first, tails]) => ({
      ranges: first.split(',').map(Number),
      rule: tails[0].length > 0 ? this.tailRule(tails) : -1,
    }));
  }

  private tailRule(tails: readonly Spelling[]): number {
    const key = tails.map((s) => s.join(';')).join('|');
    const known = this.tails.get(key);
    if (known !== undefined) return known;
    const rule = this.define((from, to) => {
      for (const s of tails)
        this.seq(
          ...s.map(
            (ranges): Fragment =>
              (a, b) =>
                this.byteIn(ranges, a, b),
          ),
        )(from, to);
    });
    this.tails.set(key, rule);
    return rule;
  }

  private byteIn(ranges: readonly number[], from: number, to: number): void {
    for (let i = 0; i < ranges.length; i += 2) this.arc(from, ranges[i], ranges[i + 1], to);
  }

  /** Any text in UTF-8, as it is. */
  raw(s: string): Fragment {
    return this.seq(...codePoints(s).map((cp) => this.utf8([cp, cp])));
  }

  /** A JSON string of exactly these characters, quotes included. */
  quoted(s: string): Fragment {
    const chars = codePoints(s).map((cp) => {
      const plain = cp >= 0x20 && cp < 0x7f && cp !== 0x22 && cp !== 0x5c && this.spells(cp);
      return plain ? this.text(String.fromCharCode(cp)) : this.char([cp, cp]);
    });
    return this.seq(this.text('"'), ...chars, this.text('"'));
  }
}

import type { CharSet } from './charset.ts';
import { codePoints } from './charset.ts';
import { GrammarError, LIMITS } from './limits.ts';
import { type Spelling, spellings } from './spell.ts';

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

/** Adds paths between two states. */
export type Fragment = (from: number, to: number) => void;

/**
 * A grammar as a recursive transition network: states with arcs over the alphabet, silent arcs, and calls of rules. A rule has one start
 * and one end. Everything is appended; `Program` trims and freezes it.
 */
export class Net {
  /** Flat per state: lo, hi, to, tag. */
  readonly arcs: number[][] = [];
  /** Per state: targets of silent arcs. */
  readonly silent: number[][] = [];
  /** Flat per state: rule, to. */
  readonly calls: number[][] = [];
  readonly rules: Rule[] = [];
  private readonly tails = new Map<string, number>();

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

  arc(from: number, lo: number, hi: number, to: number, tag: number = NO_TAG): void {
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

  /** One character of the set as a JSON string writes it; the tag sits on its first byte. Suffixes that lead to one state are shared. */
  char(set: CharSet, tag: number = NO_TAG): Fragment {
    return (from, to) => {
      for (const s of spellings(set)) {
        const next = this.tail(s, 1, to);
        for (let i = 0; i < s[0].length; i += 2) this.arc(from, s[0][i], s[0][i + 1], next, tag);
      }
    };
  }

  private tail(s: Spelling, at: number, to: number): number {
    if (at === s.length) return to;
    const key = `${to}:${s.slice(at).join(';')}`;
    const known = this.tails.get(key);
    if (known !== undefined) return known;
    const state = this.state();
    this.tails.set(key, state);
    const next = this.tail(s, at + 1, to);
    for (let i = 0; i < s[at].length; i += 2) this.arc(state, s[at][i], s[at][i + 1], next);
    return state;
  }

  /** A JSON string of exactly these characters, quotes included. */
  quoted(s: string): Fragment {
    const chars = codePoints(s).map((cp) => this.char([cp, cp]));
    return this.seq(this.text('"'), ...chars, this.text('"'));
  }
}

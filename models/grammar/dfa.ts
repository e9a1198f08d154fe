import { ANY, type CharSet, codePoints, has, intersect, invert, union } from './charset.ts';
import { Budget, GrammarError, LIMITS } from './limits.ts';
import type { Regex } from './regex.ts';

/** A deterministic automaton over characters. State 0 is the start; the sets of a state's edges are disjoint. */
export interface Dfa {
  readonly edges: readonly (readonly { set: CharSet; to: number }[])[];
  readonly accept: readonly boolean[];
}

const tooBig = (what: string) =>
  new GrammarError('', '', `${what} is too large or too ambiguous to follow character by character; simplify it`);

/** Positions of a regular expression and which may follow which (Glushkov's construction, repetitions written out). */
class Positions {
  readonly sets: CharSet[] = [];
  readonly follow: Set<number>[] = [];
  private readonly budget: Budget;

  constructor(budget: Budget) {
    this.budget = budget;
  }

  visit(r: Regex): { empty: boolean; first: number[]; last: number[] } {
    if (r.kind === 'set') {
      if (this.sets.length >= LIMITS.patternPositions) throw tooBig('the pattern');
      this.sets.push(r.set);
      this.follow.push(new Set());
      return { empty: false, first: [this.sets.length - 1], last: [this.sets.length - 1] };
    }
    if (r.kind === 'alt') {
      const parts = r.parts.map((p) => this.visit(p));
      return { empty: parts.some((p) => p.empty), first: parts.flatMap((p) => p.first), last: parts.flatMap((p) => p.last) };
    }
    if (r.kind === 'repeat') return this.repeat(r.of, r.min, r.max);
    let all = { empty: true, first: [] as number[], last: [] as number[] };
    for (const part of r.parts) {
      const next = this.visit(part);
      this.link(all.last, next.first);
      all = {
        empty: all.empty && next.empty,
        first: all.empty ? [...all.first, ...next.first] : all.first,
        last: next.empty ? [...all.last, ...next.last] : next.last,
      };
    }
    return all;
  }

  /** Copies in a row; a text of fewer repetitions uses the first ones, so each copy is linked to the next alone. */
  private repeat(of: Regex, min: number, max: number): { empty: boolean; first: number[]; last: number[] } {
    const copies = max === Infinity ? Math.max(min, 1) : max;
    if (copies > LIMITS.patternPositions) throw tooBig('a repetition in the pattern');
    const parts = Array.from({ length: copies }, () => this.visit(of));
    if (copies === 0) return { empty: true, first: [], last: [] };
    const least = parts[0].empty ? 0 : min;
    parts.forEach((p, i) => {
      if (i + 1 < copies) this.link(p.last, parts[i + 1].first);
      else if (max === Infinity) this.link(p.last, p.first);
    });
    return { empty: least === 0, first: parts[0].first, last: parts.slice(Math.max(least, 1) - 1).flatMap((p) => p.last) };
  }

  private link(from: readonly number[], to: readonly number[]): void {
    this.budget.spend(from.length * to.length);
    for (const a of from) for (const b of to) this.follow[a].add(b);
  }
}

/** Subset construction; refuses patterns whose automaton explodes, so that following one is always a table look-up. */
export function toDfa(regex: Regex, budget: Budget = new Budget()): Dfa {
  const positions = new Positions(budget);
  const whole = positions.visit(regex);
  const lasts = new Set(whole.last);
  const ids = new Map<string, number>();
  const subsets: number[][] = [];
  const id = (subset: number[]): number => {
    const key = subset.sort((a, b) => a - b).join();
    const known = ids.get(key);
    if (known !== undefined) return known;
    if (subsets.length >= LIMITS.dfaStates) throw tooBig('the pattern');
    ids.set(key, subsets.length);
    subsets.push(subset);
    return subsets.length - 1;
  };
  const edges: { set: CharSet; to: number }[][] = [];
  const accept: boolean[] = [];
  subsets.push([]); // the start: no position read yet
  for (let s = 0; s < subsets.length; s++) {
    const next = s === 0 ? [...new Set(whole.first)] : [...new Set(subsets[s].flatMap((p) => [...positions.follow[p]]))];
    accept.push(s === 0 ? whole.empty : subsets[s].some((p) => lasts.has(p)));
    const cuts = [...new Set(next.flatMap((p) => positions.sets[p].map((x, i) => (i % 2 === 0 ? x : x + 1))))].sort((a, b) => a - b);
    const targets = new Map<number, CharSet[]>();
    for (let i = 0; i + 1 < cuts.length; i++) {
      budget.spend(20 + 4 * (next.length + subsets[s].length));
      const subset = next.filter((p) => has(positions.sets[p], cuts[i]));
      if (subset.length === 0) continue;
      const to = id(subset);
      targets.set(to, [...(targets.get(to) ?? []), [cuts[i], cuts[i + 1] - 1]]);
    }
    edges.push([...targets].map(([to, sets]) => ({ set: union(...sets), to })));
  }
  return { edges, accept };
}

/** Texts that both accept. */
export function both(a: Dfa, b: Dfa, budget: Budget = new Budget()): Dfa {
  const ids = new Map([['0,0', 0]]);
  const pairs: [number, number][] = [[0, 0]];
  const edges: { set: CharSet; to: number }[][] = [];
  for (const [x, y] of pairs) {
    const out: { set: CharSet; to: number }[] = [];
    budget.spend(1 + a.edges[x].length * b.edges[y].length);
    for (const e of a.edges[x]) {
      for (const f of b.edges[y]) {
        const set = intersect(e.set, f.set);
        if (set.length === 0) continue;
        const key = `${e.to},${f.to}`;
        let to = ids.get(key);
        if (to === undefined) {
          to = pairs.length;
          if (to >= LIMITS.dfaStates) throw tooBig('the combination of pattern, format and length');
          ids.set(key, to);
          pairs.push([e.to, f.to]);
        }
        out.push({ set, to });
      }
    }
    edges.push(out);
  }
  return { edges, accept: pairs.map(([x, y]) => a.accept[x] && b.accept[y]) };
}

/** Texts that `a` refuses. */
export function complement(a: Dfa): Dfa {
  const sink = a.edges.length;
  const edges = a.edges.map((list) => {
    const rest = invert(union(...list.map((e) => e.set)));
    return rest.length > 0 ? [...list, { set: rest, to: sink }] : list;
  });
  return { edges: [...edges, [{ set: ANY, to: sink }]], accept: [...a.accept.map((x) => !x), true] };
}

/** Exactly these words. */
export function words(list: readonly string[]): Dfa {
  const edges: { set: CharSet; to: number }[][] = [[]];
  const accept = [false];
  for (const word of list) {
    let at = 0;
    for (const cp of codePoints(word)) {
      let next = edges[at].find((e) => e.set[0] === cp)?.to;
      if (next === undefined) {
        next = edges.push([]) - 1;
        accept.push(false);
        edges[at].push({ set: [cp, cp], to: next });
      }
      at = next;
    }
    accept[at] = true;
  }
  return { edges, accept };
}

/** min to max characters of a set; max may be Infinity. */
export function lengths(set: CharSet, min: number, max: number): Dfa {
  const last = max === Infinity ? min : max;
  if (last >= LIMITS.dfaStates) throw tooBig(`a length of ${last} together with a pattern or format`);
  const edges: { set: CharSet; to: number }[][] = [];
  const accept: boolean[] = [];
  for (let i = 0; i <= last; i++) {
    edges.push(i < last ? [{ set, to: i + 1 }] : max === Infinity ? [{ set, to: i }] : []);
    accept.push(i >= min);
  }
  return { edges, accept };
}

export function accepts(a: Dfa, text: string): boolean {
  let at = 0;
  for (const cp of codePoints(text)) {
    const edge = a.edges[at].find((e) => has(e.set, cp));
    if (!edge) return false;
    at = edge.to;
  }
  return a.accept[at];
}

/** Whether nothing is accepted. */
export function isEmpty(a: Dfa): boolean {
  const seen = new Set([0]);
  for (const s of seen) {
    if (a.accept[s]) return false;
    for (const e of a.edges[s]) if (e.set.length > 0) seen.add(e.to);
  }
  return true;
}

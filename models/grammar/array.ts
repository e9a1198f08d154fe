import { itemNodes, satisfies } from './check.ts';
import { type Flat, type Node, sameJson } from './flat.ts';
import { LIMITS } from './limits.ts';
import { opposite } from './negate.ts';
import { EXIT, type Fragment, INC, INF } from './net.ts';
import type { Rules } from './rules.ts';

/**
 * The rule of an array: `[`, items with ", " between, `]`. Items past the prefix are counted, not written out. Where items are
 * told apart (contains), how many there were of each kind is part of the state.
 */
export function arrayRule(b: Rules, f: Flat): number {
  const { net } = b;
  const { min, max, unique } = f.array;
  if (unique && max > 1) {
    const values = finiteItems(b, f);
    if (values) return distinctRule(b, f, values);
    b.schema.unsupported(f.at, 'uniqueItems', 'needs items of a few values (enum, const, boolean), and no contains beside it');
  }
  const kinds = kindsOf(b, f);
  const prefix = Math.max(0, ...f.array.parts.map((p) => p.prefix.length));
  const entered = Math.max(prefix, 1); // items read when the counted loop begins
  const counted = min > entered || max !== Infinity;
  const rule = net.rule(counted ? { lo: Math.max(0, min - entered), hi: max === Infinity ? INF : Math.max(0, max - entered) } : undefined);
  const { start, end } = net.rules[rule];
  const close = (from: Layer, tag: number) => {
    for (const [n, state] of from) if (kinds.enough(n)) net.arc(state, 0x5d, 0x5d, end, tag);
  };
  /** An item of each kind, from each state to that of its counts. */
  const item = (from: Layer, i: number, to: Layer) => {
    for (const [n, state] of from) {
      for (const [nodes, next] of kinds.after(n)) {
        if (!to.has(next)) to.set(next, net.state());
        net.call(state, b.rule([...itemNodes(f, i), ...nodes]), to.get(next)!);
      }
    }
  };
  const comma = (from: Layer, tag: number): Layer =>
    new Map(
      [...from].map(([n, state]) => {
        const next = net.state();
        net.text(b.syntax.comma, tag)(state, next);
        return [n, next];
      }),
    );
  let at: Layer = new Map([[0, net.state()]]);
  net.arc(start, 0x5b, 0x5b, at.get(0)!);
  for (let i = 0; i < entered && i < max; i++) {
    if (i >= min) close(at, 0);
    const done: Layer = new Map();
    item(i === 0 ? at : comma(at, 0), i, done);
    at = done;
  }
  if (max < entered) {
    if (max >= min) close(at, 0);
    return rule;
  }
  // every count that the loop can reach, before its arcs are drawn
  const reached = [...at.keys()];
  for (const n of reached) {
    for (const [, next] of kinds.after(n)) {
      if (at.has(next)) continue;
      at.set(next, net.state());
      reached.push(next);
    }
  }
  item(comma(at, counted ? INC : 0), entered, at);
  close(at, counted ? EXIT : 0);
  return rule;
}

/** States of an array, by the counts of its kinds of items. */
type Layer = Map<number, number>;

interface Kinds {
  /** What an item may satisfy after these counts, and the counts then. */
  after(n: number): [Node[], number][];
  enough(n: number): boolean;
}

/** Counts of `contains`, as one number: each up to its minimum, or its maximum where it has one. */
function kindsOf(b: Rules, f: Flat): Kinds {
  let list = f.array.contains.filter((c) => c.min > 0 || c.max < Infinity);
  const cap = (c: (typeof list)[number]) => (c.max < Infinity ? c.max : c.min);
  if (list.length > 3 || list.reduce((n, c) => n * (cap(c) + 1), 1) > LIMITS.arrayStates) {
    b.schema.unsupported(f.at, 'contains', `at most ${LIMITS.arrayStates} combinations of counts`);
    list = [];
  }
  const digits = (n: number) => list.map((c) => [n % (cap(c) + 1), (n = Math.floor(n / (cap(c) + 1)))][0]);
  const number = (ds: readonly number[]) => list.reduceRight((n, c, i) => n * (cap(c) + 1) + ds[i], 0);
  return {
    after(n) {
      let out: { nodes: Node[]; counts: number[] }[] = [{ nodes: [], counts: digits(n) }];
      list.forEach((c, i) => {
        out = out.flatMap(({ nodes, counts }) => {
          const more = counts.with(i, Math.min(counts[i] + 1, cap(c)));
          const one = { nodes: [...nodes, c.node], counts: more };
          // without a maximum an item may be taken for another kind; with one it must be told
          const none = { nodes: c.max < Infinity ? [...nodes, opposite(c.node)] : nodes, counts };
          return counts[i] < cap(c) ? [one, none] : [none];
        });
      });
      return out.map(({ nodes, counts }) => [nodes, number(counts)]);
    },
    enough: (n) => digits(n).every((d, i) => d >= list[i].min),
  };
}

/** The values that items can have, when they are few and nothing else tells items apart. */
function finiteItems(b: Rules, f: Flat): unknown[] | undefined {
  if (f.array.contains.length > 0) return undefined;
  const values: unknown[] = [];
  const positions = Math.max(0, ...f.array.parts.map((p) => p.prefix.length)) + 1;
  for (let i = 0; i < positions; i++) {
    const nodes = itemNodes(f, i);
    if (nodes.length === 0) return undefined;
    for (const flat of b.schema.flatten(nodes)) {
      const own =
        flat.values ??
        (flat.types && [...flat.types].flatMap((t) => (t === 'null' ? [null] : t === 'boolean' ? [false, true] : [undefined])));
      if (!own || own.includes(undefined)) return undefined;
      for (const v of own) if (!values.some((w) => sameJson(v, w))) values.push(v);
    }
  }
  let sets = 0;
  let choose = 1;
  for (let k = 0; k <= Math.min(f.array.max, values.length); k++) {
    sets += choose;
    choose = (choose * (values.length - k)) / (k + 1);
  }
  return sets <= LIMITS.arrayStates ? values : undefined;
}

/** An array of distinct values: a state for each set of those that were there. */
function distinctRule(b: Rules, f: Flat, values: readonly unknown[]): number {
  const { net } = b;
  const { min, max } = f.array;
  return net.define((from, to) => {
    const states = new Map<number, number>([[0, net.state()]]);
    net.arc(from, 0x5b, 0x5b, states.get(0)!);
    for (const [set, state] of states) {
      const n = bits(set);
      if (n >= min && n <= max) net.arc(state, 0x5d, 0x5d, to);
      if (n >= max) continue;
      values.forEach((v, k) => {
        if (set & (1 << k) || !satisfies(b.schema, itemNodes(f, n), v)) return;
        const next = set | (1 << k);
        if (!states.has(next)) states.set(next, net.state());
        const text: Fragment = net.seq(net.text(n === 0 ? '' : b.syntax.comma), b.literal(v, f.at, 0));
        text(state, states.get(next)!);
      });
    }
  });
}

function bits(set: number): number {
  let n = 0;
  for (let x = set; x !== 0; x &= x - 1) n++;
  return n;
}

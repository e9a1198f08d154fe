/** How much is drafted, against machines on which a row costs little or much, and texts that repeat or do not: what it wins, and what it can lose. */
import { describe, expect, it } from 'vitest';
import { Speculation } from '../../engine/speculate.ts';
import { noise } from './random-model.ts';

interface World {
  /** Time of a step of so many rows, in steps of one. */
  cost: (rows: number) => number;
  /** Chance that a drafted token is accepted, in the n-th answer. */
  p: (answer: number) => number;
  tokens: number; // of an answer
  /** Steps between two measurements. */
  yields?: number;
  jitter?: number;
}

/** Time that answers took with drafts, over the time without. */
function time({ cost, p, tokens, yields = 1, jitter = 0 }: World, answers: number): number[] {
  const s = new Speculation();
  const next = noise(1);
  const random = () => (next() + 1) / 2;
  const out: number[] = [];
  let [pendingMs, pending] = [0, [] as number[]];
  for (let a = 0; a < answers; a++) {
    let acceptance: number | undefined;
    let ms = 0;
    for (let left = tokens; left > 0; ) {
      const draft = s.length(acceptance ?? 0.7, Math.min(7, left - 1), 1, 1, false);
      s.earn(1);
      let accepted = 0;
      while (accepted < draft && random() < p(a)) accepted++;
      if (draft > 0) {
        acceptance = 0.75 * (acceptance ?? 0.65) + (0.25 * accepted) / Math.min(draft, accepted + 1);
        s.settle(draft, accepted, 1 + draft, 1);
      }
      left -= 1 + accepted;
      ms += cost(1 + draft);
      pendingMs += 20 * cost(1 + draft) * (1 + jitter * (random() - 0.5));
      pending.push(1 + draft);
      if (pending.length < yields) continue;
      s.measure(pendingMs, pending);
      [pendingMs, pending] = [0, []];
    }
    out.push(ms / tokens);
  }
  return out;
}

const mean = (list: number[]) => list.reduce((a, b) => a + b, 0) / list.length;
const linear = (row: number) => (rows: number) => 1 + row * (rows - 1);

describe('drafts cost a fortieth at most', () => {
  const costs: [string, World['cost']][] = [
    ['a row costs nothing', linear(0.02)],
    ['a row costs 0.6 of a step', linear(0.6)],
    ['two rows cost three steps', linear(2)],
    ['two rows are slow, many are not', (rows) => [0, 1, 2.1, 2.4, 1.9, 2.2, 2.3, 2.4, 2.5][rows]],
  ];
  const texts: [string, World['p']][] = [
    ['nothing repeats', () => 0],
    ['a third', () => 0.33],
    ['texts change', (a) => (a % 10 < 5 ? 0.9 : 0)],
  ];
  for (const [machine, cost] of costs) {
    for (const [text, p] of texts) {
      for (const yields of [1, 20]) {
        it(`where ${machine}, ${text}, measured every ${yields} steps`, () => {
          const took = time({ cost, p, tokens: 60, yields, jitter: 0.3 }, 40);
          expect(mean(took)).toBeLessThan(1.025);
        });
      }
    }
  }

  it('of short answers too', () => expect(mean(time({ cost: linear(0.6), p: () => 0, tokens: 12 }, 100))).toBeLessThan(1.02));
});

it('what repeats is faster where rows are cheap, and as fast as plain where they are not', () => {
  const at = (row: number) => 1 / mean(time({ cost: linear(row), p: () => 0.9, tokens: 100, yields: 10 }, 20));
  expect(at(0.1)).toBeGreaterThan(2.2);
  expect(at(0.3)).toBeGreaterThan(1.35);
  expect(at(1.5)).toBeGreaterThan(0.98);
});

it('the time of steps is learned, of those that come mixed too, and wild samples do little', () => {
  const s = new Speculation();
  const cost = linear(0.25);
  for (let i = 0; i < 3000; i++) {
    const rows = [1, 1, 1, 1 + (i % 3), 1 + (i % 5)];
    s.measure(7 * rows.reduce((n, r) => n + cost(r), 0), rows);
  }
  for (const r of [2, 3, 4, 5]) expect(s.costOf(r)).toBeCloseTo(cost(r), 1);
  expect(s.costOf(8)).toBeGreaterThan(s.costOf(5)); // never measured: a guess beyond what was
  s.measure(1e6, [2]);
  expect(s.costOf(2)).toBeLessThan(1.7);
  s.measure(Number.NaN, [2]);
  expect(s.costOf(2)).toBeGreaterThan(1);
  expect(new Speculation(Infinity).length(1, 7, 1, 1, true)).toBe(0);
});

describe('to the number', () => {
  const most = (s: Speculation, p = 1, o: { most?: number; rows?: number; sequences?: number; probe?: boolean } = {}) =>
    s.length(p, o.most ?? 7, o.rows ?? 1, o.sequences ?? 1, o.probe);

  it('steps of more rows than are kept grow as the last eight do', () => {
    const s = new Speculation(0.5);
    expect([1, 2, 8, 16, 17, 20, 32].map((r) => s.costOf(r))).toEqual([1, 1.5, 4.5, 8.5, 9, 10.5, 16.5]);
    s.measure(100, [1]); // the cost was given
    s.measure(100, [2]);
    expect([s.costOf(2), most(s)]).toEqual([1.5, 2]);
  });

  it('the length gives most tokens in the time, within what may be lost, a fiftieth better than none', () => {
    const s = new Speculation(0.5); // one step may be lost
    expect([1, 0.55, 0.52, 0.5, 0].map((p) => most(s, p))).toEqual([2, 1, 0, 0, 0]);
    expect(most(s, 1, { most: 1 })).toBe(1);
    expect(most(s, 1, { most: 0 })).toBe(0);
    expect(most(s, 1, { rows: 2, sequences: 2 })).toBe(2);
    const three = [0.9, 0.87, 0.8].map((p) => most(s, p, { rows: 3, sequences: 3 }));
    expect(three).toEqual([2, 1, 0]); // 3 tokens in 2 steps; 3.9 in 2.5, 4.71 in 3; 3.87 and 4.63; 3.8 and 4.44
    expect(most(new Speculation(0))).toBe(7);
    expect(most(new Speculation(0), 0.03, { most: 30 }), 'no longer than it gives more').toBeLessThan(15);
  });

  it('one token is tried where none pays, if it may be lost', () => {
    expect(most(new Speculation(1), 0, { probe: true })).toBe(1); // costs just what may be
    expect(most(new Speculation(1.01), 0, { probe: true })).toBe(0);
    expect(most(new Speculation(0.5), 0, { probe: true, most: 0 })).toBe(0);
    expect(most(new Speculation(0.5), 1, { probe: true })).toBe(2); // more where more pays
    expect(most(new Speculation(0.5), 0)).toBe(0);
  });

  it('what may be lost is earned, a hundredth of a step, and won and lost by drafts, three steps at most', () => {
    const spent = () => {
      const s = new Speculation(0.5);
      s.settle(2, 0, 3, 1);
      return s;
    };
    expect([most(spent()), most(spent(), 0, { probe: true })]).toEqual([0, 0]);
    const earns = (steps: number, sequences: number) => {
      const s = spent();
      for (let i = 0; i < steps; i++) s.earn(sequences);
      return most(s);
    };
    expect([earns(49, 1), earns(51, 1), earns(33, 2), earns(34, 2), earns(101, 1), earns(5000, 1)]).toEqual([0, 1, 0, 1, 2, 6]);
    const settled = (...a: Parameters<Speculation['settle']>) => {
      const s = new Speculation(0.5);
      s.settle(...a);
      return most(s);
    };
    expect(settled(2, 2, 3, 1)).toBe(4);
    expect(settled(2, 2, 4, 2)).toBe(3); // a token of two sequences is half of what a step of both costs
    expect(settled(1, 0, 2, 1)).toBe(1);
    expect(settled(7, 7, 8, 1)).toBe(6);
  });

  it('nothing is drafted before a plain step was measured, nor beyond what was, one number of rows at a time', () => {
    const s = new Speculation();
    s.measure(10, [2]);
    s.measure(10, []);
    s.measure(10, [1, 2]);
    expect([s.costOf(2), most(s)]).toEqual([1.6, 0]);
    s.measure(20, [1, 1]);
    expect([s.costOf(2), most(s)]).toEqual([1.6, 1]);
    expect(most(s)).toBe(0); // of two rows nothing is known yet
    s.measure(Number.NaN, [2]);
    s.measure(0, [2]);
    s.measure(-1, [2]);
    expect(most(s)).toBe(0);
    s.measure(14, [2]);
    expect(s.costOf(2)).toBeCloseTo(1.4, 9);
    expect(s.costOf(3)).toBeCloseTo(1.8, 9); // as much more a row
    expect(s.costOf(16)).toBeCloseTo(7, 9);
    expect(most(s)).toBe(2); // of three rows nothing is known yet
    expect(most(s)).toBe(0);
    s.measure(18, [3]);
    expect([most(s), most(s)]).toEqual([2, 2]);
    s.measure(1000, [1, 17]); // more rows than are kept
    s.measure(1000, [1, 17]);
    expect(s.costOf(2)).toBeCloseTo(1.4, 9);
    expect([most(s, 1, { rows: 16 }), most(s, 1, { rows: 16 })]).toEqual([2, 2]); // is never measured
    expect([most(s, 1, { rows: 14 }), most(s, 1, { rows: 14 })]).toEqual([2, 0]);
  });

  it('a fifth of what a step took beside what was known is learned, a wild sample’s within a half and the double', () => {
    const s = new Speculation();
    s.measure(10, [1]);
    s.measure(14, [2]);
    const told = (ms: number, rows: number[], of = rows[0]) => {
      s.measure(ms, rows);
      return s.costOf(of);
    };
    expect(told(20, [2])).toBeCloseTo(1.52, 9);
    expect(told(1000, [2])).toBeCloseTo(1.824, 9);
    expect(told(0.1, [2])).toBeCloseTo(1.6416, 9);
    for (let i = 0; i < 60; i++) s.measure(1000, [2]);
    expect(s.costOf(2)).toBeCloseTo(3, 9); // one and a half steps a row
    for (let i = 0; i < 60; i++) s.measure(0.1, [2]);
    expect([s.costOf(2), s.costOf(3)]).toEqual([1, 1]); // no step is quicker than one of one row
    expect(told(5, [1], 2)).toBeCloseTo(10 / 9, 9); // and a plain one is learned as others are
  });

  it('the error of steps together is of those that were never measured, by how often each was among them', () => {
    const s = new Speculation();
    s.measure(10, [1]);
    s.measure(10 + 10 + 14 + 14, [1, 1, 2, 2]); // 4 less than 52 were expected; half of the steps were new
    expect(s.costOf(2)).toBeCloseTo(1.6 - (0.5 * 4 * 2) / 4 / 10, 9);
    const two = s.costOf(2) * 10;
    s.measure(10 + two + 5, [1, 2]); // both are known: each has half of a fifth
    expect(s.costOf(2)).toBeCloseTo((two + 0.5) / 10.5, 9);
    const rare = new Speculation();
    rare.measure(10, [1]);
    rare.measure(90 + 21, [1, 1, 1, 1, 1, 1, 1, 1, 1, 2]); // 5 more than expected, of one step in ten: a fifth
    expect(rare.costOf(2)).toBeCloseTo(1.7, 9);
  });

  it('a time stays one: steps of many sizes that took next to nothing together leave a plain step at least half of its own', () => {
    const s = new Speculation();
    s.measure(10, [1]);
    const all = Array.from({ length: 16 }, (_, i) => 1 + i);
    for (const r of all.slice(1)) for (let i = 0; i < 40; i++) s.measure(1000, [r]);
    expect(s.costOf(16)).toBeCloseTo(24, 9);
    s.measure(0.1, all);
    expect(s.costOf(1)).toBe(1);
    expect(s.costOf(2)).toBeCloseTo(3, 9);
    for (let i = 0; i < 200; i++) s.measure(10, [1]);
    for (let i = 0; i < 200; i++) s.measure(15, [2]);
    expect(s.costOf(2)).toBeCloseTo(1.5, 2); // and it is learned again
  });
});

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

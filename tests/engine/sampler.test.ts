import { describe, expect, it } from 'vitest';
import { choose, drawRest, type Row, wholeRow } from '../../engine/sampler.ts';
import { GREEDY, type Sampling } from '../../engine/types.ts';
import { noise } from './random-model.ts';

const V = 300;
const next = noise(5);
const logits = Float32Array.from({ length: V }, () => next() * 6);
const max = Math.max(...logits);
const stats = {
  ids: new Uint32Array(),
  vals: new Float32Array(),
  max,
  sum: Math.fround(logits.reduce((s, x) => s + Math.exp(x - max), 0)),
};
const whole = wholeRow(logits, 1, stats);
const best = (k: number): Row => ({ ...stats, ids: whole.ids.slice(0, k), vals: whole.vals.slice(0, k) });
const with_ = (o: Partial<Sampling>, seed: number): Sampling => ({ ...GREEDY, temperature: 1, seed: [seed, 0], ...o });

/** As the engine does it: from the best 64, from the whole row where those do not decide. */
function draw(s: Sampling): number {
  const p = choose(s, 0, best(64), V);
  if (p === 'rest') return drawRest(s, 0, best(64), logits);
  const q = p === 'row' ? choose(s, 0, whole, V) : p;
  if (typeof q === 'string') throw new Error('undecided');
  return q.id;
}

const frequencies = (o: Partial<Sampling>, n = 20_000): Float64Array => {
  const f = new Float64Array(V);
  for (let i = 0; i < n; i++) f[draw(with_(o, i))] += 1 / n;
  return f;
};

/** The kept ids by definition, from the softmax of all logits. */
function expected(o: { topK?: number; topP?: number; minP?: number }): Float64Array {
  const p = [...logits].map((x, id) => ({ id, p: Math.exp(x - max) })).sort((a, b) => b.p - a.p || a.id - b.id);
  let kept = p.slice(0, o.topK || V);
  const mass = kept.reduce((s, x) => s + x.p, 0);
  if (o.topP) {
    let cum = 0;
    kept = kept.filter((x) => {
      cum += x.p;
      return cum - x.p < o.topP! * mass;
    });
  }
  if (o.minP) kept = kept.filter((x) => x.p >= o.minP! * kept[0].p);
  const sum = kept.reduce((s, x) => s + x.p, 0);
  const f = new Float64Array(V);
  for (const x of kept) f[x.id] = x.p / sum;
  return f;
}

describe('sampling', () => {
  it('sorts a row by value, ties to the lowest id, negative zero and infinities included', () => {
    const row = Float32Array.of(0, 5, -0, Number.NEGATIVE_INFINITY, 5, -3);
    expect([...wholeRow(row, 1, stats).ids]).toEqual([1, 4, 0, 2, 5, 3]);
    const sorted = [...whole.ids].map((id) => logits[id]);
    expect(sorted).toEqual([...logits].sort((a, b) => b - a));
  });

  it.each([
    ['nothing', {}],
    ['top_k 5', { topK: 5 }],
    ['top_k 100, more than are read', { topK: 100 }],
    ['top_p 0.5', { topP: 0.5 }],
    ['top_p 0.99, a nucleus of more than 64', { topP: 0.99 }],
    ['min_p 0.2', { minP: 0.2 }],
    ['min_p 0.001, more than 64 remain', { minP: 0.001 }],
    ['top_k 40, top_p 0.8 and min_p 0.1', { topK: 40, topP: 0.8, minP: 0.1 }],
  ])('%s: draws follow the filtered softmax', (_, o) => {
    const got = frequencies(o);
    const want = expected(o);
    for (let id = 0; id < V; id++) {
      if (want[id] === 0) expect(got[id]).toBe(0);
      expect(Math.abs(got[id] - want[id])).toBeLessThan(5 * Math.sqrt(want[id] / 20_000) + 2e-4);
    }
    // and all of them together, the tail in cells of 20 draws: χ² is as large once in 10⁶ (Wilson and Hilferty's z of 4.75)
    const cells: { got: number; want: number }[] = [];
    for (const id of Array.from(want.keys()).sort((a, b) => want[b] - want[a])) {
      const open = cells.at(-1);
      if (open && open.want < 20) {
        open.got += got[id] * 20_000;
        open.want += want[id] * 20_000;
      } else cells.push({ got: got[id] * 20_000, want: want[id] * 20_000 });
    }
    const full = cells.filter((c) => c.want >= 5);
    const chi2 = full.reduce((sum, c) => sum + (c.got - c.want) ** 2 / c.want, 0);
    const k = full.length - 1;
    if (k > 0) expect((Math.cbrt(chi2 / k) - 1 + 2 / (9 * k)) / Math.sqrt(2 / (9 * k))).toBeLessThan(4.75);
  });
});

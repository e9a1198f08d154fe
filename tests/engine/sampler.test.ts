import { describe, expect, it } from 'vitest';
import { bestOf, choose, drawRest, type Row } from '../../engine/sampler.ts';
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
const whole = bestOf(logits, 1, stats, -Infinity);
const best = (k: number): Row => ({ ...stats, ids: whole.ids.slice(0, k), vals: whole.vals.slice(0, k) });
const with_ = (o: Partial<Sampling>, seed: number): Sampling => ({ ...GREEDY, temperature: 1, seed: [seed, 0], ...o });

/** As the engine does it: from the best 64, from more of the row where those do not decide. */
function draw(s: Sampling): number {
  const p = choose(s, 0, best(64), V);
  if (p === 'rest') return drawRest(s, 0, best(64), logits);
  const more = p === 'row' ? choose(s, 0, bestOf(logits, 1, stats, best(64).vals[63] - 1), V) : p;
  const q = more === 'row' ? choose(s, 0, whole, V) : more;
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
    expect([...bestOf(row, 1, stats, -Infinity).ids]).toEqual([1, 4, 0, 2, 5, 3]);
    const sorted = [...whole.ids].map((id) => logits[id]);
    expect(sorted).toEqual([...logits].sort((a, b) => b - a));
  });

  it('the best of a row are the beginning of it all, however many are asked for, and a draw that they decide is the same', () => {
    const flat = noise(9);
    const row = Float32Array.from({ length: 2000 }, () => Math.round(flat() * 40) / 8); // many ties
    row.set([Number.NEGATIVE_INFINITY, 9, -700, -0, 0], 40);
    for (const invTemp of [0.25, 1, Math.fround(1 / 0.7)]) {
      const top = Math.fround(Math.max(...row) * invTemp);
      const mass = { ...stats, max: top, sum: Math.fround(row.reduce((sum, x) => sum + Math.exp(Math.fround(x * invTemp) - top), 0)) };
      const all = bestOf(row, invTemp, mass, -Infinity);
      expect(all.ids).toHaveLength(row.length);
      const some = bestOf(row, invTemp, mass, all.vals[900]);
      expect(some.ids.length).toBeLessThan(row.length);
      for (const n of [1, 2, 64, 500, 1999]) {
        const best = bestOf(row, invTemp, mass, all.vals[n]);
        expect(best.ids.length).toBeGreaterThan(n); // and those that tie with it
        expect(best.ids.length === row.length || all.vals[best.ids.length] < all.vals[n]).toBe(true);
        expect(best.ids).toEqual(all.ids.subarray(0, best.ids.length));
        expect(best.vals).toEqual(all.vals.subarray(0, best.ids.length));
      }
      for (const o of [{ topP: 0.3 }, { topP: 0.8 }, { minP: 0.1 }, { topK: 300 }, { topK: 300, topP: 0.9, minP: 0.01 }]) {
        const draws = Array.from({ length: 20 }, (_, seed) => choose(with_(o, seed), 0, some, row.length));
        if (invTemp >= 1) expect(draws).not.toContain('row');
        if (!draws.includes('row')) expect(draws).toEqual(Array.from(draws, (_, seed) => choose(with_(o, seed), 0, all, row.length)));
      }
    }
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

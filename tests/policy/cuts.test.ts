import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Costs, CutsError, type CutsInput, describeStages, MOST_STAGES, planCuts } from '../../policy/cuts.ts';
import type { Stage, StagesPlan } from '../../policy/stages.ts';
import { isolatesOf } from '../../policy/stages.ts';

interface World {
  layers: { weights: number; page: number; time: number }[];
  groups: number;
  odd: number;
  rowBytes: number;
  rowTime: number;
  js: number;
  replicaJs: number;
  limit: number;
}

/** Memory in bytes that can be counted by hand. */
function costsOf(w: World): Costs {
  const sum = (from: number, to: number, f: (l: World['layers'][number]) => number) =>
    w.layers.slice(from, to).reduce((n, l) => n + f(l), 0);
  return {
    layers: (from, to) => ({ weights: sum(from, to, (l) => l.weights), scratch: 40, page: sum(from, to, (l) => l.page), slid: 0 }),
    rows: (n) => ({ weights: 8 * Math.ceil(n / 8) * w.rowBytes, scratch: 10 + n }),
    stage: { js: w.js, scratch: 20 },
    replica: { js: w.replicaJs, scratch: 30 },
  };
}

const vocabOf = (w: World) => 8 * w.groups - w.odd;
const inputOf = (w: World, context: number, stages?: number): CutsInput => ({
  ...{ vocab: vocabOf(w), group: 8, limit: w.limit, stages, context, maxTokens: 128, maxSequences: 4, costs: () => costsOf(w) },
  ...{ times: { layers: w.layers.map((l) => l.time), row: w.rowTime }, mostPages: () => 1000, windowPages: () => undefined },
});

/** Bytes of a stage, from the world and not from the plan. */
function bytesIn(w: World, s: Stage, first: boolean, pages: number): number {
  const c = costsOf(w);
  const none = { weights: 0, scratch: 0, page: 0, slid: 0 };
  const l = s.layers[1] > s.layers[0] ? c.layers(...s.layers) : none;
  const r = s.head ? c.rows(s.head[1] - s.head[0]) : none;
  const part = s.layers[1] > s.layers[0] || s.head ? 20 : 0;
  const own = (first ? c.replica.js + c.replica.scratch : c.stage.js) + part;
  return own + l.weights + l.scratch + r.weights + r.scratch + pages * l.page;
}

/** Whether the model fits into isolates at all, no busier than `time`: every way of cutting its layers is tried. */
function possible(w: World, count: number, pages: number, time: number): boolean {
  const L = w.layers.length;
  const vocab = vocabOf(w);
  const go = (k: number, from: number, rows: number): boolean => {
    if (k === count) return from === L && rows >= vocab;
    for (let to = from; to <= L; to++) {
      const stage = (n: number): Stage => ({ layers: [from, to], ...(n > 0 && { head: [0, n] as const }), bytes: undefined as never });
      const busy = w.layers.slice(from, to).reduce((n, l) => n + l.time, 0);
      const fits = (n: number) => bytesIn(w, stage(n), k === 0, pages) <= w.limit && busy + n * w.rowTime <= time + 1e-9;
      const empty = k === 0 && from === to;
      if (!fits(0)) break;
      let n = 0;
      while (n < vocab && fits(Math.min(vocab, n + 8))) n = Math.min(vocab, n + 8);
      if (to === from && n === 0 && !empty) continue;
      if (go(k + 1, to, rows + n)) return true;
    }
    return false;
  };
  return go(0, 0, 0);
}

const worlds = fc.record({
  layers: fc.array(
    fc.record({ weights: fc.integer({ min: 20, max: 300 }), page: fc.integer({ min: 1, max: 5 }), time: fc.integer({ min: 1, max: 20 }) }),
    {
      ...{ minLength: 1, maxLength: 6 },
    },
  ),
  groups: fc.integer({ min: 1, max: 12 }),
  odd: fc.integer({ min: 0, max: 7 }),
  rowBytes: fc.integer({ min: 1, max: 6 }),
  rowTime: fc.constantFrom(0, 0.05, 0.3),
  js: fc.integer({ min: 50, max: 200 }),
  replicaJs: fc.integer({ min: 100, max: 500 }),
  limit: fc.integer({ min: 500, max: 1200 }),
});

function planOf(w: World, context: number, stages?: number): StagesPlan | undefined {
  try {
    return planCuts(inputOf(w, context, stages));
  } catch (error) {
    if (!(error instanceof CutsError)) throw error;
    return undefined;
  }
}

describe('a plan of cuts', () => {
  test('has every layer and every row once, in order, and no isolate above its bytes', () => {
    let planned = 0;
    fc.assert(
      fc.property(
        worlds,
        fc.integer({ min: 16, max: 64 }),
        fc.option(fc.integer({ min: 2, max: 5 }), { nil: undefined }),
        (w, context, stages) => {
          const plan = planOf(w, context, stages);
          if (!plan) return;
          planned++;
          let [layer, row] = [0, 0];
          for (const s of plan.stages) {
            expect(s.layers[0]).toBe(layer);
            layer = s.layers[1];
            expect(s.embed).toEqual(s.head);
            if (s.head) {
              expect(s.head[0]).toBe(row);
              expect(s.head[0] % 8).toBe(0);
              row = s.head[1];
              expect(s.head[1]).toBeGreaterThan(s.head[0]);
            } else expect(s.layers[1]).toBeGreaterThan(s.layers[0]);
            expect(s.bytes.js + s.bytes.weights + s.bytes.scratch + s.bytes.kv).toBe(bytesIn(w, s, s.replica === true, plan.pages));
            expect(bytesIn(w, s, s.replica === true, plan.pages)).toBeLessThanOrEqual(w.limit);
          }
          expect([layer, row]).toEqual([w.layers.length, vocabOf(w)]);
          expect(plan.pages * 16).toBeGreaterThanOrEqual(context);
          expect(plan.stages.slice(1).some((s) => s.replica)).toBe(false);
          if (plan.stages[0].replica) expect(plan.replica).toEqual(plan.stages[0].bytes);
          else expect(plan.replica.weights + plan.replica.kv).toBe(0);
          if (stages !== undefined) expect(isolatesOf(plan)).toBe(stages);
        },
      ),
      { numRuns: 400 },
    );
    expect(planned).toBeGreaterThan(100);
  });

  test('takes the fewest isolates that hold the model, and refuses only what none hold', () => {
    fc.assert(
      fc.property(worlds, (w) => {
        const plan = planOf(w, 32);
        const fewest = [2, 3, 4, 5, 6].find((n) => possible(w, n, 2, Number.POSITIVE_INFINITY));
        if (plan && isolatesOf(plan) <= 6) expect(isolatesOf(plan)).toBe(fewest);
        else expect(fewest).toBeUndefined();
      }),
      { numRuns: 150 },
    );
  });

  test('leaves the busiest isolate little more to compute than any other cut would', () => {
    fc.assert(
      fc.property(worlds, (w) => {
        const plan = planOf(w, 32);
        if (!plan || isolatesOf(plan) > 5) return;
        const time = (s: Stage) =>
          w.layers.slice(...s.layers).reduce((n, l) => n + l.time, 0) + (s.head ? s.head[1] - s.head[0] : 0) * w.rowTime;
        const busiest = Math.max(...plan.stages.map(time));
        expect(possible(w, isolatesOf(plan), 2, busiest / 1.051 - 8 * w.rowTime)).toBe(false);
      }),
      { numRuns: 150 },
    );
  });
});

const even: World = {
  layers: Array.from({ length: 12 }, () => ({ weights: 100, page: 1, time: 10 })),
  ...{ groups: 10, odd: 0, rowBytes: 2, rowTime: 0.01, js: 100, replicaJs: 250, limit: 700 },
};

describe('what is said of it', () => {
  test('a longer context than is needed is planned where the same isolates hold it', () => {
    const w = { ...even, limit: 2500, layers: even.layers.map((l) => ({ ...l, weights: 10, page: 1 })) };
    expect(planCuts(inputOf(w, 4096)).context).toBe(4096);
    expect(planCuts(inputOf(w, 65536)).context).toBe(4096);
    const wished = planCuts({ ...inputOf(w, 4096), wished: 640 });
    expect(wished.context).toBe(640);
    expect(wished.pages).toBeGreaterThanOrEqual(40);
  });

  test('more stages than layers and rows need are refused', () => {
    expect(() => planCuts(inputOf({ ...even, layers: even.layers.slice(0, 1), groups: 1 }, 32, 9))).toThrow(/STAGES=9/);
  });

  test('a refusal has the arithmetic', () => {
    const MB = 1 << 20;
    const big = (o: Partial<World>): World => ({ ...even, js: 16 * MB, replicaJs: 37 * MB, limit: 128 * MB, ...o });
    const refuse = (o: Partial<World>, stages?: number) => () => planCuts(inputOf(big(o), 32, stages));
    expect(refuse({ replicaJs: 130 * MB })).toThrow(/replica's isolate alone needs JavaScript 130\.0 MB .* but an isolate has 128\.0 MB/);
    expect(refuse({ layers: [{ weights: 120 * MB, page: 1, time: 1 }] })).toThrow(
      /layer 0 alone needs weights 120\.0 MB .* JavaScript 16\.0 MB = 136\.0 MB/,
    );
    const layers = Array.from({ length: 30 }, () => ({ weights: 100 * MB, page: 1, time: 1 }));
    expect(refuse({ layers })).toThrow(new RegExp(`${MOST_STAGES} isolates, the most there are, of 128\\.0 MB: weights 3000\\.0 MB`));
    expect(refuse({ layers: layers.slice(0, 4) }, 3)).toThrow(/STAGES=3 of 128\.0 MB: weights 400\.0 MB .* Leave STAGES out/);
  });

  test('a line a stage, with its layers, its rows and what it takes of 128 MB', () => {
    const [head, ...lines] = describeStages(planCuts(inputOf(even, 32)));
    expect(head[0]).toBe('stage');
    expect(lines.length).toBe(planCuts(inputOf(even, 32)).stages.length);
    expect(lines[0][0]).toBe('0 (replica)');
    expect(lines.map((l) => l[1])).toEqual(['0–2', '3–5', '6–8', '9–11']);
  });
});

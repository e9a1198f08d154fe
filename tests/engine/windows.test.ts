/** Layers with a window keep their part of a page only as long as somebody sees it, and nobody can tell by the tokens. */
import { describe, expect, it } from 'vitest';
import { type Engine, type GenerateRequest, GREEDY, type ModelConfig, PAGE, type Part } from '../../engine/index.ts';
import { kvBytes } from '../../engine/plan.ts';
import { windowPages } from '../../engine/windows.ts';
import { createWasm } from '../../kernels/wasm/index.ts';
import { wasmModules } from '../kernels/modules.ts';
import { gemma, held } from './determinism.ts';
import { drain, noise, testEngine } from './random-model.ts';

const modules = wasmModules();
const wasm = () => createWasm({ modules, memoryBytes: 24 << 20 });

/** A window of 90 tokens, and steps of 64: 6 pages before a boundary, 12 at once. */
const REACH = 6;
const AT_ONCE = 12;
const sizes = { config: gemma, maxTokens: 64, maxSequences: 8 };
const parts: Part[] = [
  { layers: [0, 1], embed: [0, 512], head: [0, 512] },
  { layers: [1, 3], embed: [512, 1000], head: [512, 1000] },
];
const inOne = (o: object = {}) => testEngine(wasm(), { ...sizes, ...o });
const inStages = (o: object = {}) => inOne({ ...o, parts: { stages: parts, create: wasm } });

const prompt = (seed: number, n: number): number[] => {
  const next = noise(seed);
  return Array.from({ length: n }, () => Math.floor(((next() + 1) / 2) * gemma.vocab));
};
const request = (id: string, ids: number[], more: Partial<GenerateRequest> = {}): GenerateRequest => ({
  ...{ id, prompt: ids, maxTokens: 40, stopIds: [], salt: 't', sampling: { ...GREEDY, temperature: 0.9, seed: [5, 6] } },
  ...more,
});
const windows = (e: Engine) => e.pool.windows as NonNullable<Engine['pool']['windows']>;
/** The tokens of one request on an engine, and how many of its prompt were found. */
async function answer(e: Engine, r: GenerateRequest): Promise<{ ids: number[]; cached: number }> {
  e.add(r);
  const ids: number[] = [];
  let cached = 0;
  while (e.busy) {
    for (const event of await e.step()) {
      if (event.error !== undefined) throw event.error;
      cached += event.cachedTokens ?? 0;
      ids.push(...event.tokens.map((t) => t.id));
    }
  }
  return { ids, cached };
}

/** A model of Gemma 3's shape: one kv head of 256, every sixth layer full, windows of 512. */
const shaped = (layers: number): ModelConfig => ({
  ...{ ...gemma, layers, heads: 4, kvHeads: 1, headDim: 256, context: 32768, window: 512 },
  layerKinds: Array.from({ length: layers }, (_, l) => (l % 6 === 5 ? 'full' : 'sliding')),
});

describe("Gemma 3's KV", () => {
  const kv = (c: ModelConfig, context: number) => kvBytes(c, 'i8', { context, maxTokens: 128 }, context / PAGE).bytes;
  const layer = 2 * 256 + 2 * 4; // of a token: key and value, and their scales

  it.each([
    ['270M', 18, 3, '1,560 bytes a token and 5.2 MB, where all of it took 9,360 a token'],
    ['1B', 26, 4, '2,080 bytes a token and 7.7 MB, where all of it took 13,520 a token'],
  ])('of %s (%i layers, %i of them full): %s', (_, layers, full) => {
    const c = shaped(layers);
    expect((kv(c, 32768) - kv(c, 4096)) / (32768 - 4096)).toBe(full * layer);
    expect(kv(c, 4096) - 4096 * full * layer).toBe(42 * PAGE * (layers - full) * layer); // the window, a step of 128 tokens, two pages
    expect(kv({ ...c, window: 32768 }, 4096) / 4096).toBe(layers * layer);
  });

  it('is in one piece where no layer slides, or windows are as long as contexts', () => {
    const size = { context: 1024, maxTokens: 64 };
    expect(windowPages(gemma, size, 256)).toBe(256 * (AT_ONCE / 64));
    expect(windowPages({ ...gemma, window: 1000 }, size, 256)).toBeUndefined();
    expect(windowPages({ ...gemma, layerKinds: undefined }, size, 256)).toBeUndefined();
  });
});

describe.each([
  ['in one piece', inOne],
  ['in stages', inStages],
] as const)('parts that windows have left are used again, %s', (_, make) => {
  it('with the tokens of an engine that keeps all of them', async () => {
    const tokens = async (e: Engine) => {
      for (const r of held(24)) e.add(r);
      return drain(e);
    };
    expect(await tokens(make({ pages: 110 }))).toEqual(await tokens(inOne({ pages: 110, allParts: true })));
  });

  it('one sequence sees its window and no more, and none when it is gone', async () => {
    const e = make({ pages: 64 });
    expect(windows(e).size).toBe(AT_ONCE);
    e.add(request('a', prompt(1, 700), { maxTokens: 100 }));
    let most = 0;
    while (e.busy) {
      await e.step();
      most = Math.max(most, AT_ONCE - windows(e).available);
    }
    expect(most).toBeGreaterThan(REACH);
    expect(most).toBeLessThanOrEqual(AT_ONCE);
    expect(windows(e).available).toBe(AT_ONCE);
    expect(e.stats().pages.referenced).toBe(0);
  });

  it('a conversation goes on from its last window; what another needs of an earlier one is computed again', async () => {
    const e = make({ pages: 64 });
    const first = prompt(1, 320);
    const { ids } = await answer(e, request('a', first));
    const more = [...first, ...ids, ...prompt(2, 20)];
    const names = e.names.chain(more, 't');
    const usable = Math.floor((first.length + ids.length - 1) / PAGE);
    expect(names.slice(0, usable).map((n) => e.pool.whole(n))).toEqual(names.slice(0, usable).map((_, i) => i >= usable - AT_ONCE + 1));
    expect(e.pool.prefix(names)).toBe(usable);
    const plain = inOne({ pages: 256, allParts: true });
    const want = await answer(plain, request('b', more));
    expect(await answer(e, request('b', more))).toEqual({ ids: want.ids, cached: usable * PAGE });
    // the same beginning, another end: its own last window is gone
    const branch = [...first.slice(0, 128), ...prompt(3, 40)];
    expect(e.names.chain(branch, 't').filter((n) => e.pool.has(n))).toHaveLength(8);
    const { ids: branched, cached } = await answer(e, request('c', branch));
    expect(branched).toEqual((await answer(plain, request('c', branch))).ids);
    expect(cached).toBe(0);
    // now that it was computed again, it is here
    expect(await answer(e, request('d', branch))).toMatchObject({ ids: branched, cached: 160 });
  });

  it('a session keeps pages without what nobody sees, and another engine goes on from them', async () => {
    const e = make({ pages: 64 });
    const first = prompt(1, 500);
    await answer(e, request('a', first));
    const names = e.names.chain(first, 't');
    const pages = await Promise.all(names.map((n) => e.exportPage(n)));
    const sizesOf = pages.map((p) => p?.byteLength);
    expect(new Set(sizesOf)).toEqual(new Set([e.keptBytes, e.kv.pageBytes]));
    expect(sizesOf.slice(-REACH)).toEqual(new Array(REACH).fill(e.kv.pageBytes));
    const other = inOne({ pages: 64 });
    for (const [i, name] of names.entries()) expect(other.importPage(name, pages[i] as Uint8Array)).toBe(true);
    for (const [i, name] of names.entries()) expect(await other.exportPage(name)).toEqual(pages[i]);
    const want = await answer(inOne({ allParts: true }), request('b', first));
    expect(await answer(other, request('b', first))).toEqual({ ids: want.ids, cached: 496 });
    // a part that was lost comes with the page again
    const third = make({ pages: 64 });
    const last = names.length - 1;
    expect(third.importPage(names[last], (pages[last] as Uint8Array).slice(0, third.keptBytes))).toBe(true);
    expect(third.pool.whole(names[last])).toBe(false);
    expect(third.importPage(names[last], pages[last] as Uint8Array)).toBe(true);
    expect(third.pool.whole(names[last])).toBe(true);
    expect(() => third.importPage(names[0], new Uint8Array(third.keptBytes + 4))).toThrow(/behind its windows/);
  });

  it('many sequences: each waits for its window, and all have the tokens that they have alone', async () => {
    const requests = Array.from({ length: 4 }, (_, i) => request(`r${i}`, prompt(50 + i, 60 + 90 * i), { maxTokens: 16 }));
    const e = make({ pages: 64 });
    for (const r of requests) e.add(r);
    const together = await drain(e);
    for (const r of requests) expect(together.get(r.id), r.id).toEqual((await answer(inOne({ allParts: true }), r)).ids);
    expect(windows(e).available).toBe(windows(e).size);
  });
});

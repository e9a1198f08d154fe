/** A whole forward pass on the device: the reference's bits, and the timeline that timing alone gives. */
import { describe, expect, test } from 'vitest';
import type { Backend } from '../../engine/backend.ts';
import type { ModelConfig } from '../../engine/config.ts';
import { PAGE } from '../../engine/layout.ts';
import { Runner } from '../../engine/runner.ts';
import { createReference } from '../../kernels/reference/index.ts';
import { createNpu, type Npu, type NpuOptions } from '../../simulator/backend.ts';
import { device } from '../../simulator/device/index.ts';
import type { Launch } from '../../simulator/run/machine.ts';
import { modelShapes } from '../../simulator/shapes.ts';
import { simulate } from '../../simulator/simulate.ts';
import { randomWeights } from '../engine/random-model.ts';
import { tileModules } from './modules.ts';

const modules = tileModules();
const base = { normEps: 1e-5, ropeTheta: 10000, context: 256, tied: true } as const;
const models: Record<string, ModelConfig> = {
  llama: {
    ...base,
    family: 'llama',
    vocab: 320,
    hidden: 96,
    layers: 2,
    heads: 6,
    kvHeads: 2,
    headDim: 32,
    ffn: 256,
    qkvBias: false,
    qkNorm: false,
  },
  qwen2: {
    ...base,
    family: 'qwen2',
    vocab: 300,
    hidden: 64,
    layers: 2,
    heads: 4,
    kvHeads: 4,
    headDim: 16,
    ffn: 160,
    qkvBias: true,
    qkNorm: false,
  },
  qwen3: {
    ...base,
    family: 'qwen3',
    vocab: 257,
    hidden: 128,
    layers: 2,
    heads: 4,
    kvHeads: 1,
    headDim: 64,
    ffn: 224,
    qkvBias: false,
    qkNorm: true,
  },
  gemma3: {
    ...{
      ...base,
      family: 'gemma3',
      vocab: 257,
      hidden: 128,
      layers: 3,
      heads: 4,
      kvHeads: 1,
      headDim: 64,
      ffn: 224,
      qkvBias: false,
      qkNorm: true,
    },
    ...{ activation: 'gelu', embedScale: 11.3, attentionScale: 0.2, postNorms: true },
    ...{ layerKinds: ['sliding', 'full', 'sliding'], window: 30, slidingTheta: 1000 },
  },
};

/** Prefills T tokens in chunks; logits of the last, and all pages. */
async function prefill(
  b: Backend,
  c: ModelConfig,
  T: number,
  chunk: number,
  kvFormat: 'i8' | 'f32',
  format: 'w4' | 'w8' | 'f32',
): Promise<Uint8Array[]> {
  const maxBlocks = Math.ceil(T / PAGE);
  const size = { maxTokens: chunk, maxSequences: 1, maxRows: 1, maxBlocks, context: c.context };
  const runner = new Runner({ backend: b, config: c, weights: randomWeights(b, c, format), size, kv: kvFormat, pages: maxBlocks });
  const ids = Array.from({ length: T }, (_, i) => (i * 7919) % c.vocab);
  const pages = Array.from({ length: maxBlocks }, (_, p) => maxBlocks - 1 - p); // not in order
  for (let start = 0; start < T; start += chunk) {
    const count = Math.min(chunk, T - start);
    runner.run([{ seq: { ids, pages }, start, count, logits: start + count === T ? 1 : 0, draft: [] }]);
    await b.submit();
  }
  const kv = runner.pools.kept;
  return [await b.read(runner.logits, 0, c.vocab * 4), await b.read(kv.data, 0, kv.pages * kv.pageBytes)];
}

const npu = (name: string, o: NpuOptions): Npu => createNpu(device(name), o);
const same = (a: Uint8Array[], b: Uint8Array[]): boolean => a.every((x, i) => Buffer.compare(x, b[i]) === 0);

describe.each(Object.entries(models))('%s', (_, c) => {
  const want = prefill(createReference(), c, 83, 83, 'i8', 'w4');

  test.each([
    ['maia-200', { modules }],
    ['maia-200', {}],
    ['edge-npu', { modules, fuseNorm: false }],
    ['edge-npu', { modules, fuseSwiglu: false, multicast: false }],
    ['edge-npu', { doubleBuffer: false }],
    ['maia-100', { modules, chips: 2 }],
    ['maia-200', { modules, chips: 8 }],
  ] as [string, NpuOptions][])('%s gives the reference its logits and pages', async (name, o) => {
    expect(same(await prefill(npu(name, o), c, 83, 83, 'i8', 'w4'), await want)).toBe(true);
    expect(same(await prefill(npu(name, o), c, 83, 32, 'i8', 'w4'), await want)).toBe(true);
  });
});

test.each([
  ['f32', 'f32'],
  ['i8', 'w8'],
  ['f32', 'w4'],
] as const)('KV %s, weights %s', async (kv, format) => {
  const want = await prefill(createReference(), models.llama, 50, 50, kv, format);
  expect(same(await prefill(npu('edge-npu', { modules }), models.llama, 50, 50, kv, format), want)).toBe(true);
});

test('swapped pages are seen: the comparison can fail', async () => {
  const [logits, pages] = await prefill(createReference(), models.llama, 50, 50, 'i8', 'w4');
  const half = pages.slice();
  half.copyWithin(0, pages.length / 2, pages.length / 2 + 1000);
  expect(same([logits, half], [logits, pages])).toBe(false);
});

describe('timing alone gives the timeline of a run with bytes', () => {
  test.each([
    ['maia-200', {}, 'llama'],
    ['edge-npu', {}, 'qwen3'],
    ['edge-npu', { fuseNorm: false, doubleBuffer: false }, 'llama'],
    ['maia-200', { chips: 4 }, 'qwen2'],
    ['maia-200', {}, 'pebble'],
    ['maia-200', { chips: 2 }, 'pebble'],
    ['edge-npu', {}, 'pebble'],
  ] as [string, NpuOptions, string][])('%s %o %s', async (name, o, model) => {
    const c = models[model] ?? modelShapes[model];
    const ran: Launch[] = [];
    await prefill(npu(name, { ...o, modules, onLaunch: (l) => ran.push(l) }), c, 83, 83, 'i8', 'w4');
    const timed = simulate({ device: device(name), model: c, prompt: 83, numbers: 'w4', logits: true, options: o });
    const lines = (list: readonly Launch[]): string[] => list.map((l) => `${l.name} ${l.chip.timeline.cycles} ${l.us}`);
    expect(lines(timed.launched)).toEqual(lines(ran));
    expect(timed.launches).toBeGreaterThan(c.layers * 5);
  });
});

test('fusing shortens a pass and a fused-away buffer is refused, not read', async () => {
  const c = models.llama;
  const us = (o: NpuOptions): number => simulate({ device: device('edge-npu'), model: c, prompt: 83, options: o }).us;
  expect(us({})).toBeLessThan(us({ fuseNorm: false, fuseSwiglu: false }));
  expect(us({ fuseNorm: false })).toBeLessThan(us({ fuseNorm: false, fuseSwiglu: false }));
  expect(us({})).toBeLessThan(us({ doubleBuffer: false }));
});

test('what does not keep the bits is refused with bytes', () => {
  expect(() => npu('maia-200', { chips: 2, collective: 'reduce-scatter' })).toThrow('only be timed');
  expect(() => npu('maia-200', { chips: 16 })).toThrow('links 1 to 8 chips');
});

import { expect, test } from 'vitest';
import { type Backend, type KvFormat, type ModelConfig, type ModelWeights, PAGE, Runner } from '../../engine/index.ts';
import { createReference } from '../../kernels/reference/index.ts';
import { createWasm } from '../../kernels/wasm/index.ts';
import { wasmModules } from '../kernels/modules.ts';
import { randomWeights, tiny } from './random-model.ts';

const config = { ...tiny, layers: 4 };
const T = 53;
const size = { maxTokens: T, maxSequences: 2, maxRows: 2, maxBlocks: 4, context: 64 };
const ids = (n: number, seed: number) => Array.from({ length: n }, (_, i) => (i * 37 * seed + seed) % config.vocab);
/** Two sequences, the second in the middle of its prompt. */
const slices = [
  { seq: { ids: ids(33, 1), pages: [5, 0, 3] }, start: 0, count: 33, logits: 1, draft: [] },
  { seq: { ids: ids(40, 2), pages: [1, 4] }, start: 0, count: 20, logits: 0, draft: [] },
];

const backends: Record<string, () => Backend> = {
  reference: () => createReference(),
  wasm: () => createWasm({ modules: wasmModules(), memoryBytes: 16 << 20 }),
};

test.each(Object.keys(backends).flatMap((name) => (['i8', 'f32'] as const).flatMap((kv) => [1, 3].map((k) => [name, kv, k] as const))))(
  'on %s, KV %s: layers [0, %i) and then the rest on another runner give the bits of one runner',
  async (name, kv: KvFormat, k) => {
    const be = backends[name]();
    const weights = randomWeights(be, config, 'w4');
    const runner = (layers: ModelWeights['layers'], first: number, head: boolean) =>
      new Runner({ backend: be, config, weights: { ...weights, layers }, size, kv, pages: 6, first, head });
    const whole = runner(weights.layers, 0, true);
    const front = runner(weights.layers.slice(0, k), 0, false);
    const back = runner(weights.layers.slice(k), k, true);

    whole.run(slices);
    front.run(slices, [0, k]);
    back.putStream(await front.stream(T));
    back.run(slices, [k, config.layers]);

    const row = config.vocab * 4;
    const logits = await be.read(whole.logits, 0, row);
    expect(new Float32Array(logits.slice().buffer).some((x) => x !== 0)).toBe(true);
    expect(await be.read(back.logits, 0, row)).toEqual(logits);
    for (const page of [0, 1, 3, 4, 5]) {
      // a page of a stage holds its own layers, the front's first
      expect(Buffer.concat([await front.readPage(page), await back.readPage(page)])).toEqual(Buffer.from(await whole.readPage(page)));
    }
    expect(() => front.logits).toThrow('this runner has no head');
    expect(PAGE).toBe(16);
  },
);

test('a page that one runner computed is the same in another, and one of another size is refused', async () => {
  const be = createReference();
  const weights = randomWeights(be, config, 'w4');
  const make = () => new Runner({ backend: be, config, weights, size, kv: 'i8', pages: 6 });
  const [a, b] = [make(), make()];
  a.run(slices);
  a.pool.alloc();
  a.pool.publish(0, 'name');
  const bytes = (await a.exportPage('name')) as Uint8Array;
  expect(b.importPage('name', bytes)).toBe(true);
  expect(await b.exportPage('name')).toEqual(bytes);
  expect(await b.exportPage('other')).toBeUndefined();
  expect(() => b.importPage('other', bytes.subarray(1))).toThrow(/page other has \d+ bytes, a page of this model has \d+/);
});

test('layers that convolve are refused by a backend that cannot, by name', () => {
  const be: Backend = { ...createReference(), name: 'another', shortConv: undefined };
  const convolving: ModelConfig = { ...config, layerKinds: ['conv', 'full', 'conv', 'full'], convTaps: 3 };
  const weights = randomWeights(be, convolving, 'w4');
  const make = () => new Runner({ backend: be, config: convolving, weights, size, kv: 'i8', pages: 6 });
  expect(make).toThrow('another has no gated short convolution: models whose layers have one (LFM2) do not run on it');
});

/** Rounding by search: near enough for each format's bits, better where it counts, and kept when it is packed. */
import { expect, it } from 'vitest';
import { PLANES, planeNumbers } from '../../engine/planes.ts';
import { createReference } from '../../kernels/reference/index.ts';
import { openGguf } from '../../models/gguf/open.ts';
import type { Importance } from '../../models/model.ts';
import { writePack } from '../../models/pack/write.ts';
import { formatNamed, formatOf, Loss, PACKED, packedPieces } from '../../models/quantize/convert.ts';
import { importanceOf } from '../../models/quantize/importance.ts';
import { quantizeSearched, SEARCHED, type Searched } from '../../models/quantize/search.ts';
import { memorySource } from '../../models/source.ts';
import type { ModelTensor } from '../../models/tensors.ts';
import { noise } from '../engine/random-model.ts';
import { small, smallGguf, valuesOf } from './small-model.ts';

const [rows, K] = [16, 512];
/** Sums of four: near a normal distribution, as weights are. */
function weights(seed: number): Float32Array {
  const next = noise(seed);
  return Float32Array.from({ length: rows * K }, () => 0.03 * (next() + next() + next() + next()));
}
/** √(Σ v e² / Σ v x²), each column weighted. */
function error(format: Searched, x: Float32Array, importance?: Float64Array, weigh = importance): number {
  const v = planeNumbers(PLANES[format], quantizeSearched(format, x, K, importance));
  let [e, p] = [0, 0];
  for (let i = 0; i < x.length; i++) {
    const w = weigh?.[i % K] ?? 1;
    e += w * (x[i] - v[i]) ** 2;
    p += w * x[i] ** 2;
  }
  return Math.sqrt(e / p);
}

// what a normal distribution loses: halving with each bit, somewhat less where minima and scales are few bits
const MOST: Record<Searched, number> = { q2_k: 0.3, q3_k: 0.2, q4_1: 0.075, q4_k: 0.08, q5_0: 0.05, q5_1: 0.04, q5_k: 0.04, q6_k: 0.022 };

it.each(SEARCHED)('%s: values lose what its bits allow, and importance moves the loss to columns that do not count', (format) => {
  const x = weights(1);
  const even = error(format, x);
  expect(even).toBeLessThan(MOST[format]);
  expect(even).toBeGreaterThan(MOST[format] / 3);
  const next = noise(2);
  const importance = Float64Array.from({ length: K }, () => Math.exp(3 * next()));
  expect(error(format, x, importance)).toBeLessThan(0.97 * error(format, x, undefined, importance));
});

it('zeros, one value for all and one large value come back', () => {
  for (const format of SEARCHED) {
    expect(error(format, new Float32Array(rows * K)), format).toBeNaN(); // 0 of 0
    expect(planeNumbers(PLANES[format], quantizeSearched(format, new Float32Array(rows * K), K)).every((v) => v === 0)).toBe(true);
    for (const one of [-0.5, 0.5]) expect(error(format, new Float32Array(rows * K).fill(one)), format).toBeLessThan(0.01);
    const spike = new Float32Array(rows * K);
    spike[77] = -3;
    expect(error(format, spike), format).toBeLessThan(0.05);
  }
  expect(() => quantizeSearched('q4_k', new Float32Array(256).fill(1e9), 256)).toThrow('too large for an f16 scale');
});

const matrix = (x: Float32Array, k: number): ModelTensor => {
  const N = x.length / k;
  const read = async (from: number, to: number) => new Uint8Array(x.slice(from * k, to * k).buffer);
  return { name: 'o', kind: 'o', layer: 0, vector: false, N, K: k, parts: [{ name: 'o', type: 'F32', rows: N, K: k, read }] };
};

it('is what a matrix of floats is packed to when it is asked for; rows that are no super-blocks get as many bits in blocks of 32', async () => {
  const t = matrix(weights(3), K);
  expect(formatOf(t, 'q4_k')).toBe('q4_k');
  const loss = new Loss();
  for await (const piece of packedPieces(t, 'q4_k', loss)) expect(piece.length).toBeGreaterThan(0);
  expect(loss.relative).toBeCloseTo(error('q4_k', weights(3)), 6);
  const narrow = matrix(weights(3).subarray(0, 64 * 96), 96);
  expect(SEARCHED.map((f) => formatOf(narrow, f))).toEqual(['q4_1', 'q5_0', 'q5_1', 'q4_1', 'q4_1', 'q5_0', 'q5_1', 'w8']);
  expect(formatNamed('--format', 'q6_k', PACKED)).toBe('q6_k');
  expect(() => formatNamed('FORMAT', 'q6_k')).toThrow('FORMAT is "q6_k", must be one of auto, f32, w8, w4');
});

it('importance is the mean square of what each column is multiplied by, and reaches the pack', async () => {
  const config = { ...small, layers: 1 };
  const model = await openGguf(memorySource(smallGguf(config), 'small.gguf'));
  const sequences = [0, 1].map((s) => Array.from({ length: 20 }, (_, i) => (i * 31 + s * 7) % config.vocab));
  const importance = await importanceOf(createReference(), model, sequences, { format: 'q5_0' });
  expect([...importance.keys()]).toEqual(['layers.0.qkv', 'layers.0.o', 'layers.0.gateUp', 'layers.0.down', 'head']);
  // a normed row with gains g has the mean square of g
  const gains = await valuesOf(model.tensors.find((t) => t.name === 'layers.0.attnNorm')!);
  const mean = (x: ArrayLike<number>) => Array.from(x).reduce((a, b) => a + b, 0) / x.length;
  const [got, want] = [mean(importance.get('layers.0.qkv')!), mean(gains.map((g) => g * g))];
  expect(got).toBeGreaterThan(want / 3);
  expect(got).toBeLessThan(want * 3);
  const digest = async (by?: Importance) =>
    (await writePack(model, { write: async () => {} }, { format: 'q5_0', importance: by })).manifest.shards[0].sha256;
  expect(await digest(importance)).not.toBe(await digest());
  expect(await digest(new Map())).toBe(await digest());
});

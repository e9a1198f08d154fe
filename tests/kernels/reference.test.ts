/** The reference against formulas written again, plainly, in binary64 on unquantized numbers. */

import { describe, expect, test } from 'vitest';
import type { AttentionOptions, Backend, Buf } from '../../engine/backend.ts';
import { f16ToF32, sincos } from '../../engine/math.ts';
import { createReference } from '../../kernels/reference/index.ts';
import { exp } from '../../kernels/reference/numeric.ts';
import { f32Act, makeBatch, quantizedAct, scatter, upload, uploadWeight } from './cases/case.ts';
import { normals, w4, w8 } from './cases/data.ts';

const values = async (b: Backend, buf: Buf, n: number) => new Float32Array((await b.read(buf, 0, n * 4)).slice().buffer);

/** Root of the mean squared error over the root of the mean square. */
function rms(got: Float32Array, want: (i: number) => number): number {
  let error = 0;
  let size = 0;
  got.forEach((v, i) => {
    error += (v - want(i)) ** 2;
    size += want(i) ** 2;
  });
  return Math.sqrt(error / size);
}

test('exp is within 1e-7 of the true value, and bounded', () => {
  for (let x = -87; x < 88; x += 0.37) expect(Math.abs(exp(Math.fround(x)) / Math.exp(Math.fround(x)) - 1)).toBeLessThan(1e-7);
  expect(exp(-1e9)).toBeGreaterThan(0);
  expect(exp(Number.NaN)).toBe(exp(-1e9));
  expect(exp(1e9)).toBeLessThan(Infinity);
});

describe('matmul', () => {
  const [N, K, T] = [20, 192, 3];
  const x = normals(T * K, 1);

  test('f32', async () => {
    const b = createReference();
    const w = normals(N * K, 2);
    const bias = normals(N, 3);
    const y = b.alloc(T * N * 4, 'y');
    b.matmul(y, f32Act(b, x, T, K), uploadWeight(b, 'f32', N, K, w, 'w'), T, { bias: upload(b, bias, 'bias') });
    const want = (i: number) => {
      const [t, n] = [Math.floor(i / N), i % N];
      let sum = bias[n];
      for (let k = 0; k < K; k++) sum += x[t * K + k] * w[n * K + k];
      return sum;
    };
    expect(rms(await values(b, y, T * N), want)).toBeLessThan(1e-6);
  });

  test.each(['w4', 'w8'] as const)('%s, up to what 8-bit activations lose', async (format) => {
    const b = createReference();
    const { q, d } = format === 'w4' ? w4(N, K, 4) : w8(N, K, 4);
    const y = b.alloc(T * N * 4, 'y');
    const weight =
      format === 'w4'
        ? uploadWeight(b, 'w4', N, K, { q: q as Uint8Array, d }, 'w')
        : uploadWeight(b, 'w8', N, K, { q: q as Int8Array, d }, 'w');
    b.matmul(y, quantizedAct(b, x, T, K), weight, T);
    b.matmul(y, quantizedAct(b, x, T, K), weight, T, { accumulate: true }); // twice the product
    const want = (i: number) => {
      const [t, n] = [Math.floor(i / N), i % N];
      let square = 0;
      for (let k = 0; k < K; k++) square += x[t * K + k] ** 2;
      let sum = 0;
      for (let k = 0; k < K; k++) {
        const weight = (q[n * K + k] - (format === 'w4' ? 8 : 0)) * f16ToF32(d[(n * K + k) >> 5]);
        sum += (x[t * K + k] / Math.sqrt(square / K + 1e-5)) * weight;
      }
      return 2 * sum;
    };
    expect(rms(await values(b, y, T * N), want)).toBeLessThan(0.01);
  });
});

test('norm and glu', async () => {
  const b = createReference();
  const D = 96;
  const x = normals(2 * D, 5);
  const g = normals(D, 6);
  const normed = b.act('f32', 2, D, 'y');
  b.norm(normed, upload(b, x, 'x'), upload(b, g, 'g'), 1e-5, 2, D);
  const square = (t: number) => x.subarray(t * D, (t + 1) * D).reduce((s, v) => s + v * v, 0);
  const want = (i: number) => (x[i] / Math.sqrt(square(Math.floor(i / D)) / D + 1e-5)) * g[i % D];
  expect(rms(await values(b, normed.data, 2 * D), want)).toBeLessThan(1e-6);

  const gated = b.act('f32', 1, D, 'y');
  b.glu(gated, upload(b, x, 'gateUp'), 1, D, 'silu');
  expect(rms(await values(b, gated.data, D), (i) => (x[i] / (1 + Math.exp(-x[i]))) * x[D + i])).toBeLessThan(1e-6);
  b.glu(gated, upload(b, x, 'gateUp'), 1, D, 'gelu');
  const gelu = (v: number) => 0.5 * v * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (v + 0.044715 * v ** 3)));
  expect(rms(await values(b, gated.data, D), (i) => gelu(x[i]) * x[D + i])).toBeLessThan(1e-6);

  const stream = upload(b, x, 'x');
  b.addNorm(
    stream,
    upload(
      b,
      x.map((v) => 3 * v),
      'branch',
    ),
    upload(b, g, 'g'),
    9e-5,
    2,
    D,
  );
  expect(rms(await values(b, stream, 2 * D), (i) => x[i] + want(i))).toBeLessThan(1e-6);
});

describe('ropeStore, then attention: as if there were no pages', () => {
  const [H, G, d, S] = [6, 2, 32, 37];
  const width = (H + 2 * G) * d;
  const qkv = normals(S * width, 7);
  const angle = (pos: number, i: number) => pos * 10000 ** ((-2 * i) / d);
  const table = new Float32Array(S * d);
  for (let p = 0; p < S; p++) {
    for (let i = 0; i < d / 2; i++) [table[p * d + d / 2 + i], table[p * d + i]] = sincos(angle(p, i));
  }
  const rotated = (pos: number, head: number, k: number) => {
    const i = k % (d / 2);
    const x = (n: number) => qkv[pos * width + head * d + n];
    const [c, s] = [Math.cos(angle(pos, i)), Math.sin(angle(pos, i))];
    return k < d / 2 ? x(i) * c - x(i + d / 2) * s : x(i + d / 2) * c + x(i) * s;
  };
  function attended({ window = S, scale = 1 / Math.sqrt(d) }: AttentionOptions): Float64Array {
    const want = new Float64Array(S * H * d);
    for (let t = 0; t < S; t++) {
      for (let h = 0; h < H; h++) {
        const g = Math.floor(h / (H / G));
        const weights = Array.from({ length: t + 1 }, (_, j) => {
          let dot = 0;
          for (let k = 0; k < d; k++) dot += rotated(t, h, k) * rotated(j, H + g, k);
          return j > t - window ? Math.exp(dot * scale) : 0;
        });
        const total = weights.reduce((a, b) => a + b);
        weights.forEach((p, j) => {
          for (let k = 0; k < d; k++) want[(t * H + h) * d + k] += (p / total) * qkv[j * width + (H + G + g) * d + k];
        });
      }
    }
    return want;
  }

  test.each([
    ['f32', 1e-5, {}],
    ['i8', 0.02, {}],
    ['f32', 1e-5, { window: 11, scale: 0.3 }],
    ['i8', 0.02, { window: 5, scale: 0.1 }],
  ] as const)('%s pages, %d, %o', async (format, tolerance, opts) => {
    const want = attended(opts);
    const b = createReference();
    const kv = b.kvPool({ format, layers: 2, kvHeads: G, headDim: d }, 5);
    const tokens = Array.from({ length: S }, (_, p) => [0, p] as const);
    const batch = makeBatch(b, tokens, scatter([S], 5));
    const q = b.alloc(S * H * d * 4, 'q');
    b.ropeStore(q, kv, upload(b, qkv, 'qkv'), upload(b, table, 'table'), batch, 1, H);
    const out = b.act('f32', S, H * d, 'out');
    b.attention(out, q, kv, batch, 1, H, opts);
    expect(rms(await values(b, out.data, S * H * d), (i) => want[i])).toBeLessThan(tolerance);
  });
});

test('topk sorts, breaks ties to the lowest id and gives softmax its sum', async () => {
  const b = createReference();
  const x = normals(300, 8, 4).map(Math.round);
  const out = { K: 12, data: b.alloc(26 * 4, 'out') };
  b.topk(out, upload(b, x, 'x'), upload(b, Float32Array.of(0.5), 'invTemp'), 1, 300);
  const best = Array.from(x.keys()).sort((i, j) => x[j] - x[i] || i - j);
  const got = await values(b, out.data, 26);
  expect([...new Uint32Array(got.buffer).subarray(0, 12)]).toEqual(best.slice(0, 12));
  expect([...got.subarray(12, 24)]).toEqual(best.slice(0, 12).map((i) => x[i] / 2));
  expect(got[24]).toBe(x[best[0]] / 2);
  expect(got[25]).toBeCloseTo(
    x.reduce((s, v) => s + Math.exp((v - x[best[0]]) / 2), 0),
    4,
  );
});

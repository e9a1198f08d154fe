import type { Act, Buf, Weight } from '../../engine/backend.ts';
import { BLOCK } from '../../engine/layout.ts';
import { actScales, f32, i8 } from './buffers.ts';
import { f } from './numeric.ts';
import { f32Row, type QuantizedRow, quantizedRow } from './weights.ts';

/** One output from f32 weights: one accumulator, k ascending. */
function dotF32(x: Float32Array, w: Float32Array): number {
  let acc = 0;
  for (let k = 0; k < w.length; k++) acc = f(acc + f(x[k] * w[k]));
  return acc;
}

/** One output from quantized weights: exact integer dot products a block, one f32 accumulator over blocks ascending. */
function dotQuantized(a: Int8Array, da: Float32Array, { q, d }: QuantizedRow): number {
  let acc = 0;
  for (let b = 0; b < d.length; b++) {
    let idot = 0;
    for (let k = b * BLOCK; k < (b + 1) * BLOCK; k++) idot += a[k] * q[k];
    acc = f(acc + f(idot * f(d[b] * da[b])));
  }
  return acc;
}

/** y[T, N] = x · wᵀ + bias, added to y when `accumulate`. */
export function matmul(y: Buf, x: Act, w: Weight, T: number, opts: { bias?: Buf; accumulate?: boolean } = {}): void {
  const { N, K } = w;
  const out = f32(y);
  const bias = opts.bias && f32(opts.bias);
  const finish = (t: number, n: number, dot: number) => {
    const acc = bias ? f(dot + bias[n]) : dot;
    out[t * N + n] = opts.accumulate ? f(out[t * N + n] + acc) : acc;
  };
  if (w.format === 'f32') {
    const a = f32(x.data);
    for (let n = 0; n < N; n++) {
      const row = f32Row(w, n);
      for (let t = 0; t < T; t++) finish(t, n, dotF32(a.subarray(t * K, (t + 1) * K), row));
    }
    return;
  }
  const a = i8(x.data);
  const scales = actScales(x);
  const blocks = K / BLOCK;
  for (let n = 0; n < N; n++) {
    const row = quantizedRow(w, n);
    for (let t = 0; t < T; t++) {
      finish(t, n, dotQuantized(a.subarray(t * K, (t + 1) * K), scales.subarray(t * blocks, (t + 1) * blocks), row));
    }
  }
}

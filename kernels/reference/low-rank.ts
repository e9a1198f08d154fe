import type { Act, Buf, LowRank } from '../../engine/backend.ts';
import { BLOCK } from '../../engine/formats.ts';
import { actScales, f32, i8 } from './buffers.ts';
import { f, lane4 } from './numeric.ts';

/** y[t, row + n] += Σ u[j] · b[j, n], j ascending, with u[j] = lane4(x[k] · a[j, k]); i8 activations count as a · da. */
export function addLowRank(y: Buf, stride: number, x: Act, { data, at, rank, row, N, K }: LowRank, from: number, to: number): void {
  const out = f32(y);
  const a = f32(data).subarray(at / 4, at / 4 + rank * K);
  const b = f32(data).subarray(at / 4 + rank * K, at / 4 + rank * (K + N));
  for (let t = from; t < to; t++) {
    const value = valuesOf(x, t);
    const u = Array.from({ length: rank }, (_, j) => lane4(K, (k) => f(value[k] * a[j * K + k])));
    for (let n = 0; n < N; n++) {
      let acc = 0;
      for (let j = 0; j < rank; j++) acc = f(acc + f(u[j] * b[j * N + n]));
      const o = t * stride + row + n;
      out[o] = f(out[o] + acc);
    }
  }
}

/** Row t of activations as f32. */
function valuesOf(x: Act, t: number): Float32Array {
  const { K } = x;
  if (x.format === 'f32') return f32(x.data).subarray(t * K, (t + 1) * K);
  const [q, scales] = [i8(x.data), actScales(x)];
  return Float32Array.from({ length: K }, (_, k) => f(q[t * K + k] * scales[(t * K) / BLOCK + Math.floor(k / BLOCK)]));
}

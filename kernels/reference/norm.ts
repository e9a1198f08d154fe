import type { Act, Buf } from '../../engine/backend.ts';
import { f32, storeAct, u32 } from './buffers.ts';
import { f, lane4 } from './numeric.ts';

/** y = RMSNorm(x) · g (Zhang and Sennrich, 2019). */
export function rmsNorm(y: Float32Array, x: Float32Array, g: Float32Array, eps: number): void {
  const D = x.length;
  const ms = f(lane4(D, (k) => f(x[k] * x[k])) / D);
  const r = f(1 / f(Math.sqrt(f(ms + f(eps)))));
  for (let k = 0; k < D; k++) y[k] = f(f(x[k] * r) * g[k]);
}

/** out[n, D] = RMSNorm(x) · g; with `rows`, out[i] comes from x[rows[i]]. */
export function norm(out: Act, x: Buf, g: Buf, eps: number, n: number, D: number, rows?: Buf): void {
  const source = f32(x);
  const gain = f32(g).subarray(0, D);
  const index = rows && u32(rows);
  const y = new Float32Array(D);
  for (let i = 0; i < n; i++) {
    const row = index ? index[i] : i;
    rmsNorm(y, source.subarray(row * D, (row + 1) * D), gain, eps);
    storeAct(out, i, y);
  }
}

/** x[T, D] += RMSNorm(y) · g. */
export function addNorm(x: Buf, y: Buf, g: Buf, eps: number, T: number, D: number): void {
  const [stream, branch] = [f32(x), f32(y)];
  const normed = new Float32Array(D);
  for (let t = 0; t < T; t++) {
    rmsNorm(normed, branch.subarray(t * D, (t + 1) * D), f32(g).subarray(0, D), eps);
    for (let k = 0; k < D; k++) stream[t * D + k] = f(stream[t * D + k] + normed[k]);
  }
}

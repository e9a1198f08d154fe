import type { Act, Buf, Weight } from '../../engine/backend.ts';
import { f32 } from './buffers.ts';
import { f } from './numeric.ts';
import { rowOf } from './weights.ts';

/** y[T, N] = x · wᵀ + bias, added to y when `accumulate`. */
export function matmul(y: Buf, x: Act, w: Weight, T: number, opts: { bias?: Buf; accumulate?: boolean } = {}): void {
  const { N } = w;
  const out = f32(y);
  const bias = opts.bias && f32(opts.bias);
  for (let n = 0; n < N; n++) {
    const dot = rowOf(w, n).dots(x);
    for (let t = 0; t < T; t++) {
      const acc = bias ? f(dot(t) + bias[n]) : dot(t);
      out[t * N + n] = opts.accumulate ? f(out[t * N + n] + acc) : acc;
    }
  }
}

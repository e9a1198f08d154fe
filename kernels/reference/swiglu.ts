import type { Act, Buf } from '../../engine/backend.ts';
import { f32, storeAct } from './buffers.ts';
import { f, sigmoid } from './numeric.ts';

/** out[T, F] = silu(gate) · up of gateUp[T, 2F] (Shazeer, 2020). */
export function swiglu(out: Act, gateUp: Buf, T: number, F: number): void {
  const x = f32(gateUp);
  const y = new Float32Array(F);
  for (let t = 0; t < T; t++) {
    const gate = x.subarray(t * 2 * F, t * 2 * F + F);
    const up = x.subarray(t * 2 * F + F, (t + 1) * 2 * F);
    for (let k = 0; k < F; k++) y[k] = f(f(gate[k] * sigmoid(gate[k])) * up[k]);
    storeAct(out, t, y);
  }
}

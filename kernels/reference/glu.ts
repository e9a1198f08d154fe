import type { Act, Activation, Buf } from '../../engine/backend.ts';
import { f32, storeAct } from './buffers.ts';
import { f, sigmoid } from './numeric.ts';

/** 2 · √(2 / π), and that times 0.044715: 0.5 · (1 + tanh(z)) is sigmoid(2z). */
const GELU = f(1.5957691216057308);
const GELU_CUBE = f(0.07135481627159);

/** silu (Elfwing et al., 2017), and gelu's approximation with tanh (Hendrycks and Gimpel, 2016). */
export const activations: Record<Activation, (x: number) => number> = {
  silu: (x) => f(x * sigmoid(x)),
  gelu: (x) => f(x * sigmoid(f(x * f(GELU + f(GELU_CUBE * f(x * x)))))),
};

/** out[T, F] = activation(gate) · up of gateUp[T, 2F] (Shazeer, 2020). */
export function glu(out: Act, gateUp: Buf, T: number, F: number, activation: Activation): void {
  const act = activations[activation];
  const x = f32(gateUp);
  const y = new Float32Array(F);
  for (let t = 0; t < T; t++) {
    const gate = x.subarray(t * 2 * F, t * 2 * F + F);
    const up = x.subarray(t * 2 * F + F, (t + 1) * 2 * F);
    for (let k = 0; k < F; k++) y[k] = f(act(gate[k]) * up[k]);
    storeAct(out, t, y);
  }
}

/** Functions of the vector unit on rows: norm, swiglu, the end of a matmul. Addresses and pitches are bytes of the tile's SRAM. */
import { f, quantize, sigmoid } from '../../reference/numeric.ts';
import { rmsNorm } from '../../reference/norm.ts';
import type { Sram } from '../run/memory.ts';

export type Params = Readonly<Record<string, number>>;

let scratch = new Float32Array(0);
const temp = (n: number): Float32Array => {
  if (scratch.length < n) scratch = new Float32Array(n);
  return scratch.subarray(0, n);
};

/** A row of activations: f32 as it is, or i8 in blocks of 32 with its scales. */
export function storeRow(s: Sram, y: Float32Array, out: number, scales: number, quant: number): void {
  if (!quant) {
    s.f32.set(y, out >> 2);
    return;
  }
  for (let b = 0; b * 32 < y.length; b++) {
    s.f32[(scales >> 2) + b] = quantize(s.i8.subarray(out + b * 32, out + b * 32 + 32), y.subarray(b * 32, b * 32 + 32), 127);
  }
}

/** out[rows, D] = RMSNorm(x) · g, quantized with `quant`. */
export function norm(s: Sram, p: Params): void {
  const gain = s.f32.subarray(p.g >> 2, (p.g >> 2) + p.D);
  const y = temp(p.D);
  for (let i = 0; i < p.rows; i++) {
    const x = (p.x + i * p.ldx) >> 2;
    rmsNorm(y, s.f32.subarray(x, x + p.D), gain, p.eps);
    storeRow(s, y, p.out + i * p.ldo, p.scales + i * p.lds, p.quant);
  }
}

/** out[rows, cols] = silu(gate) · up, quantized with `quant`. */
export function swiglu(s: Sram, p: Params): void {
  const y = temp(p.cols);
  for (let i = 0; i < p.rows; i++) {
    const gate = (p.gate + i * p.ldg) >> 2;
    const up = (p.up + i * p.ldg) >> 2;
    for (let k = 0; k < p.cols; k++) {
      const g = s.f32[gate + k];
      y[k] = f(f(g * sigmoid(g)) * s.f32[up + k]);
    }
    storeRow(s, y, p.out + i * p.ldo, p.scales + i * p.lds, p.quant);
  }
}

/** acc[rows, cols] + bias, then y + acc; in place in acc. `bias` and `y` are −1 when there is none. */
export function finish(s: Sram, p: Params): void {
  for (let i = 0; i < p.rows; i++) {
    const acc = (p.acc + i * p.ldc) >> 2;
    const y = (p.y + i * p.ldy) >> 2;
    for (let k = 0; k < p.cols; k++) {
      let v = s.f32[acc + k];
      if (p.bias >= 0) v = f(v + s.f32[(p.bias >> 2) + k]);
      if (p.y >= 0) v = f(s.f32[y + k] + v);
      s.f32[acc + k] = v;
    }
  }
}

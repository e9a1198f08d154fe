/** Functions of the vector unit on rows: norm, swiglu, the end of a matmul. Addresses and pitches are bytes of the tile's SRAM. */

import type { Activation } from '../../engine/backend.ts';
import { activations } from '../../kernels/reference/glu.ts';
import { rmsNorm } from '../../kernels/reference/norm.ts';
import { f, quantize } from '../../kernels/reference/numeric.ts';
import { ACT_BLOCK } from '../program/isa.ts';
import { SCRATCH } from '../run/kernels.ts';
import type { Sram } from '../run/memory.ts';

export type Params = Readonly<Record<string, number>>;

let scratch = new Float32Array(0);
const temp = (n: number): Float32Array => {
  if (scratch.length < n) scratch = new Float32Array(n);
  return scratch.subarray(0, n);
};

/**
 * A row of activations: f32 as it is, or blocks of 40 bytes: 32 × i8, their f32 scale, and two i16 with −8 times the sum
 * of the elements whose k mod 4 is in {0, 1} and in {2, 3}, from which the wasm kernels start w4 products.
 */
export function storeRow(s: Sram, y: Float32Array, out: number, quant: number): void {
  if (!quant) {
    s.f32.set(y, out >> 2);
    return;
  }
  for (let b = 0, at = out; b < y.length; b += 32, at += ACT_BLOCK) {
    const q = s.i8.subarray(at, at + 32);
    s.f32[(at + 32) >> 2] = quantize(q, y.subarray(b, b + 32), 127);
    let low = 0;
    let high = 0;
    for (let k = 0; k < 32; k += 4) {
      low += q[k] + q[k + 1];
      high += q[k + 2] + q[k + 3];
    }
    s.i16[(at + 36) >> 1] = -8 * low;
    s.i16[(at + 38) >> 1] = -8 * high;
  }
}

/** out[rows, D] = RMSNorm(x) · g, quantized with `quant`. */
export function norm(s: Sram, p: Params): void {
  if (s.kernels && p.D % 4 === 0) {
    s.kernels.norm(s.base + p.out, p.ldo, p.quant, s.base + p.x, s.base + p.g, 0, 0, p.rows, p.D, p.eps, SCRATCH);
    return;
  }
  const gain = s.f32.subarray(p.g >> 2, (p.g >> 2) + p.D);
  const y = temp(p.D);
  for (let i = 0; i < p.rows; i++) {
    const x = (p.x + i * p.ldx) >> 2;
    rmsNorm(y, s.f32.subarray(x, x + p.D), gain, p.eps);
    storeRow(s, y, p.out + i * p.ldo, p.quant);
  }
}

/** x[rows, D] += RMSNorm(y) · g. */
export function addNorm(s: Sram, p: Params): void {
  if (s.kernels && p.D % 4 === 0) {
    s.kernels.addNorm(s.base + p.x, s.base + p.y, s.base + p.g, 0, p.rows, p.D, p.eps);
    return;
  }
  const gain = s.f32.subarray(p.g >> 2, (p.g >> 2) + p.D);
  const normed = temp(p.D);
  for (let i = 0; i < p.rows; i++) {
    const [x, y] = [(p.x >> 2) + i * p.D, (p.y >> 2) + i * p.D];
    rmsNorm(normed, s.f32.subarray(y, y + p.D), gain, p.eps);
    for (let k = 0; k < p.D; k++) s.f32[x + k] += normed[k]; // rounded once where it is stored
  }
}

/** out[rows, cols] = silu(gate) · up of x[rows, 2 · cols], quantized with `quant`. */
export const swiglu = (s: Sram, p: Params): void => gated(s, p, 'silu', 'swiglu');

/** The same with gelu. */
export const geglu = (s: Sram, p: Params): void => gated(s, p, 'gelu', 'geglu');

function gated(s: Sram, p: Params, activation: Activation, kernel: 'swiglu' | 'geglu'): void {
  if (s.kernels && p.cols % 4 === 0) {
    s.kernels[kernel](s.base + p.out, p.ldo, p.quant, s.base + p.x, 0, p.rows, p.cols, SCRATCH);
    return;
  }
  const act = activations[activation];
  const y = temp(p.cols);
  for (let i = 0; i < p.rows; i++) {
    const gate = (p.x >> 2) + i * 2 * p.cols;
    const up = gate + p.cols;
    for (let k = 0; k < p.cols; k++) {
      y[k] = f(act(s.f32[gate + k]) * s.f32[up + k]);
    }
    storeRow(s, y, p.out + i * p.ldo, p.quant);
  }
}

/** acc[rows, cols] + bias, then y + acc; in place in acc. `bias` and `y` are −1 when there is none. */
export function finish(s: Sram, p: Params): void {
  const { f32 } = s;
  const bias = p.bias >> 2;
  for (let i = 0; i < p.rows; i++) {
    const acc = (p.acc + i * p.ldc) >> 2;
    const end = acc + p.cols;
    // sums of two binary32 numbers, rounded once where they are stored
    if (p.bias >= 0) for (let k = acc, b = bias; k < end; k++, b++) f32[k] += f32[b];
    if (p.y >= 0) for (let k = acc, y = (p.y + i * p.ldy) >> 2; k < end; k++, y++) f32[k] += f32[y];
  }
}

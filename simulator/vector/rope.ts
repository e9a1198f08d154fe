import { kOffsetI8, PAGE, vOffsetI8 } from '../../engine/layout.ts';
import { rmsNorm } from '../../kernels/reference/norm.ts';
import { f, quantize } from '../../kernels/reference/numeric.ts';
import { IOTA, SCRATCH } from '../run/kernels.ts';
import type { Sram } from '../run/memory.ts';
import type { Params } from './rows.ts';

/**
 * Tokens of one page: qkv[n, (H + 2G)·d] → q[n, H·d], and keys and values into the page's layer [G heads].
 * slots u32[n], angles f32[n, d]; gq and gk are −1 without a norm, balance (f32 [2, G·d]) is −1 without one.
 */
export function rope(s: Sram, p: Params): void {
  const { d, heads: H, kvHeads: G } = p;
  if (s.kernels) {
    const b = s.base;
    const gains = [p.gq >= 0 ? b + p.gq : 0, p.gk >= 0 ? b + p.gk : 0] as const;
    // the page of every slot is the one at hand, and the angles were gathered: row t is token t's
    s.kernels.ropeStore(
      b + p.q,
      b + p.page,
      0,
      p.headBytes,
      p.f32 ? 0 : 1,
      b + p.qkv,
      b + p.angles,
      IOTA,
      b + p.slots,
      0,
      p.n,
      H,
      G,
      d,
      ...gains,
      p.eps,
      SCRATCH,
      p.balance >= 0 ? b + p.balance : 0,
    );
    return;
  }
  const x = new Float32Array(d);
  const y = new Float32Array(d);
  const words = H * d + 2 * G * d;
  for (let t = 0; t < p.n; t++) {
    const j = s.u32[(p.slots >> 2) + t] % PAGE;
    const angles = (p.angles >> 2) + t * d;
    const row = (p.qkv >> 2) + t * words;
    const turn = (h: number, gain: number): Float32Array => {
      const from = s.f32.subarray(row + h * d, row + h * d + d);
      if (gain >= 0) rmsNorm(x, from, s.f32.subarray(gain >> 2, (gain >> 2) + d), p.eps);
      else x.set(from);
      for (let i = 0; i < d / 2; i++) {
        const c = s.f32[angles + i];
        const n = s.f32[angles + d / 2 + i];
        y[i] = f(f(x[i] * c) - f(x[i + d / 2] * n));
        y[i + d / 2] = f(f(x[i + d / 2] * c) + f(x[i] * n));
      }
      return y;
    };
    const scales = (p.balance >> 2) + G * d;
    for (let h = 0; h < H; h++) {
      const q = turn(h, p.gq);
      const g = Math.floor(h / (H / G));
      if (p.balance >= 0) for (let k = 0; k < d; k++) q[k] = f(q[k] * s.f32[scales + g * d + k]);
      s.f32.set(q, (p.q >> 2) + (t * H + h) * d);
    }
    for (let g = 0; g < G; g++) {
      const page = p.page + g * p.headBytes;
      const value = s.f32.subarray(row + (H + G + g) * d, row + (H + G + g + 1) * d);
      const key = turn(H + g, p.gk);
      if (p.balance >= 0) {
        for (let k = 0; k < d; k++) key[k] = f(f(key[k] - s.f32[(p.balance >> 2) + g * d + k]) / s.f32[scales + g * d + k]);
      }
      if (p.f32) storeF32(s, page, j, key, value);
      else storeI8(s, page, j, key, value);
    }
  }
}

function storeF32(s: Sram, page: number, j: number, key: Float32Array, value: Float32Array): void {
  const d = key.length;
  for (let k = 0; k < d; k++) s.f32[(page >> 2) + k * PAGE + j] = key[k];
  s.f32.set(value, (page >> 2) + d * PAGE + j * d);
}

function storeI8(s: Sram, page: number, j: number, key: Float32Array, value: Float32Array): void {
  const d = key.length;
  const q = new Int8Array(d);
  const scales = (page + 2 * PAGE * d) >> 2;
  s.f32[scales + j] = quantize(q, key, 127);
  for (let k = 0; k < d; k++) s.i8[page + kOffsetI8(j, k)] = q[k];
  s.f32[scales + PAGE + j] = quantize(q, value, 127);
  for (let k = 0; k < d; k++) s.i8[page + PAGE * d + vOffsetI8(j, k, d)] = q[k];
}

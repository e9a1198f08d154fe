/**
 * The tensor unit's function: acc[M, N] += a[M, K] · w[N, K]ᵀ as NUMERICS.md orders it, K-blocks ascending, the sum
 * carried in SRAM from one K to the next.
 */

import { f16ToF32 } from '../../../engine/math.ts';
import { ACT_BLOCK, type Mm } from '../program/isa.ts';
import type { TileKernels } from './kernels.ts';
import type { Sram } from './memory.ts';

const f = Math.fround;
/** f16 bits to the number they are, tabulated: scales are read by the million. */
const HALF = Float32Array.from({ length: 65536 }, (_, h) => f16ToF32(h));
let unpacked = new Int8Array(0);

export function multiply(s: Sram, i: Mm): void {
  if (i.first) for (let m = 0; m < i.M; m++) s.f32.fill(0, (i.acc + m * i.ldc) >> 2, ((i.acc + m * i.ldc) >> 2) + i.N);
  if (s.kernels && (i.format === 'w4' || i.format === 'w8' || i.format === 'f32')) return inWasm(s, s.kernels, i);
  if (i.format === 'f32') return multiplyF32(s, i);
  if (i.format !== 'w4' && i.format !== 'w8') throw new Error(`the tensor unit times ${i.format}, it has no function for it`);
  const { K } = i;
  const blocks = K / 32;
  const four = i.format === 'w4';
  const group = blocks * (four ? 72 : 136);
  if (unpacked.length < 4 * K) unpacked = new Int8Array(4 * K);
  const q = unpacked;
  for (let n = 0; n < i.N; n += 4) {
    const base = i.w + (n >> 2) * group;
    if (four) unpack4(s.u8, base, q, K);
    else unpack8(s.i8, base, q, K);
    const scales = (base + blocks * (four ? 64 : 128)) >> 1;
    const rows = Math.min(4, i.N - n);
    for (let m = 0; m < i.M; m++) {
      const a = i.a + m * i.lda;
      const acc = ((i.acc + m * i.ldc) >> 2) + n;
      for (let r = 0; r < rows; r++) {
        s.f32[acc + r] = dotBlocks(s.i8, a, q, r * K, blocks, s.f32, s.u16, scales + r, s.f32[acc + r]);
      }
    }
  }
}

/** Multiply-adds a call: short enough that the engine soon replaces its first, unoptimized code. */
const CALL_MACS = 1 << 21;

function inWasm(s: Sram, k: TileKernels, i: Mm): void {
  const run = i.format === 'w4' ? k.multiplyW4 : i.format === 'w8' ? k.multiplyW8 : k.multiplyF32;
  const step = Math.max(4, Math.floor(CALL_MACS / (i.M * i.K) / 4) * 4);
  for (let n = 0; n < i.N; n += step) {
    run(s.base + i.acc, i.ldc, s.base + i.a, i.lda, s.base + i.w, i.M, i.K, n, Math.min(i.N, n + step));
  }
}

function dotBlocks(
  a: Int8Array,
  at: number,
  q: Int8Array,
  from: number,
  blocks: number,
  f32: Float32Array,
  dws: Uint16Array,
  dw: number,
  carry: number,
): number {
  let acc = carry;
  for (let b = 0; b < blocks; b++) {
    let dot = 0;
    const x = at + b * ACT_BLOCK;
    const y = from + b * 32;
    for (let k = 0; k < 32; k += 4) {
      dot += a[x + k] * q[y + k] + a[x + k + 1] * q[y + k + 1] + a[x + k + 2] * q[y + k + 2] + a[x + k + 3] * q[y + k + 3];
    }
    acc = f(acc + f(dot * f(HALF[dws[dw + b * 4]] * f32[(x + 32) >> 2])));
  }
  return acc;
}

/** A row group's w4 values, minus 8, as four rows of K. */
function unpack4(u8: Uint8Array, base: number, q: Int8Array, K: number): void {
  for (let r = 0; r < 4; r++) {
    for (let k = 0; k < K; k += 8) {
      const at = base + (k >> 3) * 16 + r * 4;
      for (let j = 0; j < 4; j++) {
        const byte = u8[at + j];
        q[r * K + k + j] = (byte & 15) - 8;
        q[r * K + k + 4 + j] = (byte >> 4) - 8;
      }
    }
  }
}

function unpack8(i8: Int8Array, base: number, q: Int8Array, K: number): void {
  for (let r = 0; r < 4; r++) {
    for (let k = 0; k < K; k += 2) {
      const at = base + (k >> 1) * 8 + r * 2;
      q[r * K + k] = i8[at];
      q[r * K + k + 1] = i8[at + 1];
    }
  }
}

function multiplyF32(s: Sram, i: Mm): void {
  const x = s.f32;
  for (let m = 0; m < i.M; m++) {
    const a = (i.a + m * i.lda) >> 2;
    for (let n = 0; n < i.N; n++) {
      const w = ((i.w + (n >> 2) * i.K * 16) >> 2) + (n & 3);
      const at = ((i.acc + m * i.ldc) >> 2) + n;
      let acc = x[at];
      for (let k = 0; k < i.K; k++) acc = f(acc + f(x[a + k] * x[w + k * 4]));
      x[at] = acc;
    }
  }
}

/**
 * The tensor unit's function: acc[M, N] += a[M, K] · w[N, K]ᵀ as NUMERICS.md orders it, K-blocks ascending, the sum
 * carried in SRAM from one K to the next.
 */

import type { WeightFormat } from '../../engine/backend.ts';
import { BLOCK, FORMATS, f32Offset, ROWS, rowGroupBytes, scaleOffset, w4Offset, w4Shift, w8Offset } from '../../engine/formats.ts';
import { f16ToF32 } from '../../engine/math.ts';
import { PLANES, type PlaneName, planeValues, unpackPlanes } from '../../engine/planes.ts';
import { ACT_BLOCK, isTimed, type Mm } from '../program/isa.ts';
import { type Multiplies, SCRATCH, type TileKernels } from './kernels.ts';
import type { Sram } from './memory.ts';

const f = Math.fround;
/** f16 bits to the number they are, tabulated: scales are read by the million. */
const HALF = Float32Array.from({ length: 65536 }, (_, h) => f16ToF32(h));
let unpacked = new Int8Array(0);

/** A format's product: in JavaScript, and the name of the same in WebAssembly. */
interface Product {
  run(s: Sram, i: Mm): void;
  wasm: keyof Multiplies;
}

const products: Record<WeightFormat, Product> = {
  f32: { run: multiplyF32, wasm: 'multiplyF32' },
  w8: { run: (s, i) => multiplyBlocks(s, i, 'w8', unpack8), wasm: 'multiplyW8' },
  w4: { run: (s, i) => multiplyBlocks(s, i, 'w4', unpack4), wasm: 'multiplyW4' },
  q4_1: planes('q4_1'),
  q5_0: planes('q5_0'),
  q5_1: planes('q5_1'),
  iq4_nl: planes('iq4_nl'),
  mxfp4: planes('mxfp4'),
  q2_k: planes('q2_k'),
  q3_k: planes('q3_k'),
  q4_k: planes('q4_k'),
  q5_k: planes('q5_k'),
  q6_k: planes('q6_k'),
  iq4_xs: planes('iq4_xs'),
  any_k: planes('any_k'),
};

function planes(name: PlaneName): Product {
  return { run: (s, i) => multiplyPlanes(s, i, name), wasm: `multiply_${name}` };
}

export function multiply(s: Sram, i: Mm): void {
  if (isTimed(i.format)) throw new Error(`the tensor unit times ${i.format}, it has no function for it`);
  if (i.first) for (let m = 0; m < i.M; m++) s.f32.fill(0, (i.acc + m * i.ldc) >> 2, ((i.acc + m * i.ldc) >> 2) + i.N);
  const product = products[i.format];
  if (s.kernels) inWasm(s, s.kernels[product.wasm], i);
  else product.run(s, i);
}

function multiplyBlocks(s: Sram, i: Mm, format: WeightFormat, unpack: (s: Sram, base: number, q: Int8Array, K: number) => void): void {
  const { K } = i;
  const { bytes } = FORMATS[format];
  const group = rowGroupBytes(format, K);
  if (unpacked.length < ROWS * K) unpacked = new Int8Array(ROWS * K);
  for (let n = 0; n < i.N; n += ROWS) {
    const base = i.w + (n / ROWS) * group;
    unpack(s, base, unpacked, K);
    for (let m = 0; m < i.M; m++) {
      const a = i.a + m * i.lda;
      const acc = ((i.acc + m * i.ldc) >> 2) + n;
      for (let r = 0; r < Math.min(ROWS, i.N - n); r++) {
        const scales = (base + scaleOffset(bytes, r, 0)) >> 1;
        s.f32[acc + r] = dotBlocks(s.i8, a, unpacked, r * K, K / BLOCK, s.f32, s.u16, scales, bytes / 2, s.f32[acc + r]);
      }
    }
  }
}

/** Multiply-adds a call: short enough that the engine soon replaces its first, unoptimized code. */
const CALL_MACS = 1 << 21;

function inWasm(s: Sram, run: TileKernels['multiplyW4'], i: Mm): void {
  const step = Math.max(1, Math.floor(CALL_MACS / (i.M * i.K) / ROWS)) * ROWS;
  for (let n = 0; n < i.N; n += step) {
    run(s.base + i.acc, i.ldc, s.base + i.a, i.lda, s.base + i.w, i.M, i.K, n, Math.min(i.N, n + step), SCRATCH);
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
  step: number,
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
    acc = f(acc + f(dot * f(HALF[dws[dw + b * step]] * f32[(x + 32) >> 2])));
  }
  return acc;
}

/** A row group's w4 values, minus 8, as rows of K. */
function unpack4({ u8 }: Sram, base: number, q: Int8Array, K: number): void {
  for (let r = 0; r < ROWS; r++) {
    for (let k = 0; k < K; k++) q[r * K + k] = ((u8[base + w4Offset(r, k)] >> w4Shift(k)) & 15) - 8;
  }
}

function unpack8({ i8 }: Sram, base: number, q: Int8Array, K: number): void {
  for (let r = 0; r < ROWS; r++) for (let k = 0; k < K; k++) q[r * K + k] = i8[base + w8Offset(r, k)];
}

/** Integers with a scale, and maybe a minimum, a sub-block; a row group at a time. */
function multiplyPlanes(s: Sram, i: Mm, name: PlaneName): void {
  const { K } = i;
  const format = PLANES[name];
  const { sub } = format;
  const minima = format.minimum !== 0;
  const group = rowGroupBytes(name, K);
  for (let n = 0; n < i.N; n += ROWS) {
    const base = i.w + (n / ROWS) * group;
    const { q, scale, minimum } = planeValues(format, unpackPlanes(format, ROWS, K, s.u8.subarray(base, base + group)));
    for (let m = 0; m < i.M; m++) {
      const at = ((i.acc + m * i.ldc) >> 2) + n;
      for (let r = 0; r < Math.min(ROWS, i.N - n); r++) {
        let acc = s.f32[at + r];
        for (let b = 0; b < K / BLOCK; b++) {
          const a = i.a + m * i.lda + b * ACT_BLOCK;
          const da = s.f32[(a + BLOCK) >> 2];
          const [one, two] = [0, sub]
            .filter((from) => from < BLOCK)
            .map((from) => {
              const j = (r * K + b * BLOCK + from) / sub;
              let idot = 0;
              let isum = 0;
              for (let k = from; k < from + sub; k++) {
                idot += s.i8[a + k] * q[r * K + b * BLOCK + k];
                isum += s.i8[a + k];
              }
              return { idot, isum, s: scale[j], m: minima ? minimum[j] : 0 };
            });
          if (two) {
            const products = f(f(one.idot * one.s) + f(two.idot * two.s));
            acc = f(acc + f((minima ? f(products + f(f(one.m * one.isum) + f(two.m * two.isum))) : products) * da));
          } else {
            const product = f(one.idot * f(one.s * da));
            acc = f(acc + (minima ? f(product + f(one.m * f(one.isum * da))) : product));
          }
        }
        s.f32[at + r] = acc;
      }
    }
  }
}

function multiplyF32(s: Sram, i: Mm): void {
  const x = s.f32;
  for (let m = 0; m < i.M; m++) {
    const a = (i.a + m * i.lda) >> 2;
    for (let n = 0; n < i.N; n++) {
      const w = (i.w + Math.floor(n / ROWS) * rowGroupBytes('f32', i.K) + f32Offset(n % ROWS, 0)) >> 2;
      const at = ((i.acc + m * i.ldc) >> 2) + n;
      let acc = x[at];
      for (let k = 0; k < i.K; k++) acc = f(acc + f(x[a + k] * x[w + k * ROWS]));
      x[at] = acc;
    }
  }
}

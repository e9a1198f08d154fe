import type { WeightFormat } from '../../engine/backend.ts';
import { BLOCK } from '../../engine/formats.ts';
import { f16ToF32, f32ToF16 } from '../../engine/math.ts';

/** A matrix [N, K] as quantized values row-major and f16 bits of the scales [N, K/32]: what engine/formats.ts packs. */
export interface Quantized {
  q: Int8Array;
  d: Uint16Array;
}

/** Formats that values can be rounded to: integers in blocks of 32 with an f16 scale. */
export type Rounded = 'w8' | 'w4';

/** How values become a format's integers: value = (q − zero) · d with lo ≤ q − zero ≤ hi. */
export interface Rounding {
  readonly lo: number;
  readonly hi: number;
  readonly zero: number;
  /** The scale of a block whose element of largest magnitude is `max`. */
  scale(max: number): number;
}

export const ROUNDING: Record<Rounded, Rounding> = {
  w8: { lo: -127, hi: 127, zero: 0, scale: (max) => Math.abs(max) / 127 },
  w4: { lo: -8, hi: 7, zero: 8, scale: (max) => max / -8 },
};

export const isRounded = (format: WeightFormat): format is Rounded => Object.hasOwn(ROUNDING, format);

/**
 * Round to nearest in blocks of 32. w4 (Q4_0's rule): d = the element of largest magnitude / −8, q = round(x / d) + 8 in 0..15.
 * w8 (Q8_0's): d = largest magnitude / 127, q = round(x / d). d is rounded to f16 before it divides, so values that are
 * already quantized by the same rule come back unchanged. Throws RangeError when a value is not finite or too large for an f16 scale.
 */
export function quantizeRtn(format: Rounded, x: Float32Array): Quantized {
  const rounding = ROUNDING[format];
  const q = new Int8Array(x.length);
  const d = new Uint16Array(x.length / BLOCK);
  for (let b = 0; b < d.length; b++) {
    const scale = f32ToF16(rounding.scale(largest(x, b * BLOCK)));
    if ((scale & 0x7c00) === 0x7c00) throw new RangeError('has values that are not finite or too large for an f16 scale');
    d[b] = scale;
    quantizeBlock(rounding, x, b * BLOCK, f16ToF32(scale), q);
  }
  return { q, d };
}

/** The element of largest magnitude of a block, the first of them; NaN when there is one. */
function largest(x: Float32Array, at: number): number {
  let max = 0;
  for (let i = at; i < at + BLOCK; i++) {
    if (Math.abs(x[i]) > Math.abs(max)) max = x[i];
    else if (Number.isNaN(x[i])) return Number.NaN;
  }
  return max;
}

/** Nearest q for a given scale; zero when the scale is. */
function quantizeBlock({ lo, hi, zero }: Rounding, x: Float32Array, at: number, d: number, q: Int8Array): void {
  for (let i = at; i < at + BLOCK; i++) {
    const r = d === 0 ? 0 : Math.round(x[i] / d);
    q[i] = (r < lo ? lo : r > hi ? hi : r) + zero;
  }
}

/** The values that quantized ones stand for. */
export function dequantize(format: Rounded, { q, d }: Quantized, out = new Float32Array(q.length)): Float32Array {
  const { zero } = ROUNDING[format];
  for (let b = 0; b < d.length; b++) {
    const scale = f16ToF32(d[b]);
    for (let i = b * BLOCK; i < (b + 1) * BLOCK; i++) out[i] = (q[i] - zero) * scale;
  }
  return out;
}

/** Q4_0 blocks of GGUF as w4: the same numbers. */
export function fromQ4_0(src: Uint8Array): Quantized {
  const blocks = src.length / 18;
  const q = new Int8Array(blocks * BLOCK);
  const d = new Uint16Array(blocks);
  for (let b = 0; b < blocks; b++) {
    const at = b * 18;
    d[b] = finiteScale(src[at] | (src[at + 1] << 8));
    for (let i = 0; i < 16; i++) {
      q[b * BLOCK + i] = src[at + 2 + i] & 15;
      q[b * BLOCK + 16 + i] = src[at + 2 + i] >> 4;
    }
  }
  return { q, d };
}

/** w4 as Q4_0 blocks: the inverse of fromQ4_0. */
export function toQ4_0({ q, d }: Quantized): Uint8Array {
  const out = new Uint8Array(d.length * 18);
  for (let b = 0; b < d.length; b++) {
    const at = b * 18;
    out[at] = d[b] & 255;
    out[at + 1] = d[b] >> 8;
    for (let i = 0; i < 16; i++) out[at + 2 + i] = q[b * BLOCK + i] | (q[b * BLOCK + 16 + i] << 4);
  }
  return out;
}

/** Q8_0 blocks of GGUF as w8: the same numbers. */
export function fromQ8_0(src: Uint8Array): Quantized {
  const blocks = src.length / 34;
  const q = new Int8Array(blocks * BLOCK);
  const d = new Uint16Array(blocks);
  for (let b = 0; b < blocks; b++) {
    const at = b * 34;
    d[b] = finiteScale(src[at] | (src[at + 1] << 8));
    for (let i = 0; i < BLOCK; i++) q[b * BLOCK + i] = src[at + 2 + i];
  }
  return { q, d };
}

/** w8 as Q8_0 blocks: the inverse of fromQ8_0. */
export function toQ8_0({ q, d }: Quantized): Uint8Array {
  const out = new Uint8Array(d.length * 34);
  for (let b = 0; b < d.length; b++) {
    const at = b * 34;
    out[at] = d[b] & 255;
    out[at + 1] = d[b] >> 8;
    for (let i = 0; i < BLOCK; i++) out[at + 2 + i] = q[b * BLOCK + i];
  }
  return out;
}

function finiteScale(bits: number): number {
  if ((bits & 0x7c00) === 0x7c00) throw new RangeError('has a block whose scale is not finite');
  return bits;
}

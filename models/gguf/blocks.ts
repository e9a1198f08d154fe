import { f16ToF32 } from '../../engine/math.ts';
import { PLANES, planeNumbers } from '../../engine/planes.ts';
import { readPlanes, type TypedPlanes } from './planes.ts';

/**
 * Decoders of ggml's tensor types to f32, exactly as ggml-quants.c defines them. Every product below fits into 24 bits,
 * so the only rounding is the one at the store into the Float32Array, as in ggml.
 */
export type Decode = (src: Uint8Array, out: Float32Array, elements: number) => void;

/** All binary16 values, by their bits. */
const halves = (() => {
  let table: Float32Array | undefined;
  return () => {
    table ??= Float32Array.from({ length: 1 << 16 }, (_, h) => f16ToF32(h));
    return table;
  };
})();

const u16 = (b: Uint8Array, i: number) => b[i] | (b[i + 1] << 8);
const signed = (byte: number) => (byte << 24) >> 24;

function f32(src: Uint8Array, out: Float32Array, n: number): void {
  const view = new DataView(src.buffer, src.byteOffset, src.byteLength);
  for (let i = 0; i < n; i++) out[i] = view.getFloat32(i * 4, true);
}

function f16(src: Uint8Array, out: Float32Array, n: number): void {
  const half = halves();
  for (let i = 0; i < n; i++) out[i] = half[u16(src, i * 2)];
}

function bf16(src: Uint8Array, out: Float32Array, n: number): void {
  const bits = new Uint32Array(out.buffer, out.byteOffset, n);
  for (let i = 0; i < n; i++) bits[i] = u16(src, i * 2) << 16;
}

/** Blocks of 32: f16 d, 16 bytes; element i in the low, i + 16 in the high nibble; (q − 8) · d. */
function q4_0(src: Uint8Array, out: Float32Array, n: number): void {
  const half = halves();
  for (let at = 0, o = 0; o < n; at += 18, o += 32) {
    const d = half[u16(src, at)];
    for (let i = 0; i < 16; i++) {
      const b = src[at + 2 + i];
      out[o + i] = ((b & 15) - 8) * d;
      out[o + 16 + i] = ((b >> 4) - 8) * d;
    }
  }
}

/** f16 d, f16 m, 16 bytes: q · d + m. */
function q4_1(src: Uint8Array, out: Float32Array, n: number): void {
  const half = halves();
  for (let at = 0, o = 0; o < n; at += 20, o += 32) {
    const d = half[u16(src, at)];
    const m = half[u16(src, at + 2)];
    for (let i = 0; i < 16; i++) {
      const b = src[at + 4 + i];
      out[o + i] = (b & 15) * d + m;
      out[o + 16 + i] = (b >> 4) * d + m;
    }
  }
}

/** f16 d, 4 bytes of fifth bits, 16 bytes: (q − 16) · d. */
function q5_0(src: Uint8Array, out: Float32Array, n: number): void {
  const half = halves();
  for (let at = 0, o = 0; o < n; at += 22, o += 32) {
    const d = half[u16(src, at)];
    const high = u16(src, at + 2) | (u16(src, at + 4) << 16);
    for (let i = 0; i < 16; i++) {
      const b = src[at + 6 + i];
      out[o + i] = (((b & 15) | (((high >>> i) & 1) << 4)) - 16) * d;
      out[o + 16 + i] = (((b >> 4) | (((high >>> (i + 16)) & 1) << 4)) - 16) * d;
    }
  }
}

/** f16 d, f16 m, 4 bytes of fifth bits, 16 bytes: q · d + m. */
function q5_1(src: Uint8Array, out: Float32Array, n: number): void {
  const half = halves();
  for (let at = 0, o = 0; o < n; at += 24, o += 32) {
    const d = half[u16(src, at)];
    const m = half[u16(src, at + 2)];
    const high = u16(src, at + 4) | (u16(src, at + 6) << 16);
    for (let i = 0; i < 16; i++) {
      const b = src[at + 8 + i];
      out[o + i] = ((b & 15) | (((high >>> i) & 1) << 4)) * d + m;
      out[o + 16 + i] = ((b >> 4) | (((high >>> (i + 16)) & 1) << 4)) * d + m;
    }
  }
}

/** f16 d, 32 signed bytes: q · d. */
function q8_0(src: Uint8Array, out: Float32Array, n: number): void {
  const half = halves();
  for (let at = 0, o = 0; o < n; at += 34, o += 32) {
    const d = half[u16(src, at)];
    for (let i = 0; i < 32; i++) out[o + i] = signed(src[at + 2 + i]) * d;
  }
}

/** Scale (j < 8) and minimum of sub-block j from the 12 bytes of 6-bit values that Q4_K and Q5_K share (get_scale_min_k4). */
function scaleK4(src: Uint8Array, at: number, j: number): number {
  return j < 4 ? src[at + j] & 63 : (src[at + j + 4] & 15) | ((src[at + j - 4] >> 6) << 4);
}
function minK4(src: Uint8Array, at: number, j: number): number {
  return j < 4 ? src[at + j + 4] & 63 : (src[at + j + 4] >> 4) | ((src[at + j] >> 6) << 4);
}

/** Super-blocks of 256: f16 d, f16 dmin, 12 bytes of scales and minima, 128 bytes of nibbles: d·sc·q − dmin·m. */
function q4_K(src: Uint8Array, out: Float32Array, n: number): void {
  const half = halves();
  for (let at = 0, o = 0; o < n; at += 144, o += 256) {
    const d = half[u16(src, at)];
    const dmin = half[u16(src, at + 2)];
    for (let j = 0; j < 8; j++) {
      const scale = d * scaleK4(src, at + 4, j);
      const min = dmin * minK4(src, at + 4, j);
      const q = at + 16 + (j >> 1) * 32;
      const shift = (j & 1) * 4;
      for (let i = 0; i < 32; i++) out[o + j * 32 + i] = scale * ((src[q + i] >> shift) & 15) - min;
    }
  }
}

/** f16 d, f16 dmin, 12 bytes of scales and minima, 32 bytes of fifth bits, 128 bytes of nibbles. */
function q5_K(src: Uint8Array, out: Float32Array, n: number): void {
  const half = halves();
  for (let at = 0, o = 0; o < n; at += 176, o += 256) {
    const d = half[u16(src, at)];
    const dmin = half[u16(src, at + 2)];
    for (let j = 0; j < 8; j++) {
      const scale = d * scaleK4(src, at + 4, j);
      const min = dmin * minK4(src, at + 4, j);
      const high = at + 16;
      const q = at + 48 + (j >> 1) * 32;
      const shift = (j & 1) * 4;
      for (let i = 0; i < 32; i++) {
        out[o + j * 32 + i] = scale * (((src[q + i] >> shift) & 15) | (((src[high + i] >> j) & 1) << 4)) - min;
      }
    }
  }
}

/** 128 bytes of low nibbles, 64 bytes of high pairs, 16 signed scales, f16 d: d·sc·(q − 32). */
function q6_K(src: Uint8Array, out: Float32Array, n: number): void {
  const half = halves();
  for (let at = 0, o = 0; o < n; at += 210, o += 256) {
    const d = half[u16(src, at + 208)];
    for (let h = 0; h < 2; h++) {
      const low = at + h * 64;
      const high = at + 128 + h * 32;
      for (let j = 0; j < 4; j++) {
        for (let i = 0; i < 32; i++) {
          const nibble = (src[low + (j & 1) * 32 + i] >> ((j >> 1) * 4)) & 15;
          const q = (nibble | (((src[high + i] >> (j * 2)) & 3) << 4)) - 32;
          const scale = signed(src[at + 192 + h * 8 + j * 2 + (i >> 4)]);
          out[o + h * 128 + j * 32 + i] = d * scale * q;
        }
      }
    }
  }
}

/** Through the integers, for types that nothing else is needed of. */
const byPlanes =
  (format: TypedPlanes): Decode =>
  (src, out, n) =>
    out.set(planeNumbers(PLANES[format], readPlanes(format, src, n)));

/** Decoders by type name; a type that is not here is not supported. */
export const decoders: ReadonlyMap<string, Decode> = new Map(
  Object.entries({
    F32: f32,
    F16: f16,
    BF16: bf16,
    Q4_0: q4_0,
    Q4_1: q4_1,
    Q5_0: q5_0,
    Q5_1: q5_1,
    Q8_0: q8_0,
    Q4_K: q4_K,
    Q5_K: q5_K,
    Q6_K: q6_K,
    Q2_K: byPlanes('q2_k'),
    Q3_K: byPlanes('q3_k'),
    IQ4_NL: byPlanes('iq4_nl'),
    IQ4_XS: byPlanes('iq4_xs'),
    MXFP4: byPlanes('mxfp4'),
  }),
);

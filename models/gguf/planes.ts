import { emptyPlanes, PLANES, type PlaneName, type Planes } from '../../engine/planes.ts';
import { typeNamed } from './types.ts';

/**
 * ggml's blocks as the integers that they are (ggml-common.h, ggml-quants.c): what a format of engine/planes.ts packs. Nothing is
 * computed, so nothing is lost. Throws RangeError when a scale is not finite.
 */

/** Reads block b, at `at`, into planes. */
type Reader = (src: Uint8Array, at: number, b: number, p: Planes) => void;

const u16 = (s: Uint8Array, i: number) => s[i] | (s[i + 1] << 8);

function finite(bits: number): number {
  if ((bits & 0x7c00) === 0x7c00) throw new RangeError('has a block whose scale is not finite');
  return bits;
}

/** 16 bytes at `at`: element i in the low nibble, i + 16 in the high one. */
function nibbles(s: Uint8Array, at: number, q: Uint8Array, to: number): void {
  for (let i = 0; i < 16; i++) {
    q[to + i] = s[at + i] & 15;
    q[to + 16 + i] = s[at + i] >> 4;
  }
}

/** 32 fifth bits in 4 bytes. */
function fifth(s: Uint8Array, at: number, q: Uint8Array, to: number): void {
  for (let i = 0; i < 32; i++) q[to + i] |= ((s[at + (i >> 3)] >> (i & 7)) & 1) << 4;
}

/** 6-bit scales and minima of 8 sub-blocks in 12 bytes (get_scale_min_k4). */
function scalesK4(s: Uint8Array, at: number, b: number, p: Planes): void {
  for (let j = 0; j < 8; j++) {
    p.scales[b * 8 + j] = j < 4 ? s[at + j] & 63 : (s[at + j + 4] & 15) | ((s[at + j - 4] >> 6) << 4);
    p.minima[b * 8 + j] = j < 4 ? s[at + j + 4] & 63 : (s[at + j + 4] >> 4) | ((s[at + j] >> 6) << 4);
  }
}

/** 8 runs of 32 nibbles in 128 bytes: run j in the low or high nibbles of bytes (j div 2) · 32 on. */
function runs(s: Uint8Array, at: number, q: Uint8Array, to: number): void {
  for (let i = 0; i < 256; i++) q[to + i] = (s[at + (i >> 6) * 32 + (i & 31)] >> ((i >> 3) & 4)) & 15;
}

/** 16 runs of 16 pairs of bits in 64 bytes, as Q2_K and Q3_K have them. */
function pairs(s: Uint8Array, at: number, q: Uint8Array, to: number): void {
  for (let i = 0; i < 256; i++) q[to + i] = (s[at + (i >> 7) * 32 + (i & 31)] >> ((i >> 4) & 6)) & 3;
}

/** Formats that are a type of ggml. */
export type TypedPlanes = Exclude<PlaneName, 'any_k'>;

const READERS: { readonly [F in TypedPlanes]: { readonly type: string; readonly read: Reader } } = {
  q4_1: {
    type: 'Q4_1',
    read(s, at, b, p) {
      p.d[b] = finite(u16(s, at));
      p.m[b] = finite(u16(s, at + 2));
      nibbles(s, at + 4, p.q, b * 32);
    },
  },
  q5_0: {
    type: 'Q5_0',
    read(s, at, b, p) {
      p.d[b] = finite(u16(s, at));
      nibbles(s, at + 6, p.q, b * 32);
      fifth(s, at + 2, p.q, b * 32);
    },
  },
  q5_1: {
    type: 'Q5_1',
    read(s, at, b, p) {
      p.d[b] = finite(u16(s, at));
      p.m[b] = finite(u16(s, at + 2));
      nibbles(s, at + 8, p.q, b * 32);
      fifth(s, at + 4, p.q, b * 32);
    },
  },
  iq4_nl: {
    type: 'IQ4_NL',
    read(s, at, b, p) {
      p.d[b] = finite(u16(s, at));
      nibbles(s, at + 2, p.q, b * 32);
    },
  },
  mxfp4: {
    type: 'MXFP4',
    read(s, at, b, p) {
      if (s[at] > 251) throw new RangeError('has a block whose scale is not finite'); // 12 · 2^(e − 128) must be
      p.d[b] = s[at];
      nibbles(s, at + 1, p.q, b * 32);
    },
  },
  q2_k: {
    type: 'Q2_K',
    read(s, at, b, p) {
      for (let j = 0; j < 16; j++) {
        p.scales[b * 16 + j] = s[at + j] & 15;
        p.minima[b * 16 + j] = s[at + j] >> 4;
      }
      pairs(s, at + 16, p.q, b * 256);
      p.d[b] = finite(u16(s, at + 80));
      p.m[b] = finite(u16(s, at + 82));
    },
  },
  q3_k: {
    type: 'Q3_K',
    read(s, at, b, p) {
      pairs(s, at + 32, p.q, b * 256);
      for (let i = 0; i < 256; i++) p.q[b * 256 + i] |= ((s[at + (i & 31)] >> (i >> 5)) & 1) << 2;
      for (let j = 0; j < 16; j++) {
        const low = (s[at + 96 + (j & 7)] >> ((j >> 3) * 4)) & 15;
        p.scales[b * 16 + j] = low | (((s[at + 104 + (j & 3)] >> ((j >> 2) * 2)) & 3) << 4);
      }
      p.d[b] = finite(u16(s, at + 108));
    },
  },
  q4_k: {
    type: 'Q4_K',
    read(s, at, b, p) {
      p.d[b] = finite(u16(s, at));
      p.m[b] = finite(u16(s, at + 2));
      scalesK4(s, at + 4, b, p);
      runs(s, at + 16, p.q, b * 256);
    },
  },
  q5_k: {
    type: 'Q5_K',
    read(s, at, b, p) {
      p.d[b] = finite(u16(s, at));
      p.m[b] = finite(u16(s, at + 2));
      scalesK4(s, at + 4, b, p);
      runs(s, at + 48, p.q, b * 256);
      for (let i = 0; i < 256; i++) p.q[b * 256 + i] |= ((s[at + 16 + (i & 31)] >> (i >> 5)) & 1) << 4;
    },
  },
  q6_k: {
    type: 'Q6_K',
    read(s, at, b, p) {
      for (let i = 0; i < 256; i++) {
        const [h, j, l] = [i >> 7, (i >> 5) & 3, i & 31];
        const low = (s[at + h * 64 + (j & 1) * 32 + l] >> ((j >> 1) * 4)) & 15;
        p.q[b * 256 + i] = low | (((s[at + 128 + h * 32 + l] >> (j * 2)) & 3) << 4);
      }
      for (let j = 0; j < 16; j++) p.scales[b * 16 + j] = s[at + 192 + j];
      p.d[b] = finite(u16(s, at + 208));
    },
  },
  iq4_xs: {
    type: 'IQ4_XS',
    read(s, at, b, p) {
      p.d[b] = finite(u16(s, at));
      const high = u16(s, at + 2);
      for (let j = 0; j < 8; j++) {
        p.scales[b * 8 + j] = ((s[at + 4 + (j >> 1)] >> ((j & 1) * 4)) & 15) | (((high >> (2 * j)) & 3) << 4);
        nibbles(s, at + 8 + j * 16, p.q, b * 256 + j * 32);
      }
    },
  },
};

/** The kept format that holds a ggml type's numbers as they are; undefined for those that have a name of their own here or none. */
export const keptAs: ReadonlyMap<string, TypedPlanes> = new Map(
  Object.entries(READERS).map(([name, { type }]) => [type, name as TypedPlanes]),
);

/** Rows of a stored tensor of a kept type, as integers. `values` is their number of elements. */
export function readPlanes(format: TypedPlanes, raw: Uint8Array, values: number): Planes {
  const { type, read } = READERS[format];
  const { block, bytes } = typeNamed(type);
  const planes = emptyPlanes(PLANES[format], 1, values);
  for (let b = 0; b < values / block; b++) read(raw, b * bytes, b, planes);
  return planes;
}

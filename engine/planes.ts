/**
 * Formats that hold a GGUF file's numbers as they are. A value is `q' · s` or `q' · s + m`: q' is the stored integer less a
 * constant, or what a table has for it; scale and minimum belong to a sub-block of 32 or 16 columns and are themselves an
 * f16 (or a power of two), in blocks of 256 times a small integer. So every format is a choice of five things (`PlaneFormat`).
 *
 * Kernel layout: 8 rows × one block (32 or 256 columns), integers cut into planes of 4, 2 or 1 bits.
 *
 *   blocks of 32:   planes of q, scales, minima
 *   blocks of 256:  scales, minima, integer scales, integer minima, then 8 times the planes of q of 32 columns
 *
 *   a plane of b bits of q, 32 columns: with j = (k mod 32) div 4 and c = 8 / b quads a byte,
 *       row r, column k is at (j div c)·32 + (r div 4)·16 + (r mod 4)·4 + k mod 4, its lowest bit at b · (j mod c)
 *   scales, minima: 8 × f16, row r at (r mod 4)·4 + (r div 4)·2 (mxfp4: 8 exponent bytes)
 *   integer scales, minima of 6 bits: a plane of 4, then one of 2; of 4 bits: a plane of 4; of 8 bits: bytes. In a plane of b bits,
 *       with i = sub-block · 8 + r, v = i div 16: at (v div c)·16 + i mod 16, its lowest bit at b · (v mod c)
 *
 * A plane's 16 bytes so give product vectors of 4 rows × 4 columns with a shift and an AND, for all widths alike.
 */
import { f16ToF32 } from './math.ts';

const ROWS = 8;
const COLUMNS = 32;

/** What a format is made of. */
export interface PlaneFormat {
  /** Bits of q in each plane, from the lowest on. */
  readonly q: readonly number[];
  /** What is taken from q; with a table: from what the table has, as kernels hold it. */
  readonly zero: number;
  /** Values for q = 0..15, where they are not q itself. */
  readonly table?: readonly number[];
  /** Columns stored together, and columns that share a scale. */
  readonly block: 32 | 256;
  readonly sub: 32 | 16;
  /** How a block's scale is stored: an f16, or an exponent e for 2^(e − 128). */
  readonly scale: 'f16' | 'e8m0';
  /** Bits of a sub-block's integer scale in each plane, and what is taken from it (8 bits: signed, minima too). None in blocks of 32. */
  readonly scales: readonly number[];
  readonly scaleZero: number;
  /** Whether there are minima; 1 when they are added, −1 when they are subtracted. Integer minima are stored as integer scales are. */
  readonly minimum: 0 | 1 | -1;
  readonly minima: readonly number[];
}

const NL = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];
const FP4 = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12]; // twice E2M1's values
const block32 = { block: 32, sub: 32, scale: 'f16', scales: [], scaleZero: 0, minimum: 0, minima: [] } as const;
const block256 = { ...block32, block: 256 } as const;

/** Named as ggml names its types. */
export const PLANES = {
  q4_1: { ...block32, q: [4], zero: 0, minimum: 1 },
  q5_0: { ...block32, q: [4, 1], zero: 16 },
  q5_1: { ...block32, q: [4, 1], zero: 0, minimum: 1 },
  iq4_nl: { ...block32, q: [4], zero: 0, table: NL },
  mxfp4: { ...block32, q: [4], zero: 0, table: FP4, scale: 'e8m0' },
  q2_k: { ...block256, sub: 16, q: [2], zero: 0, scales: [4], minimum: -1, minima: [4] },
  q3_k: { ...block256, sub: 16, q: [2, 1], zero: 4, scales: [4, 2], scaleZero: 32 },
  q4_k: { ...block256, q: [4], zero: 0, scales: [4, 2], minimum: -1, minima: [4, 2] },
  q5_k: { ...block256, q: [4, 1], zero: 0, scales: [4, 2], minimum: -1, minima: [4, 2] },
  q6_k: { ...block256, sub: 16, q: [4, 2], zero: 32, scales: [8] },
  iq4_xs: { ...block256, q: [4], zero: 0, table: NL, scales: [4, 2], scaleZero: 32 },
  /** What any of q2_k to q6_k says, for rows of several of them in one matrix. No type of ggml. */
  any_k: { ...block256, sub: 16, q: [4, 2], zero: 0, scales: [8], minimum: -1, minima: [8] },
} as const satisfies Record<string, PlaneFormat>;

export type PlaneName = keyof typeof PLANES;

/** A matrix [N, K] before packing, row-major, as its file says. */
export interface Planes {
  /** [N, K] as stored, 0..2^bits − 1. */
  q: Uint8Array;
  /** [N, K / block]: f16 bits, or exponents. */
  d: Uint16Array;
  /** [N, K / block]: f16 bits of minima, or of what multiplies integer minima. Empty without minima. */
  m: Uint16Array;
  /** [N, K / sub] as stored. Empty in blocks of 32. */
  scales: Uint8Array;
  minima: Uint8Array;
}

const sum = (bits: readonly number[]): number => bits.reduce((a, b) => a + b, 0);

/** Bytes of 8 rows of a block in kernel layout. */
export function planeBytes(f: PlaneFormat): number {
  const subs = f.block / f.sub;
  const scales = f.scale === 'f16' ? 2 * ROWS : ROWS;
  return f.block * sum(f.q) + scales + (f.minimum ? 2 * ROWS : 0) + subs * (sum(f.scales) + sum(f.minima));
}

/** A matrix of zeros of this format: where a reader puts what it finds. */
export function emptyPlanes(f: PlaneFormat, N: number, K: number): Planes {
  const blocks = (N * K) / f.block;
  return {
    q: new Uint8Array(N * K),
    d: new Uint16Array(blocks),
    m: new Uint16Array(f.minimum ? blocks : 0),
    scales: new Uint8Array(f.scales.length ? (N * K) / f.sub : 0),
    minima: new Uint8Array(f.minima.length ? (N * K) / f.sub : 0),
  };
}

/** Where a row's values of a plane lie: offset and lowest bit of value i. */
interface Slots {
  readonly bits: number;
  readonly bytes: number;
  readonly offset: Uint8Array;
  readonly shift: Uint8Array;
}

function slots(bits: number, values: number, place: (i: number, perByte: number) => readonly [offset: number, part: number]): Slots {
  const places = Array.from({ length: values }, (_, i) => place(i, 8 / bits));
  return {
    bits,
    bytes: values * bits,
    offset: Uint8Array.from(places, ([offset]) => offset),
    shift: Uint8Array.from(places, ([, part]) => part * bits),
  };
}

/** Row r's 32 columns in each plane of q. */
const columnSlots = (planes: readonly number[], r: number): Slots[] =>
  planes.map((bits) =>
    slots(bits, COLUMNS, (k, c) => {
      const j = k >> 2;
      return [Math.floor(j / c) * 32 + (r >> 2) * 16 + (r & 3) * 4 + (k & 3), j % c];
    }),
  );

/** Row r's sub-blocks in each plane of the integer scales. */
const scaleSlots = (planes: readonly number[], r: number, subs: number): Slots[] =>
  planes.map((bits) =>
    slots(bits, subs, (sub, c) => {
      const i = sub * ROWS + r;
      return [Math.floor((i >> 4) / c) * 16 + (i & 15), (i >> 4) % c];
    }),
  );

/** Copies values between their planes at `at` and `values` at `from`; returns where the planes end. */
function move(packing: boolean, bytes: Uint8Array, at: number, planes: readonly Slots[], values: Uint8Array, from: number): number {
  let low = 0;
  for (const { bits, bytes: size, offset, shift } of planes) {
    const mask = (1 << bits) - 1;
    const n = offset.length;
    if (packing) for (let i = 0; i < n; i++) bytes[at + offset[i]] |= ((values[from + i] >> low) & mask) << shift[i];
    else for (let i = 0; i < n; i++) values[from + i] |= ((bytes[at + offset[i]] >> shift[i]) & mask) << low;
    low += bits;
    at += size;
  }
  return at;
}

/** The same of a row's columns, four at once: they lie side by side in both. `at` and `from` count words. */
function moveColumns(packing: boolean, words: Uint32Array, at: number, planes: readonly Slots[], values: Uint32Array, from: number): void {
  let low = 0;
  for (const { bits, bytes: size, offset, shift } of planes) {
    const mask = ((1 << bits) - 1) * 0x01010101;
    for (let i = 0; i < COLUMNS / 4; i++) {
      const to = at + (offset[4 * i] >> 2);
      if (packing) words[to] |= ((values[from + i] >>> low) & mask) << shift[4 * i];
      else values[from + i] |= ((words[to] >>> shift[4 * i]) & mask) << low;
    }
    low += bits;
    at += size >> 2;
  }
}

const aligned = (bytes: Uint8Array): Uint32Array | undefined =>
  bytes.byteOffset % 4 === 0 ? new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length >> 2) : undefined;

/** Copies a matrix between kernel layout and what its file says; what is written must be zero before. */
function copy(packing: boolean, f: PlaneFormat, N: number, K: number, bytes: Uint8Array, m: Planes): void {
  const size = planeBytes(f);
  const subs = f.block / f.sub;
  const blocks = K / f.block;
  const chunks = f.block / COLUMNS;
  const layouts = Array.from({ length: ROWS }, (_, r) => ({
    q: columnSlots(f.q, r),
    scales: scaleSlots(f.scales, r, subs),
    minima: scaleSlots(f.minima, r, subs),
  }));
  const columnBytes = COLUMNS * sum(f.q);
  const [words, values] = [aligned(bytes), aligned(m.q)];
  const columns = (at: number, row: readonly Slots[], from: number): number => {
    if (!words || !values) return move(packing, bytes, at, row, m.q, from);
    moveColumns(packing, words, at >> 2, row, values, from >> 2);
    return at + columnBytes;
  };
  const half = (at: number, values: Uint16Array, i: number): void => {
    if (packing) {
      bytes[at] = values[i];
      bytes[at + 1] = values[i] >> 8;
    } else values[i] = bytes[at] | (bytes[at + 1] << 8);
  };
  for (let n = 0; n < N; n++) {
    const r = n & 7;
    const row = layouts[r];
    for (let b = 0; b < blocks; b++) {
      const i = n * blocks + b;
      let at = ((n >> 3) * blocks + b) * size;
      if (f.block === COLUMNS) at = columns(at, row.q, i * COLUMNS);
      const place = (r & 3) * 4 + (r >> 2) * 2;
      if (f.scale === 'f16') half(at + place, m.d, i);
      else if (packing) bytes[at + r] = m.d[i];
      else m.d[i] = bytes[at + r];
      at += f.scale === 'f16' ? 2 * ROWS : ROWS;
      if (f.minimum) {
        half(at + place, m.m, i);
        at += 2 * ROWS;
      }
      if (f.block === COLUMNS) continue;
      at = move(packing, bytes, at, row.scales, m.scales, i * subs);
      at = move(packing, bytes, at, row.minima, m.minima, i * subs);
      for (let c = 0; c < chunks; c++) at = columns(at, row.q, i * f.block + c * COLUMNS);
    }
  }
}

/** Writes a matrix in kernel layout into `out`, which is zero. Throws when a length does not match. */
export function packPlanes(f: PlaneFormat, N: number, K: number, source: Planes, out: Uint8Array): void {
  const want = emptyPlanes(f, N, K);
  for (const part of ['q', 'd', 'm', 'scales', 'minima'] as const) {
    if (source[part].length !== want[part].length)
      throw new Error(`weight: ${part} has ${source[part].length} elements, must have ${want[part].length}`);
  }
  copy(true, f, N, K, out, source);
}

/** The inverse of packPlanes. */
export function unpackPlanes(f: PlaneFormat, N: number, K: number, packed: Uint8Array): Planes {
  const planes = emptyPlanes(f, N, K);
  copy(false, f, N, K, packed, planes);
  return planes;
}

/** Scales and minima of every sub-block as numbers, exact in binary32 (a product has at most 19 bits), and the integers that enter a product. */
export interface PlaneValues {
  q: Int8Array; // [N, K]
  scale: Float32Array; // [N, K / sub]
  /** Empty without minima. */
  minimum: Float32Array;
}

export function planeValues(f: PlaneFormat, { q, d, m, scales, minima }: Planes): PlaneValues {
  const subs = f.block / f.sub;
  const integer = (planes: readonly number[], v: number) => (planes[0] === 8 ? (v << 24) >> 24 : v);
  const scale = Float32Array.from({ length: d.length * subs }, (_, i) => {
    const b = Math.floor(i / subs);
    return (f.scale === 'f16' ? f16ToF32(d[b]) : 2 ** (d[b] - 128)) * (f.scales.length ? integer(f.scales, scales[i]) - f.scaleZero : 1);
  });
  const minimum = Float32Array.from({ length: m.length * subs }, (_, i) => {
    const v = f16ToF32(m[Math.floor(i / subs)]) * (f.minima.length ? integer(f.minima, minima[i]) : 1);
    return f.minimum < 0 ? -v : v;
  });
  const integers = new Int8Array(q.length); // a loop: `from` takes ten times as long
  for (let i = 0; i < q.length; i++) integers[i] = f.table ? f.table[q[i]] : q[i] - f.zero;
  return { q: integers, scale, minimum };
}

/** The f32 values that a matrix stands for: q · s, plus the minimum with one rounding. */
export function planeNumbers(f: PlaneFormat, planes: Planes): Float32Array {
  const { q, scale, minimum } = planeValues(f, planes);
  return Float32Array.from(q, (v, i) => {
    const b = Math.floor(i / f.sub);
    return f.minimum ? v * scale[b] + minimum[b] : v * scale[b];
  });
}

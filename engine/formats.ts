/**
 * Formats of weights, one row each: how a matrix lies in memory and what it asks of a product. Packs store these bytes,
 * so a change to an existing row is a new WEIGHTS_VERSION. Little endian.
 *
 * A matrix [N, K] is a sequence of row groups of 8 rows, each group complete in itself. So any range of whole groups
 * is a matrix in kernel layout too: a huge matrix is packed in pieces of 8·n rows and the pieces are concatenated.
 * N is padded to a multiple of 8 with zero bytes. One row group, r the row inside it, k the column:
 *
 *   f32  [K][8] f32                            value at k·32 + r·4
 *   w8   [K/32] blocks of 272 bytes            q at ((k mod 32) div 2)·16 + r·2 + k mod 2, scales at 256
 *   w4   [K/32] blocks of 144 bytes            q at ((k mod 32) div 8)·32 + r·4 + k mod 4, in the low nibble when
 *                                              k mod 8 < 4, else in the high one; scales at 128
 *   scales: 8 × f16, row r at (r mod 4)·4 + (r div 4)·2
 *
 * So a kernel reads one sequential stream with 16-byte alignment. 16 bytes of w4 hold 4 rows × 8 k: one AND, and one
 * shift and AND, give two vectors of 4 rows × 4 k for an i8 dot product whose eight results a block are summed in i16
 * before one widening. 8 bytes of w8 are 4 rows × 2 k for an i16 dot product that gives one i32 a row. The scales of
 * rows r and r + 4 share 32 bits, where two shifts turn them into f32. The formats of planes.ts are cut the same way.
 */
import type { ActFormat, WeightFormat } from './backend.ts';
import { PLANES, type PlaneName, type Planes, packPlanes, planeBytes, unpackPlanes } from './planes.ts';

/** Version of every layout in FORMATS: the `layout` of a pack. */
export const WEIGHTS_VERSION = 2;
/** Elements along K that share a scale: of i8 activations, and of w4 and w8. */
export const BLOCK = 32;
/** Rows interleaved in every format. N is padded to a multiple of it with zero rows. */
export const ROWS = 8;

/** A matrix [N, K] as integers, row-major, and the f16 bits of its scales [N, K/32]. */
export interface Blocks {
  q: Uint8Array | Int8Array;
  d: Uint16Array;
}

/** A matrix [N, K] before packing, row-major: w4 q in 0..15 (value (q − 8) · d), w8 q in −128..127 (value q · d), planes as a file has them. */
export interface WeightSource extends Record<PlaneName, Planes> {
  f32: Float32Array;
  w8: Blocks;
  w4: Blocks;
}

/** What everybody must know of a format. `Source` is a matrix before packing. */
export interface FormatRow<Source> {
  /** Its numbers in words. */
  readonly numbers: string;
  /** Elements along K that are stored together; K must be a multiple. */
  readonly block: number;
  /** Bytes of 8 rows of a block in kernel layout. */
  readonly bytes: number;
  /** Activations that its product takes. */
  readonly act: ActFormat;
  /** Whether a block has a minimum beside its scale: its product then wants the sum of the block's activations. */
  readonly minima: boolean;
  /** Writes source[N, K] into `out`, whose padding is zero. Throws when a length or a value is outside the format. */
  pack(out: DataView, N: number, K: number, source: Source): void;
  /** The inverse. */
  unpack(packed: DataView, N: number, K: number): Source;
}

/** A format of integers in blocks of 32 with an f16 scale each: where a value lies, and which ones there are. */
interface BlockLayout {
  readonly bytes: number;
  readonly range: readonly [number, number];
  readonly Values: { new (length: number): Uint8Array | Int8Array };
  put(out: DataView, group: number, r: number, k: number, q: number): void;
  get(packed: DataView, group: number, r: number, k: number): number;
}

/** Bytes of a block of 8 rows × 32 columns. */
const W4_BYTES = 144;
const W8_BYTES = 272;
/** Offset inside a row group of the quantized value of row r of 8, column k: for w4 the byte that holds its nibble. */
export const w4Offset = (r: number, k: number) => (k >> 5) * W4_BYTES + ((k & 31) >> 3) * 32 + r * 4 + (k & 3);
export const w4Shift = (k: number) => k & 4; // 0: low nibble, 4: high nibble
export const w8Offset = (r: number, k: number) => (k >> 5) * W8_BYTES + ((k & 31) >> 1) * 16 + r * 2 + (k & 1);
/** Offset inside a row group of the f16 scale of row r, block b, where 8 rows of a block take `bytes` and end with their scales. */
export const scaleOffset = (bytes: number, r: number, b: number) => (b + 1) * bytes - 2 * ROWS + (r & 3) * 4 + (r >> 2) * 2;
/** Offset inside a row group of an f32 weight. */
export const f32Offset = (r: number, k: number) => k * 32 + r * 4;

const w4: BlockLayout = {
  bytes: W4_BYTES,
  range: [0, 15],
  Values: Uint8Array,
  put: (out, group, r, k, q) => {
    const at = group + w4Offset(r, k);
    out.setUint8(at, out.getUint8(at) | (q << w4Shift(k)));
  },
  get: (packed, group, r, k) => (packed.getUint8(group + w4Offset(r, k)) >> w4Shift(k)) & 15,
};

const w8: BlockLayout = {
  bytes: W8_BYTES,
  range: [-128, 127],
  Values: Int8Array,
  put: (out, group, r, k, q) => out.setInt8(group + w8Offset(r, k), q),
  get: (packed, group, r, k) => packed.getInt8(group + w8Offset(r, k)),
};

/** Packing of a BlockLayout; `name` is for errors. */
function blocks(name: WeightFormat, layout: BlockLayout): Pick<FormatRow<Blocks>, 'block' | 'bytes' | 'act' | 'pack' | 'unpack'> {
  const { bytes, range, Values, put, get } = layout;
  const [lo, hi] = range;
  return {
    ...{ block: BLOCK, bytes, act: 'i8' },
    pack(out, N, K, { q, d }) {
      checkLength(`${name} q`, q.length, N * K);
      checkLength(`${name} d`, d.length, (N * K) / BLOCK);
      for (let n = 0; n < N; n++) {
        const group = (n >> 3) * (K / BLOCK) * bytes;
        for (let k = 0; k < K; k++) {
          const v = q[n * K + k];
          if (v < lo || v > hi) throw new Error(`weight: ${name} q is ${v} at row ${n}, column ${k}, must be in ${lo}..${hi}`);
          put(out, group, n & 7, k, v);
        }
        for (let b = 0; b < K / BLOCK; b++) out.setUint16(group + scaleOffset(bytes, n & 7, b), d[(n * K) / BLOCK + b], true);
      }
    },
    unpack(packed, N, K) {
      const q = new Values(N * K);
      const d = new Uint16Array((N * K) / BLOCK);
      for (let n = 0; n < N; n++) {
        const group = (n >> 3) * (K / BLOCK) * bytes;
        for (let k = 0; k < K; k++) q[n * K + k] = get(packed, group, n & 7, k);
        for (let b = 0; b < K / BLOCK; b++) d[(n * K) / BLOCK + b] = packed.getUint16(group + scaleOffset(bytes, n & 7, b), true);
      }
      return { q, d };
    },
  };
}

/** A format of planes.ts. */
function planes(name: PlaneName, numbers: string): FormatRow<Planes> {
  const f = PLANES[name];
  const bytes = (view: DataView) => new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
  return {
    ...{ numbers, block: f.block, bytes: planeBytes(f), act: 'i8', minima: f.minimum !== 0 },
    pack: (out, N, K, source) => packPlanes(f, N, K, source, bytes(out)),
    unpack: (packed, N, K) => unpackPlanes(f, N, K, bytes(packed)),
  };
}

/** Every format. Backends hold complete records over the same keys, so that one that lacks a format does not compile. */
export const FORMATS: { readonly [F in WeightFormat]: FormatRow<WeightSource[F]> } = {
  f32: {
    numbers: 'binary32',
    ...{ block: 1, bytes: ROWS * 4, act: 'f32', minima: false },
    pack(out, N, K, values) {
      checkLength('f32 source', values.length, N * K);
      for (let n = 0; n < N; n++) {
        const group = (n >> 3) * K * ROWS * 4;
        for (let k = 0; k < K; k++) out.setFloat32(group + f32Offset(n & 7, k), values[n * K + k], true);
      }
    },
    unpack(packed, N, K) {
      const values = new Float32Array(N * K);
      for (let n = 0; n < N; n++) {
        const group = (n >> 3) * K * ROWS * 4;
        for (let k = 0; k < K; k++) values[n * K + k] = packed.getFloat32(group + f32Offset(n & 7, k), true);
      }
      return values;
    },
  },
  w8: { numbers: 'q · d, q in −128..127, an f16 d for each block of 32', minima: false, ...blocks('w8', w8) },
  w4: { numbers: '(q − 8) · d, q in 0..15, an f16 d for each block of 32', minima: false, ...blocks('w4', w4) },
  q4_1: planes('q4_1', 'q · d + m, 4 bits, f16 d and m for each block of 32'),
  q5_0: planes('q5_0', '(q − 16) · d, 5 bits, an f16 d for each block of 32'),
  q5_1: planes('q5_1', 'q · d + m, 5 bits, f16 d and m for each block of 32'),
  iq4_nl: planes('iq4_nl', 'one of 16 values · d, an f16 d for each block of 32'),
  mxfp4: planes('mxfp4', 'E2M1 · 2^e for each block of 32'),
  q2_k: planes('q2_k', 'd · s · q − e · m, 2 bits, s and m of 4 bits for each 16, f16 d and e for each 256'),
  q3_k: planes('q3_k', 'd · s · (q − 4), 3 bits, s of 6 bits for each 16, an f16 d for each 256'),
  q4_k: planes('q4_k', 'd · s · q − e · m, 4 bits, s and m of 6 bits for each 32, f16 d and e for each 256'),
  q5_k: planes('q5_k', 'd · s · q − e · m, 5 bits, s and m of 6 bits for each 32, f16 d and e for each 256'),
  q6_k: planes('q6_k', 'd · s · (q − 32), 6 bits, s of 8 bits for each 16, an f16 d for each 256'),
  iq4_xs: planes('iq4_xs', 'd · s · one of 16 values, s of 6 bits for each 32, an f16 d for each 256'),
  any_k: planes('any_k', 'd · s · q − e · m, 6 bits, s and m of 8 bits for each 16, f16 d and e for each 256'),
};

/** Columns that share a scale in a format of integers. */
export const scaleColumns = (format: WeightFormat): number => (isPlanes(format) ? PLANES[format].sub : BLOCK);

/** Whether a format is one of planes.ts. */
export const isPlanes = (format: string): format is PlaneName => Object.hasOwn(PLANES, format);

/** The format of vectors, and of matrices whose K is not made of another format's blocks. */
export const PLAIN = 'f32' as const satisfies WeightFormat;

/** Names of all formats. */
export const WEIGHT_FORMATS = Object.keys(FORMATS) as WeightFormat[];

export const isWeightFormat = (name: unknown): name is WeightFormat => typeof name === 'string' && Object.hasOwn(FORMATS, name);

function checkLength(what: string, got: number, want: number): void {
  if (got !== want) throw new Error(`weight: ${what} has ${got} elements, must have ${want}`);
}

/** Whether a matrix of K columns can have this format: it stores whole blocks. */
export const fits = (format: WeightFormat, K: number): boolean => Number.isSafeInteger(K) && K >= 1 && K % FORMATS[format].block === 0;

/** Bytes of one group of 8 rows in kernel layout. Throws when K is not made of whole blocks. */
export function rowGroupBytes(format: WeightFormat, K: number): number {
  const { block, bytes } = FORMATS[format];
  if (!Number.isSafeInteger(K) || K < 1) throw new Error(`weight: K is ${K}, must be a positive integer`);
  if (!fits(format, K)) throw new Error(`weight: ${format} needs K to be a multiple of ${block}, got ${K}; keep it f32`);
  return (K / block) * bytes;
}

/** Bytes of a matrix [N, K] in kernel layout. */
export function weightBytes(format: WeightFormat, N: number, K: number): number {
  return Math.ceil(N / ROWS) * rowGroupBytes(format, K);
}

/**
 * Packs [N, K] into kernel layout. To pack a matrix in pieces, call it with pieces of 8·n rows (only the last may have
 * another count) and put the results one after the other. Writes into `out` when given (its padding must be zero).
 * Throws when a length does not match or a q is outside its range.
 */
export function packWeight<F extends WeightFormat>(format: F, N: number, K: number, source: WeightSource[F], out?: Uint8Array): Uint8Array {
  const bytes = weightBytes(format, N, K);
  const packed = out ?? new Uint8Array(bytes);
  checkLength('packed output', packed.length, bytes);
  FORMATS[format].pack(new DataView(packed.buffer, packed.byteOffset, bytes), N, K, source);
  return packed;
}

/** The inverse of packWeight. */
export function unpackWeight<F extends WeightFormat>(format: F, N: number, K: number, packed: Uint8Array): WeightSource[F] {
  checkLength('packed matrix', packed.length, weightBytes(format, N, K));
  return FORMATS[format].unpack(new DataView(packed.buffer, packed.byteOffset, packed.length), N, K);
}

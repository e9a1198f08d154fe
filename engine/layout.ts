/**
 * Byte layouts shared by all backends: weights in kernel layout, KV pages. Little endian.
 * Packs and snapshots store these bytes, so a change here is a new version of LAYOUT.
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
 * rows r and r + 4 share 32 bits, where two shifts turn them into f32.
 */
import type { KvShape, WeightFormat } from './backend.ts';

export const LAYOUT = 2;
/** Quantization block along K, elements. */
export const BLOCK = 32;
/** Tokens a KV page. */
export const PAGE = 16;
/** Rows interleaved in every weight format. N is padded to a multiple of it with zero rows. */
export const ROWS = 8;

/** Bytes a page holds for one layer and kv head. */
export function kvHeadBytes(s: KvShape): number {
  return s.format === 'i8' ? 2 * PAGE * s.headDim + 2 * PAGE * 4 : 2 * PAGE * s.headDim * 4;
}

/**
 * A KV page, [layers][kvHeads] of
 *   i8:  K i8 [d/2][16][2] (pairs of dimensions, tokens between), V i8 [8][d][2] (pairs of tokens), kScale f32 [16], vScale f32 [16]
 *   f32: K f32 [d][16], V f32 [16][d]
 */
export function pageBytes(s: KvShape): number {
  return s.layers * s.kvHeads * kvHeadBytes(s);
}

/** Offset inside an i8 page head of key element (token j of 16, dimension k). */
export const kOffsetI8 = (j: number, k: number) => (k >> 1) * 2 * PAGE + j * 2 + (k & 1);
/** Offset inside an i8 page head, after K, of value element. */
export const vOffsetI8 = (j: number, k: number, d: number) => (j >> 1) * 2 * d + k * 2 + (j & 1);

/** Throws unless a matrix of this format may have K columns: w4 and w8 need whole blocks. */
function checkK(format: WeightFormat, K: number): void {
  if (!Number.isSafeInteger(K) || K < 1) throw new Error(`weight: K is ${K}, must be a positive integer`);
  if (format !== 'f32' && K % BLOCK !== 0) throw new Error(`weight: ${format} needs K to be a multiple of ${BLOCK}, got ${K}; keep it f32`);
}

/** Bytes of one group of 8 rows in kernel layout. */
export function rowGroupBytes(format: WeightFormat, K: number): number {
  checkK(format, K);
  return format === 'f32' ? ROWS * K * 4 : (K / BLOCK) * BLOCK_BYTES[format];
}

/** Bytes of a matrix [N, K] in kernel layout. */
export function weightBytes(format: WeightFormat, N: number, K: number): number {
  return Math.ceil(N / ROWS) * rowGroupBytes(format, K);
}

/** Bytes of a block of 8 rows × 32 columns. */
export const BLOCK_BYTES = { w4: 144, w8: 272 } as const;
/** Offset inside a row group of the quantized value of row r of 8, column k: for w4 the byte that holds its nibble. */
export const w4Offset = (r: number, k: number) => (k >> 5) * BLOCK_BYTES.w4 + ((k & 31) >> 3) * 32 + r * 4 + (k & 3);
export const w4Shift = (k: number) => k & 4; // 0: low nibble, 4: high nibble
export const w8Offset = (r: number, k: number) => (k >> 5) * BLOCK_BYTES.w8 + ((k & 31) >> 1) * 16 + r * 2 + (k & 1);
/** Offset inside a row group of the f16 scale of row r, block b. */
export const scaleOffset = (format: 'w4' | 'w8', r: number, b: number) => (b + 1) * BLOCK_BYTES[format] - 16 + (r & 3) * 4 + (r >> 2) * 2;
/** Offset inside a row group of an f32 weight. */
export const f32Offset = (r: number, k: number) => k * 32 + r * 4;

/** A matrix [N, K] before packing, row-major: w4 q in 0..15 (value (q − 8) · d), w8 q in −127..127, d f16 bits [N, K/32]. */
export interface WeightSource {
  f32: Float32Array;
  w8: { q: Int8Array; d: Uint16Array };
  w4: { q: Uint8Array | Int8Array; d: Uint16Array };
}

function checkLength(what: string, got: number, want: number): void {
  if (got !== want) throw new Error(`weight: ${what} has ${got} elements, must have ${want}`);
}

/**
 * Packs [N, K] into kernel layout. To pack a matrix in pieces, call it with pieces of 8·n rows (only the last may have
 * another count) and put the results one after the other. Writes into `out` when given (its padding must be zero).
 * Throws when a length does not match or a q is outside its range.
 */
export function packWeight<F extends WeightFormat>(format: F, N: number, K: number, source: WeightSource[F], out?: Uint8Array): Uint8Array {
  const bytes = weightBytes(format, N, K);
  const dst = out ?? new Uint8Array(bytes);
  checkLength('packed output', dst.length, bytes);
  const view = new DataView(dst.buffer, dst.byteOffset, bytes);
  const group = rowGroupBytes(format, K);
  if (format === 'f32') {
    const values = source as Float32Array;
    checkLength('f32 source', values.length, N * K);
    for (let n = 0; n < N; n++) {
      const base = (n >> 3) * group;
      for (let k = 0; k < K; k++) view.setFloat32(base + f32Offset(n & 7, k), values[n * K + k], true);
    }
    return dst;
  }
  const { q, d } = source as WeightSource['w4' | 'w8'];
  const blocks = K / BLOCK;
  checkLength(`${format} q`, q.length, N * K);
  checkLength(`${format} d`, d.length, N * blocks);
  for (let n = 0; n < N; n++) {
    const base = (n >> 3) * group;
    const r = n & 7;
    for (let k = 0; k < K; k++) {
      const v = q[n * K + k];
      if (format === 'w4') {
        if (v < 0 || v > 15) throw new Error(`weight: w4 q is ${v} at row ${n}, column ${k}, must be in 0..15`);
        dst[base + w4Offset(r, k)] |= v << w4Shift(k);
      } else {
        if (v === -128) throw new Error(`weight: w8 q is -128 at row ${n}, column ${k}, must be in -127..127`);
        dst[base + w8Offset(r, k)] = v;
      }
    }
    for (let b = 0; b < blocks; b++) view.setUint16(base + scaleOffset(format as 'w4' | 'w8', r, b), d[n * blocks + b], true);
  }
  return dst;
}

/** The inverse of packWeight. */
export function unpackWeight<F extends WeightFormat>(format: F, N: number, K: number, packed: Uint8Array): WeightSource[F] {
  checkLength('packed matrix', packed.length, weightBytes(format, N, K));
  const view = new DataView(packed.buffer, packed.byteOffset, packed.length);
  const group = rowGroupBytes(format, K);
  if (format === 'f32') {
    const values = new Float32Array(N * K);
    for (let n = 0; n < N; n++) {
      const base = (n >> 3) * group;
      for (let k = 0; k < K; k++) values[n * K + k] = view.getFloat32(base + f32Offset(n & 7, k), true);
    }
    return values as WeightSource[F];
  }
  const blocks = K / BLOCK;
  const q = format === 'w4' ? new Uint8Array(N * K) : new Int8Array(N * K);
  const d = new Uint16Array(N * blocks);
  for (let n = 0; n < N; n++) {
    const base = (n >> 3) * group;
    const r = n & 7;
    for (let k = 0; k < K; k++) {
      q[n * K + k] = format === 'w4' ? (packed[base + w4Offset(r, k)] >> w4Shift(k)) & 15 : packed[base + w8Offset(r, k)];
    }
    for (let b = 0; b < blocks; b++) d[n * blocks + b] = view.getUint16(base + scaleOffset(format as 'w4' | 'w8', r, b), true);
  }
  return { q, d } as WeightSource[F];
}

/**
 * Byte layouts shared by all backends: weights in kernel layout, KV pages. Little endian.
 * Packs and snapshots store these bytes, so a change here is a new version of LAYOUT.
 */
import type { KvShape, WeightFormat } from './backend.ts';

export const LAYOUT = 1;
/** Quantization block along K, elements. */
export const BLOCK = 32;
/** Tokens a KV page. */
export const PAGE = 16;
/** Rows interleaved in w4 and w8. N is padded to a multiple of it with zero rows. */
export const ROWS = 4;

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

/** Bytes of a matrix [N, K] in kernel layout. */
export function weightBytes(format: WeightFormat, N: number, K: number): number {
  if (format === 'f32') return Math.ceil(N / ROWS) * ROWS * K * 4;
  if (K % BLOCK !== 0) throw new Error(`${format} needs K to be a multiple of ${BLOCK}, got ${K}`);
  const blocks = (Math.ceil(N / ROWS) * ROWS * K) / BLOCK;
  return blocks * (format === 'w4' ? 2 + BLOCK / 2 : 2 + BLOCK);
}

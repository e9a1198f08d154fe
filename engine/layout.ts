/** The byte layout of a KV page, the same on every backend. Little endian. */
import type { KvShape } from './backend.ts';
import { BLOCK } from './formats.ts';

/** Version of what a page's bytes are: part of its name, and said where pages travel between processes. */
export const PAGE_VERSION = 4;
/** Tokens a KV page. */
export const PAGE = 16;

/** Bytes of a page's integer values of one layer and kv head. */
export const valueBytes = (s: KvShape): number => (s.format === 'i8v4' ? PAGE / 2 : PAGE) * s.headDim;

/** Bytes a page holds for one layer and kv head. */
export function kvHeadBytes(s: KvShape): number {
  if (s.format === 'f32') return 2 * PAGE * s.headDim * 4;
  return PAGE * s.headDim + valueBytes(s) + 2 * PAGE * 4;
}

/** Bytes of what a convolution keeps of one token: i8 blocks of 32 and their f32 scales, or f32. */
export const convTokenBytes = (s: KvShape, width: number): number => (s.format === 'f32' ? width * 4 : width + (width / BLOCK) * 4);

/** Bytes that a page holds for its layers that attend; behind them come those that convolve. */
export const attentionBytes = (s: KvShape): number => s.layers * s.kvHeads * kvHeadBytes(s);

/**
 * A KV page, [layers that attend][kvHeads] of
 *   i8:  K i8 [d/2][16][2] (pairs of dimensions, tokens between), V i8 [8][d][2] (pairs of tokens), kScale f32 [16], vScale f32 [16]
 *   i8v4: as i8, V 4 bits [8][d] (pairs of tokens, the even one in the low half), two's complement
 *   f32: K f32 [d][16], V f32 [16][d]
 * then [layers that convolve][16 tokens] of
 *   i8, i8v4: u i8 [D], scale f32 [D/32]
 *   f32: u f32 [D]
 */
export function pageBytes(s: KvShape): number {
  const { layers, width } = s.convs ?? { layers: 0, width: 0 };
  return attentionBytes(s) + layers * PAGE * convTokenBytes(s, width);
}

/** Offset inside an i8v4 page head, after K, of the byte with a value element. */
export const vOffsetI4 = (j: number, k: number, d: number) => (j >> 1) * d + k;
/** Offset inside an i8 page head of key element (token j of 16, dimension k). */
export const kOffsetI8 = (j: number, k: number) => (k >> 1) * 2 * PAGE + j * 2 + (k & 1);
/** Offset inside an i8 page head, after K, of value element. */
export const vOffsetI8 = (j: number, k: number, d: number) => (j >> 1) * 2 * d + k * 2 + (j & 1);

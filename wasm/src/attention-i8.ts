// Attention over i8 pages: exact integer dot products, in pairs of i16 or in bytes. A row is a query head of a token; all rows that read the same keys
// (the heads of a group, of one or two tokens) go through a page together, two at a time, so that a page is widened
// half as often and stays in the first-level cache.
//
// The ladder, 30 layers of 9 heads, 3 kv heads of 64, milliseconds for one token at depth 1,024 and for 128 tokens at 384:
//   1  a page for two rows' scores, values row by row with 8 weights in registers                3.9   148
//   2  scores and values for two rows, queries and weights spread, exp's constants from memory   3.4   130
//   3  all rows' softmax, then all rows' weights: short chains of several rows at once, 5 % less
//   4  the next page's lines are read while this one is computed: 10 % less for one token, 13 % for 16 sequences at depth 256
//   5  products of bytes where dot-add is one instruction (./attention-bytes): a layer of one token at depth 1,024 64 → 52 µs, 14 heads and 2 kv heads
//      of 64 89 → 73, 4 and 1 of 256 80 → 66; 128 tokens 608 → 536 (Xeon with AVX-VNNI, family 6 model 167, V8 14.1, in turns)
// Tried and dropped: all kv heads of a page before the next page, for one sequential stream (8 % slower: too many rows'
// states at once); softmax in three such passes (no faster). Loops over values written out (0 to 5 % of step 5). What limits it: of pairs,
// a product of i16 does half as much as one of i8, and widening adds a fifth; of bytes, more than half is exact-1's softmax, weights and sums of each page.
// 1 to 4: processor time in workerd, one core of a Zen 4 whose other hardware thread was busy.
import { largest, quantizeRow } from './act';
import {
  scores2 as scores2OfBytes,
  scores as scoresOfBytes,
  splitQuery,
  splitWeights,
  startSums,
  values2 as values2OfBytes,
  values as valuesOfBytes,
} from './attention-bytes';
import { scores2 as scores2OfPairs, scores as scoresOfPairs, spread, values2 as values2OfPairs, values as valuesOfPairs } from './attention-pairs';
import { QSCALE, QUERY, rowBytes, U, WSCALE } from './attention-row';
import { dotAdd } from './dot-add';
import { bound4, inverseScale, maxLane, rne4 } from './numeric';
import { soften, STATE_L, STATE_P } from './softmax';

/** Whether dot-add multiplies unsigned by signed bytes in one instruction. */
const BYTES = dotAdd() == 129540;

/** Eight integers of a query, whose first is of dimension i, as the products want them. */
@inline
export function putQuery(row: usize, i: i32, v: v128): void {
  if (ASC_FEATURE_RELAXED_SIMD && BYTES) splitQuery(row + QUERY + (<usize>i << 1), v);
  else spread(row + QUERY + (<usize>i << 3), v);
}

/** A row whose query is there begins. */
@inline
export function putScale(row: usize, scale: f32, d: i32): void {
  f32.store(row, scale, QSCALE);
  if (ASC_FEATURE_RELAXED_SIMD && BYTES) startSums(row, d);
}

/** Quantizes a query head to 15 bits and a sign. */
function start(row: usize, q: usize, d: i32, sigma: f32): void {
  const amax = largest(q, d);
  const inverse = f32x4.splat(inverseScale(32767, amax));
  const high = f32x4.splat(32767);
  const low = f32x4.splat(-32767);
  for (let i = 0; i < d; i += 8, q += 32) {
    const a = rne4(bound4(f32x4.mul(v128.load(q, 0), inverse), low, high));
    const b = rne4(bound4(f32x4.mul(v128.load(q, 16), inverse), low, high));
    putQuery(row, i, i16x8.narrow_i32x4_s(a, b));
  }
  putScale(row, (amax / 32767) * sigma, d);
  f32.store(row, -Infinity, 0);
  f32.store(row, 0, STATE_L);
}

/** p · value scales, quantized to 15 bits. Lanes from n on hold p = 0, but their scales may be anything. */
@inline
function weigh(row: usize, scales: usize, n: i32): void {
  let w0 = f32x4.mul(v128.load(row, STATE_P), v128.load(scales, 0));
  let w1 = f32x4.mul(v128.load(row, STATE_P + 16), v128.load(scales, 16));
  let w2 = f32x4.mul(v128.load(row, STATE_P + 32), v128.load(scales, 32));
  let w3 = f32x4.mul(v128.load(row, STATE_P + 48), v128.load(scales, 48));
  if (n < 16) {
    const count = i32x4.splat(n);
    w0 = v128.and(w0, i32x4.lt_s(i32x4(0, 1, 2, 3), count));
    w1 = v128.and(w1, i32x4.lt_s(i32x4(4, 5, 6, 7), count));
    w2 = v128.and(w2, i32x4.lt_s(i32x4(8, 9, 10, 11), count));
    w3 = v128.and(w3, i32x4.lt_s(i32x4(12, 13, 14, 15), count));
  }
  const top = maxLane(f32x4.pmax(f32x4.pmax(f32x4.pmax(f32x4.pmax(f32x4.splat(0), w0), w1), w2), w3));
  const inverse = f32x4.splat(inverseScale(32767, top));
  const a = i16x8.narrow_i32x4_s(rne4(f32x4.mul(w0, inverse)), rne4(f32x4.mul(w1, inverse)));
  const b = i16x8.narrow_i32x4_s(rne4(f32x4.mul(w2, inverse)), rne4(f32x4.mul(w3, inverse)));
  f32.store(row, top / 32767, WSCALE);
  if (ASC_FEATURE_RELAXED_SIMD && BYTES) splitWeights(row + U, a, b);
  else {
    spread(row + U, a);
    spread(row + U + 64, b);
  }
}

/** Reads of a page head's lines that are used soon, so that they are under way while other work is done. What it answers must be kept, or the compiler leaves them out. */
@inline
function touch(at: usize, bytes: usize): u32 {
  let seen: u32 = 0;
  for (const end = at + bytes; at < end; at += 64) seen |= load<u8>(at);
  return seen;
}

@inline
function scores(row: usize, head: usize, d: i32): void {
  if (ASC_FEATURE_RELAXED_SIMD && BYTES) scoresOfBytes(row, head, d);
  else scoresOfPairs(row, head, d);
}

@inline
function scores2(a: usize, b: usize, head: usize, d: i32): void {
  if (ASC_FEATURE_RELAXED_SIMD && BYTES) scores2OfBytes(a, b, head, d);
  else scores2OfPairs(a, b, head, d);
}

/** o = o · c + Σ u · v for one row. */
@inline
export function values(row: usize, o: usize, v: usize, d: i32): void {
  if (ASC_FEATURE_RELAXED_SIMD && BYTES) valuesOfBytes(row, o, v, d);
  else valuesOfPairs(row, o, v, d);
}

/** The same for two rows, whose results are at o and r. */
@inline
export function values2(a: usize, b: usize, o: usize, r: usize, v: usize, d: i32): void {
  if (ASC_FEATURE_RELAXED_SIMD && BYTES) values2OfBytes(a, b, o, r, v, d);
  else values2OfPairs(a, b, o, r, v, d);
}

/** Takes a page head into `rows` rows, the first M of which see tokens [lo, n), the others [low, m). */
export function page(rows: usize, bytes: usize, count: i32, M: i32, head: usize, lo: i32, n: i32, low: i32, m: i32, d: i32): void {
  const last = rows + <usize>count * bytes;
  let row = rows;
  for (; row + 2 * bytes <= last; row += 2 * bytes) scores2(row, row + bytes, head, d);
  if (row < last) scores(row, head, d);
  const valueScales = head + (<usize>d << 5) + 64;
  row = rows;
  for (let i = 0; i < count; i++, row += bytes) soften(row, i < M ? lo : low, i < M ? n : m);
  row = rows;
  for (let i = 0; i < count; i++, row += bytes) weigh(row, valueScales, i < M ? n : m);
}

/** A page head of i8v4 as one of i8, at `out`: values of 4 bits become bytes. */
function unpack(out: usize, head: usize, d: i32): void {
  memory.copy(out, head, <usize>d << 4);
  let v = head + (<usize>d << 4);
  let o = out + (<usize>d << 4);
  for (const end = v + (<usize>d << 3); v < end; v += 8, o += 16) {
    const x = v128.load64_zero(v);
    v128.store(o, i8x16.shuffle(i8x16.shr_s(i8x16.shl(x, 4), 4), i8x16.shr_s(x, 4), 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23));
  }
  memory.copy(o, v, 128); // scales
}

/**
 * Tokens [from, to), each over its last `window` positions. row32: f32 [2][H·d] for rows to quantize. scratch: 2 · (H / G) · (224 + 8d) bytes,
 * with `packed` (i8v4) 32d + 128 more.
 */
export function attentionI8(
  out: usize,
  stride: usize,
  quantized: bool,
  row32: usize,
  q: usize,
  layerPool: usize,
  pageBytes: usize,
  headBytes: usize,
  blocks: usize,
  maxBlocks: i32,
  seqOf: usize,
  pos: usize,
  from: i32,
  to: i32,
  H: i32,
  G: i32,
  d: i32,
  scratch: usize,
  sigma: f32,
  window: i32,
  packed: bool,
): void {
  const head = <usize>d << 2; // bytes of a query head
  const width = <usize>H * head;
  const M = H / G;
  const bytes = rowBytes(d);
  let seen: u32 = 0;
  for (let t = from; t < to; ) {
    const seq = load<u32>(seqOf + (<usize>t << 2));
    const length = <i32>load<u32>(pos + (<usize>t << 2)) + 1;
    const cold = t == from || load<u32>(seqOf + (<usize>(t - 1) << 2)) != seq; // no token before has read these pages
    // the next token joins when it is of the same sequence and sees the same pages
    const begin = max(0, length - window);
    let count = 1;
    let next = length;
    let later = begin; // where the next token's window begins
    if (t + 1 < to && load<u32>(seqOf + (<usize>t << 2), 4) == seq) {
      next = <i32>load<u32>(pos + (<usize>t << 2), 4) + 1;
      later = max(0, next - window);
      if ((next + 15) >> 4 == (length + 15) >> 4 && later >> 4 == begin >> 4) count = 2;
    }
    const table = blocks + (<usize>seq * <usize>maxBlocks << 2);
    const y = out + <usize>t * stride;
    const result = quantized ? row32 : y;
    const step = quantized ? width : stride; // from one token's result to the next
    for (let i = 0; i < count; i++) memory.fill(result + <usize>i * step, 0, width);
    const rows = count * M;
    for (let g = 0; g < G; g++) {
      const first = <usize>(g * M) * head;
      if (cold) seen |= touch(layerPool + <usize>load<u32>(table + (<usize>(begin >> 4) << 2)) * pageBytes + <usize>g * headBytes, headBytes);
      for (let r = 0; r < rows; r++) {
        const token = r < M ? 0 : 1;
        start(scratch + <usize>r * bytes, q + <usize>(t + token) * width + first + <usize>(r - token * M) * head, d, sigma);
      }
      for (let i = begin >> 4; i << 4 < length; i++) {
        let at = layerPool + <usize>load<u32>(table + (<usize>i << 2)) * pageBytes + <usize>g * headBytes;
        if (packed) {
          unpack(scratch + <usize>(2 * M) * bytes, at, d);
          at = scratch + <usize>(2 * M) * bytes;
        }
        if (cold && (i + 1) << 4 < length) seen |= touch(layerPool + <usize>load<u32>(table + (<usize>i << 2), 4) * pageBytes + <usize>g * headBytes, headBytes);
        page(scratch, bytes, rows, M, at, max(0, begin - (i << 4)), min(16, length - (i << 4)), max(0, later - (i << 4)), min(16, next - (i << 4)), d);
        const v = at + (<usize>d << 4);
        let r = 0;
        for (; r + 2 <= rows; r += 2) {
          const o = result + first + (r < M ? <usize>r * head : step + <usize>(r - M) * head);
          const p = result + first + (r + 1 < M ? <usize>(r + 1) * head : step + <usize>(r + 1 - M) * head);
          values2(scratch + <usize>r * bytes, scratch + <usize>(r + 1) * bytes, o, p, v, d);
        }
        if (r < rows) values(scratch + <usize>r * bytes, result + first + (r < M ? <usize>r * head : step + <usize>(r - M) * head), v, d);
      }
      for (let r = 0; r < rows; r++) {
        const inverse = f32x4.splat(<f32>1 / f32.load(scratch + <usize>r * bytes, STATE_L));
        const o = result + first + (r < M ? <usize>r * head : step + <usize>(r - M) * head);
        for (let p = o, end = o + head; p < end; p += 16) v128.store(p, f32x4.mul(v128.load(p), inverse));
      }
    }
    if (quantized) for (let i = 0; i < count; i++) quantizeRow(y + <usize>i * stride, row32 + <usize>i * width, H * d);
    t += count;
  }
  store<u32>(scratch, seen);
}

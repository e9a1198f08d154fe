// Attention over i8 pages: exact i16 dot products. A row is a query head of a token; all rows that read the same keys
// (the heads of a group, of one or two tokens) go through a page together, two at a time, so that a page is widened
// half as often and stays in the first-level cache.
//
// The ladder, 30 layers of 9 heads, 3 kv heads of 64, milliseconds for one token at depth 1,024 and for 128 tokens at 384:
//   1  a page for two rows' scores, values row by row with 8 weights in registers                3.9   148
//   2  scores and values for two rows, queries and weights spread, exp's constants from memory   3.4   130
//   3  all rows' softmax, then all rows' weights: short chains of several rows at once, 5 % less
//   4  the next page's lines are read while this one is computed: 10 % less for one token, 13 % for 16 sequences at depth 256
// Tried and dropped: all kv heads of a page before the next page, for one sequential stream (8 % slower: too many rows'
// states at once); softmax in three such passes (no faster). What limits it: a product of i16 does half as much as one of i8, and widening adds a fifth.
// Processor time in workerd, one core of a Zen 4 whose other hardware thread was busy.
import { largest, quantizeRow } from './act';
import { bound4, inverseScale, maxLane, rne4 } from './numeric';
import { soften, STATE, STATE_C, STATE_L, STATE_P } from './softmax';

/** A row: softmax state, then σ · query scale f32, weight scale f32, then the weights u as 8 pairs of i16, spread, then the query as d/2 pairs, spread. */
export const QSCALE: usize = STATE;
const WSCALE: usize = STATE + 4;
export const U: usize = STATE + 16;
export const QUERY: usize = U + 128;

/** Bytes of a row for head size d. */
@inline
export function rowBytes(d: i32): usize {
  return QUERY + (<usize>d << 3);
}

/** Quantizes a query head to 15 bits and a sign. */
function start(row: usize, q: usize, d: i32, sigma: f32): void {
  const amax = largest(q, d);
  const inverse = f32x4.splat(inverseScale(32767, amax));
  const high = f32x4.splat(32767);
  const low = f32x4.splat(-32767);
  let out = row + QUERY;
  for (const end = q + (<usize>d << 2); q < end; q += 32, out += 64) {
    const a = rne4(bound4(f32x4.mul(v128.load(q, 0), inverse), low, high));
    const b = rne4(bound4(f32x4.mul(v128.load(q, 16), inverse), low, high));
    spread(out, i16x8.narrow_i32x4_s(a, b));
  }
  f32.store(row, (amax / 32767) * sigma, QSCALE);
  f32.store(row, -Infinity, 0);
  f32.store(row, 0, STATE_L);
}

/** Four pairs, each four times. */
@inline
export function spread(out: usize, v: v128): void {
  v128.store(out, i32x4.shuffle(v, v, 0, 0, 0, 0), 0);
  v128.store(out, i32x4.shuffle(v, v, 1, 1, 1, 1), 16);
  v128.store(out, i32x4.shuffle(v, v, 2, 2, 2, 2), 32);
  v128.store(out, i32x4.shuffle(v, v, 3, 3, 3, 3), 48);
}

@inline
function add(s: v128, a: v128, b: v128): v128 {
  return i32x4.add(s, i32x4.dot_i16x8_s(a, b));
}

@inline
function storeScores(row: usize, scales: usize, s0: v128, s1: v128, s2: v128, s3: v128): void {
  const q = v128.load32_splat(row, QSCALE);
  const a = f32x4.mul(f32x4.convert_i32x4_s(s0), f32x4.mul(q, v128.load(scales, 0)));
  const b = f32x4.mul(f32x4.convert_i32x4_s(s1), f32x4.mul(q, v128.load(scales, 16)));
  const c = f32x4.mul(f32x4.convert_i32x4_s(s2), f32x4.mul(q, v128.load(scales, 32)));
  const d = f32x4.mul(f32x4.convert_i32x4_s(s3), f32x4.mul(q, v128.load(scales, 48)));
  v128.store(row, a, STATE_P);
  v128.store(row, b, STATE_P + 16);
  v128.store(row, c, STATE_P + 32);
  v128.store(row, d, STATE_P + 48);
}

/** Scores of 16 tokens for one row. */
function scores(row: usize, head: usize, d: i32): void {
  let s0 = i32x4.splat(0);
  let s1 = s0;
  let s2 = s0;
  let s3 = s0;
  let k = head;
  for (let q = row + QUERY, end = q + (<usize>d << 3); q < end; q += 32, k += 64) {
    let v = v128.load(q, 0);
    s0 = add(s0, v, v128.load_ext<i8>(k, 0));
    s1 = add(s1, v, v128.load_ext<i8>(k, 8));
    s2 = add(s2, v, v128.load_ext<i8>(k, 16));
    s3 = add(s3, v, v128.load_ext<i8>(k, 24));
    v = v128.load(q, 16);
    s0 = add(s0, v, v128.load_ext<i8>(k, 32));
    s1 = add(s1, v, v128.load_ext<i8>(k, 40));
    s2 = add(s2, v, v128.load_ext<i8>(k, 48));
    s3 = add(s3, v, v128.load_ext<i8>(k, 56));
  }
  storeScores(row, head + (<usize>d << 5), s0, s1, s2, s3);
}

/** Scores of 16 tokens for two rows. */
function scores2(a: usize, b: usize, head: usize, d: i32): void {
  let s0 = i32x4.splat(0);
  let s1 = s0;
  let s2 = s0;
  let s3 = s0;
  let t0 = s0;
  let t1 = s0;
  let t2 = s0;
  let t3 = s0;
  let k = head;
  let r = b + QUERY;
  for (let q = a + QUERY, end = q + (<usize>d << 3); q < end; q += 32, r += 32, k += 64) {
    let v = v128.load(q, 0);
    let w = v128.load(r, 0);
    let x = v128.load_ext<i8>(k, 0);
    s0 = add(s0, v, x);
    t0 = add(t0, w, x);
    x = v128.load_ext<i8>(k, 8);
    s1 = add(s1, v, x);
    t1 = add(t1, w, x);
    x = v128.load_ext<i8>(k, 16);
    s2 = add(s2, v, x);
    t2 = add(t2, w, x);
    x = v128.load_ext<i8>(k, 24);
    s3 = add(s3, v, x);
    t3 = add(t3, w, x);
    v = v128.load(q, 16);
    w = v128.load(r, 16);
    x = v128.load_ext<i8>(k, 32);
    s0 = add(s0, v, x);
    t0 = add(t0, w, x);
    x = v128.load_ext<i8>(k, 40);
    s1 = add(s1, v, x);
    t1 = add(t1, w, x);
    x = v128.load_ext<i8>(k, 48);
    s2 = add(s2, v, x);
    t2 = add(t2, w, x);
    x = v128.load_ext<i8>(k, 56);
    s3 = add(s3, v, x);
    t3 = add(t3, w, x);
  }
  const scales = head + (<usize>d << 5);
  storeScores(a, scales, s0, s1, s2, s3);
  storeScores(b, scales, t0, t1, t2, t3);
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
  spread(row + U, a);
  spread(row + U + 64, b);
}

/** o = o · c + Σ u · v for one row, 16 bytes of pairs (8 dimensions) at a time. */
export function values(row: usize, o: usize, v: usize, d: i32): void {
  const c = v128.load32_splat(row, STATE_C);
  const scale = v128.load32_splat(row, WSCALE);
  const pair = <usize>d << 1;
  for (const end = v + pair; v < end; v += 16, o += 32) {
    let s = i32x4.splat(0);
    let t = s;
    let p = v;
    for (let u = row + U, stop = u + 128; u < stop; u += 32) {
      let x = v128.load(u, 0);
      s = add(s, x, v128.load_ext<i8>(p, 0));
      t = add(t, x, v128.load_ext<i8>(p, 8));
      p += pair;
      x = v128.load(u, 16);
      s = add(s, x, v128.load_ext<i8>(p, 0));
      t = add(t, x, v128.load_ext<i8>(p, 8));
      p += pair;
    }
    const e = f32x4.add(f32x4.mul(v128.load(o, 0), c), f32x4.mul(f32x4.convert_i32x4_s(s), scale));
    const f = f32x4.add(f32x4.mul(v128.load(o, 16), c), f32x4.mul(f32x4.convert_i32x4_s(t), scale));
    v128.store(o, e, 0);
    v128.store(o, f, 16);
  }
}

/** The same for two rows, whose results are at o and r. */
export function values2(a: usize, b: usize, o: usize, r: usize, v: usize, d: i32): void {
  const pair = <usize>d << 1;
  const other = b - a;
  for (const end = v + pair; v < end; v += 16, o += 32, r += 32) {
    let s0 = i32x4.splat(0);
    let s1 = s0;
    let t0 = s0;
    let t1 = s0;
    let p = v;
    for (let u = a + U, w = u + other, stop = u + 128; u < stop; u += 32, w += 32) {
      let k = v128.load_ext<i8>(p, 0);
      let l = v128.load_ext<i8>(p, 8);
      p += pair;
      let x = v128.load(u, 0);
      s0 = add(s0, x, k);
      s1 = add(s1, x, l);
      x = v128.load(w, 0);
      t0 = add(t0, x, k);
      t1 = add(t1, x, l);
      k = v128.load_ext<i8>(p, 0);
      l = v128.load_ext<i8>(p, 8);
      p += pair;
      x = v128.load(u, 16);
      s0 = add(s0, x, k);
      s1 = add(s1, x, l);
      x = v128.load(w, 16);
      t0 = add(t0, x, k);
      t1 = add(t1, x, l);
    }
    let c = v128.load32_splat(a, STATE_C);
    let scale = v128.load32_splat(a, WSCALE);
    let e = f32x4.add(f32x4.mul(v128.load(o, 0), c), f32x4.mul(f32x4.convert_i32x4_s(s0), scale));
    let f = f32x4.add(f32x4.mul(v128.load(o, 16), c), f32x4.mul(f32x4.convert_i32x4_s(s1), scale));
    v128.store(o, e, 0);
    v128.store(o, f, 16);
    c = v128.load32_splat(b, STATE_C);
    scale = v128.load32_splat(b, WSCALE);
    e = f32x4.add(f32x4.mul(v128.load(r, 0), c), f32x4.mul(f32x4.convert_i32x4_s(t0), scale));
    f = f32x4.add(f32x4.mul(v128.load(r, 16), c), f32x4.mul(f32x4.convert_i32x4_s(t1), scale));
    v128.store(r, e, 0);
    v128.store(r, f, 16);
  }
}

/** Reads of a page head's lines that are used soon, so that they are under way while other work is done. What it answers must be kept, or the compiler leaves them out. */
@inline
function touch(at: usize, bytes: usize): u32 {
  let seen: u32 = 0;
  for (const end = at + bytes; at < end; at += 64) seen |= load<u8>(at);
  return seen;
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

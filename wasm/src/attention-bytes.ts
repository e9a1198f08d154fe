// The products of ./attention-i8 where dot-add multiplies unsigned by signed bytes in one instruction: an integer of 15 bits and a sign
// is 256 · h + l, h signed and l unsigned, so that Σ q · k = 256 · Σ h · k + Σ l · k. The signed operand of the first is h, and so the
// key is the unsigned one, k + 128, of which 128 · Σ h is taken off where the sum begins. Weights of values are not negative: both their bytes are
// unsigned operands. Two dot-adds for 16 products, of pairs of i16 two multiplications and two additions; nothing is widened.
import { QSCALE, QSTART, QUERY, U, WSCALE } from './attention-row';
import { STATE_C, STATE_P } from './softmax';

const SIGNS: usize = memory.data<u8>([128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128], 16);
const UPPER: usize = memory.data<u8>([1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0], 16);

/** Eight integers of a query: h of four, l of four, the same of the others. */
@inline
export function splitQuery(out: usize, v: v128): void {
  v128.store(out, i8x16.shuffle(v, v, 1, 3, 5, 7, 0, 2, 4, 6, 9, 11, 13, 15, 8, 10, 12, 14));
}

/** Where the sums of a query's h with keys + 128 begin. */
@inline
export function startSums(row: usize, d: i32): void {
  let sum = i32x4.splat(0);
  for (let q = row + QUERY, end = q + (<usize>d << 1); q < end; q += 16) sum = dot(sum, v128.load(q), v128.load(UPPER));
  i32.store(row, -128 * (i32x4.extract_lane(sum, 0) + i32x4.extract_lane(sum, 2)), QSTART);
}

/** Two vectors of i16 weights of values as 16 bytes h, then 16 of l. */
@inline
export function splitWeights(out: usize, a: v128, b: v128): void {
  v128.store(out, i8x16.shuffle(a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31), 0);
  v128.store(out, i8x16.shuffle(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30), 16);
}

@inline
function dot(s: v128, signed: v128, unsigned: v128): v128 {
  return i32x4.relaxed_dot_i8x16_i7x16_add_s(signed, unsigned, s);
}

/** Four lanes of the first pairs of two vectors in turn, and of the last. */
@inline
function first(a: v128, b: v128): v128 {
  return v128.shuffle<i16>(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
}

@inline
function last(a: v128, b: v128): v128 {
  return v128.shuffle<i16>(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
}

@inline
function whole(h: v128, l: v128): v128 {
  return f32x4.convert_i32x4_s(i32x4.add(i32x4.shl(h, 8), l));
}

@inline
function score(row: usize, scales: usize, at: usize, h: v128, l: v128): void {
  v128.store(row + at, f32x4.mul(whole(h, l), f32x4.mul(v128.load32_splat(row, QSCALE), v128.load(scales + at))), STATE_P);
}

/** Scores of 16 tokens for one row. */
export function scores(row: usize, head: usize, d: i32): void {
  const signs = v128.load(SIGNS);
  const scales = head + (<usize>d << 5);
  const end = row + QUERY + (<usize>d << 1);
  let h0 = v128.load32_splat(row, QSTART);
  let h1 = h0;
  let h2 = h0;
  let h3 = h0;
  let l0 = i32x4.splat(0);
  let l1 = l0;
  let l2 = l0;
  let l3 = l0;
  for (let q = row + QUERY; q < end; q += 8, head += 64) {
    let a = v128.load(head, 0);
    let b = v128.load(head, 32);
    let v = first(a, b);
    let w = last(a, b);
    const x = v128.load32_splat(q, 0);
    const y = v128.load32_splat(q, 4);
    l0 = dot(l0, v, y);
    l1 = dot(l1, w, y);
    v = v128.xor(v, signs);
    w = v128.xor(w, signs);
    h0 = dot(h0, x, v);
    h1 = dot(h1, x, w);
    a = v128.load(head, 16);
    b = v128.load(head, 48);
    v = first(a, b);
    w = last(a, b);
    l2 = dot(l2, v, y);
    l3 = dot(l3, w, y);
    v = v128.xor(v, signs);
    w = v128.xor(w, signs);
    h2 = dot(h2, x, v);
    h3 = dot(h3, x, w);
  }
  score(row, scales, 0, h0, l0);
  score(row, scales, 16, h1, l1);
  score(row, scales, 32, h2, l2);
  score(row, scales, 48, h3, l3);
}

/** Scores of 16 tokens for two rows, 8 tokens at a time. */
export function scores2(row: usize, other: usize, head: usize, d: i32): void {
  const signs = v128.load(SIGNS);
  const scales = head + (<usize>d << 5);
  const end = row + QUERY + (<usize>d << 1);
  for (let at: usize = 0; at < 64; at += 32) {
    let h0 = v128.load32_splat(row, QSTART);
    let h1 = h0;
    let l0 = i32x4.splat(0);
    let l1 = l0;
    let m0 = v128.load32_splat(other, QSTART);
    let m1 = m0;
    let n0 = l0;
    let n1 = l0;
    let k = head + (at >> 1);
    let r = other + QUERY;
    for (let q = row + QUERY; q < end; q += 8, r += 8, k += 64) {
      const a = v128.load(k, 0);
      const b = v128.load(k, 32);
      let v = first(a, b);
      let w = last(a, b);
      let x = v128.load32_splat(q, 4);
      l0 = dot(l0, v, x);
      l1 = dot(l1, w, x);
      x = v128.load32_splat(r, 4);
      n0 = dot(n0, v, x);
      n1 = dot(n1, w, x);
      v = v128.xor(v, signs);
      w = v128.xor(w, signs);
      x = v128.load32_splat(q, 0);
      h0 = dot(h0, x, v);
      h1 = dot(h1, x, w);
      x = v128.load32_splat(r, 0);
      m0 = dot(m0, x, v);
      m1 = dot(m1, x, w);
    }
    score(row, scales, at, h0, l0);
    score(row, scales, at + 16, h1, l1);
    score(other, scales, at, m0, n0);
    score(other, scales, at + 16, m1, n1);
  }
}

/** o = o · c + sum · scale, four dimensions. */
@inline
function go(o: usize, row: usize, h: v128, l: v128): void {
  v128.store(o, f32x4.add(f32x4.mul(v128.load(o), v128.load32_splat(row, STATE_C)), f32x4.mul(whole(h, l), v128.load32_splat(row, WSCALE))));
}

/** o = o · c + Σ u · v for one row, 8 dimensions at a time. */
export function values(row: usize, o: usize, v: usize, d: i32): void {
  const pair = <usize>d << 1;
  for (const end = v + pair; v < end; v += 16, o += 32) {
    let h0 = i32x4.splat(0);
    let h1 = h0;
    let l0 = h0;
    let l1 = h0;
    let p = v;
    for (let u = row + U, stop = u + 16; u < stop; u += 4, p += 2 * pair) {
      const a = v128.load(p);
      const b = v128.load(p + pair);
      const k = first(a, b);
      const l = last(a, b);
      let x = v128.load32_splat(u, 0);
      h0 = dot(h0, k, x);
      h1 = dot(h1, l, x);
      x = v128.load32_splat(u, 16);
      l0 = dot(l0, k, x);
      l1 = dot(l1, l, x);
    }
    go(o, row, h0, l0);
    go(o + 16, row, h1, l1);
  }
}

/** The same for two rows, whose results are at o and r. */
export function values2(row: usize, other: usize, o: usize, r: usize, v: usize, d: i32): void {
  const pair = <usize>d << 1;
  const apart = other - row;
  for (const end = v + pair; v < end; v += 16, o += 32, r += 32) {
    let h0 = i32x4.splat(0);
    let h1 = h0;
    let l0 = h0;
    let l1 = h0;
    let m0 = h0;
    let m1 = h0;
    let n0 = h0;
    let n1 = h0;
    let p = v;
    for (let u = row + U, w = u + apart, stop = u + 16; u < stop; u += 4, w += 4, p += 2 * pair) {
      const a = v128.load(p);
      const b = v128.load(p + pair);
      const k = first(a, b);
      const l = last(a, b);
      let x = v128.load32_splat(u, 0);
      h0 = dot(h0, k, x);
      h1 = dot(h1, l, x);
      x = v128.load32_splat(u, 16);
      l0 = dot(l0, k, x);
      l1 = dot(l1, l, x);
      x = v128.load32_splat(w, 0);
      m0 = dot(m0, k, x);
      m1 = dot(m1, l, x);
      x = v128.load32_splat(w, 16);
      n0 = dot(n0, k, x);
      n1 = dot(n1, l, x);
    }
    go(o, row, h0, l0);
    go(o + 16, row, h1, l1);
    go(r, other, m0, n0);
    go(r + 16, other, m1, n1);
  }
}

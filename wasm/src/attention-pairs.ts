// The products of ./attention-i8 in pairs of i16: weights u as 8 pairs, spread, and the query as d/2 pairs, spread.
import { QSCALE, QUERY, U, WSCALE } from './attention-row';
import { STATE_C, STATE_P } from './softmax';

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
export function scores(row: usize, head: usize, d: i32): void {
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
export function scores2(a: usize, b: usize, head: usize, d: i32): void {
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

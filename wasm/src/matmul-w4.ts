// i8 activations × w4.
import { ACT_BLOCK, ACT_CORRECTION, ACT_SCALE } from './act';
import { finish } from './finish';
import { f16x4 } from './numeric';

/** s + pair sums of 4 rows × 4 k: nibbles w times the four activations at `a`. */
@inline
function step(s: v128, w: v128, a: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return i16x8.add(s, i16x8.relaxed_dot_i8x16_i7x16_s(a, w));
  const even = i16x8.mul(i16x8.shr_s(i16x8.shl(a, 8), 8), v128.and(w, i16x8.splat(255)));
  const odd = i16x8.mul(i16x8.shr_s(a, 8), i16x8.shr_u(w, 8));
  return i16x8.add(s, i16x8.add(even, odd));
}

@inline
function low(w: v128): v128 {
  return v128.and(w, i8x16.splat(15));
}

@inline
function high(w: v128): v128 {
  return v128.and(i16x8.shr_u(w, 4), i8x16.splat(15));
}

/** One token, rows [from, to). act: its blocks. acc: 16 bytes. */
export function matmulW4One(y: usize, act: usize, w: usize, N: i32, K: i32, from: i32, to: i32, bias: usize, accumulate: bool, acc: usize): void {
  const blocks = <usize>K >> 5;
  const group = blocks * 72;
  for (let n = from; n < to; n += 4) {
    let q = w + <usize>(n >> 2) * group;
    let a = act;
    let sum = f32x4.splat(0);
    for (let d = q + blocks * 64, end = q + group; d < end; d += 8, q += 64, a += ACT_BLOCK) {
      let s = v128.load32_splat(a, ACT_CORRECTION);
      let v = v128.load(q, 0);
      s = step(s, low(v), v128.load32_splat(a, 0));
      s = step(s, high(v), v128.load32_splat(a, 4));
      v = v128.load(q, 16);
      s = step(s, low(v), v128.load32_splat(a, 8));
      s = step(s, high(v), v128.load32_splat(a, 12));
      v = v128.load(q, 32);
      s = step(s, low(v), v128.load32_splat(a, 16));
      s = step(s, high(v), v128.load32_splat(a, 20));
      v = v128.load(q, 48);
      s = step(s, low(v), v128.load32_splat(a, 24));
      s = step(s, high(v), v128.load32_splat(a, 28));
      const idot = f32x4.convert_i32x4_s(i32x4.extadd_pairwise_i16x8_s(s));
      sum = f32x4.add(sum, f32x4.mul(idot, f32x4.mul(f16x4(d), v128.load32_splat(a, ACT_SCALE))));
    }
    v128.store(acc, sum);
    finish(y, acc, 1, n, N, bias, accumulate);
  }
}

/** A tile of tokens, rows [from, to): a block of 4 rows stays in 8 registers while the tokens stream by. acc: 16 bytes a token. */
export function matmulW4(y: usize, act: usize, w: usize, tokens: i32, N: i32, K: i32, from: i32, to: i32, bias: usize, accumulate: bool, acc: usize): void {
  const blocks = <usize>K >> 5;
  const group = blocks * 72;
  const stride = blocks * ACT_BLOCK;
  const accEnd = acc + (<usize>tokens << 4);
  for (let n = from; n < to; n += 4) {
    let q = w + <usize>(n >> 2) * group;
    let first = act;
    for (let p = acc; p < accEnd; p += 16) v128.store(p, f32x4.splat(0));
    for (let d = q + blocks * 64, end = q + group; d < end; d += 8, q += 64, first += ACT_BLOCK) {
      const scale = f16x4(d);
      const v0 = v128.load(q, 0);
      const w0 = low(v0);
      const w1 = high(v0);
      const v1 = v128.load(q, 16);
      const w2 = low(v1);
      const w3 = high(v1);
      const v2 = v128.load(q, 32);
      const w4 = low(v2);
      const w5 = high(v2);
      const v3 = v128.load(q, 48);
      const w6 = low(v3);
      const w7 = high(v3);
      let a = first;
      for (let p = acc; p < accEnd; p += 16, a += stride) {
        let s = v128.load32_splat(a, ACT_CORRECTION);
        s = step(s, w0, v128.load32_splat(a, 0));
        s = step(s, w1, v128.load32_splat(a, 4));
        s = step(s, w2, v128.load32_splat(a, 8));
        s = step(s, w3, v128.load32_splat(a, 12));
        s = step(s, w4, v128.load32_splat(a, 16));
        s = step(s, w5, v128.load32_splat(a, 20));
        s = step(s, w6, v128.load32_splat(a, 24));
        s = step(s, w7, v128.load32_splat(a, 28));
        const idot = f32x4.convert_i32x4_s(i32x4.extadd_pairwise_i16x8_s(s));
        v128.store(p, f32x4.add(v128.load(p), f32x4.mul(idot, f32x4.mul(scale, v128.load32_splat(a, ACT_SCALE)))));
      }
    }
    finish(y, acc, tokens, n, N, bias, accumulate);
  }
}

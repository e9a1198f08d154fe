// i8 activations × w8: both operands widened to i16, exact i32 sums. The activations are widened once a call.
import { ACT_BLOCK, ACT_SCALE } from './act';
import { finish } from './finish';
import { f16x4 } from './numeric';

/** Widens one token's blocks to [K/32] of 68 bytes: 32 × i16 and the scale. */
const WIDE: usize = 68;

export function widen(out: usize, act: usize, blocks: i32): void {
  for (let b = 0; b < blocks; b++, out += WIDE, act += ACT_BLOCK) {
    for (let i: usize = 0; i < 32; i += 8) v128.store(out + 2 * i, v128.load_ext<i8>(act + i));
    f32.store(out, f32.load(act, ACT_SCALE), 64);
  }
}

@inline
function step(s: v128, w: v128, a: usize): v128 {
  return i32x4.add(s, i32x4.dot_i16x8_s(w, v128.load32_splat(a)));
}

/** Rows [from, to) for up to `tokens` tokens whose widened activations [tokens][K/32] are at `wide`. y is the first token's row. acc: 16 bytes a token. */
export function matmulW8(y: usize, wide: usize, w: usize, tokens: i32, N: i32, K: i32, from: i32, to: i32, bias: usize, accumulate: bool, acc: usize): void {
  const blocks = <usize>K >> 5;
  const stride = blocks * WIDE;
  const group = blocks * 136;
  for (let n = from; n < to; n += 4) {
    const rows = w + <usize>(n >> 2) * group;
    let t = 0;
    for (; t + 4 <= tokens; t += 4) {
      let q = rows;
      let a0 = wide + <usize>t * stride;
      let a1 = a0 + stride;
      let a2 = a1 + stride;
      let a3 = a2 + stride;
      let s0 = f32x4.splat(0);
      let s1 = f32x4.splat(0);
      let s2 = f32x4.splat(0);
      let s3 = f32x4.splat(0);
      for (let d = rows + blocks * 128, end = rows + group; d < end; d += 8) {
        let i0 = i32x4.splat(0);
        let i1 = i32x4.splat(0);
        let i2 = i32x4.splat(0);
        let i3 = i32x4.splat(0);
        for (const stop = a0 + 64; a0 < stop; q += 8, a0 += 4, a1 += 4, a2 += 4, a3 += 4) {
          const v = v128.load_ext<i8>(q);
          i0 = step(i0, v, a0);
          i1 = step(i1, v, a1);
          i2 = step(i2, v, a2);
          i3 = step(i3, v, a3);
        }
        const scale = f16x4(d);
        s0 = f32x4.add(s0, f32x4.mul(f32x4.convert_i32x4_s(i0), f32x4.mul(scale, v128.load32_splat(a0))));
        s1 = f32x4.add(s1, f32x4.mul(f32x4.convert_i32x4_s(i1), f32x4.mul(scale, v128.load32_splat(a1))));
        s2 = f32x4.add(s2, f32x4.mul(f32x4.convert_i32x4_s(i2), f32x4.mul(scale, v128.load32_splat(a2))));
        s3 = f32x4.add(s3, f32x4.mul(f32x4.convert_i32x4_s(i3), f32x4.mul(scale, v128.load32_splat(a3))));
        a0 += 4;
        a1 += 4;
        a2 += 4;
        a3 += 4;
      }
      v128.store(acc + (<usize>t << 4), s0, 0);
      v128.store(acc + (<usize>t << 4), s1, 16);
      v128.store(acc + (<usize>t << 4), s2, 32);
      v128.store(acc + (<usize>t << 4), s3, 48);
    }
    for (; t < tokens; t++) {
      let q = rows;
      let a0 = wide + <usize>t * stride;
      let s0 = f32x4.splat(0);
      for (let d = rows + blocks * 128, end = rows + group; d < end; d += 8) {
        let i0 = i32x4.splat(0);
        let i1 = i32x4.splat(0);
        for (const stop = a0 + 64; a0 < stop; q += 16, a0 += 8) {
          i0 = step(i0, v128.load_ext<i8>(q), a0);
          i1 = step(i1, v128.load_ext<i8>(q, 8), a0 + 4);
        }
        s0 = f32x4.add(s0, f32x4.mul(f32x4.convert_i32x4_s(i32x4.add(i0, i1)), f32x4.mul(f16x4(d), v128.load32_splat(a0))));
        a0 += 4;
      }
      v128.store(acc + (<usize>t << 4), s0);
    }
    finish(y, acc, tokens, n, N, bias, accumulate);
  }
}

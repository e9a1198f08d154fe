// i8 activations × w8: both operands widened to i16, exact i32 sums. Signed 8-bit weights do not fit the 0..127 of the
// relaxed product, and two products of 7 bits fill an i16, so that splitting or biasing them would not save anything.
//
// The ladder, [3072, 576] at 1 and 128 tokens:
//   1  activations widened once a call, broadcast per pair, 4 rows × 4 tokens        10    14
//   2  spread over the rows, 8 rows, the same tile as w4 (tile.ts)                   13    27
// What limits it: 37 vector operations a 128 products; one token reads 14 GB/s.
// Figures: G multiply-adds a second in workerd (V8 14.7), processor time, one core of a Zen 4 at about 3.4 GHz whose other
// hardware thread was busy; there, 128-bit maddubs and add alone reach 56 (C), and memory gives 20 GB/s.
import { ACT_BLOCK } from './act';
import { finish } from './finish';
import { tileRows } from './tile';
import { add, highScales, lowScales, spread16, total } from './wide';

const BLOCK: usize = 272;
/** Bytes of a block of 32 of a spread token, and of 8 unpacked rows. */
export const wideW8: i32 = 288;
export const rowsW8: i32 = 544;

/** Spreads `tokens` tokens for matmulW8 and matmulW8One: products start at 0, there is no correction. */
export function spreadW8(out: usize, act: usize, tokens: i32, blocks: i32): void {
  for (let t = 0; t < tokens; t++) {
    const to = out + <usize>(t * blocks) * wideW8;
    spread16(to, act + <usize>(t * blocks) * ACT_BLOCK, blocks, false);
    for (let p = to + 256, end = p + <usize>(blocks * wideW8); p < end; p += wideW8) v128.store(p, i32x4.splat(0));
  }
}

/** Widens a row group. */
function unpack(out: usize, q: usize, blocks: i32): void {
  for (const end = q + <usize>blocks * BLOCK; q < end; q += 16, out += 32) {
    for (const stop = q + 256; q < stop; q += 16, out += 32) {
      const v = v128.load(q);
      v128.store(out, i16x8.extend_low_i8x16_s(v), 0);
      v128.store(out, i16x8.extend_high_i8x16_s(v), 16);
    }
    const d = v128.load(q);
    v128.store(out, lowScales(d), 0);
    v128.store(out, highScales(d), 16);
  }
}

/** Rows [from, to) for a few tokens spread at `a`. y: the first token's row. rows: scratch for 8 unpacked rows. acc: 128 bytes. */
export function matmulW8(y: usize, a: usize, w: usize, tokens: i32, N: i32, K: i32, from: i32, to: i32, bias: usize, accumulate: bool, rows: usize, acc: usize): void {
  const blocks = K >> 5;
  for (let n = from; n < to; n += 8) {
    unpack(rows, w + <usize>((n >> 3) * blocks) * BLOCK, blocks);
    tileRows<i16>(y, a, rows, tokens, blocks, n, N, bias, accumulate, acc);
  }
}

/** Rows [from, to) for one token spread at `wide`: weights are widened in registers. */
export function matmulW8One(y: usize, wide: usize, w: usize, N: i32, K: i32, from: i32, to: i32, bias: usize, accumulate: bool): void {
  const blocks = K >> 5;
  let q = w + <usize>((from >> 3) * blocks) * BLOCK;
  const end = wide + <usize>(blocks * wideW8);
  for (let n = from; n < to; n += 8) {
    let low = f32x4.splat(0);
    let high = f32x4.splat(0);
    for (let a = wide; a < end; a += 32, q += 16) {
      let s = i32x4.splat(0);
      let t = i32x4.splat(0);
      for (const stop = q + 256; q < stop; q += 64, a += 64) {
        let v = v128.load(q, 0);
        let x = v128.load(a, 0);
        s = add<i16>(s, x, i16x8.extend_low_i8x16_s(v));
        t = add<i16>(t, x, i16x8.extend_high_i8x16_s(v));
        v = v128.load(q, 16);
        x = v128.load(a, 16);
        s = add<i16>(s, x, i16x8.extend_low_i8x16_s(v));
        t = add<i16>(t, x, i16x8.extend_high_i8x16_s(v));
        v = v128.load(q, 32);
        x = v128.load(a, 32);
        s = add<i16>(s, x, i16x8.extend_low_i8x16_s(v));
        t = add<i16>(t, x, i16x8.extend_high_i8x16_s(v));
        v = v128.load(q, 48);
        x = v128.load(a, 48);
        s = add<i16>(s, x, i16x8.extend_low_i8x16_s(v));
        t = add<i16>(t, x, i16x8.extend_high_i8x16_s(v));
      }
      const d = v128.load(q);
      const e = v128.load(a, 16);
      low = f32x4.add(low, f32x4.mul(total<i16>(s, s), f32x4.mul(lowScales(d), e)));
      high = f32x4.add(high, f32x4.mul(total<i16>(t, t), f32x4.mul(highScales(d), e)));
    }
    finish(y, low, high, n, N, bias, accumulate);
  }
}

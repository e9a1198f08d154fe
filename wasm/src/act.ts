// Activations. f32: [T][K]. i8: [T][K/32] of 40 bytes: 32 × i8, their f32 scale, and two i16 corrections: −8 times the
// sum of the elements with k mod 4 in {0, 1}, and in {2, 3}. w4 products use q in 0..15 instead of q − 8; starting the
// i16 sums from the corrections takes the difference back, modulo 2¹⁶, before the one widening.
import { clamp4, inverseScale, maxLane, rne4 } from './numeric';

export const ACT_BLOCK: usize = 40;
export const ACT_SCALE: usize = 32;
export const ACT_CORRECTION: usize = 36;

@inline
function round(x: v128, inverse: v128): v128 {
  return rne4(clamp4(f32x4.mul(x, inverse), 127));
}

/** Quantizes 32 values into the block at `at`. */
@inline
export function storeBlock(at: usize, y0: v128, y1: v128, y2: v128, y3: v128, y4: v128, y5: v128, y6: v128, y7: v128): void {
  let m = f32x4.pmax(f32x4.splat(0), f32x4.abs(y0));
  let n = f32x4.pmax(f32x4.splat(0), f32x4.abs(y1));
  m = f32x4.pmax(m, f32x4.abs(y2));
  n = f32x4.pmax(n, f32x4.abs(y3));
  m = f32x4.pmax(m, f32x4.abs(y4));
  n = f32x4.pmax(n, f32x4.abs(y5));
  m = f32x4.pmax(m, f32x4.abs(y6));
  n = f32x4.pmax(n, f32x4.abs(y7));
  const amax = maxLane(f32x4.pmax(m, n));
  const inverse = f32x4.splat(inverseScale(127, amax));
  const a = i8x16.narrow_i16x8_s(
    i16x8.narrow_i32x4_s(round(y0, inverse), round(y1, inverse)),
    i16x8.narrow_i32x4_s(round(y2, inverse), round(y3, inverse)),
  );
  const b = i8x16.narrow_i16x8_s(
    i16x8.narrow_i32x4_s(round(y4, inverse), round(y5, inverse)),
    i16x8.narrow_i32x4_s(round(y6, inverse), round(y7, inverse)),
  );
  v128.store(at, a, 0);
  v128.store(at, b, 16);
  f32.store(at, amax / 127, ACT_SCALE);
  let s = i16x8.add(i16x8.extadd_pairwise_i8x16_s(a), i16x8.extadd_pairwise_i8x16_s(b)); // lanes: {0,1}, {2,3}, {0,1}, …
  s = i16x8.add(s, i32x4.shuffle(s, s, 2, 3, 0, 1));
  s = i16x8.add(s, i32x4.shuffle(s, s, 1, 0, 3, 2));
  i32.store(at, i32x4.extract_lane(i16x8.shl(i16x8.neg(s), 3), 0), ACT_CORRECTION);
}

/** Quantizes n f32 values (a multiple of 32) at x into blocks at `at`. */
export function quantizeRow(at: usize, x: usize, n: i32): void {
  for (const end = x + (<usize>n << 2); x < end; x += 128, at += ACT_BLOCK) {
    storeBlock(
      at,
      v128.load(x, 0),
      v128.load(x, 16),
      v128.load(x, 32),
      v128.load(x, 48),
      v128.load(x, 64),
      v128.load(x, 80),
      v128.load(x, 96),
      v128.load(x, 112),
    );
  }
}

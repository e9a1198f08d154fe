// Activations. f32: [T][K]. i8: [T][K/32] of 40 bytes: 32 × i8, their f32 scale, and two i16 corrections: −8 times the
// sum of the elements with k mod 4 in {0, 1}, and in {2, 3}. w4 products use q in 0..15 instead of q − 8; starting the
// i16 sums from the corrections takes the difference back, modulo 2¹⁶, before the one widening.
import { abs4, bound4, inverseScale, maxLane, rne4 } from './numeric';

export const ACT_BLOCK: usize = 40;
export const ACT_SCALE: usize = 32;
export const ACT_CORRECTION: usize = 36;

/** Four products with `inverse`, rounded. */
@inline
function quantize4(x: usize, inverse: v128, low: v128, high: v128): v128 {
  return rne4(bound4(f32x4.mul(v128.load(x), inverse), low, high));
}

/** Largest magnitude of n values (a multiple of 8). */
@inline
export function largest(x: usize, n: i32): f32 {
  let a = f32x4.splat(0);
  let b = f32x4.splat(0);
  for (const end = x + (<usize>n << 2); x < end; x += 32) {
    a = f32x4.pmax(a, abs4(v128.load(x, 0)));
    b = f32x4.pmax(b, abs4(v128.load(x, 16)));
  }
  return maxLane(f32x4.pmax(a, b));
}

/** Quantizes n f32 values (a multiple of 32) at x into blocks at `at`. */
export function quantizeRow(at: usize, x: usize, n: i32): void {
  const high = f32x4.splat(127);
  const low = f32x4.splat(-127);
  for (const end = x + (<usize>n << 2); x < end; at += ACT_BLOCK) {
    const amax = largest(x, 32);
    const inverse = f32x4.splat(inverseScale(127, amax));
    let sums = i16x8.splat(0); // lanes: k mod 4 in {0, 1}, {2, 3}, {0, 1}, …
    for (let out = at, stop = x + 128; x < stop; x += 64, out += 16) {
      const a = i16x8.narrow_i32x4_s(quantize4(x, inverse, low, high), quantize4(x + 16, inverse, low, high));
      const b = i16x8.narrow_i32x4_s(quantize4(x + 32, inverse, low, high), quantize4(x + 48, inverse, low, high));
      const q = i8x16.narrow_i16x8_s(a, b);
      sums = i16x8.add(sums, i16x8.extadd_pairwise_i8x16_s(q));
      v128.store(out, q);
    }
    sums = i16x8.add(sums, i32x4.shuffle(sums, sums, 2, 3, 0, 1));
    sums = i16x8.add(sums, i32x4.shuffle(sums, sums, 1, 0, 3, 2));
    f32.store(at, amax / 127, ACT_SCALE);
    i32.store(at, i32x4.extract_lane(i16x8.shl(i16x8.neg(sums), 3), 0), ACT_CORRECTION);
  }
}

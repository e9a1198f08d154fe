// The arithmetic of exact-1 on four lanes (NUMERICS.md). pmax, pmin and the rounding constant are one instruction each
// where f32x4.max, min, nearest and trunc_sat are several.

const ROUND: f32 = 12582912.0; // 1.5 · 2²³: adding it leaves the nearest integer, ties to even, in the low bits
const ROUND_BITS: i32 = 0x4b400000;

/** Integers nearest to x, |x| < 2²². */
@inline
export function rne4(x: v128): v128 {
  return i32x4.sub(f32x4.add(x, f32x4.splat(ROUND)), i32x4.splat(ROUND_BITS));
}

@inline
export function clamp4(x: v128, limit: f32): v128 {
  return f32x4.pmin(f32x4.splat(limit), f32x4.pmax(f32x4.splat(-limit), x));
}

/** Cephes' expf without fused operations, x clamped. */
@inline
export function exp4(v: v128): v128 {
  const x = f32x4.pmin(f32x4.splat(88.37), f32x4.pmax(f32x4.splat(-87.33), v));
  const t = f32x4.add(f32x4.mul(x, f32x4.splat(1.44269504088896341)), f32x4.splat(ROUND));
  const n = f32x4.sub(t, f32x4.splat(ROUND));
  const r = f32x4.sub(f32x4.sub(x, f32x4.mul(n, f32x4.splat(0.693359375))), f32x4.mul(n, f32x4.splat(-2.12194440e-4)));
  let p = f32x4.add(f32x4.mul(f32x4.splat(1.9875691500e-4), r), f32x4.splat(1.3981999507e-3));
  p = f32x4.add(f32x4.mul(p, r), f32x4.splat(8.3334519073e-3));
  p = f32x4.add(f32x4.mul(p, r), f32x4.splat(4.1665795894e-2));
  p = f32x4.add(f32x4.mul(p, r), f32x4.splat(1.6666665459e-1));
  p = f32x4.add(f32x4.mul(p, r), f32x4.splat(5.0000001201e-1));
  const y = f32x4.add(f32x4.add(f32x4.mul(p, f32x4.mul(r, r)), r), f32x4.splat(1));
  // the low bits of t hold n: (n + 127) << 23 is 2ⁿ
  return f32x4.mul(y, i32x4.add(i32x4.shl(t, 23), i32x4.splat(127 << 23)));
}

/** (s0 + s1) + (s2 + s3) */
@inline
export function lane4Sum(s: v128): f32 {
  return f32x4.extract_lane(s, 0) + f32x4.extract_lane(s, 1) + (f32x4.extract_lane(s, 2) + f32x4.extract_lane(s, 3));
}

/** Largest lane. */
@inline
export function maxLane(m: v128): f32 {
  const a = f32x4.pmax(m, i32x4.shuffle(m, m, 2, 3, 0, 1));
  return f32x4.extract_lane(f32x4.pmax(a, i32x4.shuffle(a, a, 1, 0, 3, 2)), 0);
}

/** limit / x, or 0 where x counts as zero. */
@inline
export function inverseScale(limit: f32, x: f32): f32 {
  return x >= <f32>7.888609052210118e-31 ? limit / x : 0; // 2⁻¹⁰⁰
}

/** A finite f16 as f32: the exponent is corrected by a multiplication, which also lifts subnormals. */
@inline
export function f16Scale(bits: u32): f32 {
  return reinterpret<f32>(((bits & 0x8000) << 16) | ((bits & 0x7fff) << 13)) * <f32>5.192296858534828e33; // 2¹¹²
}

/** Four f16 at `at` as f32. */
@inline
export function f16x4(at: usize): v128 {
  const bits = v128.and(i32x4.shl(v128.load_ext<i16>(at), 13), i32x4.splat(0x8fffe000));
  return f32x4.mul(bits, f32x4.splat(5.192296858534828e33)); // 2¹¹²
}

// The arithmetic of exact-1 on four lanes (NUMERICS.md). pmax, pmin and the rounding constant are one instruction each
// where f32x4.max, min, nearest and trunc_sat are several.
import { EXP, magnitude, one, roundBits } from './constants';

/** Integers nearest to x, |x| < 2²². */
@inline
export function rne4(x: v128): v128 {
  return i32x4.sub(f32x4.add(x, roundBits()), roundBits());
}

/** x in low..high. */
@inline
export function bound4(x: v128, low: v128, high: v128): v128 {
  return f32x4.pmin(high, f32x4.pmax(low, x));
}

@inline
export function clamp4(x: v128, limit: f32): v128 {
  return bound4(x, f32x4.splat(-limit), f32x4.splat(limit));
}

@inline
export function abs4(x: v128): v128 {
  return v128.and(x, magnitude());
}

/** Cephes' expf without fused operations, x clamped. */
@inline
export function exp4(x: v128): v128 {
  return clamped(f32x4.pmin(v128.load(EXP, 160), f32x4.pmax(v128.load(EXP, 144), x)));
}

/** The same for x that the upper bound does not touch: not above 88, or NaN. */
@inline
export function expBelow4(x: v128): v128 {
  return clamped(f32x4.pmax(v128.load(EXP, 144), x));
}

@inline
function clamped(x: v128): v128 {
  const t = f32x4.add(f32x4.mul(x, v128.load(EXP, 0)), roundBits());
  const n = f32x4.sub(t, roundBits());
  const r = f32x4.sub(f32x4.sub(x, f32x4.mul(n, v128.load(EXP, 16))), f32x4.mul(n, v128.load(EXP, 32)));
  let p = f32x4.add(f32x4.mul(v128.load(EXP, 48), r), v128.load(EXP, 64));
  p = f32x4.add(f32x4.mul(p, r), v128.load(EXP, 80));
  p = f32x4.add(f32x4.mul(p, r), v128.load(EXP, 96));
  p = f32x4.add(f32x4.mul(p, r), v128.load(EXP, 112));
  p = f32x4.add(f32x4.mul(p, r), v128.load(EXP, 128));
  const y = f32x4.add(f32x4.add(f32x4.mul(p, f32x4.mul(r, r)), r), one());
  // the low bits of t hold n: (n + 127) << 23 is 2ⁿ
  return f32x4.mul(y, i32x4.add(i32x4.shl(t, 23), one()));
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

/** The arithmetic of exact-1 (NUMERICS.md): binary32, one rounding a written operation, in the written order. */

import { clamp, exp, f, max, min, rne } from '../../engine/numeric.ts';

export { clamp, exp, f, max, min, rne };

export const sigmoid = (x: number): number => f(1 / f(1 + exp(-x)));

/** Σ term(k) for k in 0..n, as four partial sums by k mod 4. */
export function lane4(n: number, term: (k: number) => number): number {
  const s = [0, 0, 0, 0];
  for (let k = 0; k < n; k++) s[k & 3] = f(s[k & 3] + term(k));
  return f(f(s[0] + s[1]) + f(s[2] + s[3]));
}

/** 2⁻¹⁰⁰. Below this a block counts as zero, so that the inverse of its scale stays finite. */
const TINY = 2 ** -100;

/** Quantizes x[0..n) to integers in −limit..limit. Returns the scale: x ≈ q · scale. */
export function quantize(q: Int8Array | Int16Array, x: Float32Array, limit: number): number {
  let amax = 0;
  for (const v of x) amax = max(amax, Math.abs(v));
  const inverse = amax >= TINY ? f(limit / amax) : 0;
  for (let k = 0; k < x.length; k++) q[k] = rne(clamp(f(x[k] * inverse), -limit, limit));
  return f(amax / limit);
}

/** limit / x, or 0 when x counts as zero. */
export const inverseScale = (limit: number, x: number): number => (x >= TINY ? f(limit / x) : 0);

/**
 * Rounds values to GGUF's formats with minima, five or six bits, or super-blocks: of every sub-block the scale (and minimum) with the least
 * squared error is searched for, each column's error weighted by its importance. With the mean square of what a column is multiplied by as its
 * importance, that is the error of the outputs, as far as columns do not go together (what llama.cpp takes an importance matrix for).
 */
import { f16ToF32, f32ToF16 } from '../../engine/math.ts';
import { emptyPlanes, PLANES, type PlaneFormat, type Planes } from '../../engine/planes.ts';

/** Formats of planes that values can be rounded to. */
export const SEARCHED = ['q4_1', 'q5_0', 'q5_1', 'q2_k', 'q3_k', 'q4_k', 'q5_k', 'q6_k'] as const;
export type Searched = (typeof SEARCHED)[number];

export const isSearched = (format: string): format is Searched => SEARCHED.some((f) => f === format);

/** Scales that are tried for a sub-block, over a range around the one that takes its largest values exactly. */
const TRIES = 16;
const RANGE = 0.3;

const round = (x: number, lo: number, hi: number): number => Math.max(lo, Math.min(hi, Math.round(x)));
const sum = (bits: readonly number[]): number => bits.reduce((a, b) => a + b, 0);

/** A sub-block's scale and minimum as real numbers. */
interface Fit {
  s: number;
  m: number;
}

/** Rounds x [rows, K]; `importance` [K], the same for all columns unless given. Throws RangeError when a scale is too large for an f16. */
export function quantizeSearched(format: Searched, x: Float32Array, K: number, importance?: ArrayLike<number>): Planes {
  const f: PlaneFormat = PLANES[format];
  const { block, sub, zero } = f;
  const top = 2 ** sum(f.q) - 1;
  const out = emptyPlanes(f, x.length / K, K);
  const weights = Float64Array.from({ length: K }, (_, k) => importance?.[k] ?? 1);
  const fits: Fit[] = Array.from({ length: block / sub }, () => ({ s: 0, m: 0 }));
  for (let b = 0, at = 0; at < x.length; b++, at += block) {
    const first = (b * fits.length) | 0;
    const column = at % K;
    for (const [j, fit] of fits.entries()) {
      const from = at + j * sub;
      if (f.minimum) fitMinimum(fit, x, from, sub, weights, column + j * sub, top, f.minimum < 0);
      else fitScale(fit, x, from, sub, weights, column + j * sub, -zero, top - zero);
    }
    const held = f.scales.length > 0 ? superBlock(f, fits, out, b, first) : plainBlock(f, fits[0], out, b);
    for (const [j, { s, m }] of held.entries()) {
      for (let i = at + j * sub; i < at + (j + 1) * sub; i++) out.q[i] = s === 0 ? zero : round((x[i] - m) / s + zero, 0, top);
    }
  }
  return out;
}

/** x ≈ s · (u − zero), lo ≤ u − zero ≤ hi: tries scales, each with the codes and then the scale that suit best. */
function fitScale(fit: Fit, x: Float32Array, from: number, n: number, w: Float64Array, column: number, lo: number, hi: number): void {
  let max = 0;
  for (let i = from; i < from + n; i++) if (Math.abs(x[i]) > Math.abs(max)) max = x[i];
  fit.s = fit.m = 0;
  let least = Number.POSITIVE_INFINITY;
  for (let t = 0; max !== 0 && t < 2 * TRIES; t++) {
    // either end may take the largest element
    const s = (max / (t % 2 ? hi : lo)) * (1 + RANGE * (0.4 - (t >> 1) / TRIES));
    let [wqq, wqx, wxx] = [0, 0, 0];
    for (let i = 0; i < n; i++) {
      const v = x[from + i];
      const q = round(v / s, lo, hi);
      const weight = w[column + i];
      wqq += weight * q * q;
      wqx += weight * q * v;
      wxx += weight * v * v;
    }
    if (wqq === 0) continue;
    const error = wxx - (wqx * wqx) / wqq;
    if (error >= least) continue;
    least = error;
    fit.s = wqx / wqq;
  }
}

/** x ≈ s · q + m, 0 ≤ q ≤ top, m not above 0 when `below`. */
function fitMinimum(
  ...[fit, x, from, n, w, column, top, below]: [Fit, Float32Array, number, number, Float64Array, number, number, boolean]
): void {
  let [lo, hi] = [below ? 0 : x[from], x[from]];
  for (let i = from; i < from + n; i++) {
    lo = Math.min(lo, x[i]);
    hi = Math.max(hi, x[i]);
  }
  fit.s = 0;
  fit.m = lo;
  let least = Number.POSITIVE_INFINITY;
  for (let t = 0; hi > lo && t < TRIES; t++) {
    const s = ((hi - lo) / top) * (1 + RANGE * (0.3 - t / TRIES));
    let [sw, sq, sx, qq, qx, xx] = [0, 0, 0, 0, 0, 0];
    for (let i = 0; i < n; i++) {
      const v = x[from + i];
      const q = round((v - lo) / s, 0, top);
      const weight = w[column + i];
      sw += weight;
      sq += weight * q;
      sx += weight * v;
      qq += weight * q * q;
      qx += weight * q * v;
      xx += weight * v * v;
    }
    const determinant = sw * qq - sq * sq;
    let scale = (sw * qx - sq * sx) / determinant;
    let minimum = (sx - scale * sq) / sw;
    // a minimum that may not be, or one code for all
    if (!(determinant > 0) || (below && minimum > 0)) [scale, minimum] = [qx / qq, 0];
    if (!(scale > 0)) continue;
    const error = xx + scale * scale * qq + minimum * minimum * sw + 2 * scale * minimum * sq - 2 * scale * qx - 2 * minimum * sx;
    if (error >= least) continue;
    least = error;
    fit.s = scale;
    fit.m = minimum;
  }
}

function half(x: number): number {
  const bits = f32ToF16(x);
  if ((bits & 0x7c00) === 0x7c00) throw new RangeError('has values that are not finite or too large for an f16 scale');
  return bits;
}

/** A block of 32: an f16 scale, and an f16 minimum. What they are when they are stored. */
function plainBlock(f: PlaneFormat, { s, m }: Fit, out: Planes, b: number): Fit[] {
  out.d[b] = half(s);
  if (f.minimum) out.m[b] = half(m);
  return [{ s: f16ToF32(out.d[b]), m: f.minimum ? f16ToF32(out.m[b]) : 0 }];
}

/** A super-block: integer scales and minima of its sub-blocks, times an f16 each. */
function superBlock(f: PlaneFormat, fits: readonly Fit[], out: Planes, b: number, first: number): Fit[] {
  const signed = f.scales[0] === 8;
  const bits = sum(f.scales);
  // without minima scales may be negative, and the end that reaches further takes the largest
  const [lo, hi] = f.minimum ? [0, 2 ** bits - 1] : [-(2 ** (bits - 1)), 2 ** (bits - 1) - 1];
  const largest = fits.reduce((a, { s }) => (Math.abs(s) > Math.abs(a) ? s : a), 0);
  out.d[b] = half(f.minimum ? largest / hi : largest / lo);
  const d = f16ToF32(out.d[b]);
  const low = fits.reduce((a, { m }) => Math.max(a, -m), 0);
  const most = 2 ** sum(f.minima) - 1;
  if (f.minimum) out.m[b] = half(low / most);
  const e = f.minimum ? f16ToF32(out.m[b]) : 0;
  return fits.map(({ s, m }, j) => {
    const scale = d === 0 ? 0 : round(s / d, lo, hi);
    const minimum = e === 0 ? 0 : round(-m / e, 0, most);
    out.scales[first + j] = signed ? scale & 255 : scale + f.scaleZero;
    if (f.minimum) out.minima[first + j] = minimum;
    return { s: d * scale, m: -e * minimum };
  });
}

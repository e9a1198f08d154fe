import { BLOCK } from '../../engine/formats.ts';
import { f16ToF32, f32ToF16 } from '../../engine/math.ts';
import { type Quantized, ROUNDING, type Rounded } from './rtn.ts';

/**
 * GPTQ (Frantar et al., ICLR 2023): quantizes a matrix column by column and moves what rounding loses onto the columns that
 * follow, so that the outputs on calibration inputs stay close, not the weights. Blocks of 32 columns share an f16 scale, chosen
 * by search when the block is reached.
 */

/** Σ x xᵀ over the inputs of a matrix: the curvature of its squared output error. */
export class Hessian {
  readonly K: number;
  /** Rows seen. */
  count = 0;
  /** Upper triangle of [K, K]. */
  readonly sum: Float64Array;

  constructor(K: number) {
    this.K = K;
    this.sum = new Float64Array(K * K);
  }

  /** Every direction weighs the same: what is minimized is the error of the weights themselves. */
  static even(K: number): Hessian {
    const h = new Hessian(K);
    for (let i = 0; i < K; i++) h.sum[i * K + i] = 1;
    return h;
  }

  /** Adds inputs x[rows, K]. */
  add(x: Float32Array): void {
    const { K, sum } = this;
    const rows = x.length / K;
    let r = 0;
    for (; r + 4 <= rows; r += 4) {
      const [a, b, c, d] = [r * K, (r + 1) * K, (r + 2) * K, (r + 3) * K];
      for (let i = 0; i < K; i++) {
        const [xa, xb, xc, xd] = [x[a + i], x[b + i], x[c + i], x[d + i]];
        for (let j = i, at = i * K + i; j < K; j++, at++) sum[at] += xa * x[a + j] + xb * x[b + j] + xc * x[c + j] + xd * x[d + j];
      }
    }
    for (; r < rows; r++) {
      const a = r * K;
      for (let i = 0; i < K; i++) for (let j = i, at = i * K + i; j < K; j++, at++) sum[at] += x[a + i] * x[a + j];
    }
    this.count += rows;
  }

  /** Mean squared output error of replacing w[N, K] by v, relative to the mean squared output: 0 is perfect. */
  outputError(w: Float32Array, v: Float32Array): number {
    const { K, sum } = this;
    const quadratic = (at: number, value: (i: number) => number) => {
      let total = 0;
      const e = Float64Array.from({ length: K }, (_, i) => value(at + i));
      for (let i = 0; i < K; i++) {
        if (e[i] === 0) continue;
        let s = 0.5 * sum[i * K + i] * e[i];
        for (let j = i + 1; j < K; j++) s += sum[i * K + j] * e[j];
        total += 2 * e[i] * s;
      }
      return total;
    };
    let error = 0;
    let power = 0;
    for (let at = 0; at < w.length; at += K) {
      error += quadratic(at, (i) => w[i] - v[i]);
      power += quadratic(at, (i) => w[i]);
    }
    return power === 0 ? 0 : error / power;
  }
}

/** Quantizes w[N, K] for the inputs that `h` has seen. `damping` is the share of the mean curvature that is added to every direction. */
export function gptq(format: Rounded, w: Float32Array, h: Hessian, damping = 0.01): Quantized {
  const { K } = h;
  const U = inverseFactor(h, damping);
  const q = new Int8Array(w.length);
  const d = new Uint16Array(w.length / BLOCK);
  const importance = Float64Array.from({ length: K }, (_, i) => 1 / U[i * K + i] ** 2);
  const row = new Float64Array(K);
  const { lo, hi, zero } = ROUNDING[format];
  for (let at = 0; at < w.length; at += K) {
    for (let i = 0; i < K; i++) row[i] = w[at + i];
    for (let start = 0; start < K; start += BLOCK) {
      const bits = bestScale(format, row, start, importance);
      const scale = f16ToF32(bits);
      d[(at + start) / BLOCK] = bits;
      for (let i = start; i < start + BLOCK; i++) {
        const r = scale === 0 ? 0 : Math.max(lo, Math.min(hi, Math.round(row[i] / scale)));
        q[at + i] = r + zero;
        const error = (row[i] - r * scale) / U[i * K + i];
        if (error === 0) continue;
        for (let j = i + 1, u = i * K + i + 1; j < K; j++, u++) row[j] -= error * U[u];
      }
    }
  }
  return { q, d };
}

/** Scales that are tried around each anchor, from 1.05 of it downwards. */
const SEARCH: Record<Rounded, { steps: number; width: number }> = { w8: { steps: 6, width: 0.01 }, w4: { steps: 20, width: 0.025 } };

/** f16 bits of the scale with the least weighted squared error over a block of 32: around those that round to nearest would take. */
function bestScale(format: Rounded, row: Float64Array, start: number, importance: Float64Array): number {
  let max = 0;
  for (let i = start; i < start + BLOCK; i++) if (Math.abs(row[i]) > Math.abs(max)) max = row[i];
  if (max === 0) return 0;
  const { lo, hi, scale: nearest } = ROUNDING[format];
  // a range that reaches further to one side than to the other (w4): either side may take the largest element
  const anchors = -lo === hi ? [nearest(max)] : [max / lo, max / hi];
  const { steps, width } = SEARCH[format];
  let best = 0;
  let least = Number.POSITIVE_INFINITY;
  for (const anchor of anchors) {
    for (let s = 0; s < steps; s++) {
      const bits = f32ToF16(anchor * (1.05 - s * width));
      const scale = f16ToF32(bits);
      if (scale === 0 || !Number.isFinite(scale)) continue;
      let error = 0;
      for (let i = start; i < start + BLOCK && error < least; i++) {
        const r = Math.round(row[i] / scale);
        const e = row[i] - (r < lo ? lo : r > hi ? hi : r) * scale;
        error += importance[i] * e * e;
      }
      if (error < least) {
        least = error;
        best = bits;
      }
    }
  }
  return best;
}

/**
 * The upper triangular U with H⁻¹ = Uᵀ·U that GPTQ divides by: H = R·Rᵀ with R upper triangular, U = R⁻¹. Inputs that were always 0 get
 * curvature 1. Damping grows until the factor exists.
 */
function inverseFactor(h: Hessian, damping: number): Float64Array {
  const { K, sum } = h;
  let mean = 0;
  for (let i = 0; i < K; i++) mean += sum[i * K + i] / K;
  for (let share = damping; ; share *= 10) {
    const R = sum.slice();
    for (let i = 0; i < K; i++) {
      const at = i * K + i;
      if (R[at] === 0) R[at] = mean || 1;
      R[at] += share * mean;
    }
    if (factorUpper(R, K)) return invertUpper(R, K);
    if (share > 1e6) throw new Error('the calibration activations are not finite');
  }
}

/** H (upper triangle) → R in place with H = R·Rᵀ; false when H is not positive definite. */
function factorUpper(H: Float64Array, K: number): boolean {
  for (let j = K - 1; j >= 0; j--) {
    let s = H[j * K + j];
    for (let k = j + 1; k < K; k++) s -= H[j * K + k] ** 2;
    if (!(s > 0)) return false;
    const diagonal = Math.sqrt(s);
    H[j * K + j] = diagonal;
    for (let i = 0; i < j; i++) {
      let t = H[i * K + j];
      for (let k = j + 1, a = i * K + j + 1, b = j * K + j + 1; k < K; k++, a++, b++) t -= H[a] * H[b];
      H[i * K + j] = t / diagonal;
    }
  }
  return true;
}

/** Inverse of an upper triangular matrix. */
function invertUpper(R: Float64Array, K: number): Float64Array {
  const U = new Float64Array(K * K);
  const row = new Float64Array(K);
  for (let i = K - 1; i >= 0; i--) {
    row.fill(0, i);
    for (let k = i + 1; k < K; k++) {
      const r = R[i * K + k];
      if (r !== 0) for (let j = k, at = k * K + k; j < K; j++, at++) row[j] += r * U[at];
    }
    const inverse = 1 / R[i * K + i];
    U[i * K + i] = inverse;
    for (let j = i + 1; j < K; j++) U[i * K + j] = -inverse * row[j];
  }
  return U;
}

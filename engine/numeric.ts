/** The arithmetic of exact-1 (NUMERICS.md) that the engine needs too: binary32, one rounding a written operation, in the written order. */

export const f = Math.fround;

/** max and min as wasm's pmax and pmin: a NaN in the second operand loses. */
export const max = (a: number, b: number): number => (a < b ? b : a);
export const min = (a: number, b: number): number => (b < a ? b : a);
/** A NaN becomes lo. */
export const clamp = (x: number, lo: number, hi: number): number => min(hi, max(lo, x));

/** Nearest integer, ties to even. */
export function rne(x: number): number {
  const r = Math.round(x);
  return r - x === 0.5 && r % 2 !== 0 ? r - 1 : r;
}

const LOG2E = f(1.4426950408889634);
const LN2_HI = f(0.693359375);
const LN2_LO = f(-2.1219444e-4);
const EXP_LO = f(-87.33);
const EXP_HI = f(88.37);
const P = [1.98756915e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1].map(f);

const word = new Uint32Array(1);
const power = new Float32Array(word.buffer);

/** 2ⁿ for n in −126..127, from its bit pattern. */
function pow2(n: number): number {
  word[0] = (n + 127) << 23;
  return power[0];
}

/** Cephes' expf without fused operations. */
export function exp(v: number): number {
  const x = clamp(v, EXP_LO, EXP_HI);
  const n = rne(f(x * LOG2E));
  const r = f(f(x - f(n * LN2_HI)) - f(n * LN2_LO));
  let p = P[0];
  for (let i = 1; i < P.length; i++) p = f(f(p * r) + P[i]);
  const y = f(f(f(p * f(r * r)) + r) + 1);
  return f(y * pow2(n));
}

/** Maximum and sum of a whole row of logits from those of its blocks, ascending: pairs of max and sum. */
export function mergeSums(blocks: ArrayLike<number>): { max: number; sum: number } {
  let most = Number.NEGATIVE_INFINITY;
  for (let b = 0; b < blocks.length; b += 2) most = max(most, blocks[b]);
  let sum = 0;
  for (let b = 0; b < blocks.length; b += 2) {
    if (blocks[b] !== Number.NEGATIVE_INFINITY) sum = f(sum + f(blocks[b + 1] * exp(f(blocks[b] - most))));
  }
  return { max: most, sum };
}

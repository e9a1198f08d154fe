/**
 * binary64 functions whose bits are the same on every machine: only + − × ÷ √ and integer operations.
 * ECMAScript leaves Math.exp, sin, cos, pow and log to the implementation; these are not.
 */

const LN2_HI = 0.6931471803691238;
const LN2_LO = 1.9082149292705877e-10;

/** 2ⁿ for integer n in −1022..1023, from a table: bits put together in memory would be waited for. */
const POWERS = new Float64Array(2046);
const words = new Uint32Array(POWERS.buffer); // little endian: the exponent is in every second word
for (let i = 0; i < POWERS.length; i++) words[2 * i + 1] = (i + 1) << 20;
const pow2 = (n: number): number => POWERS[n + 1022];

// 1 / k! for k = 3..14, each quotient rounded once
const [T3, T4, T5, T6, T7, T8] = [1 / 6, 1 / 24, 1 / 120, 1 / 720, 1 / 5040, 1 / 40320];
const [T9, T10, T11, T12, T13, T14] = [1 / 362880, 1 / 3628800, 1 / 39916800, 1 / 479001600, 1 / 6227020800, 1 / 87178291200];

/** Horner's scheme of eʳ to r¹⁴. */
function taylor(r: number): number {
  const high = ((((((T14 * r + T13) * r + T12) * r + T11) * r + T10) * r + T9) * r + T8) * r;
  return (((((((high + T7) * r + T6) * r + T5) * r + T4) * r + T3) * r + 0.5) * r + 1) * r + 1;
}

/** eˣ, relative error below 1e-15 for |x| ≤ 700 (clamped there). Taylor to x¹⁴ on |r| ≤ ln2 / 2. */
export function exp(x: number): number {
  if (Number.isNaN(x)) return x;
  const c = x > 700 ? 700 : x < -700 ? -700 : x;
  const n = Math.round(c * 1.4426950408889634);
  const r = c - n * LN2_HI - n * LN2_LO;
  return taylor(r) * pow2(n);
}

/** Natural logarithm for finite x > 0: atanh series on m in [√½, √2). */
export function log(x: number): number {
  if (!(x > 0)) return x === 0 ? -Infinity : Number.NaN;
  if (x === Infinity) return x;
  let m = x;
  let e = 0;
  while (m >= 1.4142135623730951) {
    m *= 0.5;
    e++;
  }
  while (m < 0.7071067811865476) {
    m *= 2;
    e--;
  }
  const s = (m - 1) / (m + 1);
  const s2 = s * s;
  let p = 0;
  for (let i = 41; i >= 1; i -= 2) p = p * s2 + 1 / i;
  return e * LN2_HI + (2 * s * p + e * LN2_LO);
}

/** xʸ for x > 0. */
export const pow = (x: number, y: number): number => exp(y * log(x));

const PIO2_HI = 1.5707963267341256; // first 33 bits of π/2: n · PIO2_HI is exact for n < 2²⁰
const PIO2_MID = 6.077100506303966e-11; // next 33 bits
const PIO2_LO = 2.0222662487959506e-21;

function sinPoly(r: number): number {
  const z = r * r;
  let p = 0;
  for (let i = 19; i >= 3; i -= 2) p = (1 - p) * (z / (i * (i - 1)));
  return r * (1 - p);
}

function cosPoly(r: number): number {
  const z = r * r;
  let p = 0;
  for (let i = 20; i >= 2; i -= 2) p = (1 - p) * (z / (i * (i - 1)));
  return 1 - p;
}

/** Sine and cosine for |x| < 2²⁰, absolute error below 1e-15 (Cody and Waite's reduction, then Taylor). */
export function sincos(x: number): [sin: number, cos: number] {
  const n = Math.round(x / 1.5707963267948966);
  const r = x - n * PIO2_HI - n * PIO2_MID - n * PIO2_LO;
  const s = sinPoly(r);
  const c = cosPoly(r);
  switch (((n % 4) + 4) % 4) {
    case 0:
      return [s, c];
    case 1:
      return [c, -s];
    case 2:
      return [-s, -c];
    default:
      return [-c, s];
  }
}

/** Bits of a binary16 as a number. */
export function f16ToF32(h: number): number {
  const e = (h >> 10) & 31;
  const m = h & 1023;
  const v = e === 0 ? m * 2 ** -24 : e === 31 ? (m ? Number.NaN : Infinity) : (1024 + m) * 2 ** (e - 25);
  return h & 0x8000 ? -v : v;
}

const f32 = new Float32Array(1);
const u32 = new Uint32Array(f32.buffer);

/** Nearest binary16 (ties to even) as bits. */
export function f32ToF16(x: number): number {
  f32[0] = x;
  const b = u32[0] as number;
  const sign = (b >>> 16) & 0x8000;
  const a = b & 0x7fffffff;
  if (a > 0x7f800000) return sign | 0x7e00;
  if (a >= 0x477ff000) return sign | 0x7c00;
  if (a < 0x38800000) {
    // subnormal: in units of 2⁻²⁴, rounded half to even
    f32[0] = Math.abs(x);
    const t = (f32[0] as number) * 2 ** 24;
    const f = Math.floor(t);
    const d = t - f;
    return sign | (f + (d > 0.5 || (d === 0.5 && f & 1) ? 1 : 0));
  }
  const r = a + 0xfff + ((a >>> 13) & 1);
  return sign | ((r - 0x38000000) >>> 13);
}

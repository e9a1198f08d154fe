// What the generated kernels (../generate.mjs) share: tokens as they multiply them, and parts of unpacking.
import { ACT_BLOCK, ACT_SCALE } from './act';

/** IQ4_NL's values + 128, twice E2M1's + 12. */
export const TABLE_NL: usize = memory.data<u8>([1, 24, 45, 63, 79, 93, 106, 118, 129, 141, 153, 166, 181, 197, 217, 241], 16);
export const TABLE_FP4: usize = memory.data<u8>([12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0], 16);

/** Bytes of v at indices 0..15, 0 at those from 128 on. */
@inline
export function swizzle(v: v128, indices: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return i8x16.relaxed_swizzle(v, indices);
  return i8x16.swizzle(v, indices);
}

/** The table's bytes at 16 nibbles. */
@inline
export function lookup(table: usize, nibbles: v128): v128 {
  return swizzle(v128.load(table), nibbles);
}

/** Bytes 0..3, 4..7 … of a vector at the low, and at the high ends of i32s. */
export const LOW_ENDS: usize = memory.data<u8>([0, 128, 128, 128, 1, 128, 128, 128, 2, 128, 128, 128, 3, 128, 128, 128, 4, 128, 128, 128, 5, 128, 128, 128, 6, 128, 128, 128, 7, 128, 128, 128, 8, 128, 128, 128, 9, 128, 128, 128, 10, 128, 128, 128, 11, 128, 128, 128, 12, 128, 128, 128, 13, 128, 128, 128, 14, 128, 128, 128, 15, 128, 128, 128], 16);
export const HIGH_ENDS: usize = memory.data<u8>([128, 128, 128, 0, 128, 128, 128, 1, 128, 128, 128, 2, 128, 128, 128, 3, 128, 128, 128, 4, 128, 128, 128, 5, 128, 128, 128, 6, 128, 128, 128, 7, 128, 128, 128, 8, 128, 128, 128, 9, 128, 128, 128, 10, 128, 128, 128, 11, 128, 128, 128, 12, 128, 128, 128, 13, 128, 128, 128, 14, 128, 128, 128, 15], 16);

@inline
export function mask16(): v128 {
  return i16x8.splat(255);
}

// in memory: the engine builds a constant with three instructions at every use
const POWERS: usize = memory.data<u32>([0x00400000, 0x00400000, 0x00400000, 0x00400000, 0x3f000000, 0x3f000000, 0x3f000000, 0x3f000000], 16);

/** 2^(e − 128) of four exponents in the highest bytes of i32s; the smallest two are subnormal. */
@inline
export function powers(e: v128): v128 {
  return f32x4.mul(i32x4.max_u(i32x4.shr_u(e, 1), v128.load(POWERS, 0)), v128.load(POWERS, 16));
}

/**
 * Sums of integers start from the bits of the f32 1.5 · 2²³, so that they are floats of 1.5 · 2²³ more than the sum, which a subtraction
 * makes exact up to 2²²; a sum of 32 products has 2²⁰ at most. Conversions would go to the ports that products and multiplications need.
 */
const MAGIC_BITS: i32 = 0x4b400000;
export const MAGIC: usize = memory.data<i32>([MAGIC_BITS, MAGIC_BITS, MAGIC_BITS, MAGIC_BITS], 16);

@inline
function sum16(v: v128): i32 {
  const s = i32x4.extadd_pairwise_i16x8_s(i16x8.extadd_pairwise_i8x16_s(v));
  const t = i32x4.add(s, i32x4.shuffle(s, s, 2, 3, 0, 1));
  return i32x4.extract_lane(t, 0) + i32x4.extract_lane(t, 1);
}

/** Behind a token's values: its scale, then where the sum of each of `parts` sub-blocks starts, or what multiplies its minimum: Σ a, of a single one with the scale. */
@inline
function about(out: usize, act: usize, zero: i32, parts: i32, minima: bool): void {
  const scale = f32.load(act, ACT_SCALE);
  f32.store(out, scale);
  let first = sum16(v128.load(act, 0));
  let second = sum16(v128.load(act, 16));
  if (parts == 1) first += second;
  if (minima) {
    f32.store(out, parts == 1 ? <f32>first * scale : <f32>first, 4);
    f32.store(out, <f32>second, 8);
  } else {
    i32.store(out, MAGIC_BITS - zero * first, 4);
    i32.store(out, MAGIC_BITS - zero * second, 8);
  }
}

/** Tokens for the dot way: blocks of 32 bytes and 16 about them. */
export function prepareDot(out: usize, act: usize, tokens: i32, blocks: i32, zero: i32, parts: i32, minima: bool): void {
  for (const end = act + <usize>(tokens * blocks) * ACT_BLOCK; act < end; act += ACT_BLOCK, out += 48) {
    v128.store(out, v128.load(act, 0), 0);
    v128.store(out, v128.load(act, 16), 16);
    about(out + 32, act, zero, parts, minima);
  }
}

/** Tokens for the pair way: the columns of each four as i16 in the order 0, 2, 1, 3. */
export function preparePair(out: usize, act: usize, tokens: i32, blocks: i32, zero: i32, parts: i32, minima: bool): void {
  for (const end = act + <usize>(tokens * blocks) * ACT_BLOCK; act < end; act += ACT_BLOCK, out += 80) {
    for (let i: usize = 0; i < 32; i += 8) {
      const a = v128.load_ext<i8>(act + i);
      v128.store(out + (i << 1), i16x8.shuffle(a, a, 0, 2, 1, 3, 4, 6, 5, 7));
    }
    about(out + 64, act, zero, parts, minima);
  }
}

// Quantized operands as the matmul kernels multiply them, prepared once and used many times, so that the inner loops
// are nothing but loads, products and sums. A product vector holds 4 rows × 4 k of bytes (T = i8, relaxed SIMD: pair
// sums in i16) or 4 rows × 2 k of i16 (T = i16: sums in i32).
//
// Activations are spread over the 4 rows beforehand: a broadcast from memory costs an address computation each, a load
// of 16 bytes with a constant offset costs none.
//
//   a token's block: product vectors, start of the sums, scale (spread too)
//   a row group's block: product vectors of rows 0..3 and 4..7 in turn, their scales
import { ACT_BLOCK, ACT_CORRECTION, ACT_SCALE } from './act';
import { f16Bits, f16Lift } from './constants';

/** Bytes of the product vectors of a block of 32, of 4 rows or a token. */
@inline
export function products<T>(): usize {
  return sizeof<T>() == 1 ? 128 : 256;
}

/** Spreads the blocks of one token over bytes. */
export function spread8(out: usize, act: usize, blocks: i32): void {
  for (const end = act + <usize>blocks * ACT_BLOCK; act < end; act += ACT_BLOCK, out += 160) {
    for (let i: usize = 0; i < 32; i += 4) v128.store(out + (i << 2), v128.load32_splat(act + i));
    v128.store(out, v128.load32_splat(act, ACT_CORRECTION), 128);
    v128.store(out, v128.load32_splat(act, ACT_SCALE), 144);
  }
}

/** Spreads the blocks of one token over i16, for w4 as pairs (0, 2), (4, 6), (1, 3), (5, 7) of every 8: the order in which shifts find nibbles. */
export function spread16(out: usize, act: usize, blocks: i32, nibbleOrder: bool): void {
  for (const end = act + <usize>blocks * ACT_BLOCK; act < end; act += ACT_BLOCK, out += 288) {
    for (let i: usize = 0; i < 32; i += 8) {
      let a = v128.load_ext<i8>(act + i);
      if (nibbleOrder) a = i16x8.shuffle(a, a, 0, 2, 4, 6, 1, 3, 5, 7);
      const p = out + (i << 3);
      v128.store(p, i16x8.shuffle(a, a, 0, 1, 0, 1, 0, 1, 0, 1), 0);
      v128.store(p, i16x8.shuffle(a, a, 2, 3, 2, 3, 2, 3, 2, 3), 16);
      v128.store(p, i16x8.shuffle(a, a, 4, 5, 4, 5, 4, 5, 4, 5), 32);
      v128.store(p, i16x8.shuffle(a, a, 6, 7, 6, 7, 6, 7, 6, 7), 48);
    }
    v128.store(out, i32x4.extadd_pairwise_i16x8_s(v128.load32_splat(act, ACT_CORRECTION)), 256);
    v128.store(out, v128.load32_splat(act, ACT_SCALE), 272);
  }
}

/** 4 rows' products of 4 or 2 k, summed in pairs. */
@inline
export function product<T>(a: v128, w: v128): v128 {
  if (sizeof<T>() == 1) return i16x8.relaxed_dot_i8x16_i7x16_s(a, w);
  return i32x4.dot_i16x8_s(a, w);
}

@inline
export function plus<T>(s: v128, p: v128): v128 {
  if (sizeof<T>() == 1) return i16x8.add(s, p);
  return i32x4.add(s, p);
}

/** s + products. */
@inline
export function add<T>(s: v128, a: v128, w: v128): v128 {
  return plus<T>(s, product<T>(a, w));
}

/** Sums of 4 rows as f32. ones: ones16(), held by the caller. */
@inline
export function total<T>(s: v128, ones: v128): v128 {
  return f32x4.convert_i32x4_s(sizeof<T>() == 1 ? i32x4.dot_i16x8_s(s, ones) : s);
}

/** Scales of rows 0..3 of a block as f32: the low halves of `v`. Exact for all finite f16, subnormals too. */
@inline
export function lowScales(v: v128): v128 {
  return f32x4.mul(v128.and(i32x4.shr_s(i32x4.shl(v, 16), 3), f16Bits()), f16Lift());
}

/**
 * The same of super-blocks. Their scales are small: most of Q6_K's in real files are subnormal, which costs the multiplication of `lowScales`
 * a microcoded assist of 150 cycles on many cores. Here no operand is subnormal.
 */
@inline
export function lowSuper(v: v128): v128 {
  return lifted(i32x4.shr_s(i32x4.shl(v, 16), 3));
}

@inline
export function highSuper(v: v128): v128 {
  return lifted(i32x4.shr_s(v, 3));
}

// in memory: the engine builds a constant with three instructions at every use
const LIFT: usize = memory.data<u32>([0x0fffe000, 0x0fffe000, 0x0fffe000, 0x0fffe000, 0x38000000, 0x38000000, 0x38000000, 0x38000000, 0x38800000, 0x38800000, 0x38800000, 0x38800000, 0x80000000, 0x80000000, 0x80000000, 0x80000000], 16);

/** Twice the number less the number; of a subnormal, which lifted is itself and 2⁻¹⁴, less 2⁻¹⁴. */
@inline
function lifted(v: v128): v128 {
  const bits = v128.and(v, v128.load(LIFT, 0));
  const smallest = v128.load(LIFT, 32);
  const less = i32x4.max_s(i32x4.add(bits, v128.load(LIFT, 16)), smallest);
  const value = f32x4.sub(i32x4.add(bits, smallest), less);
  return v128.or(value, v128.and(v, v128.load(LIFT, 48)));
}

/** Scales of rows 4..7: the high halves. */
@inline
export function highScales(v: v128): v128 {
  return f32x4.mul(v128.and(i32x4.shr_s(v, 3), f16Bits()), f16Lift());
}

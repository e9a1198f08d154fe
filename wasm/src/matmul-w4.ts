// i8 activations × w4.
//
// The ladder, [3072, 576] at 1 and 128 tokens:
//   1  4 rows interleaved, a broadcast per 4 activations, sums of a block in i16, one widening        13    30
//   2  8 rows a group; activations spread over the rows once a call: no address computation per
//      broadcast, half the loads; constants from memory instead of three instructions each            18    34
//      (with the scales behind all blocks of a 4-row group, four streams: 7 on a matrix from memory)
//   3  blocks with their scales, one sequential stream                                                19    39
//   4  many tokens: unpack 8 rows once, tile of 8 rows × 4 tokens with its 8 sums in registers              43
//   5  compiled without Binaryen's simplify-locals, which made the tile spill                         21    45
//   6  2 to 8 tokens: unpack in registers per tile (direct.ts); at 2 tokens 20 → 26, at 4 30 → 35
//   7  a tile of 3 tokens (3: 44 → 53, 5: 40 → 49, 7: 49 → 53), 2 tokens' sums in registers, no checks at a tile's end
//      when 8 rows are whole (+6 % where K is 192); both products before both sums (+3 %)                 40    58
// (1 to 6: a core whose clock and caches were shared, see the end; 7: best of 200 short runs, V8 14.6, 3.6 GHz.)
//
// What limits it: the core's vector units, not V8. At many tokens a block of 32 for 8 rows × 4 tokens is 168 vector
// operations (64 products, 64 sums, 40 for exact-1's scaled sum of each block), 66 loads and 8 stores. The same
// instructions written by hand in assembly (C, gcc) reach 59 to 67, products and sums alone 94, products alone 116: adding
// to the sums, and scaling them block by block as exact-1 demands, take what is left. One instruction for the product and its
// sum, vpdpbusd, is what V8 makes of the relaxed dot-and-add where the core has AVX-VNNI: there the generated kernels
// (../generate.mjs) are used instead. Elsewhere it is maddubs, madd and add, slower than what is here. One token reads 12 to 21
// GB/s of weights.
// Tried and dropped: weights of a block in 8 registers while tokens stream by (30: sums go through memory for 4 rows
// only), 8 steps unrolled instead of 4 (11 % fewer instructions, no faster), 12 rows or 5 tokens a tile (no fewer
// operations a product). By hand in assembly, beside 59 for the tile as it is: 4 rows × 4 tokens with their f32 sums in
// registers 47; 8 rows × 2 k a vector, whose sums need no widening pair sum, 48 to 53; two tokens at a time with all f32
// sums in registers 51; shifts instead of the pair sum 53; 8 rows × 3 tokens 56.
// Figures: G multiply-adds a second in workerd (V8 14.7), processor time, one core of a Zen 4 at about 3.4 GHz whose other
// hardware thread was busy; there, 128-bit maddubs and add alone reach 56 (C), and memory gives 20 GB/s.
import { ACT_BLOCK } from './act';
import { f16Bits, f16Lift, nibbles16, nibbles8, ones16 } from './constants';
import { directRows } from './direct';
import { finish } from './finish';
import { tileRows } from './tile';
import { add, highScales, lowScales, products, spread16, spread8, total } from './wide';

const BLOCK: usize = 144;
/** Up to here a tile unpacks in registers. */
const DIRECT_TOKENS = 8;
/** Bytes of a block of 32 of a spread token, and of 8 unpacked rows. */
export const wideW4: i32 = ASC_FEATURE_RELAXED_SIMD ? 160 : 288;
export const rowsW4: i32 = ASC_FEATURE_RELAXED_SIMD ? 288 : 544;

/** Spreads `tokens` tokens for matmulW4 and matmulW4One. */
export function spreadW4(out: usize, act: usize, tokens: i32, blocks: i32): void {
  for (let t = 0; t < tokens; t++) {
    const from = act + <usize>(t * blocks) * ACT_BLOCK;
    const to = out + <usize>(t * blocks) * wideW4;
    if (ASC_FEATURE_RELAXED_SIMD) spread8(to, from, blocks);
    else spread16(to, from, blocks, true);
  }
}

/** Unpacks a row group. */
function unpack(out: usize, q: usize, blocks: i32): void {
  for (const end = q + <usize>blocks * BLOCK; q < end; q += 16) {
    for (const stop = q + 128; q < stop; q += 32) {
      const v = v128.load(q, 0);
      const w = v128.load(q, 16);
      if (ASC_FEATURE_RELAXED_SIMD) {
        v128.store(out, v128.and(v, nibbles8()), 0);
        v128.store(out, v128.and(w, nibbles8()), 16);
        v128.store(out, v128.and(i16x8.shr_u(v, 4), nibbles8()), 32);
        v128.store(out, v128.and(i16x8.shr_u(w, 4), nibbles8()), 48);
        out += 64;
      } else {
        v128.store(out, v128.and(v, nibbles16()), 0);
        v128.store(out, v128.and(w, nibbles16()), 16);
        v128.store(out, v128.and(i16x8.shr_u(v, 4), nibbles16()), 32);
        v128.store(out, v128.and(i16x8.shr_u(w, 4), nibbles16()), 48);
        v128.store(out, v128.and(i16x8.shr_u(v, 8), nibbles16()), 64);
        v128.store(out, v128.and(i16x8.shr_u(w, 8), nibbles16()), 80);
        v128.store(out, i16x8.shr_u(v, 12), 96);
        v128.store(out, i16x8.shr_u(w, 12), 112);
        out += 128;
      }
    }
    const d = v128.load(q);
    v128.store(out, lowScales(d), 0);
    v128.store(out, highScales(d), 16);
    out += 32;
  }
}

/** Rows [from, to) for a few tokens spread at `a`. y: the first token's row. rows: scratch for 8 unpacked rows. acc: 128 bytes. */
export function matmulW4(y: usize, a: usize, w: usize, tokens: i32, N: i32, K: i32, from: i32, to: i32, bias: usize, accumulate: bool, rows: usize, acc: usize): void {
  const blocks = K >> 5;
  if (ASC_FEATURE_RELAXED_SIMD && tokens <= DIRECT_TOKENS) {
    for (let n = from; n < to; n += 8) {
      const q = w + <usize>((n >> 3) * blocks) * BLOCK;
      directRows(y, a, q, tokens, blocks, n, N, bias, accumulate, acc);
    }
    return;
  }
  for (let n = from; n < to; n += 8) {
    unpack(rows, w + <usize>((n >> 3) * blocks) * BLOCK, blocks);
    if (ASC_FEATURE_RELAXED_SIMD) tileRows<i8>(y, a, rows, tokens, blocks, n, N, bias, accumulate, acc);
    else tileRows<i16>(y, a, rows, tokens, blocks, n, N, bias, accumulate, acc);
  }
}

/** Rows [from, to) for one token spread at `wide`: weights are unpacked in registers. */
export function matmulW4One(y: usize, wide: usize, w: usize, N: i32, K: i32, from: i32, to: i32, bias: usize, accumulate: bool): void {
  const blocks = K >> 5;
  let q = w + <usize>((from >> 3) * blocks) * BLOCK;
  const end = wide + <usize>blocks * wideW4;
  for (let n = from; n < to; n += 8) {
    let low = f32x4.splat(0);
    let high = f32x4.splat(0);
    for (let a = wide; a < end; a += wideW4, q += BLOCK) {
      let s = v128.load(a, wideW4 - 32);
      let t = s;
      if (ASC_FEATURE_RELAXED_SIMD) {
        const m = nibbles8();
        let v = v128.load(q, 0);
        let w = v128.load(q, 16);
        let x = v128.load(a, 0);
        s = add<i8>(s, x, v128.and(v, m));
        t = add<i8>(t, x, v128.and(w, m));
        x = v128.load(a, 16);
        s = add<i8>(s, x, v128.and(i16x8.shr_u(v, 4), m));
        t = add<i8>(t, x, v128.and(i16x8.shr_u(w, 4), m));
        v = v128.load(q, 32);
        w = v128.load(q, 48);
        x = v128.load(a, 32);
        s = add<i8>(s, x, v128.and(v, m));
        t = add<i8>(t, x, v128.and(w, m));
        x = v128.load(a, 48);
        s = add<i8>(s, x, v128.and(i16x8.shr_u(v, 4), m));
        t = add<i8>(t, x, v128.and(i16x8.shr_u(w, 4), m));
        v = v128.load(q, 64);
        w = v128.load(q, 80);
        x = v128.load(a, 64);
        s = add<i8>(s, x, v128.and(v, m));
        t = add<i8>(t, x, v128.and(w, m));
        x = v128.load(a, 80);
        s = add<i8>(s, x, v128.and(i16x8.shr_u(v, 4), m));
        t = add<i8>(t, x, v128.and(i16x8.shr_u(w, 4), m));
        v = v128.load(q, 96);
        w = v128.load(q, 112);
        x = v128.load(a, 96);
        s = add<i8>(s, x, v128.and(v, m));
        t = add<i8>(t, x, v128.and(w, m));
        x = v128.load(a, 112);
        s = add<i8>(s, x, v128.and(i16x8.shr_u(v, 4), m));
        t = add<i8>(t, x, v128.and(i16x8.shr_u(w, 4), m));
      } else {
        let x = a;
        for (const stop = q + 128; q < stop; q += 32, x += 64) {
          const v = v128.load(q, 0);
          const w = v128.load(q, 16);
          s = add<i16>(s, v128.load(x, 0), v128.and(v, nibbles16()));
          t = add<i16>(t, v128.load(x, 0), v128.and(w, nibbles16()));
          s = add<i16>(s, v128.load(x, 16), v128.and(i16x8.shr_u(v, 4), nibbles16()));
          t = add<i16>(t, v128.load(x, 16), v128.and(i16x8.shr_u(w, 4), nibbles16()));
          s = add<i16>(s, v128.load(x, 32), v128.and(i16x8.shr_u(v, 8), nibbles16()));
          t = add<i16>(t, v128.load(x, 32), v128.and(i16x8.shr_u(w, 8), nibbles16()));
          s = add<i16>(s, v128.load(x, 48), i16x8.shr_u(v, 12));
          t = add<i16>(t, v128.load(x, 48), i16x8.shr_u(w, 12));
        }
        q -= 128;
      }
      const d = v128.load(q, 128);
      const e = v128.load(a, wideW4 - 16);
      if (ASC_FEATURE_RELAXED_SIMD) {
        low = f32x4.add(low, f32x4.mul(total<i8>(s, ones16()), f32x4.mul(lowScales(d), e)));
        high = f32x4.add(high, f32x4.mul(total<i8>(t, ones16()), f32x4.mul(highScales(d), e)));
      } else {
        low = f32x4.add(low, f32x4.mul(total<i16>(s, s), f32x4.mul(lowScales(d), e)));
        high = f32x4.add(high, f32x4.mul(total<i16>(t, t), f32x4.mul(highScales(d), e)));
      }
    }
    finish(y, low, high, n, N, bias, accumulate);
  }
}

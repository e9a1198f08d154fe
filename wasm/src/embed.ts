// Rows of a matrix in kernel layout as f32.
import { f16x4 } from './numeric';

/** f32: [K][4] */
export function embedF32(y: usize, group: usize, r: i32, K: i32): void {
  let w = group + (<usize>r << 2);
  for (const end = w + (<usize>K << 4); w < end; w += 16, y += 4) f32.store(y, f32.load(w));
}

@inline
function scale(at: usize, r: i32): v128 {
  const s = f16x4(at);
  return f32x4.splat(r < 2 ? (r == 0 ? f32x4.extract_lane(s, 0) : f32x4.extract_lane(s, 1)) : r == 2 ? f32x4.extract_lane(s, 2) : f32x4.extract_lane(s, 3));
}

/** w8: [K/32][16][4][2], then scales [K/32][4] */
export function embedW8(y: usize, group: usize, r: i32, K: i32): void {
  let scales = group + (<usize>K << 2);
  let w = group + (<usize>r << 1);
  for (const end = w + (<usize>K << 2); w < end; w += 128, scales += 8) {
    const d = scale(scales, r);
    for (let p: usize = 0; p < 128; p += 16, y += 16) {
      const q = i32x4(load<i8>(w + p), load<i8>(w + p + 1), load<i8>(w + p + 8), load<i8>(w + p + 9));
      v128.store(y, f32x4.mul(f32x4.convert_i32x4_s(q), d));
    }
  }
}

/** w4: [K/32][4][4][4] bytes of two nibbles, then scales [K/32][4] */
export function embedW4(y: usize, group: usize, r: i32, K: i32): void {
  let scales = group + (<usize>K << 1);
  let w = group + (<usize>r << 2);
  for (const end = w + (<usize>K << 1); w < end; w += 64, scales += 8) {
    const d = scale(scales, r);
    for (let p: usize = 0; p < 64; p += 16, y += 32) {
      const bytes = i32x4.splat(load<i32>(w + p));
      const q = v128.and(i8x16.shuffle(bytes, i32x4.shr_u(bytes, 4), 0, 1, 2, 3, 16, 17, 18, 19, 0, 0, 0, 0, 0, 0, 0, 0), i8x16.splat(15));
      const wide = i16x8.sub(i16x8.extend_low_i8x16_s(q), i16x8.splat(8));
      v128.store(y, f32x4.mul(f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(wide)), d), 0);
      v128.store(y, f32x4.mul(f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_s(wide)), d), 16);
    }
  }
}

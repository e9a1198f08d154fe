// A row of a matrix in kernel layout as f32.
import { f16Scale } from './numeric';

/** Row r of 8 of a group: [K][8] */
export function embedF32(y: usize, group: usize, r: i32, K: i32): void {
  let w = group + (<usize>r << 2);
  for (const end = w + (<usize>K << 5); w < end; w += 32, y += 4) f32.store(y, f32.load(w));
}

/** Blocks of 272 bytes: 16 pairs of k of 8 rows, scales. */
export function embedW8(y: usize, group: usize, r: i32, K: i32): void {
  const scale = group + 256 + (<usize>(r & 3) << 2) + (<usize>(r >> 2) << 1);
  for (let b: usize = 0, end = <usize>(K >> 5) * 272; b < end; b += 272) {
    const d = f16Scale(load<u16>(scale + b));
    for (let w = group + b + (<usize>r << 1), stop = w + 256; w < stop; w += 32, y += 16) {
      const q = i32x4(load<i8>(w, 0), load<i8>(w, 1), load<i8>(w, 16), load<i8>(w, 17));
      v128.store(y, f32x4.mul(f32x4.convert_i32x4_s(q), f32x4.splat(d)));
    }
  }
}

/** Blocks of 144 bytes: nibbles of 8 rows × 8 k in 32 bytes, scales. */
export function embedW4(y: usize, group: usize, r: i32, K: i32): void {
  const scale = group + 128 + (<usize>(r & 3) << 2) + (<usize>(r >> 2) << 1);
  for (let b: usize = 0, end = <usize>(K >> 5) * 144; b < end; b += 144) {
    const d = f32x4.splat(f16Scale(load<u16>(scale + b)));
    for (let w = group + b + (<usize>r << 2), stop = w + 128; w < stop; w += 32, y += 32) {
      const bytes = i32x4.splat(load<i32>(w));
      const low = i16x8.sub(i16x8.extend_low_i8x16_u(v128.and(bytes, i8x16.splat(15))), i16x8.splat(8));
      const high = i16x8.sub(i16x8.extend_low_i8x16_u(i8x16.shr_u(bytes, 4)), i16x8.splat(8));
      v128.store(y, f32x4.mul(f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(low)), d), 0);
      v128.store(y, f32x4.mul(f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(high)), d), 16);
    }
  }
}

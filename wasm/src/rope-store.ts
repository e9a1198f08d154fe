// QK-norm (optional), rotation, balance (optional), and keys and values into their pages.
import { largest } from './act';
export { largest } from './act';
import { rmsNorm } from './norm';
import { bound4, inverseScale, rne4 } from './numeric';

/** y = x rotated, halves paired. d is a multiple of 8; y may not be x. */
@inline
function rotate(y: usize, x: usize, table: usize, d: i32): void {
  const half = <usize>d << 1; // bytes of d / 2 floats
  for (const end = x + half; x < end; x += 16, y += 16, table += 16) {
    const a = v128.load(x);
    const b = v128.load(x + half);
    const c = v128.load(table);
    const s = v128.load(table + half);
    v128.store(y, f32x4.sub(f32x4.mul(a, c), f32x4.mul(b, s)));
    v128.store(y + half, f32x4.add(f32x4.mul(b, c), f32x4.mul(a, s)));
  }
}

/** y = y · scale, d values. */
@inline
function widen(y: usize, scale: usize, d: i32): void {
  for (const end = y + (<usize>d << 2); y < end; y += 16, scale += 16) v128.store(y, f32x4.mul(v128.load(y), v128.load(scale)));
}

/** y = (y − offset) / scale, d values. */
@inline
function center(y: usize, offset: usize, scale: usize, d: i32): void {
  for (const end = y + (<usize>d << 2); y < end; y += 16, offset += 16, scale += 16) {
    v128.store(y, f32x4.div(f32x4.sub(v128.load(y), v128.load(offset)), v128.load(scale)));
  }
}

/** Quantizes d values; element k goes to out + (k div 2) · pair + (k mod 2) · 1. Returns the scale. */
function storeKey(out: usize, x: usize, d: i32): f32 {
  const amax = largest(x, d);
  const inverse = f32x4.splat(inverseScale(127, amax));
  const high = f32x4.splat(127);
  const low = f32x4.splat(-127);
  for (const end = x + (<usize>d << 2); x < end; x += 16, out += 64) {
    const q = rne4(bound4(f32x4.mul(v128.load(x), inverse), low, high));
    const bytes = i32x4.extract_lane(i8x16.shuffle(q, q, 0, 4, 8, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0), 0);
    store<u16>(out, <u16>bytes, 0);
    store<u16>(out, <u16>(bytes >>> 16), 32);
  }
  return amax / 127;
}

/** Quantizes d values; element k goes to out + 2k. Returns the scale. */
function storeValue(out: usize, x: usize, d: i32): f32 {
  const amax = largest(x, d);
  const inverse = f32x4.splat(inverseScale(127, amax));
  const high = f32x4.splat(127);
  const low = f32x4.splat(-127);
  for (const end = x + (<usize>d << 2); x < end; x += 16, out += 8) {
    const q = rne4(bound4(f32x4.mul(v128.load(x), inverse), low, high));
    store<i8>(out, <i8>i32x4.extract_lane(q, 0), 0);
    store<i8>(out, <i8>i32x4.extract_lane(q, 1), 2);
    store<i8>(out, <i8>i32x4.extract_lane(q, 2), 4);
    store<i8>(out, <i8>i32x4.extract_lane(q, 3), 6);
  }
  return amax / 127;
}

/** Quantizes d values to −7..7; element k goes into the low half of byte k, or into the high one of an odd token. Returns the scale. */
function storeHalf(out: usize, x: usize, odd: bool, d: i32): f32 {
  const amax = largest(x, d);
  const inverse = f32x4.splat(inverseScale(7, amax));
  const high = f32x4.splat(7);
  const low = f32x4.splat(-7);
  const shift = odd ? 4 : 0;
  const kept = i32x4.splat(odd ? 0x0f : 0xf0);
  for (const end = x + (<usize>d << 2); x < end; x += 16, out += 4) {
    const q = rne4(bound4(f32x4.mul(v128.load(x), inverse), low, high));
    const old = i32x4.extend_low_i16x8_u(i16x8.extend_low_i8x16_u(v128.load32_zero(out)));
    const both = v128.or(v128.and(old, kept), i32x4.shl(v128.and(q, i32x4.splat(15)), shift));
    const bytes = i8x16.shuffle(both, both, 0, 4, 8, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
    store<u32>(out, i32x4.extract_lane(bytes, 0));
  }
  return amax / 7;
}

/** K f32 [d][16], V f32 [16][d] */
function storeF32(head: usize, j: usize, key: usize, value: usize, d: i32): void {
  let k = head + (j << 2);
  for (const end = key + (<usize>d << 2); key < end; key += 4, k += 64) f32.store(k, f32.load(key));
  memory.copy(head + (<usize>d << 6) + j * (<usize>d << 2), value, <usize>d << 2);
}

/** Tokens [from, to). layerPool: the pool at `layer` of page 0. format: 0 f32, 1 i8, 2 i8v4. scratch: 8·d bytes. balance: f32 [2, G·d], or 0. */
export function ropeStore(
  q: usize,
  layerPool: usize,
  pageBytes: usize,
  headBytes: usize,
  format: i32,
  qkv: usize,
  table: usize,
  pos: usize,
  slot: usize,
  from: i32,
  to: i32,
  H: i32,
  G: i32,
  d: i32,
  qGain: usize,
  kGain: usize,
  eps: f32,
  scratch: usize,
  balance: usize,
): void {
  const row = <usize>d << 2;
  const scales = balance + <usize>G * row;
  const M = H / G;
  const rotated = scratch + row;
  for (let t = from; t < to; t++) {
    const angles = table + <usize>load<u32>(pos + (<usize>t << 2)) * row;
    const at = load<u32>(slot + (<usize>t << 2));
    const j = <usize>(at & 15);
    let x = qkv + <usize>t * <usize>(H + 2 * G) * row;
    let out = q + <usize>t * <usize>H * row;
    for (let h = 0; h < H; h++, x += row, out += row) {
      if (qGain) rmsNorm(scratch, x, qGain, d, eps);
      rotate(out, qGain ? scratch : x, angles, d);
      if (balance) widen(out, scales + <usize>(h / M) * row, d);
    }
    let head = layerPool + <usize>(at >>> 4) * pageBytes;
    for (let g = 0; g < G; g++, x += row, head += headBytes) {
      if (kGain) rmsNorm(scratch, x, kGain, d, eps);
      rotate(rotated, kGain ? scratch : x, angles, d);
      if (balance) center(rotated, balance + <usize>g * row, scales + <usize>g * row, d);
      const value = x + <usize>G * row;
      if (format) {
        const values = head + (<usize>d << 4);
        const pair = format == 2 ? <usize>d : <usize>d << 1; // bytes of the values of two tokens
        const scales = values + (pair << 3) + (j << 2);
        const at = values + (j >> 1) * pair;
        f32.store(scales, storeKey(head + (j << 1), rotated, d), 0);
        f32.store(scales, format == 2 ? storeHalf(at, value, <bool>(j & 1), d) : storeValue(at + (j & 1), value, d), 64);
      } else {
        storeF32(head, j, rotated, value, d);
      }
    }
  }
}

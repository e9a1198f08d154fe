// Gated short convolution: c · Σ taps · u, with u = b · x kept in pages, quantized where they are i8.
import { largest, quantizeRow } from './act';
import { bound4, inverseScale, rne4 } from './numeric';

/** Quantizes D values (a multiple of 32) in blocks of 32: bytes at `out`, their scales behind all of them. */
function keep(out: usize, u: usize, D: i32): void {
  const high = f32x4.splat(127);
  const low = f32x4.splat(-127);
  let scale = out + <usize>D;
  for (const end = u + (<usize>D << 2); u < end; scale += 4) {
    const amax = largest(u, 32);
    const inverse = f32x4.splat(inverseScale(127, amax));
    for (const stop = u + 128; u < stop; u += 32, out += 8) {
      const a = rne4(bound4(f32x4.mul(v128.load(u, 0), inverse), low, high));
      const b = rne4(bound4(f32x4.mul(v128.load(u, 16), inverse), low, high));
      const q = i16x8.narrow_i32x4_s(a, b);
      v128.store64_lane(out, i8x16.narrow_i16x8_s(q, q), 0);
    }
    f32.store(scale, amax / 127);
  }
}

/** y += tap · u of a kept token. */
@inline
function addKept(y: usize, kept: usize, tap: usize, D: i32, quantized: bool): void {
  const end = y + (<usize>D << 2);
  if (!quantized) {
    for (; y < end; y += 16, kept += 16, tap += 16) {
      v128.store(y, f32x4.add(v128.load(y), f32x4.mul(v128.load(tap), v128.load(kept))));
    }
    return;
  }
  let scale = kept + <usize>D;
  for (; y < end; scale += 4) {
    const s = v128.load32_splat(scale);
    for (const stop = y + 128; y < stop; y += 32, tap += 32, kept += 8) {
      const q = v128.load8x8_s(kept);
      const a = f32x4.mul(f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(q)), s);
      const b = f32x4.mul(f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_s(q)), s);
      v128.store(y, f32x4.add(v128.load(y, 0), f32x4.mul(v128.load(tap, 0), a)), 0);
      v128.store(y, f32x4.add(v128.load(y, 16), f32x4.mul(v128.load(tap, 16), b)), 16);
    }
  }
}

/**
 * Tokens [from, to). layerPool: the pool at the convolution's tokens in page 0, each of `tokenBytes`. blocks u32 [S, maxBlocks]. scratch:
 * f32 [2, D].
 */
export function shortConv(
  out: usize,
  stride: usize,
  actQuantized: bool,
  layerPool: usize,
  pageBytes: usize,
  tokenBytes: usize,
  quantized: bool,
  bcx: usize,
  taps: usize,
  pos: usize,
  slot: usize,
  seqOf: usize,
  blocks: usize,
  maxBlocks: i32,
  from: i32,
  to: i32,
  D: i32,
  L: i32,
  scratch: usize,
): void {
  const row = <usize>D << 2;
  const u = scratch;
  const sum = scratch + row;
  for (let t = from; t < to; t++) {
    const b = bcx + <usize>t * 3 * row;
    const at = load<u32>(slot + (<usize>t << 2));
    for (let k: usize = 0; k < row; k += 16) v128.store(u + k, f32x4.mul(v128.load(b + k), v128.load(b + 2 * row + k)));
    const own = layerPool + <usize>(at >>> 4) * pageBytes + <usize>(at & 15) * tokenBytes;
    if (quantized) keep(own, u, D);
    else memory.copy(own, u, row);
    memory.fill(sum, 0, row);
    const table = blocks + ((<usize>load<u32>(seqOf + (<usize>t << 2)) * <usize>maxBlocks) << 2);
    const p = load<i32>(pos + (<usize>t << 2));
    for (let j = max(0, L - 1 - p); j < L - 1; j++) {
      const q = p - (L - 1) + j;
      const page = load<u32>(table + (<usize>(q >> 4) << 2));
      const kept = layerPool + <usize>page * pageBytes + <usize>(q & 15) * tokenBytes;
      addKept(sum, kept, taps + <usize>j * row, D, quantized);
    }
    const last = taps + <usize>(L - 1) * row;
    const target = out + <usize>t * stride;
    const y = actQuantized ? sum : target;
    for (let k: usize = 0; k < row; k += 16) {
      const whole = f32x4.add(v128.load(sum + k), f32x4.mul(v128.load(last + k), v128.load(u + k)));
      v128.store(y + k, f32x4.mul(v128.load(b + row + k), whole));
    }
    if (actQuantized) quantizeRow(target, sum, D);
  }
}

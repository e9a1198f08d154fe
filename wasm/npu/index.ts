// Functions of the simulated tensor unit, on tiles in its SRAM. They are the kernels of ../src with one difference: sums
// go on from what the accumulators hold, and attention goes on from its state, so that a tile can be fed piece by piece.
// Everything is a byte offset into the imported memory; rows `pitch` bytes apart.
import { ACT_BLOCK, ACT_CORRECTION, ACT_SCALE, quantizeRow } from '../src/act';
import { page, putQuery, putScale, values, values2 } from '../src/attention-i8';
import { rowBytes } from '../src/attention-row';
import { clamp4, inverseScale, rne4 } from '../src/numeric';
import { dotAdd } from '../src/dot-add';
import { multiply_w4, multiply_w8 } from '../src/generated';
import { largest } from '../src/rope-store';
import { STATE_L } from '../src/softmax';
import { highScales, lowScales } from '../src/wide';

/** Whether one instruction multiplies any bytes and adds them: then the generated products are used. */
@inline
function hasDotAdd(): bool {
  return dotAdd() == 129540;
}

@inline
function step4(s: v128, w: v128, a: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return i16x8.add(s, i16x8.relaxed_dot_i8x16_i7x16_s(a, w));
  const even = i16x8.mul(i16x8.shr_s(i16x8.shl(a, 8), 8), v128.and(w, i16x8.splat(255)));
  const odd = i16x8.mul(i16x8.shr_s(a, 8), i16x8.shr_u(w, 8));
  return i16x8.add(s, i16x8.add(even, odd));
}

/** acc[M, n .. n + 8) over whole K-blocks of w4, a half of 4 rows at a time: it stays in 8 registers while the tokens stream by. */
export function multiplyW4(acc: usize, ldc: usize, act: usize, lda: usize, w: usize, M: i32, K: i32, from: i32, to: i32, scratch: usize): void {
  if (hasDotAdd()) {
    multiply_w4(acc, ldc, act, lda, w, M, K, from, to, scratch);
    return;
  }
  const group = (<usize>K >> 5) * 144;
  const low = i8x16.splat(15);
  for (let n = from; n < to; n += 8) {
    let q = w + <usize>(n >> 3) * group;
    let first = act;
    for (const stop = q + group; q < stop; q += 144, first += ACT_BLOCK) {
      const d = v128.load(q, 128);
      for (let half: usize = 0; half < 2; half++) {
        const scale = half ? highScales(d) : lowScales(d);
        const rows = q + (half << 4);
        const column = acc + (<usize>n << 2) + (half << 4);
        const end = column + <usize>M * ldc;
        const v0 = v128.load(rows, 0);
        const w0 = v128.and(v0, low);
        const w1 = v128.and(i16x8.shr_u(v0, 4), low);
        const v1 = v128.load(rows, 32);
        const w2 = v128.and(v1, low);
        const w3 = v128.and(i16x8.shr_u(v1, 4), low);
        const v2 = v128.load(rows, 64);
        const w4 = v128.and(v2, low);
        const w5 = v128.and(i16x8.shr_u(v2, 4), low);
        const v3 = v128.load(rows, 96);
        const w6 = v128.and(v3, low);
        const w7 = v128.and(i16x8.shr_u(v3, 4), low);
        let a = first;
        for (let p = column; p < end; p += ldc, a += lda) {
          let s = v128.load32_splat(a, ACT_CORRECTION);
          s = step4(s, w0, v128.load32_splat(a, 0));
          s = step4(s, w1, v128.load32_splat(a, 4));
          s = step4(s, w2, v128.load32_splat(a, 8));
          s = step4(s, w3, v128.load32_splat(a, 12));
          s = step4(s, w4, v128.load32_splat(a, 16));
          s = step4(s, w5, v128.load32_splat(a, 20));
          s = step4(s, w6, v128.load32_splat(a, 24));
          s = step4(s, w7, v128.load32_splat(a, 28));
          const dot = f32x4.convert_i32x4_s(i32x4.extadd_pairwise_i16x8_s(s));
          v128.store(p, f32x4.add(v128.load(p), f32x4.mul(dot, f32x4.mul(scale, v128.load32_splat(a, ACT_SCALE)))));
        }
      }
    }
  }
}

/** The same over w8. */
export function multiplyW8(acc: usize, ldc: usize, act: usize, lda: usize, w: usize, M: i32, K: i32, from: i32, to: i32, scratch: usize): void {
  if (hasDotAdd()) {
    multiply_w8(acc, ldc, act, lda, w, M, K, from, to, scratch);
    return;
  }
  const group = (<usize>K >> 5) * 272;
  for (let n = from; n < to; n += 8) {
    let q = w + <usize>(n >> 3) * group;
    let first = act;
    for (const stop = q + group; q < stop; q += 272, first += ACT_BLOCK) {
      const d = v128.load(q, 256);
      const low = lowScales(d);
      const high = highScales(d);
      let p = acc + (<usize>n << 2);
      let a = first;
      for (const end = p + <usize>M * ldc; p < end; p += ldc, a += lda) {
        let s = i32x4.splat(0);
        let t = i32x4.splat(0);
        for (let k: usize = 0; k < 32; k += 2) {
          const pair = i16x8.extend_low_i8x16_s(v128.load16_splat(a + k));
          s = i32x4.add(s, i32x4.dot_i16x8_s(v128.load_ext<i8>(q + (k << 3)), pair));
          t = i32x4.add(t, i32x4.dot_i16x8_s(v128.load_ext<i8>(q + (k << 3), 8), pair));
        }
        const da = v128.load32_splat(a, ACT_SCALE);
        v128.store(p, f32x4.add(v128.load(p), f32x4.mul(f32x4.convert_i32x4_s(s), f32x4.mul(low, da))));
        v128.store(p, f32x4.add(v128.load(p, 16), f32x4.mul(f32x4.convert_i32x4_s(t), f32x4.mul(high, da))), 16);
      }
    }
  }
}

/** The same over f32: one product at a time, k ascending. */
export function multiplyF32(acc: usize, ldc: usize, act: usize, lda: usize, w: usize, M: i32, K: i32, from: i32, to: i32): void {
  const group = <usize>K << 5;
  for (let n = from; n < to; n += 8) {
    const rows = w + <usize>(n >> 3) * group;
    let p = acc + (<usize>n << 2);
    let x = act;
    for (let m = 0; m < M; m++, p += ldc, x += lda) {
      let s = v128.load(p);
      let t = v128.load(p, 16);
      let a = x;
      for (let q = rows, end = rows + group; q < end; q += 32, a += 4) {
        const v = v128.load32_splat(a);
        s = f32x4.add(s, f32x4.mul(v, v128.load(q)));
        t = f32x4.add(t, f32x4.mul(v, v128.load(q, 16)));
      }
      v128.store(p, s);
      v128.store(p, t, 16);
    }
  }
}

/** Pages of a chunk that a token sees. */
@inline
function seen(pos: usize, t: i32, first: i32, pages: i32): i32 {
  return min(pages, ((<i32>load<u32>(pos + (<usize>t << 2)) + 16) >> 4) - first);
}

/**
 * Pages first .. first + pages of a sequence, at `at`, each [groups] of headBytes, into the state of every row
 * (token, group, query head): qi i16 [d], qs f32, m f32, l f32, o f32 [d], arrays over rows. Tokens [from, to). Rows that
 * see the same pages go through them together, those of two tokens at a time, as in ../src/attention-i8.
 * A row sees the last `window` positions. scratch: 2 · perGroup · (224 + 8d) bytes.
 */
export function attendI8(at: usize, headBytes: usize, pages: i32, first: i32, pos: usize, from: i32, to: i32, groups: i32, perGroup: i32, d: i32, qi: usize, qs: usize, m: usize, l: usize, o: usize, scratch: usize, window: i32): void {
  const bytes = rowBytes(d);
  const head = <usize>d << 2;
  const own = groups * perGroup; // rows of a token
  const jump = own - perGroup; // from a group's last row to its first of the next token
  const pitch = <usize>groups * headBytes;
  for (let t = from; t < to; ) {
    const last = seen(pos, t, first, pages);
    const length = <i32>load<u32>(pos + (<usize>t << 2)) + 1;
    const begin = max(0, length - window);
    let count = 1;
    let next = length;
    let later = begin;
    if (t + 1 < to && seen(pos, t + 1, first, pages) == last) {
      const other = <i32>load<u32>(pos + (<usize>t << 2), 4) + 1;
      if (max(0, other - window) >> 4 == begin >> 4) {
        count = 2;
        next = other;
        later = max(0, other - window);
      }
    }
    const skipped = max(0, (begin >> 4) - first); // pages that the window has left
    const rows = count * perGroup;
    for (let g = 0; g < groups && last > skipped; g++) {
      const base = t * own + g * perGroup;
      for (let i = 0; i < rows; i++) {
        const r = <usize>(base + i + (i < perGroup ? 0 : jump));
        const row = scratch + <usize>i * bytes;
        const q = qi + r * (<usize>d << 1);
        for (let k = 0; k < d; k += 8) putQuery(row, k, v128.load(q + (<usize>k << 1)));
        putScale(row, f32.load(qs + (r << 2)), d);
        f32.store(row, f32.load(m + (r << 2)));
        f32.store(row, f32.load(l + (r << 2)), STATE_L);
      }
      let bank = at + <usize>g * headBytes + <usize>skipped * pitch;
      for (let i = skipped; i < last; i++, bank += pitch) {
        const before = (first + i) << 4;
        page(scratch, bytes, rows, perGroup, bank, max(0, begin - before), min(16, length - before), max(0, later - before), min(16, next - before), d);
        const v = bank + (<usize>d << 4);
        for (let j = 0; j < rows; j += 2) {
          const row = scratch + <usize>j * bytes;
          const y = o + <usize>(base + j + (j < perGroup ? 0 : jump)) * head;
          if (j + 1 == rows) values(row, y, v, d);
          else values2(row, row + bytes, y, o + <usize>(base + j + 1 + (j + 1 < perGroup ? 0 : jump)) * head, v, d);
        }
      }
      for (let i = 0; i < rows; i++) {
        const r = <usize>(base + i + (i < perGroup ? 0 : jump));
        const row = scratch + <usize>i * bytes;
        f32.store(m + (r << 2), f32.load(row));
        f32.store(l + (r << 2), f32.load(row, STATE_L));
      }
    }
    t += count;
  }
}

/** Queries f32 [M, d] into 15 bits and a sign with qs = scale · σ; maxima −inf, sums and outputs 0. */
export function attendStart(q: usize, M: i32, d: i32, sigma: f32, qi: usize, qs: usize, m: usize, l: usize, o: usize): void {
  memory.fill(l, 0, <usize>M << 2);
  memory.fill(o, 0, <usize>(M * d) << 2);
  for (let r = 0; r < M; r++, qs += 4, m += 4) {
    const amax = largest(q, d);
    const inverse = f32x4.splat(inverseScale(32767, amax));
    for (const end = q + (<usize>d << 2); q < end; q += 32, qi += 16) {
      const a = rne4(clamp4(f32x4.mul(v128.load(q, 0), inverse), 32767));
      const b = rne4(clamp4(f32x4.mul(v128.load(q, 16), inverse), 32767));
      v128.store(qi, i16x8.narrow_i32x4_s(a, b));
    }
    f32.store(qs, (amax / 32767) * sigma);
    f32.store(m, -Infinity);
  }
}

/** out[tokens] of `heads` heads: o / l, as f32 or quantized through `scratch` f32 [heads · d]. */
export function attendEnd(out: usize, ldo: usize, quantized: bool, tokens: i32, heads: i32, d: i32, l: usize, o: usize, scratch: usize): void {
  for (let t = 0; t < tokens; t++, out += ldo) {
    let y = quantized ? scratch : out;
    for (let h = 0; h < heads; h++, l += 4) {
      const inverse = f32x4.splat(<f32>1 / f32.load(l));
      for (const end = o + (<usize>d << 2); o < end; o += 16, y += 16) v128.store(y, f32x4.mul(v128.load(o), inverse));
    }
    if (quantized) quantizeRow(out, scratch, heads * d);
  }
}

export * from '../src/generated';
export { addNorm, norm } from '../src/norm';
export { ropeStore } from '../src/rope-store';
export { geglu, swiglu } from '../src/glu';

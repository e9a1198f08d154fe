// What an adapter adds to a matrix's outputs: y += (x · aᵀ) · b, with a [rank, K] and b [rank, N] in f32.
import { ACT_BLOCK, ACT_SCALE } from './act';
import { lane4Sum } from './numeric';

/** K elements of a block layout as f32 at `to`: a · da, one rounding. */
function widen(to: usize, x: usize, K: i32): void {
  for (const end = to + (<usize>K << 2); to < end; x += ACT_BLOCK) {
    const scale = v128.load32_splat(x, ACT_SCALE);
    for (let p = x, stop = x + 32; p < stop; p += 8, to += 32) {
      const q = v128.load8x8_s(p);
      v128.store(to, f32x4.mul(f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(q)), scale), 0);
      v128.store(to, f32x4.mul(f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_s(q)), scale), 16);
    }
  }
}

/** u[j] = lane4(x[k] · a[j, k]), four rows of a at a time while there are four. */
function reduce(u: usize, x: usize, a: usize, rank: i32, K: i32): void {
  const row = <usize>K << 2;
  let j = 0;
  for (; j + 4 <= rank; j += 4, a += 4 * row, u += 16) {
    let s0 = f32x4.splat(0);
    let s1 = f32x4.splat(0);
    let s2 = f32x4.splat(0);
    let s3 = f32x4.splat(0);
    let q = a;
    for (let p = x, end = x + row; p < end; p += 16, q += 16) {
      const v = v128.load(p);
      s0 = f32x4.add(s0, f32x4.mul(v, v128.load(q)));
      s1 = f32x4.add(s1, f32x4.mul(v, v128.load(q + row)));
      s2 = f32x4.add(s2, f32x4.mul(v, v128.load(q + 2 * row)));
      s3 = f32x4.add(s3, f32x4.mul(v, v128.load(q + 3 * row)));
    }
    f32.store(u, lane4Sum(s0), 0);
    f32.store(u, lane4Sum(s1), 4);
    f32.store(u, lane4Sum(s2), 8);
    f32.store(u, lane4Sum(s3), 12);
  }
  for (; j < rank; j++, a += row, u += 4) {
    let s = f32x4.splat(0);
    for (let p = x, q = a, end = x + row; p < end; p += 16, q += 16) s = f32x4.add(s, f32x4.mul(v128.load(p), v128.load(q)));
    f32.store(u, lane4Sum(s));
  }
}

/** y[n] += Σ u[j] · b[j, n], j ascending from 0. */
function expand(y: usize, u: usize, b: usize, rank: i32, N: i32): void {
  const row = <usize>N << 2;
  const end = u + (<usize>rank << 2);
  let n = 0;
  for (; n + 16 <= N; n += 16, y += 64, b += 64) {
    let s0 = f32x4.splat(0);
    let s1 = f32x4.splat(0);
    let s2 = f32x4.splat(0);
    let s3 = f32x4.splat(0);
    for (let p = u, q = b; p < end; p += 4, q += row) {
      const e = v128.load32_splat(p);
      s0 = f32x4.add(s0, f32x4.mul(e, v128.load(q, 0)));
      s1 = f32x4.add(s1, f32x4.mul(e, v128.load(q, 16)));
      s2 = f32x4.add(s2, f32x4.mul(e, v128.load(q, 32)));
      s3 = f32x4.add(s3, f32x4.mul(e, v128.load(q, 48)));
    }
    v128.store(y, f32x4.add(v128.load(y, 0), s0), 0);
    v128.store(y, f32x4.add(v128.load(y, 16), s1), 16);
    v128.store(y, f32x4.add(v128.load(y, 32), s2), 32);
    v128.store(y, f32x4.add(v128.load(y, 48), s3), 48);
  }
  for (; n < N; n++, y += 4, b += 4) {
    let s: f32 = 0;
    for (let p = u, q = b; p < end; p += 4, q += row) s += f32.load(p) * f32.load(q);
    f32.store(y, f32.load(y) + s);
  }
}

/** Tokens [0, T) of y (rows of `stride` bytes, at the first output that changes) and x (rows of `step` bytes, blocks or f32). `scratch`: u, then K f32. */
export function addLowRank(y: usize, stride: i32, x: usize, step: i32, blocks: bool, T: i32, a: usize, rank: i32, K: i32, N: i32, scratch: usize): void {
  const b = a + (<usize>(rank * K) << 2);
  const row = scratch + (<usize>((rank + 3) & ~3) << 2);
  for (let t = 0; t < T; t++, y += stride, x += step) {
    let p = x;
    if (blocks) widen((p = row), x, K);
    reduce(scratch, p, a, rank, K);
    expand(y, scratch, b, rank, N);
  }
}

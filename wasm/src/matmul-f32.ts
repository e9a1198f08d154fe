// f32 activations × f32 weights: one accumulator an output, k ascending, as the contract orders the sum.
//
// The ladder, [1024, 576] at 1 and 32 tokens, G multiply-adds a second (as in matmul-w4.ts):
//   1  4 rows × 4 tokens            7     9
//   2  8 rows × 2 tokens, one stream    8    12
// It serves models whose weights stay f32; the sums wait for each other's additions.
import { finish } from './finish';

/** Rows [from, to) (whole groups of 8) for tokens [0, T): y[T, N] = x[T, K] · wᵀ. */
export function matmulF32(y: usize, x: usize, w: usize, T: i32, N: i32, K: i32, from: i32, to: i32, bias: usize, accumulate: bool): void {
  const row = <usize>K << 2;
  const out = <usize>N << 2;
  for (let n = from; n < to; n += 8) {
    const group = w + <usize>(n >> 3) * (<usize>K << 5);
    let p = x;
    let t = 0;
    for (; t + 2 <= T; t += 2, p += 2 * row) {
      let s0 = f32x4.splat(0);
      let s1 = f32x4.splat(0);
      let t0 = f32x4.splat(0);
      let t1 = f32x4.splat(0);
      let q = group;
      for (let a = p, b = p + row, end = b; a < end; a += 4, b += 4, q += 32) {
        const v = v128.load(q, 0);
        const u = v128.load(q, 16);
        const e = v128.load32_splat(a);
        const f = v128.load32_splat(b);
        s0 = f32x4.add(s0, f32x4.mul(e, v));
        s1 = f32x4.add(s1, f32x4.mul(e, u));
        t0 = f32x4.add(t0, f32x4.mul(f, v));
        t1 = f32x4.add(t1, f32x4.mul(f, u));
      }
      const to = y + <usize>t * out;
      finish(to, s0, s1, n, N, bias, accumulate);
      finish(to + out, t0, t1, n, N, bias, accumulate);
    }
    if (t < T) {
      let s0 = f32x4.splat(0);
      let s1 = f32x4.splat(0);
      let q = group;
      for (let a = p, end = p + row; a < end; a += 4, q += 32) {
        const e = v128.load32_splat(a);
        s0 = f32x4.add(s0, f32x4.mul(e, v128.load(q, 0)));
        s1 = f32x4.add(s1, f32x4.mul(e, v128.load(q, 16)));
      }
      finish(y + <usize>t * out, s0, s1, n, N, bias, accumulate);
    }
  }
}

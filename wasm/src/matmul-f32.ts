// f32 activations × f32 weights: one accumulator an output, k ascending.
import { finish } from './finish';

/** Rows [from, to) (whole groups of 4) for tokens [0, T): y[T, N] = x[T, K] · wᵀ. acc: 64 bytes. */
export function matmulF32(y: usize, x: usize, w: usize, T: i32, N: i32, K: i32, from: i32, to: i32, bias: usize, accumulate: bool, acc: usize): void {
  const group = <usize>K << 4;
  const row = <usize>K << 2;
  let t = 0;
  for (; t + 4 <= T; t += 4) {
    const x0 = x + <usize>t * row;
    const x1 = x0 + row;
    const x2 = x1 + row;
    const x3 = x2 + row;
    for (let n = from; n < to; n += 4) {
      let p = w + <usize>(n >> 2) * group;
      let a0 = f32x4.splat(0);
      let a1 = f32x4.splat(0);
      let a2 = f32x4.splat(0);
      let a3 = f32x4.splat(0);
      for (let k: usize = 0; k < row; k += 4, p += 16) {
        const v = v128.load(p);
        a0 = f32x4.add(a0, f32x4.mul(v128.load32_splat(x0 + k), v));
        a1 = f32x4.add(a1, f32x4.mul(v128.load32_splat(x1 + k), v));
        a2 = f32x4.add(a2, f32x4.mul(v128.load32_splat(x2 + k), v));
        a3 = f32x4.add(a3, f32x4.mul(v128.load32_splat(x3 + k), v));
      }
      v128.store(acc, a0, 0);
      v128.store(acc, a1, 16);
      v128.store(acc, a2, 32);
      v128.store(acc, a3, 48);
      finish(y + <usize>t * (<usize>N << 2), acc, 4, n, N, bias, accumulate);
    }
  }
  for (; t < T; t++) {
    const x0 = x + <usize>t * row;
    let n = from;
    for (; n + 16 <= to; n += 16) {
      let p = w + <usize>(n >> 2) * group;
      let a0 = f32x4.splat(0);
      let a1 = f32x4.splat(0);
      let a2 = f32x4.splat(0);
      let a3 = f32x4.splat(0);
      for (let k: usize = 0; k < row; k += 4, p += 16) {
        const v = v128.load32_splat(x0 + k);
        a0 = f32x4.add(a0, f32x4.mul(v, v128.load(p)));
        a1 = f32x4.add(a1, f32x4.mul(v, v128.load(p + group)));
        a2 = f32x4.add(a2, f32x4.mul(v, v128.load(p + 2 * group)));
        a3 = f32x4.add(a3, f32x4.mul(v, v128.load(p + 3 * group)));
      }
      v128.store(acc, a0, 0);
      v128.store(acc, a1, 16);
      v128.store(acc, a2, 32);
      v128.store(acc, a3, 48);
      for (let i = 0; i < 4; i++) finish(y + <usize>t * (<usize>N << 2), acc + (<usize>i << 4), 1, n + 4 * i, N, bias, accumulate);
    }
    for (; n < to; n += 4) {
      let p = w + <usize>(n >> 2) * group;
      let a0 = f32x4.splat(0);
      for (let k: usize = 0; k < row; k += 4, p += 16) a0 = f32x4.add(a0, f32x4.mul(v128.load32_splat(x0 + k), v128.load(p)));
      v128.store(acc, a0, 0);
      finish(y + <usize>t * (<usize>N << 2), acc, 1, n, N, bias, accumulate);
    }
  }
}

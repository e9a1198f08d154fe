// The end of every matmul: sums of 4 rows for a tile of tokens, plus bias, plus what y holds.

/** y[t, n..n+4) for `tokens` tokens from acc[t][4]; the last group of a matrix may have fewer than 4 rows. */
@inline
export function finish(y: usize, acc: usize, tokens: i32, n: i32, N: i32, bias: usize, accumulate: bool): void {
  const stride = <usize>N << 2;
  if (n + 4 <= N) {
    const b = bias ? v128.load(bias + (<usize>n << 2)) : f32x4.splat(0);
    for (let p = y + (<usize>n << 2), end = p + <usize>tokens * stride; p < end; p += stride, acc += 16) {
      let v = v128.load(acc);
      if (bias) v = f32x4.add(v, b);
      if (accumulate) v = f32x4.add(v128.load(p), v);
      v128.store(p, v);
    }
    return;
  }
  for (let t = 0; t < tokens; t++, y += stride, acc += 16) {
    for (let i = n; i < N; i++) {
      let v = f32.load(acc + (<usize>(i - n) << 2));
      if (bias) v += f32.load(bias + (<usize>i << 2));
      const p = y + (<usize>i << 2);
      f32.store(p, accumulate ? f32.load(p) + v : v);
    }
  }
}

// The end of every matmul: sums, plus bias, plus what y holds.

/** Rows n..n+3 of one token at y from sums; the last rows of a matrix may be fewer. */
@inline
function finish4(y: usize, v: v128, n: i32, N: i32, bias: usize, accumulate: bool): void {
  const at = <usize>n << 2;
  if (n + 4 <= N) {
    if (bias) v = f32x4.add(v, v128.load(bias + at));
    if (accumulate) v = f32x4.add(v128.load(y + at), v);
    v128.store(y + at, v);
    return;
  }
  for (let i = n; i < N; i++) {
    let x = f32x4.extract_lane(v, 0);
    v = i32x4.shuffle(v, v, 1, 2, 3, 0);
    const p = <usize>i << 2;
    if (bias) x += f32.load(bias + p);
    f32.store(y + p, accumulate ? f32.load(y + p) + x : x);
  }
}

/** y[n..n+8) for one token from the sums of its 8 rows. */
export function finish(y: usize, low: v128, high: v128, n: i32, N: i32, bias: usize, accumulate: bool): void {
  finish4(y, low, n, N, bias, accumulate);
  finish4(y, high, n + 4, N, bias, accumulate);
}

/** The same for `tokens` tokens with their sums at acc[token][8]. */
@inline
export function finishTile(y: usize, acc: usize, tokens: i32, n: i32, N: i32, bias: usize, accumulate: bool): void {
  const end = acc + (<usize>tokens << 5);
  const row = <usize>N << 2;
  if (n + 8 > N || bias) {
    for (; acc < end; acc += 32, y += row) finish(y, v128.load(acc, 0), v128.load(acc, 16), n, N, bias, accumulate);
    return;
  }
  let at = y + (<usize>n << 2);
  if (accumulate) {
    for (; acc < end; acc += 32, at += row) {
      v128.store(at, f32x4.add(v128.load(at, 0), v128.load(acc, 0)), 0);
      v128.store(at, f32x4.add(v128.load(at, 16), v128.load(acc, 16)), 16);
    }
  } else {
    for (; acc < end; acc += 32, at += row) {
      v128.store(at, v128.load(acc, 0), 0);
      v128.store(at, v128.load(acc, 16), 16);
    }
  }
}

/** Zeroes the sums of a tile. */
@inline
export function clearTile(acc: usize): void {
  const zero = f32x4.splat(0);
  v128.store(acc, zero, 0);
  v128.store(acc, zero, 16);
  v128.store(acc, zero, 32);
  v128.store(acc, zero, 48);
  v128.store(acc, zero, 64);
  v128.store(acc, zero, 80);
  v128.store(acc, zero, 96);
  v128.store(acc, zero, 112);
}

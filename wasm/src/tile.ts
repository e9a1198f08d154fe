// The tile of all quantized matmuls of more than a few tokens: 8 rows × 4 tokens, every loaded operand used 4 or 2 times,
// 8 sums + 2 weights + 1 activation + 1 product (the other takes the activation's place) in 12 of the 15 registers that the
// engine has. The order of the statements is the order of the machine code. matmul-w4.ts has the ladder.
import { ones16 } from './constants';
import { clearTile, finishTile } from './finish';
import { plus, product, products, total } from './wide';

/** 8 rows × 4 tokens. */
@inline
function tile4<T>(acc: usize, a: usize, stride: usize, rows: usize, blocks: i32): void {
  let z: v128; // the first of two products; the second takes x's place
  let a0 = a;
  let a1 = a + stride;
  let a2 = a + 2 * stride;
  let a3 = a + 3 * stride;
  clearTile(acc);
  const ones = ones16();
  for (const end = rows + <usize>blocks * (2 * products<T>() + 32); rows < end; rows += 32) {
    let s0 = v128.load(a0, products<T>());
    let t0 = s0;
    let s1 = v128.load(a1, products<T>());
    let t1 = s1;
    let s2 = v128.load(a2, products<T>());
    let t2 = s2;
    let s3 = v128.load(a3, products<T>());
    let t3 = s3;
    for (const stop = rows + 2 * products<T>(); rows < stop; rows += 128) {
      let v = v128.load(rows, 0);
      let w = v128.load(rows, 16);
      let x = v128.load(a0, 0);
      z = product<T>(x, v);
      x = product<T>(x, w);
      s0 = plus<T>(s0, z);
      t0 = plus<T>(t0, x);
      x = v128.load(a1, 0);
      z = product<T>(x, v);
      x = product<T>(x, w);
      s1 = plus<T>(s1, z);
      t1 = plus<T>(t1, x);
      x = v128.load(a2, 0);
      z = product<T>(x, v);
      x = product<T>(x, w);
      s2 = plus<T>(s2, z);
      t2 = plus<T>(t2, x);
      x = v128.load(a3, 0);
      z = product<T>(x, v);
      x = product<T>(x, w);
      s3 = plus<T>(s3, z);
      t3 = plus<T>(t3, x);
      v = v128.load(rows, 32);
      w = v128.load(rows, 48);
      x = v128.load(a0, 16);
      z = product<T>(x, v);
      x = product<T>(x, w);
      s0 = plus<T>(s0, z);
      t0 = plus<T>(t0, x);
      x = v128.load(a1, 16);
      z = product<T>(x, v);
      x = product<T>(x, w);
      s1 = plus<T>(s1, z);
      t1 = plus<T>(t1, x);
      x = v128.load(a2, 16);
      z = product<T>(x, v);
      x = product<T>(x, w);
      s2 = plus<T>(s2, z);
      t2 = plus<T>(t2, x);
      x = v128.load(a3, 16);
      z = product<T>(x, v);
      x = product<T>(x, w);
      s3 = plus<T>(s3, z);
      t3 = plus<T>(t3, x);
      v = v128.load(rows, 64);
      w = v128.load(rows, 80);
      x = v128.load(a0, 32);
      z = product<T>(x, v);
      x = product<T>(x, w);
      s0 = plus<T>(s0, z);
      t0 = plus<T>(t0, x);
      x = v128.load(a1, 32);
      z = product<T>(x, v);
      x = product<T>(x, w);
      s1 = plus<T>(s1, z);
      t1 = plus<T>(t1, x);
      x = v128.load(a2, 32);
      z = product<T>(x, v);
      x = product<T>(x, w);
      s2 = plus<T>(s2, z);
      t2 = plus<T>(t2, x);
      x = v128.load(a3, 32);
      z = product<T>(x, v);
      x = product<T>(x, w);
      s3 = plus<T>(s3, z);
      t3 = plus<T>(t3, x);
      v = v128.load(rows, 96);
      w = v128.load(rows, 112);
      x = v128.load(a0, 48);
      z = product<T>(x, v);
      x = product<T>(x, w);
      s0 = plus<T>(s0, z);
      t0 = plus<T>(t0, x);
      x = v128.load(a1, 48);
      z = product<T>(x, v);
      x = product<T>(x, w);
      s1 = plus<T>(s1, z);
      t1 = plus<T>(t1, x);
      x = v128.load(a2, 48);
      z = product<T>(x, v);
      x = product<T>(x, w);
      s2 = plus<T>(s2, z);
      t2 = plus<T>(t2, x);
      x = v128.load(a3, 48);
      z = product<T>(x, v);
      x = product<T>(x, w);
      s3 = plus<T>(s3, z);
      t3 = plus<T>(t3, x);
      a0 += 64;
      a1 += 64;
      a2 += 64;
      a3 += 64;
    }
    const c = v128.load(rows, 0);
    const d = v128.load(rows, 16);
    let e = v128.load(a0, 16);
    v128.store(acc, f32x4.add(v128.load(acc, 0), f32x4.mul(total<T>(s0, ones), f32x4.mul(c, e))), 0);
    v128.store(acc, f32x4.add(v128.load(acc, 16), f32x4.mul(total<T>(t0, ones), f32x4.mul(d, e))), 16);
    e = v128.load(a1, 16);
    v128.store(acc, f32x4.add(v128.load(acc, 32), f32x4.mul(total<T>(s1, ones), f32x4.mul(c, e))), 32);
    v128.store(acc, f32x4.add(v128.load(acc, 48), f32x4.mul(total<T>(t1, ones), f32x4.mul(d, e))), 48);
    e = v128.load(a2, 16);
    v128.store(acc, f32x4.add(v128.load(acc, 64), f32x4.mul(total<T>(s2, ones), f32x4.mul(c, e))), 64);
    v128.store(acc, f32x4.add(v128.load(acc, 80), f32x4.mul(total<T>(t2, ones), f32x4.mul(d, e))), 80);
    e = v128.load(a3, 16);
    v128.store(acc, f32x4.add(v128.load(acc, 96), f32x4.mul(total<T>(s3, ones), f32x4.mul(c, e))), 96);
    v128.store(acc, f32x4.add(v128.load(acc, 112), f32x4.mul(total<T>(t3, ones), f32x4.mul(d, e))), 112);
    a0 += 32;
    a1 += 32;
    a2 += 32;
    a3 += 32;
  }
}

/** 8 rows × 2 tokens. */
@inline
function tile2<T>(acc: usize, a: usize, stride: usize, rows: usize, blocks: i32): void {
  let z: v128;
  let a0 = a;
  let a1 = a + stride;
  for (let i: usize = 0; i < 64; i += 16) v128.store(acc + i, f32x4.splat(0));
  const ones = ones16();
  for (const end = rows + <usize>blocks * (2 * products<T>() + 32); rows < end; rows += 32) {
    let s0 = v128.load(a0, products<T>());
    let t0 = s0;
    let s1 = v128.load(a1, products<T>());
    let t1 = s1;
    for (const stop = rows + 2 * products<T>(); rows < stop; rows += 128) {
      let v = v128.load(rows, 0);
      let w = v128.load(rows, 16);
      let x = v128.load(a0, 0);
      z = product<T>(x, v);
      x = product<T>(x, w);
      s0 = plus<T>(s0, z);
      t0 = plus<T>(t0, x);
      x = v128.load(a1, 0);
      z = product<T>(x, v);
      x = product<T>(x, w);
      s1 = plus<T>(s1, z);
      t1 = plus<T>(t1, x);
      v = v128.load(rows, 32);
      w = v128.load(rows, 48);
      x = v128.load(a0, 16);
      z = product<T>(x, v);
      x = product<T>(x, w);
      s0 = plus<T>(s0, z);
      t0 = plus<T>(t0, x);
      x = v128.load(a1, 16);
      z = product<T>(x, v);
      x = product<T>(x, w);
      s1 = plus<T>(s1, z);
      t1 = plus<T>(t1, x);
      v = v128.load(rows, 64);
      w = v128.load(rows, 80);
      x = v128.load(a0, 32);
      z = product<T>(x, v);
      x = product<T>(x, w);
      s0 = plus<T>(s0, z);
      t0 = plus<T>(t0, x);
      x = v128.load(a1, 32);
      z = product<T>(x, v);
      x = product<T>(x, w);
      s1 = plus<T>(s1, z);
      t1 = plus<T>(t1, x);
      v = v128.load(rows, 96);
      w = v128.load(rows, 112);
      x = v128.load(a0, 48);
      z = product<T>(x, v);
      x = product<T>(x, w);
      s0 = plus<T>(s0, z);
      t0 = plus<T>(t0, x);
      x = v128.load(a1, 48);
      z = product<T>(x, v);
      x = product<T>(x, w);
      s1 = plus<T>(s1, z);
      t1 = plus<T>(t1, x);
      a0 += 64;
      a1 += 64;
    }
    const c = v128.load(rows, 0);
    const d = v128.load(rows, 16);
    let e = v128.load(a0, 16);
    v128.store(acc, f32x4.add(v128.load(acc, 0), f32x4.mul(total<T>(s0, ones), f32x4.mul(c, e))), 0);
    v128.store(acc, f32x4.add(v128.load(acc, 16), f32x4.mul(total<T>(t0, ones), f32x4.mul(d, e))), 16);
    e = v128.load(a1, 16);
    v128.store(acc, f32x4.add(v128.load(acc, 32), f32x4.mul(total<T>(s1, ones), f32x4.mul(c, e))), 32);
    v128.store(acc, f32x4.add(v128.load(acc, 48), f32x4.mul(total<T>(t1, ones), f32x4.mul(d, e))), 48);
    a0 += 32;
    a1 += 32;
  }
}

/** 8 rows × 1 token. */
@inline
function tile1<T>(acc: usize, a: usize, stride: usize, rows: usize, blocks: i32): void {
  let z: v128;
  let a0 = a;
  for (let i: usize = 0; i < 32; i += 16) v128.store(acc + i, f32x4.splat(0));
  const ones = ones16();
  for (const end = rows + <usize>blocks * (2 * products<T>() + 32); rows < end; rows += 32) {
    let s0 = v128.load(a0, products<T>());
    let t0 = s0;
    for (const stop = rows + 2 * products<T>(); rows < stop; rows += 128) {
      let v = v128.load(rows, 0);
      let w = v128.load(rows, 16);
      let x = v128.load(a0, 0);
      z = product<T>(x, v);
      x = product<T>(x, w);
      s0 = plus<T>(s0, z);
      t0 = plus<T>(t0, x);
      v = v128.load(rows, 32);
      w = v128.load(rows, 48);
      x = v128.load(a0, 16);
      z = product<T>(x, v);
      x = product<T>(x, w);
      s0 = plus<T>(s0, z);
      t0 = plus<T>(t0, x);
      v = v128.load(rows, 64);
      w = v128.load(rows, 80);
      x = v128.load(a0, 32);
      z = product<T>(x, v);
      x = product<T>(x, w);
      s0 = plus<T>(s0, z);
      t0 = plus<T>(t0, x);
      v = v128.load(rows, 96);
      w = v128.load(rows, 112);
      x = v128.load(a0, 48);
      z = product<T>(x, v);
      x = product<T>(x, w);
      s0 = plus<T>(s0, z);
      t0 = plus<T>(t0, x);
      a0 += 64;
    }
    const c = v128.load(rows, 0);
    const d = v128.load(rows, 16);
    let e = v128.load(a0, 16);
    v128.store(acc, f32x4.add(v128.load(acc, 0), f32x4.mul(total<T>(s0, ones), f32x4.mul(c, e))), 0);
    v128.store(acc, f32x4.add(v128.load(acc, 16), f32x4.mul(total<T>(t0, ones), f32x4.mul(d, e))), 16);
    a0 += 32;
  }
}

/** y[n..n+8) of all tokens: unpacked rows × spread activations. acc: 128 bytes. */
@inline
export function tileRows<T>(y: usize, a: usize, rows: usize, tokens: i32, blocks: i32, n: i32, N: i32, bias: usize, accumulate: bool, acc: usize): void {
  const stride = <usize>blocks * (products<T>() + 32);
  const row = <usize>N << 2;
  let t = 0;
  for (; t + 4 <= tokens; t += 4) {
    tile4<T>(acc, a + <usize>t * stride, stride, rows, blocks);
    finishTile(y + <usize>t * row, acc, 4, n, N, bias, accumulate);
  }
  for (; t + 2 <= tokens; t += 2) {
    tile2<T>(acc, a + <usize>t * stride, stride, rows, blocks);
    finishTile(y + <usize>t * row, acc, 2, n, N, bias, accumulate);
  }
  if (t < tokens) {
    tile1<T>(acc, a + <usize>t * stride, stride, rows, blocks);
    finishTile(y + <usize>t * row, acc, 1, n, N, bias, accumulate);
  }
}

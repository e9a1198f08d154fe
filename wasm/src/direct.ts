// The tile of w4 for few tokens (relaxed SIMD only): nibbles are unpacked in registers for every 2 to 4 tokens, which costs
// less than to store the unpacked rows and load them again until there are more than about 8 tokens.
import { nibbles8, ones16 } from './constants';
import { clearTile, finishTile } from './finish';
import { highScales, lowScales, plus, product, total } from './wide';

/** 8 rows × 4 tokens. */
@inline
function direct4(acc: usize, a: usize, stride: usize, q: usize, blocks: i32): void {
  let z: v128;
  let a0 = a;
  let a1 = a + stride;
  let a2 = a + 2 * stride;
  let a3 = a + 3 * stride;
  clearTile(acc);
  const ones = ones16();
  for (const end = q + <usize>blocks * 144; q < end; q += 16) {
    let s0 = v128.load(a0, 128);
    let t0 = s0;
    let s1 = v128.load(a1, 128);
    let t1 = s1;
    let s2 = v128.load(a2, 128);
    let t2 = s2;
    let s3 = v128.load(a3, 128);
    let t3 = s3;
    for (const stop = q + 128; q < stop; q += 64) {
      let v = v128.load(q, 0);
      let w = v128.load(q, 16);
      let l = v128.and(v, nibbles8());
      let h = v128.and(w, nibbles8());
      let x = v128.load(a0, 0);
      z = product<i8>(x, l);
      x = product<i8>(x, h);
      s0 = plus<i8>(s0, z);
      t0 = plus<i8>(t0, x);
      x = v128.load(a1, 0);
      z = product<i8>(x, l);
      x = product<i8>(x, h);
      s1 = plus<i8>(s1, z);
      t1 = plus<i8>(t1, x);
      x = v128.load(a2, 0);
      z = product<i8>(x, l);
      x = product<i8>(x, h);
      s2 = plus<i8>(s2, z);
      t2 = plus<i8>(t2, x);
      x = v128.load(a3, 0);
      z = product<i8>(x, l);
      x = product<i8>(x, h);
      s3 = plus<i8>(s3, z);
      t3 = plus<i8>(t3, x);
      l = v128.and(i16x8.shr_u(v, 4), nibbles8());
      h = v128.and(i16x8.shr_u(w, 4), nibbles8());
      x = v128.load(a0, 16);
      z = product<i8>(x, l);
      x = product<i8>(x, h);
      s0 = plus<i8>(s0, z);
      t0 = plus<i8>(t0, x);
      x = v128.load(a1, 16);
      z = product<i8>(x, l);
      x = product<i8>(x, h);
      s1 = plus<i8>(s1, z);
      t1 = plus<i8>(t1, x);
      x = v128.load(a2, 16);
      z = product<i8>(x, l);
      x = product<i8>(x, h);
      s2 = plus<i8>(s2, z);
      t2 = plus<i8>(t2, x);
      x = v128.load(a3, 16);
      z = product<i8>(x, l);
      x = product<i8>(x, h);
      s3 = plus<i8>(s3, z);
      t3 = plus<i8>(t3, x);
      v = v128.load(q, 32);
      w = v128.load(q, 48);
      l = v128.and(v, nibbles8());
      h = v128.and(w, nibbles8());
      x = v128.load(a0, 32);
      z = product<i8>(x, l);
      x = product<i8>(x, h);
      s0 = plus<i8>(s0, z);
      t0 = plus<i8>(t0, x);
      x = v128.load(a1, 32);
      z = product<i8>(x, l);
      x = product<i8>(x, h);
      s1 = plus<i8>(s1, z);
      t1 = plus<i8>(t1, x);
      x = v128.load(a2, 32);
      z = product<i8>(x, l);
      x = product<i8>(x, h);
      s2 = plus<i8>(s2, z);
      t2 = plus<i8>(t2, x);
      x = v128.load(a3, 32);
      z = product<i8>(x, l);
      x = product<i8>(x, h);
      s3 = plus<i8>(s3, z);
      t3 = plus<i8>(t3, x);
      l = v128.and(i16x8.shr_u(v, 4), nibbles8());
      h = v128.and(i16x8.shr_u(w, 4), nibbles8());
      x = v128.load(a0, 48);
      z = product<i8>(x, l);
      x = product<i8>(x, h);
      s0 = plus<i8>(s0, z);
      t0 = plus<i8>(t0, x);
      x = v128.load(a1, 48);
      z = product<i8>(x, l);
      x = product<i8>(x, h);
      s1 = plus<i8>(s1, z);
      t1 = plus<i8>(t1, x);
      x = v128.load(a2, 48);
      z = product<i8>(x, l);
      x = product<i8>(x, h);
      s2 = plus<i8>(s2, z);
      t2 = plus<i8>(t2, x);
      x = v128.load(a3, 48);
      z = product<i8>(x, l);
      x = product<i8>(x, h);
      s3 = plus<i8>(s3, z);
      t3 = plus<i8>(t3, x);
      a0 += 64;
      a1 += 64;
      a2 += 64;
      a3 += 64;
    }
    const scales = v128.load(q);
    const c = lowScales(scales);
    const d = highScales(scales);
    let e = v128.load(a0, 16);
    v128.store(acc, f32x4.add(v128.load(acc, 0), f32x4.mul(total<i8>(s0, ones), f32x4.mul(c, e))), 0);
    v128.store(acc, f32x4.add(v128.load(acc, 16), f32x4.mul(total<i8>(t0, ones), f32x4.mul(d, e))), 16);
    e = v128.load(a1, 16);
    v128.store(acc, f32x4.add(v128.load(acc, 32), f32x4.mul(total<i8>(s1, ones), f32x4.mul(c, e))), 32);
    v128.store(acc, f32x4.add(v128.load(acc, 48), f32x4.mul(total<i8>(t1, ones), f32x4.mul(d, e))), 48);
    e = v128.load(a2, 16);
    v128.store(acc, f32x4.add(v128.load(acc, 64), f32x4.mul(total<i8>(s2, ones), f32x4.mul(c, e))), 64);
    v128.store(acc, f32x4.add(v128.load(acc, 80), f32x4.mul(total<i8>(t2, ones), f32x4.mul(d, e))), 80);
    e = v128.load(a3, 16);
    v128.store(acc, f32x4.add(v128.load(acc, 96), f32x4.mul(total<i8>(s3, ones), f32x4.mul(c, e))), 96);
    v128.store(acc, f32x4.add(v128.load(acc, 112), f32x4.mul(total<i8>(t3, ones), f32x4.mul(d, e))), 112);
    a0 += 32;
    a1 += 32;
    a2 += 32;
    a3 += 32;
  }
}

/** 8 rows × 3 tokens. */
@inline
function direct3(acc: usize, a: usize, stride: usize, q: usize, blocks: i32): void {
  let z: v128;
  let a0 = a;
  let a1 = a + stride;
  let a2 = a + 2 * stride;
  clearTile(acc);
  const ones = ones16();
  for (const end = q + <usize>blocks * 144; q < end; q += 16) {
    let s0 = v128.load(a0, 128);
    let t0 = s0;
    let s1 = v128.load(a1, 128);
    let t1 = s1;
    let s2 = v128.load(a2, 128);
    let t2 = s2;
    for (const stop = q + 128; q < stop; q += 64) {
      let v = v128.load(q, 0);
      let w = v128.load(q, 16);
      let l = v128.and(v, nibbles8());
      let h = v128.and(w, nibbles8());
      let x = v128.load(a0, 0);
      z = product<i8>(x, l);
      x = product<i8>(x, h);
      s0 = plus<i8>(s0, z);
      t0 = plus<i8>(t0, x);
      x = v128.load(a1, 0);
      z = product<i8>(x, l);
      x = product<i8>(x, h);
      s1 = plus<i8>(s1, z);
      t1 = plus<i8>(t1, x);
      x = v128.load(a2, 0);
      z = product<i8>(x, l);
      x = product<i8>(x, h);
      s2 = plus<i8>(s2, z);
      t2 = plus<i8>(t2, x);
      l = v128.and(i16x8.shr_u(v, 4), nibbles8());
      h = v128.and(i16x8.shr_u(w, 4), nibbles8());
      x = v128.load(a0, 16);
      z = product<i8>(x, l);
      x = product<i8>(x, h);
      s0 = plus<i8>(s0, z);
      t0 = plus<i8>(t0, x);
      x = v128.load(a1, 16);
      z = product<i8>(x, l);
      x = product<i8>(x, h);
      s1 = plus<i8>(s1, z);
      t1 = plus<i8>(t1, x);
      x = v128.load(a2, 16);
      z = product<i8>(x, l);
      x = product<i8>(x, h);
      s2 = plus<i8>(s2, z);
      t2 = plus<i8>(t2, x);
      v = v128.load(q, 32);
      w = v128.load(q, 48);
      l = v128.and(v, nibbles8());
      h = v128.and(w, nibbles8());
      x = v128.load(a0, 32);
      z = product<i8>(x, l);
      x = product<i8>(x, h);
      s0 = plus<i8>(s0, z);
      t0 = plus<i8>(t0, x);
      x = v128.load(a1, 32);
      z = product<i8>(x, l);
      x = product<i8>(x, h);
      s1 = plus<i8>(s1, z);
      t1 = plus<i8>(t1, x);
      x = v128.load(a2, 32);
      z = product<i8>(x, l);
      x = product<i8>(x, h);
      s2 = plus<i8>(s2, z);
      t2 = plus<i8>(t2, x);
      l = v128.and(i16x8.shr_u(v, 4), nibbles8());
      h = v128.and(i16x8.shr_u(w, 4), nibbles8());
      x = v128.load(a0, 48);
      z = product<i8>(x, l);
      x = product<i8>(x, h);
      s0 = plus<i8>(s0, z);
      t0 = plus<i8>(t0, x);
      x = v128.load(a1, 48);
      z = product<i8>(x, l);
      x = product<i8>(x, h);
      s1 = plus<i8>(s1, z);
      t1 = plus<i8>(t1, x);
      x = v128.load(a2, 48);
      z = product<i8>(x, l);
      x = product<i8>(x, h);
      s2 = plus<i8>(s2, z);
      t2 = plus<i8>(t2, x);
      a0 += 64;
      a1 += 64;
      a2 += 64;
    }
    const scales = v128.load(q);
    const c = lowScales(scales);
    const d = highScales(scales);
    let e = v128.load(a0, 16);
    v128.store(acc, f32x4.add(v128.load(acc, 0), f32x4.mul(total<i8>(s0, ones), f32x4.mul(c, e))), 0);
    v128.store(acc, f32x4.add(v128.load(acc, 16), f32x4.mul(total<i8>(t0, ones), f32x4.mul(d, e))), 16);
    e = v128.load(a1, 16);
    v128.store(acc, f32x4.add(v128.load(acc, 32), f32x4.mul(total<i8>(s1, ones), f32x4.mul(c, e))), 32);
    v128.store(acc, f32x4.add(v128.load(acc, 48), f32x4.mul(total<i8>(t1, ones), f32x4.mul(d, e))), 48);
    e = v128.load(a2, 16);
    v128.store(acc, f32x4.add(v128.load(acc, 64), f32x4.mul(total<i8>(s2, ones), f32x4.mul(c, e))), 64);
    v128.store(acc, f32x4.add(v128.load(acc, 80), f32x4.mul(total<i8>(t2, ones), f32x4.mul(d, e))), 80);
    a0 += 32;
    a1 += 32;
    a2 += 32;
  }
}

/** 8 rows × 2 tokens. */
@inline
function direct2(acc: usize, a: usize, stride: usize, q: usize, blocks: i32): void {
  let z: v128;
  let a0 = a;
  let a1 = a + stride;
  let c0 = f32x4.splat(0);
  let d0 = c0;
  let c1 = f32x4.splat(0);
  let d1 = c1;
  const ones = ones16();
  for (const end = q + <usize>blocks * 144; q < end; q += 16) {
    let s0 = v128.load(a0, 128);
    let t0 = s0;
    let s1 = v128.load(a1, 128);
    let t1 = s1;
    for (const stop = q + 128; q < stop; q += 64) {
      let v = v128.load(q, 0);
      let w = v128.load(q, 16);
      let l = v128.and(v, nibbles8());
      let h = v128.and(w, nibbles8());
      let x = v128.load(a0, 0);
      z = product<i8>(x, l);
      x = product<i8>(x, h);
      s0 = plus<i8>(s0, z);
      t0 = plus<i8>(t0, x);
      x = v128.load(a1, 0);
      z = product<i8>(x, l);
      x = product<i8>(x, h);
      s1 = plus<i8>(s1, z);
      t1 = plus<i8>(t1, x);
      l = v128.and(i16x8.shr_u(v, 4), nibbles8());
      h = v128.and(i16x8.shr_u(w, 4), nibbles8());
      x = v128.load(a0, 16);
      z = product<i8>(x, l);
      x = product<i8>(x, h);
      s0 = plus<i8>(s0, z);
      t0 = plus<i8>(t0, x);
      x = v128.load(a1, 16);
      z = product<i8>(x, l);
      x = product<i8>(x, h);
      s1 = plus<i8>(s1, z);
      t1 = plus<i8>(t1, x);
      v = v128.load(q, 32);
      w = v128.load(q, 48);
      l = v128.and(v, nibbles8());
      h = v128.and(w, nibbles8());
      x = v128.load(a0, 32);
      z = product<i8>(x, l);
      x = product<i8>(x, h);
      s0 = plus<i8>(s0, z);
      t0 = plus<i8>(t0, x);
      x = v128.load(a1, 32);
      z = product<i8>(x, l);
      x = product<i8>(x, h);
      s1 = plus<i8>(s1, z);
      t1 = plus<i8>(t1, x);
      l = v128.and(i16x8.shr_u(v, 4), nibbles8());
      h = v128.and(i16x8.shr_u(w, 4), nibbles8());
      x = v128.load(a0, 48);
      z = product<i8>(x, l);
      x = product<i8>(x, h);
      s0 = plus<i8>(s0, z);
      t0 = plus<i8>(t0, x);
      x = v128.load(a1, 48);
      z = product<i8>(x, l);
      x = product<i8>(x, h);
      s1 = plus<i8>(s1, z);
      t1 = plus<i8>(t1, x);
      a0 += 64;
      a1 += 64;
    }
    const scales = v128.load(q);
    const c = lowScales(scales);
    const d = highScales(scales);
    let e = v128.load(a0, 16);
    c0 = f32x4.add(c0, f32x4.mul(total<i8>(s0, ones), f32x4.mul(c, e)));
    d0 = f32x4.add(d0, f32x4.mul(total<i8>(t0, ones), f32x4.mul(d, e)));
    e = v128.load(a1, 16);
    c1 = f32x4.add(c1, f32x4.mul(total<i8>(s1, ones), f32x4.mul(c, e)));
    d1 = f32x4.add(d1, f32x4.mul(total<i8>(t1, ones), f32x4.mul(d, e)));
    a0 += 32;
    a1 += 32;
  }
  v128.store(acc, c0, 0);
  v128.store(acc, d0, 16);
  v128.store(acc, c1, 32);
  v128.store(acc, d1, 48);
}

/** y[n..n+8) of 2 or more tokens from the packed rows at q. acc: 128 bytes. */
@inline
export function directRows(y: usize, a: usize, q: usize, tokens: i32, blocks: i32, n: i32, N: i32, bias: usize, accumulate: bool, acc: usize): void {
  const stride = <usize>blocks * 160;
  const row = <usize>N << 2;
  let t = 0;
  for (; tokens - t > 5 || tokens - t == 4; t += 4) {
    direct4(acc, a + <usize>t * stride, stride, q, blocks);
    finishTile(y + <usize>t * row, acc, 4, n, N, bias, accumulate);
  }
  if (tokens - t > 2) {
    direct3(acc, a + <usize>t * stride, stride, q, blocks);
    finishTile(y + <usize>t * row, acc, 3, n, N, bias, accumulate);
    t += 3;
  }
  if (t < tokens) {
    direct2(acc, a + <usize>t * stride, stride, q, blocks);
    finishTile(y + <usize>t * row, acc, 2, n, N, bias, accumulate);
  }
}

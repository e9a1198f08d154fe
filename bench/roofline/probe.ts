/** AssemblyScript: how fast one core reads memory and multiplies, with instructions that a kernel could use. Compiled with relaxed SIMD. */

/** Reads [from, from + bytes) in 64-byte lines, four loads each; returns something that needs them all. */
export function read(from: usize, bytes: usize): i32 {
  let a = i32x4.splat(0);
  let b = i32x4.splat(0);
  let c = i32x4.splat(0);
  let d = i32x4.splat(0);
  for (let p = from, end = from + bytes; p < end; p += 64) {
    a = v128.or(a, v128.load(p));
    b = v128.or(b, v128.load(p, 16));
    c = v128.or(c, v128.load(p, 32));
    d = v128.or(d, v128.load(p, 48));
  }
  return i32x4.extract_lane(v128.or(v128.or(a, b), v128.or(c, d)), 0);
}

/** n rounds of 8 independent chains of 16 int8 multiply-adds. */
export function i8mul(n: i32): i32 {
  const y = v128.load(16);
  let a = i16x8.splat(1);
  let b = i16x8.splat(258);
  let c = i16x8.splat(515);
  let d = i16x8.splat(772);
  let e = i16x8.splat(1029);
  let f = i16x8.splat(1286);
  let g = i16x8.splat(1543);
  let h = i16x8.splat(1800);
  for (let round = 0; round < n; round++) {
    a = i16x8.relaxed_dot_i8x16_i7x16_s(a, y);
    b = i16x8.relaxed_dot_i8x16_i7x16_s(b, y);
    c = i16x8.relaxed_dot_i8x16_i7x16_s(c, y);
    d = i16x8.relaxed_dot_i8x16_i7x16_s(d, y);
    e = i16x8.relaxed_dot_i8x16_i7x16_s(e, y);
    f = i16x8.relaxed_dot_i8x16_i7x16_s(f, y);
    g = i16x8.relaxed_dot_i8x16_i7x16_s(g, y);
    h = i16x8.relaxed_dot_i8x16_i7x16_s(h, y);
  }
  let sum = a;
  sum = v128.or(sum, b);
  sum = v128.or(sum, c);
  sum = v128.or(sum, d);
  sum = v128.or(sum, e);
  sum = v128.or(sum, f);
  sum = v128.or(sum, g);
  sum = v128.or(sum, h);
  return i32x4.extract_lane(sum, 0);
}

/** n rounds of 8 sums, each of products of its own, as a matrix product needs them: the 64 bytes at 16 are less than 128. */
export function i8sum(n: i32): i32 {
  const y0 = v128.load(16);
  const y1 = v128.load(32);
  const y2 = v128.load(48);
  const y3 = v128.load(64);
  let a = i16x8.splat(0);
  let b = i16x8.splat(0);
  let c = i16x8.splat(0);
  let d = i16x8.splat(0);
  let e = i16x8.splat(0);
  let f = i16x8.splat(0);
  let g = i16x8.splat(0);
  let h = i16x8.splat(0);
  for (let round = 0; round < n; round++) {
    const x = i8x16.splat(<i8>round);
    const z = i8x16.splat(<i8>(round ^ 85));
    a = i16x8.add(a, i16x8.relaxed_dot_i8x16_i7x16_s(x, y0));
    b = i16x8.add(b, i16x8.relaxed_dot_i8x16_i7x16_s(x, y1));
    c = i16x8.add(c, i16x8.relaxed_dot_i8x16_i7x16_s(x, y2));
    d = i16x8.add(d, i16x8.relaxed_dot_i8x16_i7x16_s(x, y3));
    e = i16x8.add(e, i16x8.relaxed_dot_i8x16_i7x16_s(z, y0));
    f = i16x8.add(f, i16x8.relaxed_dot_i8x16_i7x16_s(z, y1));
    g = i16x8.add(g, i16x8.relaxed_dot_i8x16_i7x16_s(z, y2));
    h = i16x8.add(h, i16x8.relaxed_dot_i8x16_i7x16_s(z, y3));
  }
  let sum = a;
  sum = v128.or(sum, b);
  sum = v128.or(sum, c);
  sum = v128.or(sum, d);
  sum = v128.or(sum, e);
  sum = v128.or(sum, f);
  sum = v128.or(sum, g);
  sum = v128.or(sum, h);
  return i32x4.extract_lane(sum, 0);
}

/** The same by dot-add: one instruction where the core has AVX-VNNI or DOTPROD, four elsewhere. */
export function i8dot(n: i32): i32 {
  const y0 = v128.load(16);
  const y1 = v128.load(32);
  const y2 = v128.load(48);
  const y3 = v128.load(64);
  let a = i32x4.splat(0);
  let b = i32x4.splat(0);
  let c = i32x4.splat(0);
  let d = i32x4.splat(0);
  let e = i32x4.splat(0);
  let f = i32x4.splat(0);
  let g = i32x4.splat(0);
  let h = i32x4.splat(0);
  for (let round = 0; round < n; round++) {
    const x = i8x16.splat(<i8>round);
    const z = i8x16.splat(<i8>(round ^ 85));
    a = i32x4.relaxed_dot_i8x16_i7x16_add_s(x, y0, a);
    b = i32x4.relaxed_dot_i8x16_i7x16_add_s(x, y1, b);
    c = i32x4.relaxed_dot_i8x16_i7x16_add_s(x, y2, c);
    d = i32x4.relaxed_dot_i8x16_i7x16_add_s(x, y3, d);
    e = i32x4.relaxed_dot_i8x16_i7x16_add_s(z, y0, e);
    f = i32x4.relaxed_dot_i8x16_i7x16_add_s(z, y1, f);
    g = i32x4.relaxed_dot_i8x16_i7x16_add_s(z, y2, g);
    h = i32x4.relaxed_dot_i8x16_i7x16_add_s(z, y3, h);
  }
  let sum = a;
  sum = v128.or(sum, b);
  sum = v128.or(sum, c);
  sum = v128.or(sum, d);
  sum = v128.or(sum, e);
  sum = v128.or(sum, f);
  sum = v128.or(sum, g);
  sum = v128.or(sum, h);
  return i32x4.extract_lane(sum, 0);
}

/** n rounds of 8 independent chains of 4 f32 multiply-adds, rounded twice as exact-1 wants. */
export function f32mul(n: i32): i32 {
  // from memory: the compiler builds a constant anew at every use
  v128.store(16, f32x4.splat(1.0000001));
  v128.store(32, f32x4.splat(1e-9));
  const x = v128.load(16);
  const y = v128.load(32);
  let a = f32x4.splat(1);
  let b = f32x4.splat(2);
  let c = f32x4.splat(3);
  let d = f32x4.splat(4);
  let e = f32x4.splat(5);
  let f = f32x4.splat(6);
  let g = f32x4.splat(7);
  let h = f32x4.splat(8);
  for (let round = 0; round < n; round++) {
    a = f32x4.add(f32x4.mul(a, x), y);
    b = f32x4.add(f32x4.mul(b, x), y);
    c = f32x4.add(f32x4.mul(c, x), y);
    d = f32x4.add(f32x4.mul(d, x), y);
    e = f32x4.add(f32x4.mul(e, x), y);
    f = f32x4.add(f32x4.mul(f, x), y);
    g = f32x4.add(f32x4.mul(g, x), y);
    h = f32x4.add(f32x4.mul(h, x), y);
  }
  let sum = a;
  sum = v128.or(sum, b);
  sum = v128.or(sum, c);
  sum = v128.or(sum, d);
  sum = v128.or(sum, e);
  sum = v128.or(sum, f);
  sum = v128.or(sum, g);
  sum = v128.or(sum, h);
  return i32x4.extract_lane(sum, 0);
}

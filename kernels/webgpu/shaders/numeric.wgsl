// Shared arithmetic: the same formulas as NUMERICS.md, without its promise of bits (a driver may fuse a · b + c).
// Ladder: 1. the language's own exp: a driver may round it as it likes. 2. (here) the polynomial that wasm uses.

const LOWEST = -3.0e38; // stands for −inf: WGSL lets a compiler assume that there is none
const TINY = 7.8886091e-31; // 2⁻¹⁰⁰

// Cephes' expf.
fn expf(v: f32) -> f32 {
  let x = clamp(v, -87.33, 88.37);
  let n = round(x * 1.44269504088896341);
  let r = (x - n * 0.693359375) - n * -2.12194440e-4;
  var p = 1.9875691500e-4;
  p = p * r + 1.3981999507e-3;
  p = p * r + 8.3334519073e-3;
  p = p * r + 4.1665795894e-2;
  p = p * r + 1.6666665459e-1;
  p = p * r + 5.0000001201e-1;
  return ((p * (r * r) + r) + 1.0) * bitcast<f32>(u32(i32(n) + 127) << 23u);
}

// limit / x, or 0 for a block that counts as zero.
fn inverse(limit: f32, x: f32) -> f32 {
  return select(0.0, limit / max(x, TINY), x >= TINY);
}

// An f16 from its bits by integer operations: unpack2x16float may flush subnormal numbers, and scales can be subnormal.
// Ladder: 1. (here) without branches: both kinds of number are made and one is chosen. 2. half-f16.wgsl.
fn half(h: u32) -> f32 {
  let exponent = (h >> 10u) & 31u;
  let normal = bitcast<f32>(((h & 0x7fffu) << 13u) + 0x38000000u);
  let tiny = f32(h & 1023u) * 5.9604644775390625e-8; // 2⁻²⁴
  let v = select(normal, tiny, exponent == 0u);
  return select(v, -v, (h & 0x8000u) != 0u);
}

// The low (which = 0) or high halves of four words.
fn halves(w: vec4<u32>, which: u32) -> vec4<f32> {
  let s = (w >> vec4<u32>(which * 16u)) & vec4<u32>(0xffffu);
  return vec4<f32>(half(s.x), half(s.y), half(s.z), half(s.w));
}

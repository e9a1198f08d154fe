// Scales through the GPU's own f16 type (feature shader-f16).
// Ladder: 1. half-plain.wgsl, eight operations. 2. (here) a conversion.
fn half(h: u32) -> f32 {
  return f32(bitcast<vec2<f16>>(h).x);
}

// The low (which = 0) or high halves of four words.
fn halves(w: vec4<u32>, which: u32) -> vec4<f32> {
  let s = (w >> vec4<u32>(which * 16u)) & vec4<u32>(0xffffu);
  return vec4<f32>(half(s.x), half(s.y), half(s.z), half(s.w));
}

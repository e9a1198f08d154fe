// A quad of what an i8 page keeps of a token: u i8 [D], scale f32 [D/32].
// Ladder: 1. (here) four bytes a load.
@group(0) @binding(4) var<storage, read> pages: array<u32>;

fn kept(own: u32, quad: u32) -> vec4<f32> {
  let w = bitcast<i32>(pages[own + quad]);
  let q = vec4<f32>(vec4<i32>(extractBits(w, 0u, 8u), extractBits(w, 8u, 8u), extractBits(w, 16u, 8u), extractBits(w, 24u, 8u)));
  return q * bitcast<f32>(pages[own + p.D / 4u + quad / 8u]);
}

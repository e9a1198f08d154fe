// A quad of what an f32 page keeps of a token.
// Ladder: 1. (here) 16 bytes a load.
@group(0) @binding(4) var<storage, read> pages: array<vec4<f32>>;

fn kept(own: u32, quad: u32) -> vec4<f32> {
  return pages[own / 4u + quad];
}

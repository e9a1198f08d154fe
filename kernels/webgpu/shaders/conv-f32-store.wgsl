// A quad of a token's u into an f32 page.
// Ladder: 1. (here) 16 bytes a store.
@group(0) @binding(1) var<storage, read_write> pages: array<vec4<f32>>;

fn keep(own: u32, quad: u32, v: vec4<f32>, on: bool, lid: u32) {
  if (on) {
    pages[own / 4u + quad] = v;
  }
}

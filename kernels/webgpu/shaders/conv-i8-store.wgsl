// A quad of a token's u into an i8 page: u i8 [D], scale f32 [D/32]. The 8 quads of a block are 8 neighbours.
// Ladder: 1. (here) 8 threads a block, four bytes a store.
@group(0) @binding(1) var<storage, read_write> pages: array<u32>;

fn keep(own: u32, quad: u32, v: vec4<f32>, on: bool, lid: u32) {
  let block = quantized(v, on, lid);
  if (on) {
    pages[own + quad] = bytesOf(block.q);
    if ((lid & 7u) == 0u) {
      pages[own + p.D / 4u + quad / 8u] = bitcast<u32>(block.amax / 127.0);
    }
  }
}

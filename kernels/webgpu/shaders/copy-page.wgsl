// One whole page to another place in the pool.
// Ladder: 1. (here) a word a thread, neighbours side by side. A copy in the encoder would end the compute pass; pages are
// copied too rarely for wider loads to show.
struct Params { src: u32, dst: u32, words: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> pages: array<u32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) at: vec3<u32>) {
  if (at.x < p.words) {
    pages[p.dst * p.words + at.x] = pages[p.src * p.words + at.x];
  }
}

// What a gated short convolution keeps of tokens, u = b · x of bcx[T, 3D], into their pages (conv-*-store.wgsl). A quad is 4 columns.
// Ladder: 1. (here) a kernel of its own before the one that convolves, which reads what other workgroups keep.
struct Params { D: u32, first: u32, pageWords: u32, tokenWords: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(2) var<storage, read> bcx: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> slot: array<u32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
  let quads = p.D / 4u;
  let i = wg.x * 64u + lid;
  let at = wg.y * 3u * quads + min(i, quads - 1u);
  let own = (slot[wg.y] / 16u) * p.pageWords + p.first + (slot[wg.y] % 16u) * p.tokenWords;
  keep(own, i, bcx[at] * bcx[at + 2u * quads], i < quads, lid);
}

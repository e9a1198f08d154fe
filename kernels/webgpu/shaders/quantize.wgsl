// out[T, K] = x[T, K] in blocks of 32: for attention heads that do not end at a block's border.
// Ladder: 1. (here) a pass of its own, 4 columns a thread. 2. fused into attention wherever heads end at a block's border.
struct Params { outK: u32, outMeta: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(2) var<storage, read> x: array<vec4<f32>>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
  let quads = p.outK / 4u;
  let i = wg.x * 64u + lid;
  store(wg.y, i, x[wg.y * quads + min(i, quads - 1u)], i < quads, lid);
}

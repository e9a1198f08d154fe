// out[T, F] = activation(gate) · up (activation-*.wgsl), quantized in the same pass when the output is i8.
// Ladder: 1. (here) one pass, 4 columns a thread. Fusing it into the matmul before it would save a write and a read of
// gateUp, but gate and up of a column lie in different row groups of that matrix.
struct Params { F: u32, outK: u32, outMeta: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(2) var<storage, read> x: array<vec4<f32>>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
  let quads = p.F / 4u;
  let i = wg.x * 64u + lid;
  let at = min(i, quads - 1u);
  let gate = x[wg.y * 2u * quads + at];
  let up = x[wg.y * 2u * quads + quads + at];
  store(wg.y, i, vec4<f32>(activation(gate.x), activation(gate.y), activation(gate.z), activation(gate.w)) * up, i < quads, lid);
}

// x[T, D] = rows of a table of integers, in kernel layout.
// Ladder: 1. a thread a value: every thread decodes a scale. 2. (here) a thread 4 columns, one store of 16 bytes.
struct Params { T: u32, D: u32, V: u32, scale: f32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> ids: array<u32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) at: vec3<u32>) {
  let quads = p.D / 4u;
  if (at.x >= quads) {
    return;
  }
  let id = min(ids[at.y], p.V - 1u);
  let block = blockAt(id >> 3u, at.x / 8u, p.D / 32u);
  let part = at.x % 8u * PARTS / 8u;
  let half4 = (id >> 2u) & 1u;
  let word = weights(block, half4, at.x & 7u)[id & 3u];
  let q = (vec4<i32>(bitcast<i32>(word << 24u), bitcast<i32>(word << 16u), bitcast<i32>(word << 8u), bitcast<i32>(word)) >> vec4<u32>(24u)) - OFFSET;
  var v = vec4<f32>(q) * scales(block, half4, part)[id & 3u];
  if (MINIMA) {
    v += minima(block, half4, part)[id & 3u];
  }
  x[at.y * quads + at.x] = v * p.scale;
}

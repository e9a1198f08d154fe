// x[T, D] = rows of an f32 table. One thread a value; nothing is reused, so there is nothing to climb.
// Ladder: 1. (here) neighbours read neighbours; a step has few rows, so wider loads would not show.
struct Params { T: u32, D: u32, V: u32, scale: f32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> x: array<f32>;
@group(0) @binding(4) var<storage, read> w: array<f32>;
@group(0) @binding(2) var<storage, read> ids: array<u32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) at: vec3<u32>) {
  if (at.x >= p.D) {
    return;
  }
  let id = min(ids[at.y], p.V - 1u);
  x[at.y * p.D + at.x] = w[(id >> 3u) * p.D * 8u + at.x * 8u + (id & 7u)] * p.scale;
}

// x[T, D] += RMSNorm(y) · g. One workgroup a token.
// Ladder: 1. (here) norm.wgsl's loop with a sum in place.
struct Params { D: u32, eps: f32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> y: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> g: array<vec4<f32>>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
  let quads = p.D / 4u;
  let row = wg.x * quads;
  var squares = 0.0;
  for (var i = lid; i < quads; i += 64u) {
    let v = y[row + i];
    squares += dot(v, v);
  }
  let r = 1.0 / sqrt(workgroupSum(squares, lid) / f32(p.D) + p.eps);
  for (var i = lid; i < quads; i += 64u) {
    x[row + i] += (y[row + i] * r) * g[i];
  }
}

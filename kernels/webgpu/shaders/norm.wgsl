// out[n, D] = RMSNorm(x) · g, quantized in the same pass when the output is i8. One workgroup a token.
// Ladder: 1. norm, then a quantizer of its own: x is read and written once more. 2. (here) fused: the second reading of x
// comes from cache. 3. with subgroups: two barriers a sum instead of eight (reduce-subgroup.wgsl).
struct Params { D: u32, outK: u32, outMeta: u32, gather: u32, eps: f32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(2) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> g: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> rows: array<u32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
  let quads = p.D / 4u;
  var row = wg.x;
  if (p.gather != 0u) {
    row = rows[wg.x];
  }
  var squares = 0.0;
  for (var i = lid; i < quads; i += 64u) {
    let v = x[row * quads + i];
    squares += dot(v, v);
  }
  let r = 1.0 / sqrt(workgroupSum(squares, lid) / f32(p.D) + p.eps);
  for (var base = 0u; base < quads; base += 64u) {
    let i = base + lid;
    let on = i < quads;
    let at = min(i, quads - 1u);
    store(wg.x, i, (x[row * quads + at] * r) * g[at], on, lid);
  }
}

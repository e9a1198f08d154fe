// y[T, N] = x · wᵀ of f32 activations and weights.
// Ladder: 1. a thread an output. 2. (here) as matmul-vec: 4 rows a thread with one 16-byte load a column, K split over
// SLICES threads, TOKENS tokens a load. Models keep f32 only where K is no multiple of 32, so it ends here.
struct Params { T: u32, N: u32, K: u32, bias: u32, accumulate: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<storage, read> x: array<f32>; // [T, K]
@group(0) @binding(4) var<storage, read> w: array<vec4<f32>>; // [N/8][K][2]
@group(0) @binding(5) var<storage, read> biases: array<f32>;

var<workgroup> sums: array<vec4<f32>, 64>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
  let slice = lid % SLICES;
  let h = (lid / SLICES) % 2u;
  let group = wg.x * (32u / SLICES) + lid / (2u * SLICES);
  let t0 = wg.y * TOKENS;
  var acc: array<vec4<f32>, TOKENS>;
  if (group * 8u < p.N) {
    for (var k = slice; k < p.K; k += SLICES) {
      let v = w[(group * p.K + k) * 2u + h];
      for (var t = 0u; t < TOKENS; t++) {
        acc[t] += x[min(t0 + t, p.T - 1u) * p.K + k] * v;
      }
    }
  }
  for (var t = 0u; t < TOKENS; t++) {
    sums[lid] = acc[t];
    workgroupBarrier();
    for (var s = SLICES / 2u; s > 0u; s >>= 1u) {
      if (slice < s) {
        sums[lid] += sums[lid + s];
      }
      workgroupBarrier();
    }
    if (slice == 0u && t0 + t < p.T) {
      finish(t0 + t, group * 8u + h * 4u, sums[lid]);
    }
    workgroupBarrier();
  }
}

// y[T, N] = x · wᵀ of i8 activations and weights of integers, for few tokens: the time is the reading of w.
// Ladder: 1. a thread an output row: neighbours read 16 bytes apart and one row is one thread's chain. 2. (here) a thread
// takes 4 rows of every SLICES-th block with 16-byte loads, unpacks them once for TOKENS tokens, and the slices are added
// in a tree at the end: K is split, so that a small N still fills the GPU. 3. dot4I8Packed where there is one.
// The tree changes the order of the sum over K: this is the main reason for the tolerance.
struct Params { T: u32, N: u32, K: u32, bias: u32, accumulate: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<storage, read> a: array<vec4<u32>>; // [T, K/32] two quads of words
@group(0) @binding(3) var<storage, read> about: array<vec2<u32>>; // [T, K/32] scale, sum
@group(0) @binding(5) var<storage, read> biases: array<f32>;

var<workgroup> sums: array<vec4<f32>, 64>;

// 64 threads: SLICES of K × 2 halves of a row group × row groups
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
  let slice = lid % SLICES;
  let h = (lid / SLICES) % 2u;
  let group = wg.x * (32u / SLICES) + lid / (2u * SLICES);
  let blocks = p.K / 32u;
  let t0 = wg.y * TOKENS;
  var acc: array<vec4<f32>, TOKENS>;
  if (group * 8u < p.N) {
    for (var b = slice; b < blocks; b += SLICES) {
      let at = blockAt(group, b, blocks);
      var q: array<vec4<u32>, 8>;
      for (var i = 0u; i < 8u; i++) {
        q[i] = weights(at, h, i);
      }
      for (var part = 0u; part < PARTS; part++) {
        let d = scales(at, h, part);
        var m = vec4<f32>();
        if (MINIMA) {
          m = minima(at, h, part);
        }
        for (var t = 0u; t < TOKENS; t++) {
          let block = min(t0 + t, p.T - 1u) * blocks + b;
          let info = about[block];
          var sum = bitcast<i32>(info.y); // of the activations that share the scale
          var idot = vec4<i32>();
          if (PARTS == 1u) {
            let x0 = a[2u * block];
            let x1 = a[2u * block + 1u];
            for (var i = 0u; i < 4u; i++) {
              let u = q[i];
              let v = q[i + 4u];
              idot += vec4<i32>(dot4(u.x, x0[i]), dot4(u.y, x0[i]), dot4(u.z, x0[i]), dot4(u.w, x0[i]));
              idot += vec4<i32>(dot4(v.x, x1[i]), dot4(v.y, x1[i]), dot4(v.z, x1[i]), dot4(v.w, x1[i]));
            }
          } else {
            let x = a[2u * block + part];
            sum = 0;
            for (var i = 0u; i < 4u; i++) {
              let u = q[4u * part + i];
              idot += vec4<i32>(dot4(u.x, x[i]), dot4(u.y, x[i]), dot4(u.z, x[i]), dot4(u.w, x[i]));
              sum += dot4(0x01010101u, x[i]);
            }
          }
          let da = bitcast<f32>(info.x);
          acc[t] += vec4<f32>(idot - vec4<i32>(OFFSET * sum)) * (d * da);
          if (MINIMA) {
            acc[t] += m * (f32(sum) * da);
          }
        }
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

// y[T, N] = x · wᵀ of i8 activations and weights of integers, for many tokens: the time is arithmetic.
// Ladder: 1. matmul-vec for every 4 tokens: w is read and unpacked T/4 times. 2. (here) a tile of 32 tokens × 32 rows:
// each block of w is unpacked once into workgroup memory, each of activations loaded once, 16 outputs a thread.
// 3. dot4I8Packed where there is one. The sum runs over blocks in ascending order, one accumulator an output.
struct Params { T: u32, N: u32, K: u32, bias: u32, accumulate: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<storage, read> a: array<vec4<u32>>; // [T, K/32] two quads of words
@group(0) @binding(3) var<storage, read> about: array<vec2<u32>>; // [T, K/32] scale, sum
@group(0) @binding(5) var<storage, read> biases: array<f32>;

var<workgroup> tileW: array<vec4<u32>, 64>; // [8 half groups][8]: four rows × four columns
var<workgroup> tileD: array<vec4<f32>, 16>; // their scales, [8][PARTS]
var<workgroup> tileM: array<vec4<f32>, 16>; // and minima
var<workgroup> tileX: array<vec4<u32>, 64>; // [32 tokens][2]
var<workgroup> tileI: array<vec2<u32>, 32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
  let blocks = p.K / 32u;
  let groups = (p.N + 7u) / 8u;
  let t0 = wg.y * 32u;
  let hg = lid % 8u; // which half group this thread computes
  let tx = lid / 8u; // and which tokens: tx, tx + 8, tx + 16, tx + 24
  // what it loads: quad lid % 8 of half group lid / 8, quad lid % 2 of token lid / 2
  let fromGroup = min(wg.x * 4u + lid / 16u, groups - 1u);
  let fromHalf = (lid / 8u) % 2u;
  let fromToken = min(t0 + lid / 2u, p.T - 1u);
  var acc: array<vec4<f32>, 4>;
  for (var b = 0u; b < blocks; b++) {
    let at = blockAt(fromGroup, b, blocks);
    tileW[lid] = weights(at, fromHalf, lid % 8u);
    if (lid % 8u < PARTS) {
      tileD[lid / 8u * PARTS + lid % 8u] = scales(at, fromHalf, lid % 8u);
      if (MINIMA) {
        tileM[lid / 8u * PARTS + lid % 8u] = minima(at, fromHalf, lid % 8u);
      }
    }
    tileX[lid] = a[2u * (fromToken * blocks + b) + lid % 2u];
    if (lid % 2u == 0u) {
      tileI[lid / 2u] = about[fromToken * blocks + b];
    }
    workgroupBarrier();
    for (var t = 0u; t < 4u; t++) {
      let token = tx + 8u * t;
      let info = tileI[token];
      let da = bitcast<f32>(info.x);
      if (PARTS == 1u) {
        let x0 = tileX[2u * token];
        let x1 = tileX[2u * token + 1u];
        var idot = vec4<i32>(-OFFSET * bitcast<i32>(info.y));
        for (var i = 0u; i < 4u; i++) {
          let u = tileW[hg * 8u + i];
          let v = tileW[hg * 8u + i + 4u];
          idot += vec4<i32>(dot4(u.x, x0[i]), dot4(u.y, x0[i]), dot4(u.z, x0[i]), dot4(u.w, x0[i]));
          idot += vec4<i32>(dot4(v.x, x1[i]), dot4(v.y, x1[i]), dot4(v.z, x1[i]), dot4(v.w, x1[i]));
        }
        acc[t] += vec4<f32>(idot) * (tileD[hg] * da);
        if (MINIMA) {
          acc[t] += tileM[hg] * (f32(bitcast<i32>(info.y)) * da);
        }
      } else {
        for (var part = 0u; part < PARTS; part++) {
          let x = tileX[2u * token + part];
          var sum = 0;
          var idot = vec4<i32>();
          for (var i = 0u; i < 4u; i++) {
            let u = tileW[hg * 8u + 4u * part + i];
            idot += vec4<i32>(dot4(u.x, x[i]), dot4(u.y, x[i]), dot4(u.z, x[i]), dot4(u.w, x[i]));
            sum += dot4(0x01010101u, x[i]);
          }
          acc[t] += vec4<f32>(idot - vec4<i32>(OFFSET * sum)) * (tileD[hg * PARTS + part] * da);
          if (MINIMA) {
            acc[t] += tileM[hg * PARTS + part] * (f32(sum) * da);
          }
        }
      }
    }
    workgroupBarrier();
  }
  for (var t = 0u; t < 4u; t++) {
    let token = t0 + tx + 8u * t;
    if (token < p.T) {
      finish(token, (wg.x * 4u + hg / 2u) * 8u + (hg % 2u) * 4u, acc[t]);
    }
  }
}

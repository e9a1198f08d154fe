// Quads of a block of 32 values as i8: 8 threads a block, which are neighbours. Called by all 64 threads.
// Ladder: 1. (here) each thread takes the block's largest magnitude from the 8 of its workgroup memory.
var<workgroup> quadMax: array<f32, 64>;

struct Quad {
  q: vec4<i32>,
  // Of the block: its scale is amax / 127.
  amax: f32,
}

fn quantized(v: vec4<f32>, on: bool, lid: u32) -> Quad {
  let a = abs(v);
  quadMax[lid] = select(0.0, max(max(a.x, a.y), max(a.z, a.w)), on);
  workgroupBarrier();
  let first = lid & ~7u;
  var amax = 0.0;
  for (var i = 0u; i < 8u; i++) {
    amax = max(amax, quadMax[first + i]);
  }
  return Quad(vec4<i32>(round(clamp(v * inverse(127.0, amax), vec4<f32>(-127.0), vec4<f32>(127.0)))), amax);
}

fn bytesOf(q: vec4<i32>) -> u32 {
  let b = bitcast<vec4<u32>>(q) & vec4<u32>(255u);
  return b.x | (b.y << 8u) | (b.z << 16u) | (b.w << 24u);
}

// A quad of a token's u into an i8 page: u i8 [D], scale f32 [D/32]. The 8 quads of a block are 8 neighbours.
// Ladder: 1. (here) 8 threads a block, four bytes a store.
@group(0) @binding(1) var<storage, read_write> pages: array<u32>;
var<workgroup> quadMax: array<f32, 64>;

fn keep(own: u32, quad: u32, v: vec4<f32>, on: bool, lid: u32) {
  let a = abs(v);
  quadMax[lid] = select(0.0, max(max(a.x, a.y), max(a.z, a.w)), on);
  workgroupBarrier();
  let first = lid & ~7u;
  var amax = 0.0;
  for (var i = 0u; i < 8u; i++) {
    amax = max(amax, quadMax[first + i]);
  }
  let q = vec4<i32>(round(clamp(v * inverse(127.0, amax), vec4<f32>(-127.0), vec4<f32>(127.0))));
  if (on) {
    let b = bitcast<vec4<u32>>(q) & vec4<u32>(255u);
    pages[own + quad] = b.x | (b.y << 8u) | (b.z << 16u) | (b.w << 24u);
    if (lid == first) {
      pages[own + p.D / 4u + quad / 8u] = bitcast<u32>(amax / 127.0);
    }
  }
}

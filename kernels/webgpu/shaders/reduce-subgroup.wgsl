// Sum and maximum over a workgroup of 64: one subgroup operation, then its few results from workgroup memory, two barriers
// instead of eight. Nothing is assumed of how threads are laid out in subgroups or of their size: the lane that speaks for
// a subgroup writes its place, all others write what changes nothing.
// Ladder: 1. and 2. reduce-shared.wgsl. 3. (here).
var<workgroup> partial: array<vec4<f32>, 16>;

fn workgroupSum(v: f32, lid: u32) -> f32 {
  let total = subgroupAdd(v);
  partial[lid >> 2u][lid & 3u] = select(0.0, total, subgroupElect());
  workgroupBarrier();
  var sum = vec4<f32>();
  for (var i = 0u; i < 16u; i++) {
    sum += partial[i];
  }
  workgroupBarrier();
  return (sum.x + sum.y) + (sum.z + sum.w);
}

fn workgroupMax(v: f32, lid: u32) -> f32 {
  partial[lid >> 2u][lid & 3u] = subgroupMax(v);
  workgroupBarrier();
  var most = partial[0];
  for (var i = 1u; i < 16u; i++) {
    most = max(most, partial[i]);
  }
  workgroupBarrier();
  return max(max(most.x, most.y), max(most.z, most.w));
}

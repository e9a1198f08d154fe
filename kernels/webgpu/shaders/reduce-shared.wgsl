// Sum and maximum over a workgroup of 64, by a tree in workgroup memory. Every thread gets the result.
// Ladder: 1. one thread adds 64 values. 2. (here) a tree: six rounds. 3. reduce-subgroup.wgsl.
var<workgroup> partial: array<f32, 64>;

fn workgroupSum(v: f32, lid: u32) -> f32 {
  partial[lid] = v;
  workgroupBarrier();
  for (var s = 32u; s > 0u; s >>= 1u) {
    if (lid < s) {
      partial[lid] += partial[lid + s];
    }
    workgroupBarrier();
  }
  let sum = partial[0];
  workgroupBarrier();
  return sum;
}

fn workgroupMax(v: f32, lid: u32) -> f32 {
  partial[lid] = v;
  workgroupBarrier();
  for (var s = 32u; s > 0u; s >>= 1u) {
    if (lid < s) {
      partial[lid] = max(partial[lid], partial[lid + s]);
    }
    workgroupBarrier();
  }
  let most = partial[0];
  workgroupBarrier();
  return most;
}

// One head of a token into an i8 page: K [d/2][16][2], V [8][d][2], then 16 key scales and 16 value scales.
// Ladder: 1. scale and integers in two kernels. 2. (here) the maximum over the workgroup, then each thread its bytes.
fn storeHead(at: u32, j: u32, isValue: bool, lid: u32) {
  let d = p.d;
  var amax = 0.0;
  for (var i = lid; i < d; i += 64u) {
    amax = max(amax, abs(xs[i]));
  }
  amax = workgroupMax(amax, lid);
  let id = inverse(127.0, amax);
  for (var i = lid; i < d / 2u; i += 64u) {
    let a = byte(xs[2u * i], id);
    let b = byte(xs[2u * i + 1u], id);
    if (isValue) {
      let shift = (j & 1u) * 8u;
      put(at + 4u * d + (j >> 1u) * (d / 2u) + i, 0x00ff00ffu << shift, (a | (b << 16u)) << shift);
    } else {
      let shift = (j & 1u) * 16u;
      put(at + i * 8u + (j >> 1u), 0xffffu << shift, (a | (b << 8u)) << shift);
    }
  }
  if (lid == 0u) {
    atomicStore(&pages[at + 8u * d + select(0u, 16u, isValue) + j], bitcast<u32>(amax / 127.0));
  }
}

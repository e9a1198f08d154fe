// Activations [rows, K] as i8 in blocks of 32: first q, four a word [rows, K/4]; from word p.outMeta on, for each block
// its scale (f32 bits) and the sum of its q, which a w4 matmul takes 8 times. A quad is 4 columns, one word.
// Called by all 64 threads; the 8 quads of a block are 8 neighbours.
// Ladder: 1. a kernel that quantizes: activations are written as f32 and read again. 2. (here) at the end of the kernel that
// made them, 8 threads a block, four bytes a store.
@group(0) @binding(1) var<storage, read_write> out: array<u32>;
var<workgroup> quadSum: array<i32, 64>;

fn store(row: u32, quad: u32, v: vec4<f32>, on: bool, lid: u32) {
  let first = lid & ~7u;
  let own = quantized(v, on, lid);
  let q = own.q;
  quadSum[lid] = select(0, (q.x + q.y) + (q.z + q.w), on);
  workgroupBarrier();
  if (on) {
    out[row * (p.outK / 4u) + quad] = bytesOf(q);
    if (lid == first) {
      var sum = 0;
      for (var i = 0u; i < 8u; i++) {
        sum += quadSum[first + i];
      }
      let at = p.outMeta + 2u * (row * (p.outK / 32u) + quad / 8u);
      out[at] = bitcast<u32>(own.amax / 127.0);
      out[at + 1u] = bitcast<u32>(sum);
    }
  }
  workgroupBarrier();
}

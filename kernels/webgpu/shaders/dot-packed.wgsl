// Four i8 products in one instruction where the GPU has it (DP4a, SDOT).
// Ladder: 1. dot-plain.wgsl. 2. (here) one instruction for eight multiplications and additions.
fn dot4(a: u32, b: u32) -> i32 {
  return dot4I8Packed(a, b);
}

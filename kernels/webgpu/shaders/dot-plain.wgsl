// Four i8 products, by shifts. For adapters or compilers without packed integer dot products.
// Ladder: 1. a byte at a time. 2. (here) four lanes of a vector, signs by shifting. 3. dot-packed.wgsl.
fn dot4(a: u32, b: u32) -> i32 {
  let x = vec4<i32>(bitcast<i32>(a << 24u), bitcast<i32>(a << 16u), bitcast<i32>(a << 8u), bitcast<i32>(a)) >> vec4<u32>(24u);
  let y = vec4<i32>(bitcast<i32>(b << 24u), bitcast<i32>(b << 16u), bitcast<i32>(b << 8u), bitcast<i32>(b)) >> vec4<u32>(24u);
  let z = x * y;
  return (z.x + z.y) + (z.z + z.w);
}

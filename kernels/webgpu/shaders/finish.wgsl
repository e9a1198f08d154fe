// The end of every matmul: bias, residual, and the last row group's padding left out.
// Ladder: 1. kernels of their own for bias and residual: y is written, read and written. 2. (here) in the matmul, on values in
// registers.
fn finish(t: u32, n0: u32, v: vec4<f32>) {
  for (var i = 0u; i < 4u; i++) {
    let n = n0 + i;
    if (n >= p.N) {
      return;
    }
    var r = v[i];
    if (p.bias != 0u) {
      r += biases[n];
    }
    let at = t * p.N + n;
    if (p.accumulate != 0u) {
      r = y[at] + r;
    }
    y[at] = r;
  }
}

// gelu with tanh, as x · sigmoid(2 · √(2 / π) · (x + 0.044715 · x³)).
// Ladder: 1. (here) the formula, without a tanh.
fn activation(x: f32) -> f32 {
  let u = x * (1.5957691216057308 + 0.07135481627159 * (x * x));
  return x * (1.0 / (1.0 + expf(-u)));
}

// silu.
// Ladder: 1. (here) the formula.
fn activation(x: f32) -> f32 {
  return x * (1.0 / (1.0 + expf(-x)));
}

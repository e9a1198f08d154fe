// Reading f32 pages.
// Ladder: 1. (here) the plain formula. For models whose pages are f32, which are small.
fn prepareQuery(v: f32, amax: f32) -> f32 {
  return v;
}

fn queryScale(amax: f32) -> f32 {
  return p.sigma;
}

// q · key of token j, scaled.
fn score(at: u32, j: u32, scale: f32) -> f32 {
  var dot = 0.0;
  for (var i = 0u; i < p.d; i++) {
    dot += qs[i] * bitcast<f32>(pages[at + i * 16u + j]);
  }
  return dot * scale;
}

fn valueScale(at: u32, j: u32) -> f32 {
  return 1.0;
}

// Dimensions 2i, 2i + 1 of tokens 2jp and 2jp + 1, weighted.
fn values(at: u32, jp: u32, i: u32, w0: f32, w1: f32) -> vec2<f32> {
  let a = at + 16u * p.d + 2u * jp * p.d + 2u * i;
  let b = a + p.d;
  return w0 * vec2<f32>(bitcast<f32>(pages[a]), bitcast<f32>(pages[a + 1u])) + w1 * vec2<f32>(bitcast<f32>(pages[b]), bitcast<f32>(pages[b + 1u]));
}

// Reading i8 pages: the query is integers of 15 bits, dot products are exact.
// Ladder: 1. keys and values made floats: a conversion a value. 2. (here) integers to the end of a dot product, one scale a key.
fn prepareQuery(v: f32, amax: f32) -> f32 {
  return round(clamp(v * inverse(32767.0, amax), -32767.0, 32767.0));
}

fn queryScale(amax: f32) -> f32 {
  return (amax / 32767.0) * p.sigma;
}

// q · key of token j, scaled.
fn score(at: u32, j: u32, scale: f32) -> f32 {
  var idot = 0;
  let shift = (j & 1u) * 16u;
  for (var i = 0u; i < p.d / 2u; i++) {
    let pair = pages[at + i * 8u + (j >> 1u)] >> shift;
    idot += i32(qs[2u * i]) * (bitcast<i32>(pair << 24u) >> 24u);
    idot += i32(qs[2u * i + 1u]) * (bitcast<i32>(pair << 16u) >> 24u);
  }
  return f32(idot) * (scale * bitcast<f32>(pages[at + 8u * p.d + j]));
}

fn valueScale(at: u32, j: u32) -> f32 {
  return bitcast<f32>(pages[at + 8u * p.d + 16u + j]);
}

// Dimensions 2i, 2i + 1 of tokens 2jp and 2jp + 1, weighted.
fn values(at: u32, jp: u32, i: u32, w0: f32, w1: f32) -> vec2<f32> {
  let word = pages[at + 4u * p.d + jp * (p.d / 2u) + i];
  let b = vec4<f32>(vec4<i32>(bitcast<i32>(word << 24u), bitcast<i32>(word << 16u), bitcast<i32>(word << 8u), bitcast<i32>(word)) >> vec4<u32>(24u));
  return w0 * b.xz + w1 * b.yw;
}

// A block of 8 rows × 32 columns of w4 is 9 quads of words: quad 2c + h holds rows 4h..4h+3, columns 8c..8c+3 in the low
// nibbles and 8c+4..8c+7 in the high ones; quad 8 holds the scales.
// Ladder: 1. a nibble at a time. 2. (here) 16 bytes a load, four rows and eight columns in it, unpacked four bytes at once.
@group(0) @binding(4) var<storage, read> w: array<vec4<u32>>;
const OFFSET = 8; // a value is q − 8
const PARTS = 1u;
const MINIMA = false;

// Where block b of 32 columns of a row group lies.
fn blockAt(group: u32, b: u32, blocks: u32) -> vec2<u32> {
  return vec2<u32>((group * blocks + b) * 9u, 0u);
}

// Columns 4i..4i+3 of rows 4h..4h+3, one row a word, four i8 in it.
fn weights(at: vec2<u32>, h: u32, i: u32) -> vec4<u32> {
  return (w[at.x + (i & ~1u) + h] >> vec4<u32>((i & 1u) * 4u)) & vec4<u32>(0x0f0f0f0fu);
}

fn scales(at: vec2<u32>, h: u32, part: u32) -> vec4<f32> {
  return halves(w[at.x + 8u], h);
}

fn minima(at: vec2<u32>, h: u32, part: u32) -> vec4<f32> {
  return vec4<f32>();
}

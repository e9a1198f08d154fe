// A block of 8 rows × 32 columns of w8 is 17 quads of words: quad c holds columns 2c and 2c + 1 of all rows, two rows a
// word; quad 16 holds the scales.
// Ladder: 1. a byte at a time. 2. 16 bytes a load, half of them of other rows. 3. (here) 8 bytes a load, all of them used.
@group(0) @binding(4) var<storage, read> w: array<vec2<u32>>;
const OFFSET = 0;
const PARTS = 1u;
const MINIMA = false;

// Where block b of 32 columns of a row group lies.
fn blockAt(group: u32, b: u32, blocks: u32) -> vec2<u32> {
  return vec2<u32>((group * blocks + b) * 34u, 0u);
}

// Columns 4i..4i+3 of rows 4h..4h+3, one row a word, four i8 in it.
fn weights(at: vec2<u32>, h: u32, i: u32) -> vec4<u32> {
  let lo = w[at.x + 4u * i + h];
  let hi = w[at.x + 4u * i + 2u + h];
  return vec4<u32>(
    (lo.x & 0xffffu) | (hi.x << 16u),
    (lo.x >> 16u) | (hi.x & 0xffff0000u),
    (lo.y & 0xffffu) | (hi.y << 16u),
    (lo.y >> 16u) | (hi.y & 0xffff0000u),
  );
}

fn scales(at: vec2<u32>, h: u32, part: u32) -> vec4<f32> {
  return halves(vec4<u32>(w[at.x + 32u], w[at.x + 33u]), h);
}

fn minima(at: vec2<u32>, h: u32, part: u32) -> vec4<f32> {
  return vec4<f32>();
}

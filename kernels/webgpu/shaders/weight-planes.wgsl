// Formats that are planes of bits (engine/planes.ts), by the constants that programs.ts gives: LOW and HIGH bits of q in its planes,
// COLUMNS of a block, PARTS (sub-blocks of 32 columns), OFFSET, TABLE (1: IQ4_NL's, 2: E2M1's), SCALE_BITS and SCALE_ZERO of integer
// scales (8: signed, minima too), MINIMUM (1: added, 2: subtracted), EXPONENT (1: scales are powers of two).
// Ladder: 1. (here) a word a load: four columns of one row, the planes' bits joined.
@group(0) @binding(4) var<storage, read> w: array<u32>;
const MINIMA = MINIMUM != 0u;
const Q_WORDS = 8u * (LOW + HIGH); // 8 rows × 32 columns of q
const SUBS = COLUMNS / 32u * PARTS;
const D_WORDS = select(4u, 2u, EXPONENT == 1u);
const M_WORDS = select(0u, 4u, MINIMA);
const INTEGER_WORDS = select(0u, SUBS * SCALE_BITS / 4u, COLUMNS == 256u); // of scales; minima have as many
const HEAD_WORDS = D_WORDS + M_WORDS + INTEGER_WORDS * select(1u, 2u, MINIMA);
const TABLES = array<i32, 32>(
  -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113,
  0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12,
);

// Where block b of 32 columns of a row group lies: its q, and the scales with b mod 8 in the low bits.
fn blockAt(group: u32, b: u32, blocks: u32) -> vec2<u32> {
  if (COLUMNS == 32u) {
    let at = (group * blocks + b) * (Q_WORDS + HEAD_WORDS);
    return vec2<u32>(at, (at + Q_WORDS) * 8u);
  }
  let at = (group * blocks + b) / 8u * (8u * Q_WORDS + HEAD_WORDS);
  return vec2<u32>(at + HEAD_WORDS + (b & 7u) * Q_WORDS, at * 8u + (b & 7u));
}

fn plane(at: u32, bits: u32, h: u32, i: u32) -> vec4<u32> {
  let perByte = 8u / bits;
  let x = at + i / perByte * 8u + h * 4u;
  let mask = ((1u << bits) - 1u) * 0x01010101u;
  return (vec4<u32>(w[x], w[x + 1u], w[x + 2u], w[x + 3u]) >> vec4<u32>(bits * (i % perByte))) & vec4<u32>(mask);
}

fn looked(word: u32) -> u32 {
  let first = (TABLE - 1u) * 16u;
  var table = TABLES;
  var out = 0u;
  for (var i = 0u; i < 32u; i += 8u) {
    out |= (bitcast<u32>(table[first + ((word >> i) & 15u)]) & 255u) << i;
  }
  return out;
}

// Columns 4i..4i+3 of rows 4h..4h+3, one row a word, four i8 in it.
fn weights(at: vec2<u32>, h: u32, i: u32) -> vec4<u32> {
  var q = plane(at.x, LOW, h, i);
  if (HIGH > 0u) {
    q |= plane(at.x + 8u * LOW, max(HIGH, 1u), h, i) << vec4<u32>(LOW);
  }
  if (TABLE > 0u) {
    return vec4<u32>(looked(q.x), looked(q.y), looked(q.z), looked(q.w));
  }
  return q;
}

// Integers of sub-block `sub`, rows 4h..4h+3, in planes of 4 and 2 bits or as bytes.
fn integers(at: u32, sub: u32, h: u32) -> vec4<u32> {
  let v = sub / 2u;
  let word = (sub & 1u) * 2u + h;
  if (SCALE_BITS == 8u) {
    return (vec4<u32>(w[at + v * 4u + word]) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(255u);
  }
  let four = (w[at + v / 2u * 4u + word] >> (4u * (v % 2u))) & 0x0f0f0f0fu;
  var all = four;
  if (SCALE_BITS == 6u) {
    all |= ((w[at + SUBS + v / 4u * 4u + word] >> (2u * (v % 4u))) & 0x03030303u) << 4u;
  }
  return (vec4<u32>(all) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(255u);
}

fn scales(at: vec2<u32>, h: u32, part: u32) -> vec4<f32> {
  let s = at.y / 8u;
  if (EXPONENT == 1u) {
    let e = (vec4<u32>(w[s + h]) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(255u);
    return bitcast<vec4<f32>>(max(e << vec4<u32>(23u), vec4<u32>(0x00400000u))) * 0.5;
  }
  let d = halves(vec4<u32>(w[s], w[s + 1u], w[s + 2u], w[s + 3u]), h);
  if (COLUMNS == 32u) {
    return d;
  }
  let i = vec4<i32>(integers(s + D_WORDS + M_WORDS, (at.y & 7u) * PARTS + part, h));
  return d * vec4<f32>(select(i - SCALE_ZERO, (i << vec4<u32>(24u)) >> vec4<u32>(24u), vec4<bool>(SCALE_BITS == 8u)));
}

fn minima(at: vec2<u32>, h: u32, part: u32) -> vec4<f32> {
  let s = at.y / 8u + D_WORDS;
  let m = halves(vec4<u32>(w[s], w[s + 1u], w[s + 2u], w[s + 3u]), h);
  if (COLUMNS == 32u) {
    return m;
  }
  let i = vec4<i32>(integers(s + M_WORDS + INTEGER_WORDS, (at.y & 7u) * PARTS + part, h));
  return -m * vec4<f32>(select(i, (i << vec4<u32>(24u)) >> vec4<u32>(24u), vec4<bool>(SCALE_BITS == 8u)));
}

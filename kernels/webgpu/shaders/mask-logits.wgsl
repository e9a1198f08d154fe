// Bans: a 0 bit in mask[R, ceil(V/32)] makes −inf, written as bits.
// Ladder: 1. a list of banned ids: as long as the vocabulary under a grammar. 2. (here) a bit a logit, 32 threads a word.
struct Params { R: u32, V: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> logits: array<u32>;
@group(0) @binding(2) var<storage, read> mask: array<u32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) at: vec3<u32>) {
  if (at.x >= p.V) {
    return;
  }
  let word = mask[at.y * ((p.V + 31u) / 32u) + (at.x >> 5u)];
  if (((word >> (at.x & 31u)) & 1u) == 0u) {
    logits[at.y * p.V + at.x] = 0xff800000u;
  }
}

// Activations [rows, K] as f32. A quad is 4 columns.
// Ladder: 1. a value a thread. 2. (here) 16 bytes a store.
@group(0) @binding(1) var<storage, read_write> out: array<vec4<f32>>;

fn store(row: u32, quad: u32, v: vec4<f32>, on: bool, lid: u32) {
  if (on) {
    out[row * (p.outK / 4u) + quad] = v;
  }
}

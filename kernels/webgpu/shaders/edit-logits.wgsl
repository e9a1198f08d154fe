// Penalties and biases in place: x = x > 0 ? x / rep : x · rep; x = x + add. One thread an edit; each pair comes once.
// Ladder: 1. a thread a logit that looks for its edit: reads all of V. 2. (here) a thread an edit: only what changes is touched.
struct Edit { row: u32, id: u32, rep: f32, add: f32 }
struct Params { R: u32, V: u32, E: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> logits: array<f32>;
@group(0) @binding(2) var<storage, read> edits: array<Edit>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) at: vec3<u32>) {
  if (at.x >= p.E) {
    return;
  }
  let e = edits[at.x];
  if (e.row >= p.R || e.id >= p.V) {
    return;
  }
  let i = e.row * p.V + e.id;
  let x = logits[i];
  logits[i] = select(x * e.rep, x / e.rep, x > 0.0) + e.add;
}

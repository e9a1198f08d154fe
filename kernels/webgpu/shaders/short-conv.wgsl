// out[T, D] = c · Σⱼ taps[j] · u of the last L tokens, u = b · x: its own as it is, those before from their pages (conv-*.wgsl), quantized in
// the same pass when the output is i8.
// Ladder: 1. (here) one pass, 4 columns a thread.
struct Params { D: u32, outK: u32, outMeta: u32, first: u32, pageWords: u32, tokenWords: u32, maxBlocks: u32, taps: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(2) var<storage, read> bcx: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> taps: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read> blocks: array<u32>;
@group(0) @binding(6) var<storage, read> seqOf: array<u32>;
@group(0) @binding(7) var<storage, read> pos: array<u32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
  let quads = p.D / 4u;
  let i = wg.x * 64u + lid;
  let quad = min(i, quads - 1u);
  let t = wg.y;
  let at = t * 3u * quads + quad;
  let last = p.taps - 1u;
  var sum = vec4<f32>(0.0);
  for (var j = last - min(last, pos[t]); j < last; j++) {
    let before = pos[t] + j - last;
    let page = blocks[seqOf[t] * p.maxBlocks + before / 16u];
    sum += taps[j * quads + quad] * kept(page * p.pageWords + p.first + (before % 16u) * p.tokenWords, quad);
  }
  sum += taps[last * quads + quad] * (bcx[at] * bcx[at + 2u * quads]);
  store(t, i, bcx[at + quads] * sum, i < quads, lid);
}

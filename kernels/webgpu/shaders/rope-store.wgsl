// qkv[T, (H+2G)·d] → rotated q[T, H·d]; rotated keys and values, quantized, into their pages. One workgroup a token and head.
// Ladder: 1. rope, then a kernel that quantizes and stores: keys and values are written and read once more. 2. (here) one
// kernel. Two tokens share a word of a page, so a token sets its own bits with two atomic operations.
struct Params { H: u32, G: u32, d: u32, layer: u32, pageWords: u32, headWords: u32, norm: u32, balance: u32, eps: f32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> q: array<f32>;
@group(0) @binding(2) var<storage, read_write> pages: array<atomic<u32>>;
@group(0) @binding(3) var<storage, read> qkv: array<f32>;
@group(0) @binding(4) var<storage, read> table: array<f32>; // [ctx, d]: d/2 cosines, d/2 sines
@group(0) @binding(5) var<storage, read> pos: array<u32>;
@group(0) @binding(6) var<storage, read> slot: array<u32>;
@group(0) @binding(7) var<storage, read> qGain: array<f32>;
@group(0) @binding(8) var<storage, read> kGain: array<f32>; // or, with p.balance, the balance [2, G·d]: a stage has no more than eight buffers everywhere

var<workgroup> xs: array<f32, 256>;

fn put(at: u32, mask: u32, bits: u32) {
  atomicAnd(&pages[at], ~mask);
  atomicOr(&pages[at], bits);
}

fn byte(v: f32, scale: f32) -> u32 {
  return bitcast<u32>(i32(round(clamp(v * scale, -127.0, 127.0)))) & 255u;
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
  let head = wg.x;
  let t = wg.y;
  let d = p.d;
  let pairs = d / 2u;
  let isValue = head >= p.H + p.G;
  let isQuery = head < p.H;
  let start = (t * (p.H + 2u * p.G) + head) * d;
  var squares = 0.0;
  for (var i = lid; i < d; i += 64u) {
    let v = qkv[start + i];
    xs[i] = v;
    squares += v * v;
  }
  let r = 1.0 / sqrt(workgroupSum(squares, lid) / f32(d) + p.eps);
  if (!isValue) {
    if (p.norm != 0u) {
      for (var i = lid; i < d; i += 64u) {
        xs[i] = (xs[i] * r) * select(kGain[i], qGain[i], isQuery);
      }
    }
    workgroupBarrier();
    let row = pos[t] * d;
    for (var i = lid; i < pairs; i += 64u) {
      let c = table[row + i];
      let s = table[row + pairs + i];
      let a = xs[i];
      let b = xs[i + pairs];
      xs[i] = a * c - b * s;
      xs[i + pairs] = b * c + a * s;
    }
  }
  workgroupBarrier();
  if (isQuery) {
    let scales = (p.G + head / (p.H / p.G)) * d;
    for (var i = lid; i < d; i += 64u) {
      var v = xs[i];
      if (p.balance != 0u) {
        v *= kGain[scales + i];
      }
      q[(t * p.H + head) * d + i] = v;
    }
    return;
  }
  let g = select(head - p.H, head - p.H - p.G, isValue);
  if (p.balance != 0u && !isValue) {
    for (var i = lid; i < d; i += 64u) {
      xs[i] = (xs[i] - kGain[g * d + i]) / kGain[(p.G + g) * d + i];
    }
    workgroupBarrier();
  }
  let at = (slot[t] / 16u) * p.pageWords + (p.layer * p.G + g) * p.headWords;
  let j = slot[t] % 16u;
  storeHead(at, j, isValue, lid);
}

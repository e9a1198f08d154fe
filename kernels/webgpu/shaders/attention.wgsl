// out[T, H·d]: causal attention over the pages of each token's sequence, over its last `window` positions. One workgroup a token and query head.
// Ladder: 1. a page at a time: 16 of 64 threads have a score to compute, and every page costs a rescale. 2. (here) four
// pages at a time with one rescale (online softmax, Milakov and Gimelshein, 2018): a thread a key, then a thread a pair of
// dimensions and a slice of the tokens. 3. with subgroups: fewer barriers (reduce-subgroup.wgsl).
struct Params { H: u32, G: u32, d: u32, layer: u32, pageWords: u32, headWords: u32, maxBlocks: u32, outK: u32, outMeta: u32, sigma: f32, window: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(2) var<storage, read> q: array<f32>;
@group(0) @binding(3) var<storage, read> pages: array<u32>;
@group(0) @binding(4) var<storage, read> blocks: array<u32>; // [S, maxBlocks]
@group(0) @binding(5) var<storage, read> seqOf: array<u32>;
@group(0) @binding(6) var<storage, read> pos: array<u32>;

var<workgroup> qs: array<f32, 256>; // the query, then the result
var<workgroup> weight: array<f32, 64>; // of the tile's tokens
var<workgroup> parts: array<vec2<f32>, 64>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
  let h = wg.x;
  let t = wg.y;
  let d = p.d;
  let pairs = d / 2u;
  let head = (p.layer * p.G + h / (p.H / p.G)) * p.headWords;
  let row = seqOf[t] * p.maxBlocks;
  let length = pos[t] + 1u;
  let begin = max(length, p.window) - p.window; // the first position in sight

  var amax = 0.0;
  for (var i = lid; i < d; i += 64u) {
    amax = max(amax, abs(q[(t * p.H + h) * d + i]));
  }
  amax = workgroupMax(amax, lid);
  for (var i = lid; i < d; i += 64u) {
    qs[i] = prepareQuery(q[(t * p.H + h) * d + i], amax);
  }
  workgroupBarrier();
  let scale = queryScale(amax);

  // more than 64 pairs: two a thread; fewer: the tokens of a tile are shared out in slices
  let slices = max(1u, 64u / pairs);
  let slice = lid / pairs;
  let pair = select(lid % pairs, lid, pairs > 64u);
  let works = pairs > 64u || slice < slices;
  let firstToken = select(slice, 0u, pairs > 64u);

  var m = LOWEST;
  var l = 0.0;
  var o0 = vec2<f32>();
  var o1 = vec2<f32>();
  for (var base = begin & ~15u; base < length; base += 64u) {
    let j = base + lid;
    var s = LOWEST;
    var at = 0u;
    let sees = j >= begin && j < length;
    if (sees) {
      at = blocks[row + j / 16u] * p.pageWords + head;
      s = score(at, j % 16u, scale);
    }
    let most = max(m, workgroupMax(s, lid));
    let c = expf(m - most);
    var e = 0.0;
    weight[lid] = 0.0;
    if (sees) {
      e = expf(s - most);
      weight[lid] = e * valueScale(at, j % 16u);
    }
    l = l * c + workgroupSum(e, lid); // its barriers also publish the weights
    m = most;
    o0 *= c;
    o1 *= c;
    if (works) {
      let tokens = min(64u, length - base);
      for (var jp = firstToken; 2u * jp < tokens; jp += slices) {
        let start = blocks[row + (base + 2u * jp) / 16u] * p.pageWords + head;
        let w0 = weight[2u * jp];
        let w1 = weight[2u * jp + 1u];
        o0 += values(start, jp % 8u, pair, w0, w1);
        if (pair + 64u < pairs) {
          o1 += values(start, jp % 8u, pair + 64u, w0, w1);
        }
      }
    }
    workgroupBarrier();
  }

  parts[lid] = o0;
  workgroupBarrier();
  let share = 1.0 / l;
  if (lid < pairs) {
    var o = vec2<f32>();
    if (pairs > 64u) {
      o = o0;
    } else {
      for (var i = 0u; i < slices; i++) {
        o += parts[i * pairs + lid];
      }
    }
    qs[2u * lid] = o.x * share;
    qs[2u * lid + 1u] = o.y * share;
    if (lid + 64u < pairs) {
      qs[2u * lid + 128u] = o1.x * share;
      qs[2u * lid + 129u] = o1.y * share;
    }
  }
  workgroupBarrier();
  let on = lid < d / 4u;
  let k = 4u * min(lid, d / 4u - 1u);
  store(t, h * (d / 4u) + lid, vec4<f32>(qs[k], qs[k + 1u], qs[k + 2u], qs[k + 3u]), on, lid);
}

// Top K of logits[R, V] · invTemp[R], ties to the lowest id, and softmax statistics. One workgroup a row.
// Ladder: 1. K rounds of "the best below the last one": K readings of V. 2. (here) radix select on the value's bits, four
// readings of 8 bits each, then the winners are gathered and ranked; ties are decided by three readings of their ids. For
// K = 1 (greedy) the maximum is the answer and no reading is added.
struct Params { V: u32, K: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> out: array<u32>; // [R][ids K, vals K, max, sum]
@group(0) @binding(2) var<storage, read> logits: array<u32>;
@group(0) @binding(3) var<storage, read> invTemp: array<f32>;

const NONE = 0xffffffffu;
const MINUS_INF = 0xff800000u;

var<workgroup> best: atomic<u32>;
var<workgroup> valid: atomic<u32>;
var<workgroup> lowest: atomic<u32>;
var<workgroup> count: atomic<u32>;
var<workgroup> bins: array<atomic<u32>, 256>;
var<workgroup> chosen: vec3<u32>; // prefix, still needed of it, how many have it
var<workgroup> sums: array<f32, 256>;
var<workgroup> keys: array<u32, 64>;
var<workgroup> ids: array<u32, 64>;

// Order of f32 as order of u32; 0 for what never wins (−inf and NaN). Bits are tested before the product: a compiler may
// assume that there are no such numbers.
fn keyOf(at: u32, factor: f32) -> u32 {
  let bits = logits[at];
  if (bits == MINUS_INF || (bits & 0x7fffffffu) > 0x7f800000u) {
    return 0u;
  }
  let v = bitcast<f32>(bits) * factor;
  let b = select(bitcast<u32>(v), 0u, v == 0.0); // −0 is 0
  return select(b | 0x80000000u, ~b, (b & 0x80000000u) != 0u);
}

fn valueOf(key: u32) -> u32 {
  return select(~key, key & 0x7fffffffu, (key & 0x80000000u) != 0u);
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
  let start = wg.x * p.V;
  let factor = invTemp[wg.x];
  let to = wg.x * (2u * p.K + 2u);

  var top = 0u;
  var some = 0u;
  for (var i = lid; i < p.V; i += 256u) {
    let key = keyOf(start + i, factor);
    top = max(top, key);
    some += select(0u, 1u, key != 0u);
  }
  atomicMax(&best, top);
  atomicAdd(&valid, some);
  if (lid == 0u) {
    atomicStore(&lowest, NONE);
  }
  workgroupBarrier();
  let bestKey = atomicLoad(&best);
  let found = atomicLoad(&valid);
  let most = bitcast<f32>(valueOf(max(bestKey, 0x00800000u)));
  var sum = 0.0;
  for (var i = lid; i < p.V; i += 256u) {
    let key = keyOf(start + i, factor);
    if (key != 0u) {
      sum += expf(bitcast<f32>(valueOf(key)) - most);
    }
    if (key == bestKey && key != 0u) {
      atomicMin(&lowest, i);
    }
  }
  sums[lid] = sum;
  workgroupBarrier();
  for (var s = 128u; s > 0u; s >>= 1u) {
    if (lid < s) {
      sums[lid] += sums[lid + s];
    }
    workgroupBarrier();
  }
  if (lid == 0u) {
    out[to + 2u * p.K] = select(MINUS_INF, valueOf(bestKey), bestKey != 0u);
    out[to + 2u * p.K + 1u] = bitcast<u32>(sums[0]);
  }
  if (p.K == 1u) {
    if (lid == 0u) {
      out[to] = select(NONE, atomicLoad(&lowest), bestKey != 0u);
      out[to + 1u] = select(MINUS_INF, valueOf(bestKey), bestKey != 0u);
    }
    return;
  }

  // the key of the last winner, 8 bits at a time start the top
  if (lid == 0u) {
    chosen = vec3<u32>(0u, min(p.K, found), 0u);
  }
  for (var shift = 32u; shift > 0u; ) {
    shift -= 8u;
    atomicStore(&bins[lid], 0u);
    workgroupBarrier();
    let prefix = chosen.x;
    for (var i = lid; i < p.V; i += 256u) {
      let key = keyOf(start + i, factor);
      if (key != 0u && (shift == 24u || (key >> (shift + 8u)) == (prefix >> (shift + 8u)))) {
        atomicAdd(&bins[(key >> shift) & 255u], 1u);
      }
    }
    workgroupBarrier();
    if (lid == 0u) {
      var need = chosen.y;
      var bin = 255u;
      var here = atomicLoad(&bins[bin]);
      while (here < need && bin > 0u) {
        need -= here;
        bin--;
        here = atomicLoad(&bins[bin]);
      }
      chosen = vec3<u32>(prefix | (bin << shift), need, here);
    }
    workgroupBarrier();
  }
  let last = chosen.x;
  let tied = workgroupUniformLoad(&chosen);

  // of those that tie with it, the lowest ids
  var limit = NONE;
  if (tied.z > tied.y) {
    if (lid == 0u) {
      chosen.x = 0u;
    }
    for (var shift = 24u; shift > 0u; ) {
      shift -= 8u;
      atomicStore(&bins[lid], 0u);
      workgroupBarrier();
      let prefix = chosen.x;
      for (var i = lid; i < p.V; i += 256u) {
        if (keyOf(start + i, factor) == last && (shift == 16u || (i >> (shift + 8u)) == (prefix >> (shift + 8u)))) {
          atomicAdd(&bins[(i >> shift) & 255u], 1u);
        }
      }
      workgroupBarrier();
      if (lid == 0u) {
        var need = chosen.y;
        var bin = 0u;
        var here = atomicLoad(&bins[bin]);
        while (here < need && bin < 255u) {
          need -= here;
          bin++;
          here = atomicLoad(&bins[bin]);
        }
        chosen = vec3<u32>(prefix | (bin << shift), need, here);
      }
      workgroupBarrier();
    }
    limit = chosen.x;
  }

  if (lid < 64u) {
    keys[lid] = 0u;
    ids[lid] = NONE;
  }
  workgroupBarrier();
  for (var i = lid; i < p.V; i += 256u) {
    let key = keyOf(start + i, factor);
    if (key != 0u && (key > last || (key == last && i <= limit))) {
      let place = atomicAdd(&count, 1u);
      if (place < 64u) {
        keys[place] = key;
        ids[place] = i;
      }
    }
  }
  workgroupBarrier();
  if (lid >= p.K) {
    return;
  }
  let key = keys[lid];
  let id = ids[lid];
  if (key == 0u) {
    out[to + lid] = NONE;
    out[to + p.K + lid] = MINUS_INF;
    return;
  }
  var rank = 0u;
  for (var i = 0u; i < p.K; i++) {
    if (keys[i] > key || (keys[i] == key && ids[i] < id)) {
      rank++;
    }
  }
  out[to + rank] = id;
  out[to + p.K + rank] = valueOf(key);
}

// Edits of logits, and the best of a row.
//
// The ladder of topk (K = 40, V = 49,152), microseconds: 1  a vector against the worst kept value, then exp 134
// 2  exp's constants from memory, no upper bound 100. Two passes over 196 kB; the exp's arithmetic limits it.
import { expBelow4, lane4Sum, maxLane } from './numeric';

/** Edits of 16 bytes: row, id, rep, add. Returns the first edit outside [R, V], or −1. */
export function editLogits(logits: usize, R: i32, V: i32, edits: usize, E: i32): i32 {
  for (let e = 0; e < E; e++, edits += 16) {
    const row = load<u32>(edits, 0);
    const id = load<u32>(edits, 4);
    if (row >= <u32>R || id >= <u32>V) return e;
    const at = logits + ((<usize>row * <usize>V + <usize>id) << 2);
    const v = f32.load(at);
    const rep = f32.load(edits, 8);
    f32.store(at, (v > 0 ? v / rep : v * rep) + f32.load(edits, 12));
  }
  return -1;
}

/** A 0 bit in mask u32 [ceil(V/32)] makes −inf. */
export function maskLogits(row: usize, V: i32, mask: usize): void {
  for (let id = 0; id < V; id += 32, mask += 4) {
    const bits = load<u32>(mask);
    if (bits == 0xffffffff) continue;
    for (let i = 0, n = min(32, V - id); i < n; i++) {
      if (!((bits >>> i) & 1)) f32.store(row + (<usize>(id + i) << 2), -Infinity);
    }
  }
}

/** Puts (id, v) into the descending list of `count` entries of at most K. */
function insert(ids: usize, vals: usize, count: i32, K: i32, id: i32, v: f32): void {
  let at = min(count, K - 1);
  for (; at > 0 && v > f32.load(vals + (<usize>(at - 1) << 2)); at--) {
    store<i32>(ids + (<usize>at << 2), load<i32>(ids + (<usize>(at - 1) << 2)));
    f32.store(vals + (<usize>at << 2), f32.load(vals + (<usize>(at - 1) << 2)));
  }
  store<i32>(ids + (<usize>at << 2), id);
  f32.store(vals + (<usize>at << 2), v);
}

/** ids [K], vals [K], max, sum of one row of V logits times invTemp. */
export function topk(out: usize, K: i32, row: usize, V: i32, invTemp: f32): void {
  const vals = out + (<usize>K << 2);
  for (let i: usize = 0; i < <usize>K << 2; i += 4) {
    store<i32>(out + i, -1);
    f32.store(vals + i, -Infinity);
  }
  const scale = f32x4.splat(invTemp);
  const whole = V & ~3;
  let m = f32x4.splat(-Infinity);
  let count = 0;
  let worst: f32 = -Infinity;
  let limit = f32x4.splat(-Infinity);
  for (let id = 0; id < V; id += 4) {
    const p = row + (<usize>id << 2);
    let v = id < whole ? v128.load(p) : f32x4.splat(-Infinity);
    if (id >= whole) {
      v = f32x4.replace_lane(v, 0, f32.load(p));
      if (id + 1 < V) v = f32x4.replace_lane(v, 1, f32.load(p, 4));
      if (id + 2 < V) v = f32x4.replace_lane(v, 2, f32.load(p, 8));
    }
    v = f32x4.mul(v, scale);
    if (!v128.any_true(f32x4.gt(v, limit))) continue;
    m = f32x4.pmax(m, v);
    for (let i = 0, n = min(4, V - id); i < n; i++) {
      const x = f32.load(p + (<usize>i << 2)) * invTemp;
      if (!(x > worst)) continue;
      insert(out, vals, count, K, id + i, x);
      if (count < K) count++;
      if (count == K) worst = f32.load(vals + (<usize>(K - 1) << 2));
    }
    limit = f32x4.splat(worst);
  }
  const top = maxLane(m);
  const peak = f32x4.splat(top);
  let sum = f32x4.splat(0);
  for (let id = 0; id < whole; id += 4) {
    sum = f32x4.add(sum, expBelow4(f32x4.sub(f32x4.mul(v128.load(row + (<usize>id << 2)), scale), peak)));
  }
  for (let i = 0; whole + i < V; i++) {
    const e = f32x4.extract_lane(expBelow4(f32x4.splat(f32.load(row + (<usize>(whole + i) << 2)) * invTemp - top)), 0);
    if (i == 0) sum = f32x4.replace_lane(sum, 0, f32x4.extract_lane(sum, 0) + e);
    else if (i == 1) sum = f32x4.replace_lane(sum, 1, f32x4.extract_lane(sum, 1) + e);
    else sum = f32x4.replace_lane(sum, 2, f32x4.extract_lane(sum, 2) + e);
  }
  const stats = out + (<usize>K << 3);
  f32.store(stats, top, 0);
  f32.store(stats, lane4Sum(sum), 4);
}

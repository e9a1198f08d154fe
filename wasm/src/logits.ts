// Edits of logits, and the best of a row.
//
// The ladder of topk, microseconds at K = 64 and V = 4,096 (49,152): 1  a vector against the worst kept value, then exp 26.3 (134 at
// K = 40)  2  exp's constants from memory, no upper bound (100)  3  only values that may be among the best are put in order: a
// bound from the maxima of 256 groups, bisected; the list moves four entries at a time 14.3 (97). exp takes 5.4 (64) of that.
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
  for (; at >= 4 && v > f32.load(vals + (<usize>(at - 4) << 2)); at -= 4) {
    const to = <usize>(at - 3) << 2; // descending: what is worse than the fourth from here is worse than all four
    v128.store(ids + to, v128.load(ids + to - 4));
    v128.store(vals + to, v128.load(vals + to - 4));
  }
  for (; at > 0 && v > f32.load(vals + (<usize>(at - 1) << 2)); at--) {
    store<i32>(ids + (<usize>at << 2), load<i32>(ids + (<usize>(at - 1) << 2)));
    f32.store(vals + (<usize>at << 2), f32.load(vals + (<usize>(at - 1) << 2)));
  }
  store<i32>(ids + (<usize>at << 2), id);
  f32.store(vals + (<usize>at << 2), v);
}

/** Largest values of 256 groups of a row's ids, four groups a vector. */
const GROUPS = memory.data(1024, 16);

/** Four logits from id on, scaled; those beyond V are −inf. */
@inline
function four(row: usize, id: i32, V: i32, scale: v128): v128 {
  const p = row + (<usize>id << 2);
  if (id + 4 <= V) return f32x4.mul(v128.load(p), scale);
  let v = f32x4.replace_lane(f32x4.splat(-Infinity), 0, f32.load(p));
  if (id + 1 < V) v = f32x4.replace_lane(v, 1, f32.load(p, 4));
  if (id + 2 < V) v = f32x4.replace_lane(v, 2, f32.load(p, 8));
  return f32x4.mul(v, scale);
}

/** How many groups reach t. */
@inline
function reach(t: f32): i32 {
  const at = f32x4.splat(t);
  let n = i32x4.splat(0);
  for (let g: usize = 0; g < 1024; g += 16) n = i32x4.sub(n, f32x4.ge(v128.load(GROUPS + g), at));
  return i32x4.extract_lane(n, 0) + i32x4.extract_lane(n, 1) + i32x4.extract_lane(n, 2) + i32x4.extract_lane(n, 3);
}

/** Fills the groups; the largest value of the row. */
@inline
function group(row: usize, V: i32, scale: v128): f32 {
  for (let g: usize = 0; g < 1024; g += 16) v128.store(GROUPS + g, f32x4.splat(-Infinity));
  for (let id = 0; id < V; id += 4) {
    const g = GROUPS + ((<usize>id << 2) & 1023);
    v128.store(g, f32x4.pmax(v128.load(g), four(row, id, V, scale)));
  }
  let m = f32x4.splat(-Infinity);
  for (let g: usize = 0; g < 1024; g += 16) m = f32x4.pmax(m, v128.load(GROUPS + g));
  return maxLane(m);
}

/** A value that at least K of the row reach and few more: as many groups have one that large. −inf where that is not known. */
@inline
function floorOf(K: i32, top: f32): f32 {
  if (K == 1) return top;
  let high = top;
  let low: f32 = top - 64;
  if (!(reach(low) >= K)) return -Infinity;
  for (let i = 0; i < 11; i++) {
    const mid: f32 = low + (high - low) * 0.5;
    if (reach(mid) >= K) low = mid;
    else high = mid;
  }
  return low;
}

/** Ids whose exponentials are summed with a maximum of their own: SUM_BLOCK of engine/backend.ts. */
const SUM_BLOCK: i32 = 256;

/** The largest of n logits, scaled; −inf when there are only numbers that never win. */
@inline
function blockMax(row: usize, n: i32, scale: v128): f32 {
  let m = f32x4.splat(-Infinity);
  for (let i = 0; i < n; i += 4) m = f32x4.pmax(m, four(row, i, n, scale));
  return maxLane(m);
}

/** Σ exp(v − m) over n logits, by id mod 4; what is beyond n adds nothing. */
@inline
function blockSum(row: usize, n: i32, scale: v128, m: f32): f32 {
  const peak = f32x4.splat(m);
  const end = row + (<usize>(n & ~3) << 2);
  let sum = f32x4.splat(0);
  let p = row;
  for (; p < end; p += 16) sum = f32x4.add(sum, expBelow4(f32x4.sub(f32x4.mul(v128.load(p), scale), peak)));
  const rest = n & 3;
  if (rest == 0) return lane4Sum(sum);
  const e = expBelow4(f32x4.sub(four(p, 0, rest, scale), peak));
  const there = i32x4.gt_s(i32x4.splat(rest), i32x4(0, 1, 2, 3));
  return lane4Sum(f32x4.add(sum, v128.and(e, there)));
}

/** ids [K], vals [K], max, sum of one row of V logits times invTemp; at `blocks`, unless it is 0, max and sum of each block. */
export function topk(out: usize, K: i32, row: usize, V: i32, invTemp: f32, blocks: usize): void {
  const vals = out + (<usize>K << 2);
  for (let i: usize = 0; i < <usize>K << 2; i += 4) {
    store<i32>(out + i, -1);
    f32.store(vals + i, -Infinity);
  }
  const scale = f32x4.splat(invTemp);
  const top = group(row, V, scale);
  const floor = f32x4.splat(floorOf(K, top));
  let count = 0;
  let worst: f32 = -Infinity;
  for (let id = 0; id < V; id += 4) {
    const v = four(row, id, V, scale);
    if (!v128.any_true(f32x4.ge(v, floor))) continue;
    for (let i = 0, n = min(4, V - id); i < n; i++) {
      const x = f32.load(row + (<usize>(id + i) << 2)) * invTemp;
      if (!(x > worst)) continue;
      insert(out, vals, count, K, id + i, x);
      if (count < K) count++;
      if (count == K) worst = f32.load(vals + (<usize>(K - 1) << 2));
    }
  }
  let sum: f32 = 0;
  for (let id = 0; id < V; id += SUM_BLOCK) {
    const own = row + (<usize>id << 2);
    const n = min(SUM_BLOCK, V - id);
    const m = blockMax(own, n, scale);
    const s: f32 = m == -Infinity ? 0 : blockSum(own, n, scale, m);
    if (m != -Infinity) sum += s * f32x4.extract_lane(expBelow4(f32x4.splat(m - top)), 0);
    if (blocks) {
      f32.store(blocks, m, 0);
      f32.store(blocks, s, 4);
      blocks += 8;
    }
  }
  const stats = out + (<usize>K << 3);
  f32.store(stats, top, 0);
  f32.store(stats, sum, 4);
}

// One page's step of the online softmax, shared by both page formats.
import { expBelow4, lane4Sum, maxLane } from './numeric';

/** State of a query head at `state`: m f32, l f32, c f32 (factor for o), spare; then s or p [16] f32. */
export const STATE: usize = 80;
export const STATE_L: usize = 4;
export const STATE_C: usize = 8;
export const STATE_P: usize = 16;

/** lane < count, for lanes first..first+3 */
@inline
function below(first: i32, count: i32): v128 {
  return i32x4.lt_s(i32x4(first, first + 1, first + 2, first + 3), i32x4.splat(count));
}

/** lanes first..first+3 in [lo, n) */
@inline
function within(first: i32, lo: i32, n: i32): v128 {
  return v128.andnot(below(first, n), below(first, lo));
}

/** Takes scores s[lo..n) at STATE_P into m and l; leaves p there (0 outside) and c. */
@inline
export function soften(state: usize, lo: i32, n: i32): void {
  let s0 = v128.load(state, STATE_P);
  let s1 = v128.load(state, STATE_P + 16);
  let s2 = v128.load(state, STATE_P + 32);
  let s3 = v128.load(state, STATE_P + 48);
  if (n - lo < 16) {
    const none = f32x4.splat(-Infinity);
    s0 = v128.bitselect(s0, none, within(0, lo, n));
    s1 = v128.bitselect(s1, none, within(4, lo, n));
    s2 = v128.bitselect(s2, none, within(8, lo, n));
    s3 = v128.bitselect(s3, none, within(12, lo, n));
  }
  const m = f32.load(state);
  const run = f32x4.splat(m);
  const top = maxLane(f32x4.pmax(f32x4.pmax(f32x4.pmax(f32x4.pmax(run, s0), s1), s2), s3));
  const c = m == -Infinity ? <f32>0 : m == top ? <f32>1 : f32x4.extract_lane(expBelow4(f32x4.splat(m - top)), 0);
  const peak = f32x4.splat(top);
  let p0 = expBelow4(f32x4.sub(s0, peak));
  let p1 = expBelow4(f32x4.sub(s1, peak));
  let p2 = expBelow4(f32x4.sub(s2, peak));
  let p3 = expBelow4(f32x4.sub(s3, peak));
  if (n - lo < 16) {
    p0 = v128.and(p0, within(0, lo, n));
    p1 = v128.and(p1, within(4, lo, n));
    p2 = v128.and(p2, within(8, lo, n));
    p3 = v128.and(p3, within(12, lo, n));
  }
  const sum = lane4Sum(f32x4.add(f32x4.add(f32x4.add(p0, p1), p2), p3));
  f32.store(state, top, 0);
  f32.store(state, f32.load(state, STATE_L) * c + sum, STATE_L);
  f32.store(state, c, STATE_C);
  v128.store(state, p0, STATE_P);
  v128.store(state, p1, STATE_P + 16);
  v128.store(state, p2, STATE_P + 32);
  v128.store(state, p3, STATE_P + 48);
}

// Attention over i8 pages: exact i16 dot products, the heads of a group share each page while it is in the cache.
import { quantizeRow } from './act';
import { clamp4, inverseScale, maxLane, rne4 } from './numeric';
import { largest } from './rope-store';
import { soften, STATE, STATE_C, STATE_L, STATE_P } from './softmax';

/** What a query head keeps: softmax state, then σ · query scale f32, w scale f32, spare, then the weights u i16 [16], then the query i16 [d]. */
const QSCALE: usize = STATE;
const WSCALE: usize = STATE + 4;
const U: usize = STATE + 16;
const QUERY: usize = STATE + 48;

/** Quantizes a query head to 15 bits and a sign. */
function loadQuery(state: usize, q: usize, d: i32, sigma: f32): void {
  const amax = largest(q, d);
  const inverse = f32x4.splat(inverseScale(32767, amax));
  let out = state + QUERY;
  for (const end = q + (<usize>d << 2); q < end; q += 32, out += 16) {
    const a = rne4(clamp4(f32x4.mul(v128.load(q, 0), inverse), 32767));
    const b = rne4(clamp4(f32x4.mul(v128.load(q, 16), inverse), 32767));
    v128.store(out, i16x8.narrow_i32x4_s(a, b));
  }
  f32.store(state, (amax / 32767) * sigma, QSCALE);
  f32.store(state, -Infinity, 0);
  f32.store(state, 0, STATE_L);
}

@inline
function add(s: v128, a: v128, b: v128): v128 {
  return i32x4.add(s, i32x4.dot_i16x8_s(a, b));
}

@inline
function storeScores(state: usize, scales: usize, s0: v128, s1: v128, s2: v128, s3: v128): void {
  const q = v128.load32_splat(state, QSCALE);
  v128.store(state, f32x4.mul(f32x4.convert_i32x4_s(s0), f32x4.mul(q, v128.load(scales, 0))), STATE_P);
  v128.store(state, f32x4.mul(f32x4.convert_i32x4_s(s1), f32x4.mul(q, v128.load(scales, 16))), STATE_P + 16);
  v128.store(state, f32x4.mul(f32x4.convert_i32x4_s(s2), f32x4.mul(q, v128.load(scales, 32))), STATE_P + 32);
  v128.store(state, f32x4.mul(f32x4.convert_i32x4_s(s3), f32x4.mul(q, v128.load(scales, 48))), STATE_P + 48);
}

/** Scores of 16 tokens for one head. */
function scores(state: usize, head: usize, d: i32): void {
  let s0 = i32x4.splat(0);
  let s1 = i32x4.splat(0);
  let s2 = i32x4.splat(0);
  let s3 = i32x4.splat(0);
  let k = head;
  for (let q = state + QUERY, end = q + (<usize>d << 1); q < end; q += 4, k += 32) {
    const v = v128.load32_splat(q);
    s0 = add(s0, v, v128.load_ext<i8>(k, 0));
    s1 = add(s1, v, v128.load_ext<i8>(k, 8));
    s2 = add(s2, v, v128.load_ext<i8>(k, 16));
    s3 = add(s3, v, v128.load_ext<i8>(k, 24));
  }
  storeScores(state, head + (<usize>d << 5), s0, s1, s2, s3);
}

/** Scores of 16 tokens for two heads: the keys are widened once. */
function scores2(a: usize, b: usize, head: usize, d: i32): void {
  let s0 = i32x4.splat(0);
  let s1 = i32x4.splat(0);
  let s2 = i32x4.splat(0);
  let s3 = i32x4.splat(0);
  let t0 = i32x4.splat(0);
  let t1 = i32x4.splat(0);
  let t2 = i32x4.splat(0);
  let t3 = i32x4.splat(0);
  let k = head;
  const other = b - a;
  for (let q = a + QUERY, end = q + (<usize>d << 1); q < end; q += 4, k += 32) {
    const v = v128.load32_splat(q);
    const w = v128.load32_splat(q + other);
    const k0 = v128.load_ext<i8>(k, 0);
    s0 = add(s0, v, k0);
    t0 = add(t0, w, k0);
    const k1 = v128.load_ext<i8>(k, 8);
    s1 = add(s1, v, k1);
    t1 = add(t1, w, k1);
    const k2 = v128.load_ext<i8>(k, 16);
    s2 = add(s2, v, k2);
    t2 = add(t2, w, k2);
    const k3 = v128.load_ext<i8>(k, 24);
    s3 = add(s3, v, k3);
    t3 = add(t3, w, k3);
  }
  const scales = head + (<usize>d << 5);
  storeScores(a, scales, s0, s1, s2, s3);
  storeScores(b, scales, t0, t1, t2, t3);
}

/** p · value scales, quantized to 15 bits. Lanes from n on hold p = 0, but their scales may be anything. */
@inline
function weigh(state: usize, scales: usize, n: i32): void {
  let w0 = f32x4.mul(v128.load(state, STATE_P), v128.load(scales, 0));
  let w1 = f32x4.mul(v128.load(state, STATE_P + 16), v128.load(scales, 16));
  let w2 = f32x4.mul(v128.load(state, STATE_P + 32), v128.load(scales, 32));
  let w3 = f32x4.mul(v128.load(state, STATE_P + 48), v128.load(scales, 48));
  if (n < 16) {
    const count = i32x4.splat(n);
    w0 = v128.and(w0, i32x4.lt_s(i32x4(0, 1, 2, 3), count));
    w1 = v128.and(w1, i32x4.lt_s(i32x4(4, 5, 6, 7), count));
    w2 = v128.and(w2, i32x4.lt_s(i32x4(8, 9, 10, 11), count));
    w3 = v128.and(w3, i32x4.lt_s(i32x4(12, 13, 14, 15), count));
  }
  const top = maxLane(f32x4.pmax(f32x4.pmax(f32x4.pmax(f32x4.pmax(f32x4.splat(0), w0), w1), w2), w3));
  const inverse = f32x4.splat(inverseScale(32767, top));
  f32.store(state, top / 32767, WSCALE);
  v128.store(state, i16x8.narrow_i32x4_s(rne4(f32x4.mul(w0, inverse)), rne4(f32x4.mul(w1, inverse))), U);
  v128.store(state, i16x8.narrow_i32x4_s(rne4(f32x4.mul(w2, inverse)), rne4(f32x4.mul(w3, inverse))), U + 16);
}

@inline
function update(o: usize, sum: v128, c: v128, scale: v128): void {
  v128.store(o, f32x4.add(f32x4.mul(v128.load(o), c), f32x4.mul(f32x4.convert_i32x4_s(sum), scale)));
}

/** o = o · c + Σ u · v for one head, 8 dimensions at a time. */
function values(state: usize, o: usize, v: usize, d: i32): void {
  const c = v128.load32_splat(state, STATE_C);
  const scale = v128.load32_splat(state, WSCALE);
  const pair = <usize>d << 1;
  const u0 = v128.load32_splat(state, U);
  const u1 = v128.load32_splat(state, U + 4);
  const u2 = v128.load32_splat(state, U + 8);
  const u3 = v128.load32_splat(state, U + 12);
  const u4 = v128.load32_splat(state, U + 16);
  const u5 = v128.load32_splat(state, U + 20);
  const u6 = v128.load32_splat(state, U + 24);
  const u7 = v128.load32_splat(state, U + 28);
  for (const end = v + pair; v < end; v += 8, o += 16) {
    let p = v;
    let s = i32x4.dot_i16x8_s(u0, v128.load_ext<i8>(p));
    s = add(s, u1, v128.load_ext<i8>((p += pair)));
    s = add(s, u2, v128.load_ext<i8>((p += pair)));
    s = add(s, u3, v128.load_ext<i8>((p += pair)));
    s = add(s, u4, v128.load_ext<i8>((p += pair)));
    s = add(s, u5, v128.load_ext<i8>((p += pair)));
    s = add(s, u6, v128.load_ext<i8>((p += pair)));
    s = add(s, u7, v128.load_ext<i8>((p += pair)));
    update(o, s, c, scale);
  }
}

/** Bytes of one query head's state for head size d. */
@inline
function stateBytes(d: i32): usize {
  return QUERY + (<usize>d << 1);
}

/** Tokens [from, to). row32: f32 [H·d] for the row to quantize. scratch: (H / G) · (128 + 2d) bytes. */
export function attentionI8(
  out: usize,
  stride: usize,
  quantized: bool,
  row32: usize,
  q: usize,
  layerPool: usize,
  pageBytes: usize,
  headBytes: usize,
  blocks: usize,
  maxBlocks: i32,
  seqOf: usize,
  pos: usize,
  from: i32,
  to: i32,
  H: i32,
  G: i32,
  d: i32,
  scratch: usize,
): void {
  const row = <usize>d << 2;
  const M = H / G;
  const bytes = stateBytes(d);
  const sigma = <f32>1 / sqrt<f32>(<f32>d);
  for (let t = from; t < to; t++) {
    const table = blocks + (<usize>load<u32>(seqOf + (<usize>t << 2)) * <usize>maxBlocks << 2);
    const length = <i32>load<u32>(pos + (<usize>t << 2)) + 1;
    const y = out + <usize>t * stride;
    const result = quantized ? row32 : y;
    memory.fill(result, 0, <usize>H * row);
    for (let g = 0; g < G; g++) {
      const firstO = result + <usize>(g * M) * row;
      for (let h = 0; h < M; h++) loadQuery(scratch + <usize>h * bytes, q + <usize>(t * H + g * M + h) * row, d, sigma);
      for (let i = 0; i << 4 < length; i++) {
        const head = layerPool + <usize>load<u32>(table + (<usize>i << 2)) * pageBytes + <usize>g * headBytes;
        const n = min(16, length - (i << 4));
        const last = scratch + <usize>M * bytes;
        let state = scratch;
        for (; state + 2 * bytes <= last; state += 2 * bytes) scores2(state, state + bytes, head, d);
        if (state < last) scores(state, head, d);
        const valueScales = head + (<usize>d << 5) + 64;
        let o = firstO;
        for (state = scratch; state < last; state += bytes, o += row) {
          soften(state, n);
          weigh(state, valueScales, n);
          values(state, o, head + (<usize>d << 4), d);
        }
      }
      for (let h = 0; h < M; h++) {
        const inverse = f32x4.splat(<f32>1 / f32.load(scratch + <usize>h * bytes, STATE_L));
        const o = firstO + <usize>h * row;
        for (let p = o, end = o + row; p < end; p += 16) v128.store(p, f32x4.mul(v128.load(p), inverse));
      }
    }
    if (quantized) quantizeRow(y, result, H * d);
  }
}

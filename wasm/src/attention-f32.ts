// Attention over f32 pages.
import { quantizeRow } from './act';
import { soften, STATE, STATE_C, STATE_L, STATE_P } from './softmax';

/** Takes tokens [lo, n) of a page head into a query head's state and o. */
function page(state: usize, o: usize, q: usize, head: usize, lo: i32, n: i32, d: i32, sigma: f32): void {
  let s0 = f32x4.splat(0);
  let s1 = f32x4.splat(0);
  let s2 = f32x4.splat(0);
  let s3 = f32x4.splat(0);
  let k = head;
  for (const end = q + (<usize>d << 2); q < end; q += 4, k += 64) {
    const v = v128.load32_splat(q);
    s0 = f32x4.add(s0, f32x4.mul(v, v128.load(k, 0)));
    s1 = f32x4.add(s1, f32x4.mul(v, v128.load(k, 16)));
    s2 = f32x4.add(s2, f32x4.mul(v, v128.load(k, 32)));
    s3 = f32x4.add(s3, f32x4.mul(v, v128.load(k, 48)));
  }
  const scale = f32x4.splat(sigma);
  v128.store(state, f32x4.mul(s0, scale), STATE_P);
  v128.store(state, f32x4.mul(s1, scale), STATE_P + 16);
  v128.store(state, f32x4.mul(s2, scale), STATE_P + 32);
  v128.store(state, f32x4.mul(s3, scale), STATE_P + 48);
  soften(state, lo, n);
  const c = v128.load32_splat(state, STATE_C);
  const row = <usize>d << 2;
  for (const end = o + row; o < end; o += 16, k += 16) {
    let acc = f32x4.mul(v128.load(o), c);
    let v = k + <usize>lo * row;
    for (let p = state + STATE_P + (<usize>lo << 2), stop = state + STATE_P + (<usize>n << 2); p < stop; p += 4, v += row) {
      acc = f32x4.add(acc, f32x4.mul(v128.load32_splat(p), v128.load(v)));
    }
    v128.store(o, acc);
  }
}

/** Tokens [from, to), each over its last `window` positions. row32: f32 [H·d] for the row to quantize. scratch: STATE bytes. */
export function attentionF32(
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
  sigma: f32,
  window: i32,
): void {
  const row = <usize>d << 2;
  const group = H / G;
  for (let t = from; t < to; t++) {
    const table = blocks + (<usize>load<u32>(seqOf + (<usize>t << 2)) * <usize>maxBlocks << 2);
    const length = <i32>load<u32>(pos + (<usize>t << 2)) + 1;
    const start = max(0, length - window);
    const y = out + <usize>t * stride;
    const result = quantized ? row32 : y;
    for (let h = 0; h < H; h++) {
      const o = result + <usize>h * row;
      memory.fill(o, 0, row);
      f32.store(scratch, -Infinity, 0);
      f32.store(scratch, 0, STATE_L);
      for (let i = start >> 4; i << 4 < length; i++) {
        const head = layerPool + <usize>load<u32>(table + (<usize>i << 2)) * pageBytes + <usize>(h / group) * headBytes;
        page(scratch, o, q + <usize>(t * H + h) * row, head, max(0, start - (i << 4)), min(16, length - (i << 4)), d, sigma);
      }
      const inverse = f32x4.splat(<f32>1 / f32.load(scratch, STATE_L));
      for (let p = o, end = o + row; p < end; p += 16) v128.store(p, f32x4.mul(v128.load(p), inverse));
    }
    if (quantized) quantizeRow(y, result, H * d);
  }
}

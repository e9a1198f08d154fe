import { weightBytes } from '../../engine/formats.ts';
import { kvHeadBytes } from '../../engine/layout.ts';
import type { Products } from './matmul.ts';
import { actStride, SCRATCH } from './memory.ts';
import type { Kernels } from './module.ts';

/** Calls of each kernel. A few suffice: the first, unoptimized code is replaced after some 100 µs of running. */
const CALLS = 10;
const K = 576;
const N = 64;
const T = 4;

/** Runs the kernels of a decode and a prefill step on whatever lies in scratch, so that the first request finds optimized code. */
export function warmup(k: Kernels, products: Products): void {
  const stride = actStride('i8', K);
  const shape = { format: 'i8', layers: 1, kvHeads: 3, headDim: 64 } as const;
  const head = kvHeadBytes(shape);
  let at = SCRATCH;
  const take = (bytes: number) => {
    at += Math.ceil(bytes / 64) * 64;
    return at - Math.ceil(bytes / 64) * 64;
  };
  const zero = take(64); // positions, slots, sequences, block tables
  const act = take(T * stride);
  const x = take(T * 2 * K * 4);
  const y = take(T * 2 * K * 4);
  const row = take(2 * K * 4);
  const page = take(shape.kvHeads * head);
  const weights = take(weightBytes('w8', N, K));
  const rows = take(16384); // unpacked ones
  const state = take(2 * 3 * (240 + 8 * 64));
  for (const [from, to] of [
    [zero, act],
    [page, weights],
  ]) {
    k.clear(from, to);
  }
  for (let i = 0; i < CALLS; i++) {
    k.norm(act, stride, 1, x, x, 0, 0, T, K, 1e-5, row);
    k.swiglu(act, stride, 1, x, 0, T, K, row);
    k.embed_w4(y, weights, 0, K, rows);
    k.embed_w8(y, weights, 0, K, rows);
    k.ropeStore(y, page, 3 * head, head, 1, x, x, zero, zero, 0, 1, 3, 3, 64, 0, 0, 0, state, 0);
    k.attentionI8(act, stride, 1, row, x, page, 3 * head, head, zero, 1, zero, zero, 0, 2, 9, 3, 64, state, 1 / 8, 0x7fffffff);
    for (const tokens of [1, T]) {
      for (const format of ['w4', 'w8'] as const)
        products[format]({ out: y, act, stride, weights, T: tokens, N, K, bias: 0, accumulate: 0 });
    }
    k.topk(y, 8, x, K, 1, 0);
  }
}

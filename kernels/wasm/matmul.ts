import type { Act, Buf, Weight, WeightFormat } from '../../engine/backend.ts';
import { BLOCK, FORMATS, ROWS, weightBytes } from '../../engine/formats.ts';
import { actStride, SCRATCH, SCRATCH_BYTES } from './memory.ts';
import type { Kernels } from './module.ts';
import { need, ptr } from './pointers.ts';

/** Multiply-adds a call: long enough that the call costs nothing, short enough that the first, unoptimized code is soon replaced. */
const CALL_MACS = 1 << 21;
/** Sums of a tile: 4 tokens × 8 rows. */
const ACC = SCRATCH;
const OPERANDS = SCRATCH + 128;
const OPERAND_BYTES = SCRATCH_BYTES - 128;
/** Spread tokens should stay in the second-level cache while all weights pass. */
const WIDE_BYTES = 256 * 1024;

/** Calls `run(from, to)` for ranges of whole row groups of [0, N), `macs` multiply-adds a row. */
function rowRanges(N: number, macs: number, run: (from: number, to: number) => void): void {
  const step = Math.max(1, Math.floor(CALL_MACS / macs / ROWS)) * ROWS;
  for (let from = 0; from < N; from += step) run(from, Math.min(N, from + step));
}

/** The functions of a format whose weights are integers in blocks of 32. */
interface Blocks {
  /** Bytes of a block of 32 of a spread token, and of 8 unpacked rows. */
  wide: number;
  rows: number;
  spread: Kernels['spreadW4'];
  one: Kernels['matmulW4One'];
  many: Kernels['matmulW4'];
}

/** y[T, N] = x · wᵀ for T rows of activations of `stride` bytes; all pointers. */
type Product = (p: Operands) => void;
interface Operands {
  out: number;
  act: number;
  stride: number;
  weights: number;
  T: number;
  N: number;
  K: number;
  bias: number;
  accumulate: number;
}

/** The product of each format; made once a backend. */
export const products = (k: Kernels): Record<WeightFormat, Product> => ({
  f32: ({ out, act, weights, T, N, K, bias, accumulate }) =>
    rowRanges(N, K * T, (from, to) => k.matmulF32(out, act, weights, T, N, K, from, to, bias, accumulate)),
  w4: ofBlocks({ wide: k.wideW4.value, rows: k.rowsW4.value, spread: k.spreadW4, one: k.matmulW4One, many: k.matmulW4 }),
  w8: ofBlocks({ wide: k.wideW8.value, rows: k.rowsW8.value, spread: k.spreadW8, one: k.matmulW8One, many: k.matmulW8 }),
});

/** Tokens are spread into scratch, as many as fit there, and multiplied one alone or several together. */
function ofBlocks(q: Blocks): Product {
  return ({ out, act, stride, weights, T, N, K, bias, accumulate }) => {
    const blocks = K / BLOCK;
    const token = blocks * q.wide;
    const fit = Math.floor(Math.min(WIDE_BYTES, OPERAND_BYTES - blocks * q.rows) / token);
    if (token > OPERAND_BYTES) throw new Error(`matmul: K ${K} needs ${token} bytes of scratch a token, there are ${OPERAND_BYTES}`);
    const tile = fit < 2 ? 1 : fit < 4 ? fit : fit - (fit % 4);
    for (let t = 0; t < T; t += tile) {
      const n = Math.min(tile, T - t);
      const row = out + t * N * 4;
      q.spread(OPERANDS, act + t * stride, n, blocks);
      if (n === 1) rowRanges(N, K, (from, to) => q.one(row, OPERANDS, weights, N, K, from, to, bias, accumulate));
      else {
        const rows = OPERANDS + n * token;
        rowRanges(N, K * n, (from, to) => q.many(row, OPERANDS, weights, n, N, K, from, to, bias, accumulate, rows, ACC));
      }
    }
  };
}

export function matmul(
  run: Record<WeightFormat, Product>,
  y: Buf,
  x: Act,
  w: Weight,
  T: number,
  opts: { bias?: Buf; accumulate?: boolean } = {},
): void {
  const { N, K, format } = w;
  if (x.K !== K) throw new Error(`matmul: activations have K ${x.K}, ${w.data.label} has ${K}`);
  if (x.format !== FORMATS[format].act) throw new Error(`matmul: ${x.format} activations do not go with ${format} weights`);
  const stride = actStride(x.format, K);
  need('matmul', y, T * N * 4);
  need('matmul', x.data, T * stride);
  need('matmul', w.data, weightBytes(format, N, K));
  if (opts.bias) need('matmul', opts.bias, N * 4);
  const [bias, accumulate] = [opts.bias ? ptr(opts.bias) : 0, opts.accumulate ? 1 : 0];
  run[format]({ out: ptr(y), act: ptr(x.data), stride, weights: ptr(w.data), T, N, K, bias, accumulate });
}

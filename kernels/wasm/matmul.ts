import type { Act, Buf, Weight, WeightFormat } from '../../engine/backend.ts';
import { BLOCK, FORMATS, ROWS, weightBytes } from '../../engine/formats.ts';
import { actStride, SCRATCH, SCRATCH_BYTES } from './memory.ts';
import type { BlockFormat, Fn, Kernels } from './module.ts';
import { need, ptr } from './pointers.ts';

/** Multiply-adds a call: long enough that the call costs nothing, short enough that the first, unoptimized code is soon replaced. */
export const CALL_MACS = 1 << 21;
/** Tokens a call of generated kernels; rows that they multiply together by dot-add, and bytes of what they unpack of these. */
const MOST = 64;
const TOGETHER = 64;
const TOGETHER_BYTES = 64 * 384;
/** Sums of these rows and tokens. */
const ACC = SCRATCH;
const ACC_BYTES = MOST * TOGETHER * 4;
const OPERANDS = SCRATCH + ACC_BYTES;
const OPERAND_BYTES = SCRATCH_BYTES - ACC_BYTES;
/** Prepared tokens should stay in the second-level cache while all weights pass. */
const WIDE_BYTES = 256 * 1024;

/** Calls `run(from, to)` for ranges of [0, N) that are a multiple of `unit` rows each (the last as many as are left), `macs` multiply-adds a row. */
function rowRanges(N: number, macs: number, run: (from: number, to: number) => void, unit = ROWS): void {
  const step = Math.max(1, Math.floor(CALL_MACS / macs / unit)) * unit;
  for (let from = 0; from < N; from += step) run(from, Math.min(N, from + step));
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

/** The product of each format. */
export type Products = Record<WeightFormat, Product>;

/** How bytes are multiplied: by dot-add with bytes up to 127 ('i7') or any ('u8'), or in pairs of i16. */
export type Way = 'u8' | 'i7' | 'pair';

/** The fastest way that this machine has. */
export function wayOf(k: Kernels): Way {
  const sum = k.dotAdd();
  return sum === 129540 ? 'u8' : sum === -508 ? 'i7' : 'pair';
}

/** The product of each format; made once a backend. */
export function products(k: Kernels, way: Way): Products {
  const q = (format: BlockFormat) => ofBlocks(kernelsOf(k, format, way));
  return {
    f32: ({ out, act, weights, T, N, K, bias, accumulate }) =>
      rowRanges(N, K * T, (from, to) => k.matmulF32(out, act, weights, T, N, K, from, to, bias, accumulate)),
    w8: q('w8'),
    w4: q('w4'),
    q4_1: q('q4_1'),
    q5_0: q('q5_0'),
    q5_1: q('q5_1'),
    iq4_nl: q('iq4_nl'),
    mxfp4: q('mxfp4'),
    q2_k: q('q2_k'),
    q3_k: q('q3_k'),
    q4_k: q('q4_k'),
    q5_k: q('q5_k'),
    q6_k: q('q6_k'),
    iq4_xs: q('iq4_xs'),
    any_k: q('any_k'),
  };
}

/** The functions of a format for one way of multiplying. */
interface Blocks {
  /** Bytes of a block of 32 of a prepared token; of the rows that are unpacked at a time. */
  token: number;
  rows: (blocks: number) => number;
  /** Tokens a call at most; rows a call, but for the last, are a multiple of `unit`. */
  most: number;
  unit: number;
  prepare: Fn;
  one: Fn;
  many: Fn;
}

/** One token by the function for many. */
const alike = (many: Fn): { one: Fn; many: Fn } => ({
  one: (y, a, w, N, K, from, to, bias, accumulate, scratch) => many(y, a, w, 1, N, K, from, to, bias, accumulate, scratch, ACC),
  many,
});

/** Formats whose kernels multiply bytes above 127. */
const WHOLE_BYTES: ReadonlySet<BlockFormat> = new Set(['w8', 'iq4_nl', 'iq4_xs']);
/** Blocks of 32 that generated kernels unpack at a time, and bytes of the largest. */
const CHUNK = 32;
const UNPACKED = 384;

function kernelsOf(k: Kernels, format: BlockFormat, way: Way): Blocks {
  if (way === 'u8' || (way === 'i7' && !WHOLE_BYTES.has(format))) {
    const sizes = { token: 48, rows: () => TOGETHER_BYTES, most: MOST, unit: TOGETHER };
    return { ...sizes, prepare: k[`dot_tokens_${format}`], ...alike(k[`dot_${format}`]) };
  }
  // hand-written kernels sum four tokens at a time
  const sizes = { most: Number.POSITIVE_INFINITY, unit: ROWS };
  if (format === 'w4') {
    const [token, unpacked] = [k.wideW4.value, k.rowsW4.value];
    return { ...sizes, token, rows: (blocks) => blocks * unpacked, prepare: k.spreadW4, one: k.matmulW4One, many: k.matmulW4 };
  }
  if (format === 'w8') {
    const [token, unpacked] = [k.wideW8.value, k.rowsW8.value];
    return { ...sizes, token, rows: (blocks) => blocks * unpacked, prepare: k.spreadW8, one: k.matmulW8One, many: k.matmulW8 };
  }
  const rows = (blocks: number) => Math.min(blocks, CHUNK) * UNPACKED;
  return { ...sizes, most: MOST, token: 80, rows, prepare: k[`pair_tokens_${format}`], ...alike(k[`pair_${format}`]) };
}

/** Tokens are prepared in scratch, as many as fit there, and multiplied one alone or several together. */
function ofBlocks(q: Blocks): Product {
  return ({ out, act, stride, weights, T, N, K, bias, accumulate }) => {
    const blocks = K / BLOCK;
    const token = blocks * q.token;
    const unpacked = q.rows(blocks);
    const fit = Math.floor(Math.min(WIDE_BYTES, OPERAND_BYTES - unpacked) / token);
    if (token + unpacked > OPERAND_BYTES)
      throw new Error(`matmul: K ${K} needs ${token + unpacked} bytes of scratch, there are ${OPERAND_BYTES}`);
    const most = Math.min(fit, q.most);
    const tile = most < 2 ? 1 : most < 4 ? most : most - (most % 4);
    for (let t = 0; t < T; t += tile) {
      const n = Math.min(tile, T - t);
      const row = out + t * N * 4;
      const scratch = OPERANDS + n * token;
      q.prepare(OPERANDS, act + t * stride, n, blocks);
      if (n === 1) rowRanges(N, K, (from, to) => q.one(row, OPERANDS, weights, N, K, from, to, bias, accumulate, scratch), q.unit);
      else rowRanges(N, K * n, (from, to) => q.many(row, OPERANDS, weights, n, N, K, from, to, bias, accumulate, scratch, ACC), q.unit);
    }
  };
}

export function matmul(run: Products, y: Buf, x: Act, w: Weight, T: number, opts: { bias?: Buf; accumulate?: boolean } = {}): void {
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

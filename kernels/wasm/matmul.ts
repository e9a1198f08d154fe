import type { Act, Buf, Weight } from '../../engine/backend.ts';
import { ROWS, rowGroupBytes } from '../../engine/layout.ts';
import { actStride, SCRATCH, SCRATCH_BYTES } from './memory.ts';
import type { Kernels } from './module.ts';
import { need, ptr } from './pointers.ts';

/** Multiply-adds a call: long enough that the call costs nothing, short enough that the compiled code is replaced by the optimized. */
const CALL_MACS = 1 << 21;
/** Weights that should stay in the first-level cache while the tiles of tokens pass. */
const CACHED_BYTES = 24 * 1024;
/** Tokens a tile; an accumulator of 4 rows takes 16 bytes a token. */
const TILE = 16;
const ACC = SCRATCH;
const WIDE = SCRATCH + TILE * 16;
/** Bytes of a block of 32 widened to i16 with its scale (wasm/src/matmul-w8.ts). */
const WIDE_BLOCK = 68;

const groupsOf = (rows: number): number => Math.max(ROWS, Math.floor(rows / ROWS) * ROWS);

/** Calls `run(from, to)` for ranges of whole row groups of [0, N). */
function rowRanges(N: number, step: number, run: (from: number, to: number) => void): void {
  for (let from = 0; from < N; from += step) run(from, Math.min(N, from + step));
}

/** Calls `run(t, count)` for tiles of tokens. */
function tiles(T: number, size: number, run: (t: number, count: number) => void): void {
  for (let t = 0; t < T; t += size) run(t, Math.min(size, T - t));
}

export function matmul(k: Kernels, y: Buf, x: Act, w: Weight, T: number, opts: { bias?: Buf; accumulate?: boolean } = {}): void {
  const { N, K, format } = w;
  if (x.K !== K) throw new Error(`matmul: activations have K ${x.K}, ${w.data.label} has ${K}`);
  if (x.format !== (format === 'f32' ? 'f32' : 'i8')) throw new Error(`matmul: ${x.format} activations do not go with ${format} weights`);
  need('matmul', y, T * N * 4);
  need('matmul', x.data, T * actStride(x.format, K));
  if (opts.bias) need('matmul', opts.bias, N * 4);
  const bias = opts.bias ? ptr(opts.bias) : 0;
  const accumulate = opts.accumulate ? 1 : 0;
  const weights = ptr(w.data);
  const act = ptr(x.data);
  const out = ptr(y);
  const stride = actStride(x.format, K);

  if (format === 'f32') {
    rowRanges(N, groupsOf(CALL_MACS / (K * T)), (from, to) => k.matmulF32(out, act, weights, T, N, K, from, to, bias, accumulate, ACC));
    return;
  }
  if (format === 'w4' && T === 1) {
    rowRanges(N, groupsOf(CALL_MACS / K), (from, to) => k.matmulW4One(out, act, weights, N, K, from, to, bias, accumulate, ACC));
    return;
  }
  const cached = groupsOf((ROWS * CACHED_BYTES) / rowGroupBytes(format, K));
  if (format === 'w4') {
    rowRanges(N, T <= TILE ? groupsOf(CALL_MACS / (K * T)) : cached, (from, to) =>
      tiles(T, TILE, (t, n) => k.matmulW4(out + t * N * 4, act + t * stride, weights, n, N, K, from, to, bias, accumulate, ACC)),
    );
    return;
  }
  const wideStride = (K / 32) * WIDE_BLOCK;
  const tile = Math.min(TILE, Math.floor((SCRATCH_BYTES - (WIDE - SCRATCH)) / wideStride));
  if (tile < 1) throw new Error(`matmul: w8 with K ${K} needs ${wideStride} bytes of scratch a token, more than ${SCRATCH_BYTES}; use w4`);
  tiles(T, tile, (t, n) => {
    for (let i = 0; i < n; i++) k.widen(WIDE + i * wideStride, act + (t + i) * stride, K / 32);
    rowRanges(N, groupsOf(CALL_MACS / (K * n)), (from, to) =>
      k.matmulW8(out + t * N * 4, WIDE, weights, n, N, K, from, to, bias, accumulate, ACC),
    );
  });
}

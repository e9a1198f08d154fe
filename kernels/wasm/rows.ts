/** Ops on rows of f32: embed, norm, swiglu. */
import type { Act, Buf, Weight, WeightFormat } from '../../engine/backend.ts';
import { ROWS, rowGroupBytes, weightBytes } from '../../engine/formats.ts';
import { actStride } from './memory.ts';
import type { Kernels } from './module.ts';
import { need, ptr } from './pointers.ts';

/** Tokens a call. */
const CALL_TOKENS = 64;

/** Writes one row of a row group, of each format; made once a backend. */
export const lookups = (k: Kernels): Record<WeightFormat, Kernels['embedF32']> => ({ f32: k.embedF32, w8: k.embedW8, w4: k.embedW4 });

export function embed(lookup: ReturnType<typeof lookups>, words: Uint32Array, x: Buf, w: Weight, ids: Buf, T: number): void {
  need('embed', x, T * w.K * 4);
  need('embed', ids, T * 4);
  need('embed', w.data, weightBytes(w.format, w.N, w.K));
  const group = rowGroupBytes(w.format, w.K);
  const run = lookup[w.format];
  for (let t = 0; t < T; t++) {
    const id = words[(ptr(ids) >>> 2) + t];
    if (id >= w.N) throw new Error(`embed: token id ${id} is not below the vocabulary's ${w.N}`);
    run(ptr(x) + t * w.K * 4, ptr(w.data) + Math.floor(id / ROWS) * group, id % ROWS, w.K);
  }
}

/** Where an op prepares a row that it quantizes: behind the rows of i8 activations. */
function target(op: string, out: Act, rows: number): { stride: number; quantized: number; scratch: number } {
  const stride = actStride(out.format, out.K);
  if (out.K % 4 !== 0) throw new Error(`${op}: rows of ${out.K} values, must be a multiple of 4`);
  if (rows > out.rows) throw new Error(`${op}: ${rows} rows, ${out.data.label} has room for ${out.rows}`);
  return { stride, quantized: out.format === 'i8' ? 1 : 0, scratch: out.format === 'i8' ? ptr(out.data) + out.rows * stride : 0 };
}

export function norm(k: Kernels, out: Act, x: Buf, g: Buf, eps: number, n: number, D: number, rows?: Buf): void {
  const { stride, quantized, scratch } = target('norm', out, n);
  need('norm', g, D * 4);
  if (rows) need('norm', rows, n * 4);
  else need('norm', x, n * D * 4);
  for (let i = 0; i < n; i += CALL_TOKENS) {
    k.norm(ptr(out.data), stride, quantized, ptr(x), ptr(g), rows ? ptr(rows) : 0, i, Math.min(n, i + CALL_TOKENS), D, eps, scratch);
  }
}

export function swiglu(k: Kernels, out: Act, gateUp: Buf, T: number, F: number): void {
  const { stride, quantized, scratch } = target('swiglu', out, T);
  need('swiglu', gateUp, T * F * 8);
  for (let t = 0; t < T; t += CALL_TOKENS) {
    k.swiglu(ptr(out.data), stride, quantized, ptr(gateUp), t, Math.min(T, t + CALL_TOKENS), F, scratch);
  }
}

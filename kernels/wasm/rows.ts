/** Ops on rows of f32: embed, norm, glu, addNorm. */
import type { Act, Activation, Buf, Weight, WeightFormat } from '../../engine/backend.ts';
import { ROWS, rowGroupBytes, weightBytes } from '../../engine/formats.ts';
import { actStride, SCRATCH } from './memory.ts';
import type { Kernels } from './module.ts';
import { need, ptr } from './pointers.ts';

/** Tokens a call. */
const CALL_TOKENS = 64;

/** Writes one row of a row group, of each format; made once a backend. */
export const lookups = (k: Kernels): Record<WeightFormat, Kernels['embedF32']> => ({
  f32: k.embedF32,
  w8: k.embed_w8,
  w4: k.embed_w4,
  q4_1: k.embed_q4_1,
  q5_0: k.embed_q5_0,
  q5_1: k.embed_q5_1,
  iq4_nl: k.embed_iq4_nl,
  mxfp4: k.embed_mxfp4,
  q2_k: k.embed_q2_k,
  q3_k: k.embed_q3_k,
  q4_k: k.embed_q4_k,
  q5_k: k.embed_q5_k,
  q6_k: k.embed_q6_k,
  iq4_xs: k.embed_iq4_xs,
  any_k: k.embed_any_k,
});

export function embed(
  k: Kernels,
  lookup: ReturnType<typeof lookups>,
  words: Uint32Array,
  x: Buf,
  w: Weight,
  ids: Buf,
  T: number,
  scale = 1,
): void {
  need('embed', x, T * w.K * 4);
  need('embed', ids, T * 4);
  need('embed', w.data, weightBytes(w.format, w.N, w.K));
  const group = rowGroupBytes(w.format, w.K);
  const run = lookup[w.format];
  for (let t = 0; t < T; t++) {
    const id = words[(ptr(ids) >>> 2) + t];
    if (id >= w.N) throw new Error(`embed: token id ${id} is not below the vocabulary's ${w.N}`);
    run(ptr(x) + t * w.K * 4, ptr(w.data) + Math.floor(id / ROWS) * group, id % ROWS, w.K, SCRATCH);
  }
  if (scale !== 1) k.scale(ptr(x), T * w.K, scale);
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

/** Of each activation; made once a backend. */
export const gates = (k: Kernels): Record<Activation, Kernels['swiglu']> => ({ silu: k.swiglu, gelu: k.geglu });

export function glu(run: Kernels['swiglu'], out: Act, gateUp: Buf, T: number, F: number): void {
  const { stride, quantized, scratch } = target('glu', out, T);
  need('glu', gateUp, T * F * 8);
  for (let t = 0; t < T; t += CALL_TOKENS) {
    run(ptr(out.data), stride, quantized, ptr(gateUp), t, Math.min(T, t + CALL_TOKENS), F, scratch);
  }
}

export function addNorm(k: Kernels, x: Buf, y: Buf, g: Buf, eps: number, T: number, D: number): void {
  if (D % 4 !== 0) throw new Error(`addNorm: rows of ${D} values, must be a multiple of 4`);
  need('addNorm', x, T * D * 4);
  need('addNorm', y, T * D * 4);
  need('addNorm', g, D * 4);
  for (let t = 0; t < T; t += CALL_TOKENS) k.addNorm(ptr(x), ptr(y), ptr(g), t, Math.min(T, t + CALL_TOKENS), D, eps);
}

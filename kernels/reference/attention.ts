import type { Act, AttentionOptions, Batch, Buf, KvPool } from '../../engine/backend.ts';
import { PAGE } from '../../engine/layout.ts';
import { f32, storeAct, u32 } from './buffers.ts';
import { exp, f, inverseScale, lane4, max, quantize, rne } from './numeric.ts';
import { type PageHead, pageHead } from './pages.ts';

/** What a query head carries from page to page: running maximum, sum of weights, weighted values (online softmax, Milakov and Gimelshein, 2018). */
interface State {
  m: number;
  l: number;
  o: Float32Array; // [d]
}

/** Takes the scores s[lo..n) of a page into m and l; returns the weights p[16] (0 outside) and the factor c for o. */
function soften(state: State, s: Float32Array, lo: number, n: number): { p: Float32Array; c: number } {
  let m = state.m;
  for (let j = lo; j < n; j++) m = max(m, s[j]);
  const c = state.m === -Infinity ? 0 : exp(f(state.m - m));
  const p = s.map((v, j) => (j >= lo && j < n ? exp(f(v - m)) : 0));
  state.l = f(f(state.l * c) + lane4(PAGE, (j) => p[j]));
  state.m = m;
  return { p, c };
}

/** A page of integers: exact dot products of the 15-bit query with keys, and of 15-bit weights with values. */
function pageI8(state: State, page: PageHead, lo: number, n: number, qi: Int16Array, qScale: number): void {
  const d = qi.length;
  const s = new Float32Array(PAGE);
  for (let j = 0; j < n; j++) {
    let idot = 0;
    for (let k = 0; k < d; k++) idot += qi[k] * page.key(j, k);
    s[j] = f(f(idot) * f(qScale * page.keyScale(j)));
  }
  const { p, c } = soften(state, s, lo, n);
  const w = p.map((v, j) => (j >= lo && j < n ? f(v * page.valueScale(j)) : 0));
  const wmax = w.reduce(max, 0);
  const u = w.map((v) => rne(f(v * inverseScale(32767, wmax))));
  const wScale = f(wmax / 32767);
  for (let k = 0; k < d; k++) {
    let isum = 0;
    for (let j = 0; j < n; j++) isum += u[j] * page.value(j, k);
    state.o[k] = f(f(state.o[k] * c) + f(f(isum) * wScale));
  }
}

function pageF32(state: State, page: PageHead, lo: number, n: number, q: Float32Array, sigma: number): void {
  const d = q.length;
  const s = new Float32Array(PAGE);
  for (let j = 0; j < n; j++) {
    let dot = 0;
    for (let k = 0; k < d; k++) dot = f(dot + f(q[k] * page.key(j, k)));
    s[j] = f(dot * sigma);
  }
  const { p, c } = soften(state, s, lo, n);
  for (let k = 0; k < d; k++) {
    let o = f(state.o[k] * c);
    for (let j = lo; j < n; j++) o = f(o + f(p[j] * page.value(j, k)));
    state.o[k] = o;
  }
}

/** out[T, H·d]: causal attention of q over the pages of each token's sequence, positions 0..pos or the last `window` of them. */
export function attention(
  out: Act,
  q: Buf,
  kv: KvPool,
  batch: Batch,
  layer: number,
  heads: number,
  { scale, window = Infinity }: AttentionOptions = {},
): void {
  const { headDim: d, kvHeads, format } = kv.shape;
  const queries = f32(q);
  const pos = u32(batch.pos);
  const seqOf = u32(batch.seqOf);
  const blocks = u32(batch.blocks);
  const sigma = f(scale ?? 1 / f(Math.sqrt(d)));
  const y = new Float32Array(heads * d);
  const qi = new Int16Array(d);
  for (let t = 0; t < batch.T; t++) {
    const length = pos[t] + 1;
    const first = Math.max(0, length - window); // position
    for (let h = 0; h < heads; h++) {
      const query = queries.subarray((t * heads + h) * d, (t * heads + h + 1) * d);
      const qScale = f(quantize(qi, query, 32767) * sigma);
      const state: State = { m: -Infinity, l: 0, o: new Float32Array(d) };
      for (let i = Math.floor(first / PAGE); i * PAGE < length; i++) {
        const page = pageHead(kv, blocks[seqOf[t] * batch.maxBlocks + i], layer, Math.floor(h / (heads / kvHeads)));
        const lo = Math.max(0, first - i * PAGE);
        const n = Math.min(PAGE, length - i * PAGE);
        if (format !== 'f32') pageI8(state, page, lo, n, qi, qScale);
        else pageF32(state, page, lo, n, query, sigma);
      }
      const inverse = f(1 / state.l);
      for (let k = 0; k < d; k++) y[h * d + k] = f(state.o[k] * inverse);
    }
    storeAct(out, t, y);
  }
}

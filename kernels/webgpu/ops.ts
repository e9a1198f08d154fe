/** The ops: which kernel, which buffers, which numbers. Shapes are checked here, before anything is recorded. */
import type { Act, Backend, Batch, Buf, KvPool, TopkOut, Weight } from '../../engine/backend.ts';
import { EDIT_BYTES } from '../../engine/backend.ts';
import { BLOCK, FORMATS, ROWS, weightBytes } from '../../engine/formats.ts';
import { attentionBytes, convTokenBytes, kvHeadBytes, PAGE } from '../../engine/layout.ts';
import { actViews, type GpuBuf, need } from './buffers.ts';
import { type programs, UNPACK } from './programs.ts';
import { bits, type Recorder } from './recorder.ts';

type Ops = Pick<
  Backend,
  'embed' | 'norm' | 'matmul' | 'ropeStore' | 'attention' | 'shortConv' | 'glu' | 'addNorm' | 'editLogits' | 'topk' | 'copyPages'
>;

const THREADS = 64;
/** A window that no position leaves. */
const ALL = 0x7fffffff;
const TILE = 32; // rows and tokens of matmul-tile
/** From this many tokens on a tile of activations is worth loading. */
const TILE_FROM = 9;
const groups = (n: number): number => Math.ceil(n / THREADS);

/** How many threads share a row's K: as many as there are blocks for, but no more than a grid has room for. */
function slicesOf(parts: number, rowGroups: number): number {
  let slices = 32;
  while (slices > 1 && slices > parts) slices /= 2;
  while (slices > 1 && rowGroups / (32 / slices) > 65_535) slices /= 2;
  return slices;
}

const tokensOf = (T: number): number => (T >= 3 ? 4 : T);

export function createOps(
  rec: Recorder,
  make: ReturnType<typeof programs>,
  alloc: (bytes: number, label: string) => GpuBuf,
  none: GpuBuf,
): Ops {
  let spare: GpuBuf | undefined; // f32 results that are quantized afterwards
  const outOf = (op: string, out: Act, rows: number, K: number) => {
    if (out.rows < rows || out.K !== K) throw new Error(`${op}: output is [${out.rows}, ${out.K}], [${rows}, ${K}] is needed`);
    const buf = need(op, out.data);
    return { buf, meta: out.format === 'i8' ? actViews(out).aboutWord : 0 };
  };

  return {
    embed(x, w, ids, T, scale = 1) {
      const { N: V, K: D } = w;
      const buffers = [need('embed', x, T * D * 4), need('embed', ids, T * 4), need('embed', w.data, weightBytes(w.format, V, D))];
      rec.counts.weights += (T * weightBytes(w.format, V, D)) / V;
      const unpack = UNPACK[w.format];
      rec.dispatch(make.embed(unpack), buffers, [T, D, V, bits(scale)], [groups(unpack === null ? D : D / 4), T]);
    },

    norm(out, x, g, eps, n, D, rows) {
      const { buf, meta } = outOf('norm', out, n, D);
      const buffers = [buf, need('norm', x), need('norm', g, D * 4), rows ? need('norm', rows, n * 4) : none];
      rec.dispatch(make.norm(out.format), buffers, [D, D, meta, rows ? 1 : 0, bits(eps)], [n]);
    },

    matmul(y, x, w: Weight, T, opts = {}) {
      const { N, K, format } = w;
      if (x.K !== K || x.rows < T) throw new Error(`matmul: activations are [${x.rows}, ${x.K}], the weight wants [${T}, ${K}]`);
      if (x.format !== FORMATS[format].act) throw new Error(`matmul: ${x.format} activations and ${format} weights do not go together`);
      const out = need('matmul', y, T * N * 4);
      const weight = need('matmul', w.data, weightBytes(format, N, K));
      const bias = opts.bias ? need('matmul', opts.bias, N * 4) : none;
      const params = [T, N, K, opts.bias ? 1 : 0, opts.accumulate ? 1 : 0];
      const rowGroups = Math.ceil(N / ROWS);
      const vecGrid = (slices: number): [number, number] => [Math.ceil(rowGroups / (32 / slices)), Math.ceil(T / tokensOf(T))];
      const unpack = UNPACK[format];
      if (unpack === null) {
        const slices = slicesOf(K, rowGroups);
        rec.counts.weights += Math.ceil(T / tokensOf(T)) * weightBytes(format, N, K);
        rec.dispatch(make.matmulF32(slices, tokensOf(T)), [out, need('matmul', x.data), weight, bias], params, vecGrid(slices));
        return;
      }
      const { q, about } = actViews(x);
      const buffers = [out, q, about, weight, bias];
      rec.counts.weights += Math.ceil(T / (T >= TILE_FROM ? TILE : tokensOf(T))) * weightBytes(format, N, K);
      if (T >= TILE_FROM) {
        rec.dispatch(make.matmulTile(unpack), buffers, params, [Math.ceil(N / TILE), Math.ceil(T / TILE)]);
      } else {
        const slices = slicesOf(K / BLOCK, rowGroups);
        rec.dispatch(make.matmulVec(unpack, slices, tokensOf(T)), buffers, params, vecGrid(slices));
      }
    },

    ropeStore(q, kv: KvPool, qkv, table, batch: Batch, layer, heads, qkNorm, balance) {
      const { headDim: d, kvHeads: G, format } = kv.shape;
      const { T } = batch;
      if (qkNorm && balance) throw new Error('webgpu: ropeStore takes QK-norm or a balance, not both');
      const buffers = [
        need('ropeStore', q, T * heads * d * 4),
        need('ropeStore', kv.data),
        need('ropeStore', qkv, T * (heads + 2 * G) * d * 4),
        need('ropeStore', table),
        need('ropeStore', batch.pos, T * 4),
        need('ropeStore', batch.slot, T * 4),
        qkNorm ? need('ropeStore', qkNorm.q, d * 4) : none,
        qkNorm ? need('ropeStore', qkNorm.k, d * 4) : balance ? need('ropeStore', balance, 2 * G * d * 4) : none,
      ];
      const sizes = [heads, G, d, layer, kv.pageBytes / 4, kvHeadBytes(kv.shape) / 4];
      const params = [...sizes, qkNorm ? 1 : 0, balance ? 1 : 0, bits(qkNorm?.eps ?? 0)];
      rec.dispatch(make.ropeStore(format), buffers, params, [heads + 2 * G, T]);
    },

    attention(out, q, kv, batch, layer, heads, { scale, window = ALL } = {}) {
      const { headDim: d, kvHeads: G, format } = kv.shape;
      const { T } = batch;
      const K = heads * d;
      const { buf, meta } = outOf('attention', out, T, K);
      const fused = out.format === 'f32' || d % BLOCK === 0;
      if (!fused && (spare?.bytes ?? 0) < out.rows * K * 4) spare = alloc(out.rows * K * 4, 'attention, not quantized');
      const target = fused ? buf : (spare as GpuBuf);
      const buffers = [
        target,
        need('attention', q, T * K * 4),
        need('attention', kv.data),
        need('attention', batch.blocks, batch.S * batch.maxBlocks * 4),
        need('attention', batch.seqOf, T * 4),
        need('attention', batch.pos, T * 4),
      ];
      const sigma = bits(scale ?? 1 / Math.sqrt(d));
      const params = [heads, G, d, layer, kv.pageBytes / 4, kvHeadBytes(kv.shape) / 4, batch.maxBlocks, K, meta, sigma, window];
      rec.dispatch(make.attention(format, fused ? out.format : 'f32'), buffers, params, [heads, T]);
      if (!fused) rec.dispatch(make.quantize(), [buf, target], [K, meta], [groups(K / 4), T]);
    },

    shortConv(out, kv, bcx, taps, batch, layer, L) {
      const { shape, pageBytes } = kv;
      const { T, S, maxBlocks } = batch;
      const D = out.K;
      if (!shape.convs || layer >= shape.convs.layers || shape.convs.width !== D)
        throw new Error(`shortConv: convolution ${layer} of ${D} is not in these pages`);
      const { buf, meta } = outOf('shortConv', out, T, D);
      const tokenBytes = convTokenBytes(shape, D);
      const first = (attentionBytes(shape) + layer * PAGE * tokenBytes) / 4;
      const places = [first, pageBytes / 4, tokenBytes / 4];
      const [pages, x] = [need('shortConv', kv.data), need('shortConv', bcx, T * 3 * D * 4)];
      const grid: [number, number] = [groups(D / 4), T];
      rec.dispatch(make.convStore(shape.format), [pages, x, need('shortConv', batch.slot, T * 4)], [D, ...places], grid);
      const buffers = [
        ...[buf, x, need('shortConv', taps, L * D * 4), pages, need('shortConv', batch.blocks, S * maxBlocks * 4)],
        ...[need('shortConv', batch.seqOf, T * 4), need('shortConv', batch.pos, T * 4)],
      ];
      rec.dispatch(make.shortConv(shape.format, out.format), buffers, [D, D, meta, ...places, maxBlocks, L], grid);
    },

    glu(out, gateUp, T, F, activation) {
      const { buf, meta } = outOf('glu', out, T, F);
      rec.dispatch(make.glu(out.format, activation), [buf, need('glu', gateUp, T * 2 * F * 4)], [F, F, meta], [groups(F / 4), T]);
    },

    addNorm(x, y, g, eps, T, D) {
      const buffers = [need('addNorm', x, T * D * 4), need('addNorm', y, T * D * 4), need('addNorm', g, D * 4)];
      rec.dispatch(make.addNorm(), buffers, [D, bits(eps)], [T]);
    },

    editLogits(logits: Buf, R, V, edits, E, mask) {
      const x = need('editLogits', logits, R * V * 4);
      if (edits && E > 0) rec.dispatch(make.editLogits(), [x, need('editLogits', edits, E * EDIT_BYTES)], [R, V, E], [groups(E)]);
      if (mask) rec.dispatch(make.maskLogits(), [x, need('editLogits', mask, R * Math.ceil(V / 32) * 4)], [R, V], [groups(V), R]);
    },

    topk(out: TopkOut, logits, invTemp, R, V) {
      const { K } = out;
      if (!(K >= 1 && K <= 64)) throw new Error(`topk: K is ${K}, must be in 1..64`);
      const buffers = [need('topk', out.data, R * (2 * K + 2) * 4), need('topk', logits, R * V * 4), need('topk', invTemp, R * 4)];
      rec.dispatch(make.topk(), buffers, [V, K], [R]);
    },

    copyPages(kv, pairs) {
      for (let i = 0; i + 1 < pairs.length; i += 2) {
        const [src, dst] = [pairs[i], pairs[i + 1]];
        if (src >= kv.pages || dst >= kv.pages) throw new Error(`copyPages: ${src} to ${dst} is outside the pool of ${kv.pages} pages`);
        const words = kv.pageBytes / 4;
        rec.dispatch(make.copyPage(), [need('copyPages', kv.data)], [src, dst, words], [groups(words)]);
      }
    },
  };
}

/** Tokens of a page; a shader that counts on 16 must not meet another number. */
if ((PAGE as number) !== 16 || (BLOCK as number) !== 32 || (ROWS as number) !== 8)
  throw new Error('webgpu: the shaders are written for pages of 16, blocks of 32, groups of 8');

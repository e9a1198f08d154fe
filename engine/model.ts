import type { Act, ActFormat, Allocator, Backend, Batch, Buf, KvPool, Weight, WeightFormat } from './backend.ts';
import type { ModelConfig } from './config.ts';
import { FORMATS } from './formats.ts';

export interface LayerWeights {
  attnNorm: Buf; // [D]
  qkv: Weight; // [(H + 2G)·d, D]
  qkvBias?: Buf; // [(H + 2G)·d]
  qNorm?: Buf; // [d]
  kNorm?: Buf; // [d]
  o: Weight; // [D, H·d]
  ffnNorm: Buf; // [D]
  gateUp: Weight; // [2F, D]
  down: Weight; // [D, F]
}

/** A model's tensors on a backend. When the embedding is tied, `head` is `embed`. */
export interface ModelWeights {
  embed: Weight; // [V, D]
  head: Weight; // [V, D]
  norm: Buf; // [D]
  layers: LayerWeights[];
}

/** Activations of one step, allocated once. */
export interface Scratch {
  x: Buf; // [T, D] the residual stream
  qkv: Buf; // [T, (H + 2G)·d]
  q: Buf; // [T, H·d]
  gateUp: Buf; // [T, 2F]
  logits: Buf; // [R, V]
  normed: Acts; // [T, D] for qkv and gateUp, as their format wants it
  attended: Acts; // [T, H·d]
  gated: Acts; // [T, F]
  last: Acts; // [R, D]
}

/** The activations that a weight of each format reads; throws for a format that the scratch was not allocated for. */
export type Acts = (w: Weight) => Act;

/** One activation buffer for each kind of activation (f32, i8) that the given weights read. */
function acts(be: Allocator, formats: WeightFormat[], rows: number, K: number, label: string): Acts {
  const wants = (kind: ActFormat) => formats.some((f) => FORMATS[f].act === kind);
  const made: Record<ActFormat, Act | undefined> = {
    f32: wants('f32') ? be.act('f32', rows, K, `${label}.f32`) : undefined,
    i8: wants('i8') ? be.act('i8', rows, K, `${label}.i8`) : undefined,
  };
  return (w) => {
    const act = made[FORMATS[w.format].act];
    if (!act) throw new Error(`${label}: no activations for ${w.format} weights`);
    return act;
  };
}

export interface Formats {
  qkvAndGateUp: WeightFormat[];
  o: WeightFormat[];
  down: WeightFormat[];
  head: WeightFormat;
}

/** Allocates the activations of a step of at most T tokens with R rows of logits. */
export function allocScratch(be: Allocator, c: ModelConfig, formats: Formats, T: number, R: number): Scratch {
  const { hidden: D, heads: H, kvHeads: G, headDim: d, ffn: F, vocab: V } = c;
  return {
    x: be.alloc(T * D * 4, 'x'),
    qkv: be.alloc(T * (H + 2 * G) * d * 4, 'qkv'),
    q: be.alloc(T * H * d * 4, 'q'),
    gateUp: be.alloc(T * 2 * F * 4, 'gateUp'),
    logits: be.alloc(R * V * 4, 'logits'),
    normed: acts(be, formats.qkvAndGateUp, T, D, 'normed'),
    attended: acts(be, formats.o, T, H * d, 'attended'),
    gated: acts(be, formats.down, T, F, 'gated'),
    last: acts(be, [formats.head], R, D, 'last'),
  };
}

/** The forward pass of a ragged batch: T tokens in, logits [R, V] of the rows that want them. Llama, Qwen2 and Qwen3 by configuration. */
export function forward(be: Backend, c: ModelConfig, w: ModelWeights, table: Buf, kv: KvPool, s: Scratch, batch: Batch): void {
  const { hidden: D, heads: H, ffn: F, normEps: eps } = c;
  const { T, R } = batch;

  be.embed(s.x, w.embed, batch.ids, T); // x [T, D]

  w.layers.forEach((l, i) => {
    const qkNorm = l.qNorm && l.kNorm ? { q: l.qNorm, k: l.kNorm, eps } : undefined;

    const h = s.normed(l.qkv);
    be.norm(h, s.x, l.attnNorm, eps, T, D); // h [T, D]
    be.matmul(s.qkv, h, l.qkv, T, { bias: l.qkvBias }); // [T, (H + 2G)·d]
    be.ropeStore(s.q, kv, s.qkv, table, batch, i, H, qkNorm); // q [T, H·d], keys and values into their pages
    const a = s.attended(l.o);
    be.attention(a, s.q, kv, batch, i, H); // a [T, H·d]
    be.matmul(s.x, a, l.o, T, { accumulate: true }); // x += [T, D]

    const f = s.normed(l.gateUp);
    be.norm(f, s.x, l.ffnNorm, eps, T, D); // f [T, D]
    be.matmul(s.gateUp, f, l.gateUp, T); // [T, 2F]
    const g = s.gated(l.down);
    be.swiglu(g, s.gateUp, T, F); // g [T, F]
    be.matmul(s.x, g, l.down, T, { accumulate: true }); // x += [T, D]
  });

  if (R === 0) return;
  const last = s.last(w.head);
  be.norm(last, s.x, w.norm, eps, R, D, batch.rows); // last [R, D]
  be.matmul(s.logits, last, w.head, R); // logits [R, V]
}

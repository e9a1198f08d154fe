import { LAYER_MATRICES, type Layer, type LayerMatrix, type LayerWeights, type PartWeights } from './anatomy.ts';
import type { Act, ActFormat, Allocator, Backend, Batch, Buf, KvPool, Weight, WeightFormat } from './backend.ts';
import type { ModelConfig } from './config.ts';
import { FORMATS } from './formats.ts';

/** Activations of one step, allocated once. */
export interface Scratch {
  x: Buf; // [T, D] the residual stream
  qkv: Buf; // [T, (H + 2G)·d]
  q: Buf; // [T, H·d]
  bcx?: Buf; // [T, 3D], where layers convolve
  gateUp: Buf; // [T, 2F]
  branch?: Buf; // [T, D], where what attention and feed-forward add is normed
  normed: Acts; // [T, D] for what reads the stream's norm and for convOut, as their format wants it
  attended: Acts; // [T, H·d]
  gated: Acts; // [T, F]
  last: Acts; // [R, D]
  logits?: Buf; // [R, V], where there is a head
}

/** The activations that a weight of each format reads; throws for a format that the scratch was not allocated for. */
export type Acts = (w: Weight) => Act;

/** One activation buffer for each kind of activation (f32, i8) that the given weights read. */
function acts(be: Allocator, formats: readonly WeightFormat[], rows: number, K: number, label: string): Acts {
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

/** Formats that a model's weights have, by the matrix that reads the activations. */
export type Formats = Record<LayerMatrix | 'head', readonly WeightFormat[]>;

/** Formats that the activations of a model, or of a part of it, must serve. */
export function formatsOf(w: PartWeights): Formats {
  const of = (matrix: LayerMatrix) => [...new Set(w.layers.flatMap((l) => l[matrix]?.format ?? []))];
  const layers = Object.fromEntries(LAYER_MATRICES.map((m) => [m, of(m)])) as Record<LayerMatrix, WeightFormat[]>;
  return { ...layers, head: w.head ? [w.head.format] : [] };
}

/** Allocates the activations of a step of at most T tokens with R rows of `V` logits (0: no head); where there are no layers, none of theirs. */
export function allocScratch(be: Allocator, c: ModelConfig, formats: Formats, T: number, R: number, V = c.vocab): Scratch {
  const { hidden: D, heads: H, kvHeads: G, headDim: d, ffn: F } = c;
  const L = formats.gateUp.length > 0 ? T : 0; // tokens that go through layers
  const C = formats.convIn.length > 0 ? T : 0; // that go through convolutions
  return {
    x: be.alloc(T * D * 4, 'x'),
    qkv: be.alloc(L * (H + 2 * G) * d * 4, 'qkv'),
    q: be.alloc(L * H * d * 4, 'q'),
    ...(C > 0 && { bcx: be.alloc(C * 3 * D * 4, 'bcx') }),
    gateUp: be.alloc(L * 2 * F * 4, 'gateUp'),
    ...(c.postNorms && { branch: be.alloc(L * D * 4, 'branch') }),
    ...(V > 0 && { logits: be.alloc(R * V * 4, 'logits') }),
    normed: acts(be, [...formats.qkv, ...formats.convIn, ...formats.convOut, ...formats.gateUp], T, D, 'normed'),
    attended: acts(be, formats.o, T, H * d, 'attended'),
    gated: acts(be, formats.down, T, F, 'gated'),
    last: acts(be, formats.head, R, D, 'last'),
  };
}

/** A model ready to run, or some layers of it: weights and pages of layers [first, first + weights.layers.length). */
export interface Model {
  readonly config: ModelConfig;
  readonly layers: readonly Layer[];
  readonly weights: PartWeights;
  readonly first: number;
  /** A table of cosines and sines for each of the model's rotations. */
  readonly tables: readonly Buf[];
  /** Pages, of all layers or of those without a window. */
  readonly kv: KvPool;
  /** Of layers that slide, where they have a pool of their own. */
  readonly slid?: KvPool;
}

/** Sees what each matrix of a layer (or the head, then `layer` is their number) is about to read: `rows` rows of it. */
export type Tap = (matrix: LayerMatrix | 'head', layer: number, input: Act, rows: number) => void;

/**
 * The forward pass of a ragged batch through layers [from, to): T tokens in when from = 0, otherwise what `x` holds; after the last layer
 * logits [R, V] of the rows that want them. Every family by configuration.
 */
export function forward(be: Backend, m: Model, s: Scratch, batch: Batch, from = 0, to = m.config.layers, tap?: Tap): void {
  if (from === 0) embed(be, m, s, batch.ids, batch.T);
  through(be, m, s, batch, from, to, tap);
  if (to === m.config.layers && batch.R > 0) head(be, m, s, batch.R, batch.rows, tap);
}

/** x [T, D]: rows `ids` of the embedding. */
export function embed(be: Backend, m: Model, s: Scratch, ids: Buf, T: number): void {
  if (!m.weights.embed) throw new Error('the embedding is not here');
  be.embed(s.x, m.weights.embed, ids, T, m.config.embedScale);
}

/** x [T, D] through layers [from, to). */
export function through(be: Backend, m: Model, s: Scratch, batch: Batch, from: number, to: number, tap?: Tap): void {
  const { hidden: D, ffn: F, normEps: eps } = m.config;
  const { T } = batch;

  for (let i = from; i < to; i++) {
    const l = m.weights.layers[i - m.first];
    const on: Turn = { be, m, s, batch, i, l, tap };
    if (m.layers[i].conv) convolve(on);
    else attend(on);

    const f = s.normed(l.gateUp);
    be.norm(f, s.x, l.ffnNorm, eps, T, D); // f [T, D]
    project(on, s.gateUp, f, 'gateUp'); // [T, 2F]
    const g = s.gated(l.down);
    be.glu(g, s.gateUp, T, F, m.layers[i].activation); // g [T, F]
    add(on, g, 'down', l.ffnPostNorm); // x += [T, D]
  }
}

/** A batch in layer i. */
interface Turn {
  be: Backend;
  m: Model;
  s: Scratch;
  batch: Batch;
  i: number;
  l: LayerWeights;
  tap?: Tap;
}

/** x += attention of a layer. */
function attend(on: Turn): void {
  const { be, m, s, batch, i, l } = on;
  const { hidden: D, heads: H, normEps: eps } = m.config;
  const { qkv, o, qNorm, kNorm } = l;
  const { rope, attention } = m.layers[i];
  const { T } = batch;
  if (!qkv || !o) throw new Error(`layer ${i} has nothing to attend with`);
  const { kv, in: pages, at } = inPages(m, batch, i);
  const h = s.normed(qkv);
  be.norm(h, s.x, l.attnNorm, eps, T, D); // h [T, D]
  project(on, s.qkv, h, 'qkv', { bias: l.qkvBias }); // [T, (H + 2G)·d]
  const balance = m.kv.shape.format === 'f32' ? undefined : l.keyBalance;
  const qkNorm = qNorm && kNorm ? { q: qNorm, k: kNorm, eps } : undefined;
  be.ropeStore(s.q, kv, s.qkv, m.tables[rope], pages, at, H, qkNorm, balance); // q [T, H·d], keys and values into their pages
  const a = s.attended(o);
  be.attention(a, s.q, kv, pages, at, H, attention); // a [T, H·d]
  add(on, a, 'o', l.attnPostNorm); // x += [T, D]
}

/** x += gated short convolution of a layer. */
function convolve(on: Turn): void {
  const { be, m, s, batch, i, l } = on;
  const { hidden: D, normEps: eps, convTaps = 0 } = m.config;
  const { convIn, convTaps: taps, convOut } = l;
  const { T } = batch;
  if (!convIn || !taps || !convOut || !s.bcx || !be.shortConv) throw new Error(`layer ${i} has nothing to convolve with`);
  const h = s.normed(convIn);
  be.norm(h, s.x, l.attnNorm, eps, T, D); // h [T, D]
  project(on, s.bcx, h, 'convIn'); // [T, 3D]
  const y = s.normed(convOut);
  be.shortConv(y, m.kv, s.bcx, taps, batch, inPages(m, batch, i).at, convTaps); // y [T, D], what is convolved into its pages
  add(on, y, 'convOut', l.attnPostNorm); // x += [T, D]
}

/** y [T, N] = x · wᵀ with a matrix of the layer, and for tokens that have an adapter what that adds. */
function project({ be, batch, i, l, tap }: Turn, y: Buf, x: Act, matrix: LayerMatrix, opts?: { bias?: Buf; accumulate?: boolean }): void {
  const w = l[matrix];
  if (!w) throw new Error(`layer ${i} has no ${matrix}`);
  tap?.(matrix, i, x, batch.T);
  be.matmul(y, x, w, batch.T, opts);
  for (const { from, to, adapter } of batch.adapted ?? []) {
    for (const piece of adapter.layers[i][matrix] ?? []) be.addLowRank?.(y, w.N, x, piece, from, to);
  }
}

/** x += what a branch ends with, or its norm where the layer has one for it. */
function add(on: Turn, a: Act, matrix: LayerMatrix, norm: Buf | undefined): void {
  const { be, m, s, batch } = on;
  if (norm && s.branch) {
    project(on, s.branch, a, matrix);
    be.addNorm(s.x, s.branch, norm, m.config.normEps, batch.T, m.config.hidden);
  } else project(on, s.x, a, matrix, { accumulate: true });
}

/** The pool that layer i is in, the batch with numbers of that pool, and which of the pool's layers of its kind it is. */
function inPages(m: Model, batch: Batch, i: number): { kv: KvPool; in: Batch; at: number } {
  const slides = ({ attention }: Layer) => m.slid !== undefined && attention.window !== undefined;
  const layer = m.layers[i];
  let at = 0;
  for (let k = m.first; k < i; k++) if (m.layers[k].conv === layer.conv && slides(m.layers[k]) === slides(layer)) at++;
  if (!m.slid || !slides(layer)) return { kv: m.kv, in: batch, at };
  if (!batch.slid) throw new Error(`layer ${i} slides, and the batch does not say where its pages are`);
  return { kv: m.slid, in: batch.slid, at };
}

/** Logits [R, V] of `rows` of x, of its first R rows unless given. */
export function head(be: Backend, m: Model, s: Scratch, R: number, rows?: Buf, tap?: Tap): void {
  const { head: w, norm } = m.weights;
  if (!w || !norm) throw new Error('the head is not here');
  const last = s.last(w);
  be.norm(last, s.x, norm, m.config.normEps, R, m.config.hidden, rows); // last [R, D]
  tap?.('head', m.config.layers, last, R);
  if (s.logits) be.matmul(s.logits, last, w, R); // logits [R, V]
}

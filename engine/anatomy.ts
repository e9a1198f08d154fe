/**
 * A model written down once: which tensors there are, what each layer does beside them. Names, shapes, allocation, readers' targets, counts of
 * parameters and random weights are derived from it.
 */
import type { Activation, Allocator, AttentionOptions, Buf, Weight, WeightFormat } from './backend.ts';
import type { LayerKind, ModelConfig, RopeScaling } from './config.ts';
import { PLAIN, ROWS, weightBytes } from './formats.ts';

/** [N] for a vector, [N, K] for a matrix, row-major before packing. */
export type Shape = readonly [number] | readonly [number, number];
type Size = (c: ModelConfig) => number;

const D: Size = (c) => c.hidden;
const d: Size = (c) => c.headDim;
const V: Size = (c) => c.vocab;
const F: Size = (c) => c.ffn;
const F2: Size = (c) => 2 * c.ffn;
const Q: Size = (c) => c.heads * c.headDim;
const QKV: Size = (c) => (c.heads + 2 * c.kvHeads) * c.headDim;
const BCX: Size = (c) => 3 * c.hidden;
const TAPS: Size = (c) => (c.convTaps ?? 0) * c.hidden;

const vector = (n: Size) => ({ kind: 'vector', shape: (c: ModelConfig): Shape => [n(c)] }) as const;
const KV: Size = (c) => c.kvHeads * c.headDim;
const matrix = (n: Size, k: Size) => ({ kind: 'matrix', shape: (c: ModelConfig): Shape => [n(c), k(c)] }) as const;
/** A tensor whose rows files keep as several, one after the other here. */
const joined = <T extends object>(parts: Size[], tensor: T) => ({ ...tensor, parts });
/** A tensor that only some models have. */
const when = <T extends object>(has: (c: ModelConfig, kind: LayerKind) => boolean, tensor: T) => ({ ...tensor, when: has });
const attends = (_: ModelConfig, kind: LayerKind) => kind !== 'conv';
const convolves = (_: ModelConfig, kind: LayerKind) => kind === 'conv';

/** Tensors of the whole model. */
const MODEL = {
  embed: matrix(V, D),
  norm: vector(D),
  head: when((c) => !c.tied, matrix(V, D)), // a tied head reads the embedding
} as const;

/** Tensors of each layer, in loading order. */
const LAYER = {
  attnNorm: vector(D), // before attention or convolution
  qkv: when(attends, joined([Q, KV, KV], matrix(QKV, D))), // rows of q, then k, then v; rotate-half order
  qkvBias: when((c, kind) => c.qkvBias && kind !== 'conv', joined([Q, KV, KV], vector(QKV))),
  qNorm: when((c, kind) => c.qkNorm && kind !== 'conv', vector(d)),
  kNorm: when((c, kind) => c.qkNorm && kind !== 'conv', vector(d)),
  o: when(attends, matrix(D, Q)),
  convIn: when(convolves, matrix(BCX, D)), // rows of b, then c, then x
  convTaps: when(convolves, vector(TAPS)), // [L, D]
  convOut: when(convolves, matrix(D, D)),
  attnPostNorm: when((c) => c.postNorms === true, vector(D)),
  ffnNorm: vector(D),
  gateUp: joined([F, F], matrix(F2, D)), // rows of gate, then up
  down: matrix(D, F),
  ffnPostNorm: when((c) => c.postNorms === true, vector(D)),
} as const;

type Row = {
  readonly kind: 'vector' | 'matrix';
  shape(c: ModelConfig): Shape;
  parts?: readonly Size[];
  when?(c: ModelConfig, kind: LayerKind): boolean;
};
type Held<R> = R extends { kind: 'matrix' } ? Weight : Buf;
type Held1<T> = { readonly [K in keyof T as T[K] extends { when: unknown } ? never : K]: Held<T[K]> } & {
  readonly [K in keyof T as T[K] extends { when: unknown } ? K : never]?: Held<T[K]>;
};

/** A layer's tensors on a backend. */
export type LayerWeights = Held1<typeof LAYER> & {
  /** f32 [2, G·d], where keys have a bias and no norm after it: what `balanceKeys` (balance.ts) makes of it once the weights are loaded. */
  readonly keyBalance?: Buf;
  /** Whether `balanceKeys` was there; int8 pages want it. */
  balanced?: boolean;
};
/** A model's tensors on a backend. When the embedding is tied, `head` is `embed`. */
export type ModelWeights = Omit<Held1<typeof MODEL>, 'head'> & { readonly head: Weight; readonly layers: readonly LayerWeights[] };
/** What a part of a model has of them. */
export type PartWeights = Pick<ModelWeights, 'layers'> & Partial<Omit<ModelWeights, 'layers'>>;

/** Half open. */
export type Range = readonly [from: number, to: number];
/** What of a model is in one place: layers, rows of the embedding, rows of the head (with the last norm). In a tied model both rows are the same. */
export interface Part {
  readonly layers: Range;
  readonly embed?: Range;
  readonly head?: Range;
}
/** All of a model. */
export const whole = (c: ModelConfig): Part => ({ layers: [0, c.layers], embed: [0, c.vocab], head: [0, c.vocab] });

export type ModelTensorName = keyof typeof MODEL;
export type LayerTensorName = keyof typeof LAYER;
/** What a reader must know of: the names without their layer. */
export type TensorKind = ModelTensorName | LayerTensorName;
export type LayerMatrix = { [K in LayerTensorName]: (typeof LAYER)[K] extends { kind: 'matrix' } ? K : never }[LayerTensorName];
/** The matrices of a layer, in the order in which it uses them. */
export const LAYER_MATRICES = (Object.keys(LAYER) as LayerTensorName[]).filter((k): k is LayerMatrix => LAYER[k].kind === 'matrix');

/** A tensor under the name that every reader, pack and backend uses. */
export interface TensorShape {
  name: string;
  kind: TensorKind;
  /** Layer it belongs to, −1 for the model's own. */
  layer: number;
  shape: Shape;
  /** Rows of each of the tensors that files keep it as. */
  parts: readonly number[];
}

/** 'layers.3.qkv'. */
export const layerTensor = (l: number, kind: LayerTensorName): string => `layers.${l}.${kind}`;

/** Every tensor a model of this configuration must have, in loading order. */
export function tensorList(c: ModelConfig): TensorShape[] {
  const kinds = kindsOf(c);
  const rows = (table: Readonly<Record<string, Row>>, layer: number, name: (kind: string) => string): TensorShape[] =>
    Object.entries(table)
      .filter(([, row]) => row.when?.(c, kinds[layer] ?? 'full') ?? true)
      .map(([kind, row]) => {
        const shape = row.shape(c);
        return { name: name(kind), kind: kind as TensorKind, layer, shape, parts: row.parts?.map((n) => n(c)) ?? [shape[0]] };
      });
  const [embed, ...rest] = rows(MODEL, -1, (kind) => kind);
  const layers = Array.from({ length: c.layers }, (_, l) => rows(LAYER, l, (kind) => layerTensor(l, kind as LayerTensorName)));
  return [embed, ...layers.flat(), ...rest];
}

export const isVector = (shape: Shape): shape is readonly [number] => shape.length === 1;

/** Numbers in all tensors. */
export const parameters = (c: ModelConfig): number => tensorList(c).reduce((n, { shape: [N, K = 1] }) => n + N * K, 0);

/** Memory of every tensor. */
export interface WeightMemory {
  weights: ModelWeights;
  /** By name, of every tensor in the configuration's list. */
  buffers: ReadonlyMap<string, Buf>;
}

/**
 * Allocates every tensor of a model on a backend (or only counts it), in loading order, and names them as the engine wants them. `bytes` is
 * what a matrix takes; kernel layout unless given.
 */
export function allocWeights(
  memory: Allocator,
  config: ModelConfig,
  formatOf: (t: TensorShape) => WeightFormat,
  bytes?: (format: WeightFormat, N: number, K: number) => number,
): WeightMemory {
  return allocPart(memory, config, whole(config), formatOf, bytes) as WeightMemory;
}

/** Rows of a tensor that a part holds, whole groups of them; undefined: none. */
export function rowsOf({ kind, layer, shape: [N] }: TensorShape, c: ModelConfig, part: Part): Range | undefined {
  if (layer >= 0) return layer >= part.layers[0] && layer < part.layers[1] ? [0, N] : undefined;
  if (kind === 'norm') return part.head && [0, N];
  return kind === 'head' ? part.head : (part.embed ?? (c.tied ? part.head : undefined));
}

/** The same for a part of a model; rows of embedding and head that are not all of them are matrices of their own. Throws when the part is none. */
export function allocPart(
  memory: Allocator,
  config: ModelConfig,
  part: Part,
  formatOf: (t: TensorShape) => WeightFormat,
  bytes: (format: WeightFormat, N: number, K: number) => number = weightBytes,
): { weights: PartWeights; buffers: ReadonlyMap<string, Buf> } {
  checkPart(config, part);
  const buffers = new Map<string, Buf>();
  const [first, end] = part.layers;
  const layers = Array.from({ length: end - first }, (): Record<string, Weight | Buf> => ({}));
  const model: Record<string, Weight | Buf> = {};
  for (const t of tensorList(config)) {
    const rows = rowsOf(t, config, part);
    if (!rows) continue;
    const [N, K] = [rows[1] - rows[0], t.shape[1]];
    const format = K === undefined ? PLAIN : formatOf(t);
    const data = memory.alloc(K === undefined ? N * 4 : bytes(format, N, K), t.name);
    buffers.set(t.name, data);
    const layer = t.layer < 0 ? undefined : layers[t.layer - first];
    (layer ?? model)[t.kind] = K === undefined ? data : { format, N, K, data };
    if (layer && t.kind === 'qkvBias' && !config.qkNorm) layer.keyBalance = memory.alloc(2 * KV(config) * 4, `${t.name}.balance`);
  }
  const { norm, embed, head = embed } = model;
  return { weights: { norm, embed: part.embed && embed, head: part.head && head, layers } as unknown as PartWeights, buffers };
}

function checkPart(c: ModelConfig, { layers, embed, head }: Part): void {
  const check = (what: string, [from, to]: Range, most: number, unit: number) => {
    const ok = Number.isSafeInteger(from) && Number.isSafeInteger(to) && from >= 0 && from <= to && to <= most;
    if (!ok) throw new RangeError(`${what} [${from}, ${to}) are not within [0, ${most})`);
    if (from % unit !== 0 || (to % unit !== 0 && to !== most))
      throw new RangeError(`${what} [${from}, ${to}) are not whole groups of ${unit}`);
  };
  check('layers', layers, c.layers, 1);
  if (embed) check('rows of the embedding', embed, c.vocab, ROWS);
  if (head) check('rows of the head', head, c.vocab, ROWS);
  if (c.tied && embed && head && (embed[0] !== head[0] || embed[1] !== head[1]))
    throw new RangeError('a tied embedding and head are the same rows');
}

/** How queries and keys are turned by their positions. */
export interface Rope {
  /** 0: not at all. */
  readonly theta: number;
  readonly scaling?: RopeScaling;
}

/** What a layer does, beside its weights. */
export interface Layer {
  /** Whether it convolves, and does not attend. */
  readonly conv: boolean;
  /** Which of the model's rotations. */
  readonly rope: number;
  readonly attention: AttentionOptions;
  readonly activation: Activation;
}

/** How each kind of layer turns queries and keys. */
const ROPES: Record<Exclude<LayerKind, 'conv'>, (c: ModelConfig) => Rope> = {
  full: (c) => ({ theta: c.ropeTheta, scaling: c.ropeScaling }),
  sliding: (c) => (c.slidingTheta === undefined ? ROPES.full(c) : { theta: c.slidingTheta }),
  nope: () => ({ theta: 0 }),
};

const kindsOf = (c: ModelConfig): readonly LayerKind[] => c.layerKinds ?? new Array<LayerKind>(c.layers).fill('full');
/** The kinds of attention there are, in the order of their first layers. */
const distinct = (c: ModelConfig) => [...new Set(kindsOf(c).filter((k) => k !== 'conv'))];

/** How many of layers [from, to) attend, and how many convolve. */
export function countKinds(c: ModelConfig, from: number, to: number): { attend: number; convolve: number } {
  const convolve = kindsOf(c)
    .slice(from, to)
    .filter((k) => k === 'conv').length;
  return { attend: to - from - convolve, convolve };
}

/** Of each of layers [from, to) that attends, whether it has a window. */
export const slidesOf = (c: ModelConfig, [from, to]: Range = [0, c.layers]): boolean[] =>
  kindsOf(c)
    .slice(from, to)
    .filter((k) => k !== 'conv')
    .map((k) => k === 'sliding');

/** The rotations that a model's layers use. */
export const ropesOf = (c: ModelConfig): Rope[] => distinct(c).map((kind) => ROPES[kind](c));

/** Every layer of a model. */
export function layersOf(c: ModelConfig): Layer[] {
  const kinds = distinct(c);
  const activation = c.activation ?? 'silu';
  const scale = c.attentionScale !== undefined && { scale: c.attentionScale };
  const conv: Layer = { conv: true, rope: 0, attention: {}, activation };
  const made = kinds.map(
    (kind, rope): Layer => ({ conv: false, rope, attention: { ...scale, ...(kind === 'sliding' && { window: c.window }) }, activation }),
  );
  return kindsOf(c).map((kind) => (kind === 'conv' ? conv : made[kinds.indexOf(kind)]));
}

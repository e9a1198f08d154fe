import { sha256 } from '@noble/hashes/sha2.js';
import { balanceLayer } from '../../engine/balance.ts';
import { BLOCK, fits, PLAIN, packWeight, ROWS, rowGroupBytes } from '../../engine/formats.ts';
import {
  type AdapterFinder,
  type AdapterPiece,
  allocPart,
  type Backend,
  Engine,
  formatsOf,
  type Hash,
  type KvFormat,
  layersOf,
  type ModelConfig,
  type ModelWeights,
  type Part,
  type PartWeights,
  planMemory,
  ropesOf,
  rowsOf,
  Stage,
  StagedRunner,
  type StagePort,
  type TensorShape,
  tensorList,
  type WeightFormat,
  whole,
} from '../../engine/index.ts';
import { f32ToF16 } from '../../engine/math.ts';
import { emptyPlanes, PLANES, type PlaneFormat, type PlaneName } from '../../engine/planes.ts';
import { philox } from '../../engine/random.ts';

/** A llama small enough for the reference, big enough for GQA, several layers and pages. */
export const tiny: ModelConfig = {
  family: 'llama',
  vocab: 199,
  hidden: 64,
  layers: 2,
  heads: 4,
  kvHeads: 2,
  headDim: 16,
  ffn: 96,
  context: 1024,
  normEps: 1e-5,
  ropeTheta: 10_000,
  tied: true,
  qkvBias: false,
  qkNorm: false,
};

/** Seeded numbers in [-1, 1). */
export function noise(seed: number): () => number {
  let i = 0;
  return () => philox([seed, 0], [i++, 0, 0, 0])[0] / 2147483648 - 1;
}

/** Bytes of a matrix [N, K] with values of variance 1/K. */
const matrices: Record<WeightFormat, (N: number, K: number, next: () => number) => Uint8Array> = {
  f32(N, K, next) {
    const scale = Math.sqrt(3 / K);
    const values = Float32Array.from({ length: N * K }, () => next() * scale);
    return packWeight('f32', N, K, values);
  },
  w8: (N, K, next) => packWeight('w8', N, K, blocks(N, K, 127, 127, next)),
  w4: (N, K, next) => packWeight('w4', N, K, blocks(N, K, 8, 0, next)),
  q4_1: planes('q4_1'),
  q5_0: planes('q5_0'),
  q5_1: planes('q5_1'),
  iq4_nl: planes('iq4_nl'),
  mxfp4: planes('mxfp4'),
  q2_k: planes('q2_k'),
  q3_k: planes('q3_k'),
  q4_k: planes('q4_k'),
  q5_k: planes('q5_k'),
  q6_k: planes('q6_k'),
  iq4_xs: planes('iq4_xs'),
  any_k: planes('any_k'),
};

/** Uniform integers; integer scales and minima near 16; minima that centre the values. */
function planes(name: PlaneName): (N: number, K: number, next: () => number) => Uint8Array {
  const f: PlaneFormat = PLANES[name];
  return (N, K, next) => {
    const parts = emptyPlanes(f, N, K);
    const levels = 2 ** f.q.reduce((a, b) => a + b, 0);
    const between = (n: number) => Math.floor(((next() + 1) / 2) * n);
    parts.q.forEach((_, i) => {
      parts.q[i] = between(levels);
    });
    const deviation = f.table ? Math.sqrt(f.table.reduce((sum, v) => sum + v * v, 0) / 16) : levels / Math.sqrt(12);
    const integer = f.scales.length ? 14 : 1;
    parts.scales.forEach((_, i) => {
      parts.scales[i] = f.scaleZero + 13 + between(3);
    });
    parts.minima.fill(14);
    const step = () => ((1 + 0.3 * next()) / Math.sqrt(K) / deviation) * (1 / integer);
    parts.d.forEach((_, i) => {
      const d = step();
      parts.d[i] = f.scale === 'f16' ? f32ToF16(d) : 128 + Math.round(Math.log2(d));
      if (f.minimum) parts.m[i] = f32ToF16((-f.minimum * d * (levels - 1)) / 2);
    });
    return packWeight(name, N, K, parts);
  };
}

function blocks(N: number, K: number, wide: number, from: number, next: () => number) {
  const q = Int8Array.from({ length: N * K }, () => Math.floor(((next() + 1) / 2) * 2 * wide) - from);
  const d = Uint16Array.from({ length: (N * K) / BLOCK }, () => f32ToF16((Math.sqrt(3 / K) / wide) * (1 + 0.3 * next())));
  return { q, d };
}

/** Seeded weights of a configuration, on a backend: norms near 1 but for keys', biases near 0, matrices in `format` where they can be. */
export const randomWeights = (be: Backend, c: ModelConfig, format: WeightFormat, seed = 1): ModelWeights =>
  randomPart(be, c, whole(c), format, seed) as ModelWeights;

/** Of the last models that were asked for: a test makes the same one on many backends. */
const made = new Map<string, ReadonlyMap<string, Uint8Array>>();
const KEPT = 6;

const formatFor =
  (format: WeightFormat) =>
  ({ shape: [, K = 1] }: TensorShape): WeightFormat =>
    fits(format, K) ? format : PLAIN;

/** Packed bytes by the tensor's name. */
function tensorBytes(c: ModelConfig, format: WeightFormat, seed: number): ReadonlyMap<string, Uint8Array> {
  const key = JSON.stringify([c, format, seed]);
  const known = made.get(key);
  if (known) return known;
  const next = noise(seed);
  const all = new Map<string, Uint8Array>();
  for (const t of tensorList(c)) {
    const [N, K] = t.shape;
    // gains of keys are far apart, as in Gemma 3
    const one = (_: unknown, i: number) =>
      t.kind === 'qkvBias' ? 0.1 * next() : (1 + 0.2 * next()) * (t.kind === 'kNorm' && i % 7 === 0 ? 9 : 1);
    const vector = () => new Uint8Array(Float32Array.from({ length: N }, one).buffer);
    all.set(t.name, K === undefined ? vector() : matrices[formatFor(format)(t)](N, K, next));
  }
  made.set(key, all);
  if (made.size > KEPT) made.delete(made.keys().next().value as string);
  return all;
}

/** What a part of the model has of them. */
export function randomPart(be: Backend, c: ModelConfig, part: Part, format: WeightFormat, seed = 1): PartWeights {
  const formatOf = formatFor(format);
  const { weights, buffers } = allocPart(be, c, part, formatOf);
  const vectors = weights.layers.map((): Partial<Record<TensorShape['kind'], Float32Array>> => ({}));
  const all = tensorBytes(c, format, seed);
  for (const t of tensorList(c)) {
    const K = t.shape[1];
    const bytes = all.get(t.name)!;
    const rows = rowsOf(t, c, part);
    if (!rows) continue;
    const from = K === undefined ? 0 : (rows[0] / ROWS) * rowGroupBytes(formatOf(t), K);
    const buf = buffers.get(t.name)!;
    be.write(buf, bytes.subarray(from, from + buf.bytes));
    if (t.layer >= 0 && K === undefined) vectors[t.layer - part.layers[0]][t.kind] = new Float32Array(bytes.slice().buffer);
  }
  const [Q, K] = [c.heads * c.headDim, c.kvHeads * c.headDim];
  vectors.forEach(({ qkvBias, qNorm, kNorm }, i) => {
    const rope = ropesOf(c)[layersOf(c)[part.layers[0] + i].rope];
    balanceLayer(be, c, weights.layers[i], rope, { bias: qkvBias?.subarray(Q, Q + K), qNorm, kNorm });
  });
  return weights;
}

export interface TestEngineOptions {
  config?: ModelConfig;
  format?: WeightFormat;
  kv?: KvFormat;
  pages?: number;
  maxTokens?: number;
  maxSequences?: number;
  rowCost?: number;
  hash?: Hash;
  /** Bytes for adapters. */
  adapterBytes?: number;
  /** Whether layers that slide keep their part of all pages, where they need not. */
  allParts?: boolean;
  /** In stages, each on a backend of its own that `create` makes; `port`: what the engine gets in a stage's place. */
  parts?: { stages: readonly Part[]; create: () => Backend; port?: (stage: Stage) => StagePort; find?: AdapterFinder };
}

export function testEngine(be: Backend, o: TestEngineOptions = {}): Engine {
  const config = o.config ?? tiny;
  const weights = randomWeights(be, config, o.format ?? 'w4');
  const planned = planMemory({
    config,
    formats: formatsOf(weights),
    kv: o.kv ?? 'i8',
    weightBytes: 0,
    memoryBytes: 1 << 30,
    jsBytes: 0,
    measure: () => 0,
    pages: o.pages ?? 256,
    maxTokens: o.maxTokens ?? 64,
    maxSequences: o.maxSequences ?? 16,
    adapterBytes: o.adapterBytes,
  });
  const plan = o.allParts ? { ...planned, windowPages: undefined } : planned;
  const { stages, create, port = (s: Stage) => s, find }: Partial<NonNullable<TestEngineOptions['parts']>> = o.parts ?? {};
  const ports = stages?.map((part) => {
    const backend = create!();
    const held = randomPart(backend, config, part, o.format ?? 'w4');
    return port(new Stage({ backend, config, part, weights: held, size: plan, kv: plan.kv, pages: plan.pages, find }));
  });
  const staged =
    ports &&
    new StagedRunner({
      backend: be,
      config,
      stages: ports,
      kv: plan.kv,
      pages: plan.pages,
      windowPages: plan.windowPages,
      maxRows: plan.maxRows,
      adapters: plan.adapters,
    });
  return new Engine({ backend: be, config, weights: staged ?? weights, plan, hash: o.hash ?? sha256, pack: 'random', rowCost: o.rowCost });
}

/** A random adapter of every matrix of every layer: its pieces, and their bytes. Queries, keys and values have factors of their own. */
export function randomAdapter(c: ModelConfig, rank: number, seed: number): { pieces: AdapterPiece[]; read: (i: number) => Uint8Array } {
  const next = noise(seed);
  const pieces: AdapterPiece[] = tensorList(c)
    .filter(({ layer, shape }) => layer >= 0 && shape.length === 2)
    .flatMap(({ kind, layer, shape: [, K], parts }) => {
      let row = 0;
      return parts.map((N) => ({ layer, matrix: kind as AdapterPiece['matrix'], row: (row += N) - N, rank, N, K: K as number }));
    });
  const data = pieces.map(({ N, K }) =>
    Float32Array.from({ length: rank * (N + K) }, (_, i) => next() * (i < rank * K ? 1 / Math.sqrt(K) : 0.5)),
  );
  return { pieces, read: (i) => new Uint8Array(data[i].buffer) };
}

/** Tokens of every finished request. */
export async function drain(engine: Engine, into = new Map<string, number[]>(), budget?: number): Promise<Map<string, number[]>> {
  while (engine.busy) {
    for (const e of await engine.step(budget)) into.set(e.request, [...(into.get(e.request) ?? []), ...e.tokens.map((t) => t.id)]);
  }
  return into;
}

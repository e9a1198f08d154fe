import { sha256 } from '@noble/hashes/sha2.js';
import { keyBalance } from '../../engine/balance.ts';
import { BLOCK, fits, PLAIN, packWeight } from '../../engine/formats.ts';
import {
  allocWeights,
  type Backend,
  Engine,
  formatsOf,
  type Hash,
  type KvFormat,
  type ModelConfig,
  type ModelWeights,
  planMemory,
  ropesOf,
  type TensorShape,
  tensorList,
  type WeightFormat,
} from '../../engine/index.ts';
import { f32ToF16 } from '../../engine/math.ts';
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
};

function blocks(N: number, K: number, wide: number, from: number, next: () => number) {
  const q = Int8Array.from({ length: N * K }, () => Math.floor(((next() + 1) / 2) * 2 * wide) - from);
  const d = Uint16Array.from({ length: (N * K) / BLOCK }, () => f32ToF16((Math.sqrt(3 / K) / wide) * (1 + 0.3 * next())));
  return { q, d };
}

/** Seeded weights of a configuration, on a backend: norms near 1, biases near 0, matrices in `format` where they can be. */
export function randomWeights(be: Backend, c: ModelConfig, format: WeightFormat, seed = 1): ModelWeights {
  const next = noise(seed);
  const formatOf = ({ shape: [, K = 1] }: TensorShape) => (fits(format, K) ? format : PLAIN);
  const { weights, buffers } = allocWeights(be, c, formatOf);
  for (const t of tensorList(c)) {
    const [N, K] = t.shape;
    const vector = () =>
      new Uint8Array(Float32Array.from({ length: N }, () => (t.kind === 'qkvBias' ? 0.1 * next() : 1 + 0.2 * next())).buffer);
    const bytes = K === undefined ? vector() : matrices[formatOf(t)](N, K, next);
    be.write(buffers.get(t.name)!, bytes);
    const balance = t.kind === 'qkvBias' ? weights.layers[t.layer].keyBalance : undefined;
    if (balance) {
      const keys = new Float32Array(bytes.buffer).subarray(t.parts[0], t.parts[0] + t.parts[1]);
      be.write(balance, new Uint8Array(keyBalance(keys, ropesOf(c)[0], c.headDim, c.context).buffer));
    }
  }
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
}

export function testEngine(be: Backend, o: TestEngineOptions = {}): Engine {
  const config = o.config ?? tiny;
  const weights = randomWeights(be, config, o.format ?? 'w4');
  const plan = planMemory({
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
  });
  return new Engine({ backend: be, config, weights, plan, hash: o.hash ?? sha256, pack: 'random', rowCost: o.rowCost });
}

/** Tokens of every finished request. */
export async function drain(engine: Engine, into = new Map<string, number[]>(), budget?: number): Promise<Map<string, number[]>> {
  while (engine.busy) {
    for (const e of await engine.step(budget)) into.set(e.request, [...(into.get(e.request) ?? []), ...e.tokens.map((t) => t.id)]);
  }
  return into;
}

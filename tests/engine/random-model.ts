import { sha256 } from '@noble/hashes/sha2.js';
import { packWeight, weightBytes } from '../../engine/formats.ts';
import {
  type Backend,
  Engine,
  formatsOf,
  type Hash,
  type KvFormat,
  type ModelConfig,
  type ModelWeights,
  planMemory,
  tensorList,
  type Weight,
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

function randomWeight(be: Backend, format: WeightFormat, N: number, K: number, label: string, next: () => number): Weight {
  const data = be.alloc(weightBytes(format, N, K), label);
  if (format === 'f32') {
    const scale = Math.sqrt(3 / K);
    be.write(
      data,
      packWeight(
        'f32',
        N,
        K,
        Float32Array.from({ length: N * K }, () => next() * scale),
      ),
    );
  } else {
    const wide = format === 'w4' ? 8 : 127;
    const q = Int8Array.from({ length: N * K }, () => Math.floor(((next() + 1) / 2) * 2 * wide) - (format === 'w4' ? 0 : wide));
    const d = Uint16Array.from({ length: (N * K) / 32 }, () => f32ToF16((Math.sqrt(3 / K) / wide) * (1 + 0.3 * next())));
    be.write(data, packWeight(format, N, K, { q, d } as never));
  }
  return { format, N, K, data };
}

export function randomWeights(be: Backend, c: ModelConfig, format: WeightFormat, seed = 1): ModelWeights {
  const next = noise(seed);
  const vectors = new Map<string, ReturnType<Backend['alloc']>>();
  const matrices = new Map<string, Weight>();
  for (const { name, shape } of tensorList(c)) {
    if (shape.length === 2) matrices.set(name, randomWeight(be, shape[1] % 32 ? 'f32' : format, shape[0], shape[1], name, next));
    else {
      const buf = be.alloc(shape[0] * 4, name);
      const bias = name.endsWith('qkvBias');
      be.write(buf, new Uint8Array(Float32Array.from({ length: shape[0] }, () => (bias ? 0.1 * next() : 1 + 0.2 * next())).buffer));
      vectors.set(name, buf);
    }
  }
  const m = (name: string) => matrices.get(name)!;
  const v = (name: string) => vectors.get(name)!;
  return {
    embed: m('embed'),
    head: c.tied ? m('embed') : m('head'),
    norm: v('norm'),
    layers: Array.from({ length: c.layers }, (_, l) => ({
      attnNorm: v(`layers.${l}.attnNorm`),
      qkv: m(`layers.${l}.qkv`),
      qkvBias: vectors.get(`layers.${l}.qkvBias`),
      qNorm: vectors.get(`layers.${l}.qNorm`),
      kNorm: vectors.get(`layers.${l}.kNorm`),
      o: m(`layers.${l}.o`),
      ffnNorm: v(`layers.${l}.ffnNorm`),
      gateUp: m(`layers.${l}.gateUp`),
      down: m(`layers.${l}.down`),
    })),
  };
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

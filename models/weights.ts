import type { Allocator, Buf, Weight, WeightFormat } from '../engine/backend.ts';
import { type ModelConfig, type TensorShape, tensorList, tensorNames } from '../engine/config.ts';
import { PLAIN, weightBytes } from '../engine/formats.ts';
import type { ModelWeights } from '../engine/model.ts';

/** Gives the memory that a tensor's bytes go into. */
export interface WeightMemory {
  weights: ModelWeights;
  /** By name, of every tensor in the configuration's list. */
  buffers: ReadonlyMap<string, Buf>;
}

/** Allocates every tensor of a model on a backend (or only counts it), in loading order, and names them as the engine wants them. */
export function allocWeights(memory: Allocator, config: ModelConfig, formatOf: (t: TensorShape) => WeightFormat): WeightMemory {
  const buffers = new Map<string, Buf>();
  const matrices = new Map<string, Weight>();
  for (const t of tensorList(config)) {
    const [N, K] = t.shape;
    const format = K === undefined ? PLAIN : formatOf(t);
    const data = memory.alloc(K === undefined ? N * 4 : weightBytes(format, N, K), t.name);
    buffers.set(t.name, data);
    if (K !== undefined) matrices.set(t.name, { format, N, K, data });
  }
  const n = tensorNames;
  const matrix = (name: string) => matrices.get(name) as Weight;
  const vector = (name: string) => buffers.get(name) as Buf;
  const weights: ModelWeights = {
    embed: matrix(n.embed),
    head: matrix(config.tied ? n.embed : n.head),
    norm: vector(n.norm),
    layers: Array.from({ length: config.layers }, (_, l) => ({
      attnNorm: vector(n.attnNorm(l)),
      qkv: matrix(n.qkv(l)),
      ...(config.qkvBias && { qkvBias: vector(n.qkvBias(l)) }),
      ...(config.qkNorm && { qNorm: vector(n.qNorm(l)), kNorm: vector(n.kNorm(l)) }),
      o: matrix(n.o(l)),
      ffnNorm: vector(n.ffnNorm(l)),
      gateUp: matrix(n.gateUp(l)),
      down: matrix(n.down(l)),
    })),
  };
  return { weights, buffers };
}

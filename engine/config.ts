/** A decoder-only transformer, as read from GGUF metadata or Hugging Face's config.json. Sizes are counts, not bytes. */
export interface ModelConfig {
  /** One forward pass serves all three: qwen2 adds a QKV bias, qwen3 an RMSNorm on every query and key head. */
  family: 'llama' | 'qwen2' | 'qwen3';
  vocab: number; // V
  hidden: number; // D
  layers: number; // L
  heads: number; // H
  kvHeads: number; // G, H is a multiple of it
  headDim: number; // d, a multiple of 8
  ffn: number; // F
  context: number; // longest sequence, tokens
  normEps: number;
  ropeTheta: number;
  ropeScaling?: RopeScaling;
  /** The head reads the embedding's rows. */
  tied: boolean;
  qkvBias: boolean;
  qkNorm: boolean;
}

export type RopeScaling =
  | { kind: 'linear'; factor: number }
  /** One divisor for each of the d/2 frequencies, as GGUF's rope_freqs tensor gives them. */
  | { kind: 'factors'; factors: readonly number[] }
  | { kind: 'llama3'; factor: number; lowFreqFactor: number; highFreqFactor: number; originalContext: number };

/** The tensors of a model under the names every reader, pack and backend uses. Matrices are [N, K], row-major before packing. */
export const tensorNames = {
  embed: 'embed', // [V, D]
  head: 'head', // [V, D], absent when tied
  norm: 'norm', // [D]
  attnNorm: (l: number) => `layers.${l}.attnNorm`, // [D]
  qkv: (l: number) => `layers.${l}.qkv`, // [(H + 2G)·d, D], rows of q, then k, then v; rotate-half order
  qkvBias: (l: number) => `layers.${l}.qkvBias`, // [(H + 2G)·d]
  qNorm: (l: number) => `layers.${l}.qNorm`, // [d]
  kNorm: (l: number) => `layers.${l}.kNorm`, // [d]
  o: (l: number) => `layers.${l}.o`, // [D, H·d]
  ffnNorm: (l: number) => `layers.${l}.ffnNorm`, // [D]
  gateUp: (l: number) => `layers.${l}.gateUp`, // [2F, D], rows of gate, then up
  down: (l: number) => `layers.${l}.down`, // [D, F]
} as const;

export interface TensorShape {
  name: string;
  /** [N] for a vector, [N, K] for a matrix. */
  shape: readonly [number] | readonly [number, number];
}

/** Every tensor a model of this configuration must have, in loading order. */
export function tensorList(c: ModelConfig): TensorShape[] {
  const n = tensorNames;
  const qkvRows = (c.heads + 2 * c.kvHeads) * c.headDim;
  const list: TensorShape[] = [{ name: n.embed, shape: [c.vocab, c.hidden] }];
  for (let l = 0; l < c.layers; l++) {
    list.push({ name: n.attnNorm(l), shape: [c.hidden] });
    list.push({ name: n.qkv(l), shape: [qkvRows, c.hidden] });
    if (c.qkvBias) list.push({ name: n.qkvBias(l), shape: [qkvRows] });
    if (c.qkNorm) list.push({ name: n.qNorm(l), shape: [c.headDim] }, { name: n.kNorm(l), shape: [c.headDim] });
    list.push({ name: n.o(l), shape: [c.hidden, c.heads * c.headDim] });
    list.push({ name: n.ffnNorm(l), shape: [c.hidden] });
    list.push({ name: n.gateUp(l), shape: [2 * c.ffn, c.hidden] });
    list.push({ name: n.down(l), shape: [c.hidden, c.ffn] });
  }
  list.push({ name: n.norm, shape: [c.hidden] });
  if (!c.tied) list.push({ name: n.head, shape: [c.vocab, c.hidden] });
  return list;
}

const LIMITS = {
  vocab: [1, 1 << 20],
  hidden: [8, 1 << 16],
  layers: [1, 512],
  heads: [1, 1024],
  kvHeads: [1, 1024],
  headDim: [8, 256],
  ffn: [8, 1 << 18],
  context: [16, 1 << 20],
} as const;

/** Throws, naming the field, when a configuration is outside what the engine can run. */
export function checkConfig(c: ModelConfig): ModelConfig {
  for (const [key, [lo, hi]] of Object.entries(LIMITS)) {
    const v = c[key as keyof typeof LIMITS];
    if (!Number.isInteger(v) || v < lo || v > hi) throw new Error(`model config: ${key} is ${v}, must be an integer in ${lo}..${hi}`);
  }
  if (c.heads % c.kvHeads !== 0) throw new Error(`model config: heads ${c.heads} is no multiple of kvHeads ${c.kvHeads}`);
  if (c.headDim % 8 !== 0) throw new Error(`model config: headDim ${c.headDim} is no multiple of 8`);
  if (c.hidden % 8 !== 0) throw new Error(`model config: hidden ${c.hidden} is no multiple of 8`);
  if (c.ffn % 4 !== 0) throw new Error(`model config: ffn ${c.ffn} is no multiple of 4`);
  if (!(c.normEps > 0 && c.normEps < 1)) throw new Error(`model config: normEps is ${c.normEps}, must be in (0, 1)`);
  if (!(c.ropeTheta >= 1 && c.ropeTheta <= 1e12)) throw new Error(`model config: ropeTheta is ${c.ropeTheta}, must be in 1..1e12`);
  const s = c.ropeScaling;
  if (s?.kind === 'factors' && !(s.factors.length === c.headDim / 2 && s.factors.every((f) => f > 0 && f <= 1e6))) {
    throw new Error(`model config: ropeScaling.factors must be ${c.headDim / 2} numbers in (0, 1e6]`);
  }
  if (s && s.kind !== 'factors' && !(s.factor >= 1 && s.factor <= 1e4)) {
    throw new Error(`model config: ropeScaling.factor is ${s.factor}, must be in 1..10000`);
  }
  if (s?.kind === 'llama3' && !(s.lowFreqFactor > 0 && s.highFreqFactor > s.lowFreqFactor && s.originalContext > 0)) {
    throw new Error('model config: ropeScaling of kind llama3 needs 0 < lowFreqFactor < highFreqFactor and originalContext > 0');
  }
  return c;
}

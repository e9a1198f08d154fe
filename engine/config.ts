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

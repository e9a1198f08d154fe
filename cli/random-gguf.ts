/** GGUF files with random weights in the shapes of real models: for tests and benchmarks of speed and memory, not for reading. */
import { open } from 'node:fs/promises';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { tensorList } from '../engine/anatomy.ts';
import type { LayerKind, ModelConfig } from '../engine/config.ts';
import { BLOCK } from '../engine/formats.ts';
import { f32ToF16 } from '../engine/math.ts';
import { ggufNames, type StoredNames } from '../models/families/family.ts';
import { lfm2 } from '../models/families/lfm2.ts';
import { ggufHead, type MetadataValue, padding, type TensorHead, tensorBytes } from '../models/gguf/write.ts';
import { byteToChar } from '../models/tokenizer/alphabet.ts';
import { modelShapes } from '../simulator/shapes.ts';

/** Those of the well-known shapes that are written. */
export const shapes: Readonly<Record<string, ModelConfig>> = {
  'smollm2-135m': modelShapes['smollm2-135m'],
  'qwen2.5-0.5b': modelShapes['qwen2.5-0.5b'],
  'qwen3-0.6b': {
    ...{ family: 'qwen3', vocab: 151936, hidden: 1024, layers: 28, heads: 16, kvHeads: 8, headDim: 128, ffn: 3072, context: 40960 },
    ...{ normEps: 1e-6, ropeTheta: 1e6, tied: true, qkvBias: false, qkNorm: true },
  },
};

/** The four scalars of Granite 4.0 350M, which its small shape has too. */
const GRANITE: Readonly<Record<string, MetadataValue>> = {
  'granite.embedding_scale': { type: 'f32', value: 12 },
  'granite.attention.scale': { type: 'f32', value: 0.015625 },
  'granite.residual_scale': { type: 'f32', value: 0.263 },
  'granite.logit_scale': { type: 'f32', value: 4 },
};

/** Keys of LFM2 files for layers of these kinds. */
const lfm2Keys = (kinds: readonly LayerKind[], kvHeads: number): Readonly<Record<string, MetadataValue>> => ({
  'lfm2.attention.head_count_kv': { type: 'i32s', value: kinds.map((kind) => (kind === 'conv' ? 0 : kvHeads)) },
  'lfm2.shortconv.l_cache': { type: 'u32', value: 3 },
});

interface FamilyShape {
  config: ModelConfig;
  keys: Readonly<Record<string, MetadataValue>>;
}

const base = { context: 32768, tied: true, qkvBias: false, qkNorm: false };
const LFM2_KINDS = Array.from({ length: 16 }, (_, l): LayerKind => ([2, 5, 8, 10, 12, 14].includes(l) ? 'full' : 'conv'));

/** Shapes as they were published, of models whose weights are not at hand; from each one's config.json. */
export const publishedShapes: Readonly<Record<string, FamilyShape>> = {
  'granite-4.0-350m': {
    config: {
      ...{ ...base, family: 'granite', vocab: 100352, hidden: 1024, layers: 28, heads: 16, kvHeads: 4, headDim: 64, ffn: 2048 },
      ...{ normEps: 1e-5, ropeTheta: 1e7 },
    },
    keys: GRANITE,
  },
  'lfm2-350m': {
    config: {
      ...{ ...base, family: 'lfm2', vocab: 65536, hidden: 1024, layers: 16, heads: 16, kvHeads: 8, headDim: 64, ffn: 4608 },
      ...{ normEps: 1e-5, ropeTheta: 1e6, qkNorm: true, layerKinds: LFM2_KINDS, convTaps: 3 },
    },
    keys: lfm2Keys(LFM2_KINDS, 8),
  },
  'qwen3-0.6b': {
    config: {
      ...{ ...base, family: 'qwen3', vocab: 151936, hidden: 1024, layers: 28, heads: 16, kvHeads: 8, headDim: 128, ffn: 3072 },
      ...{ normEps: 1e-6, ropeTheta: 1e6, qkNorm: true },
    },
    keys: {},
  },
  'gemma-3-1b': {
    config: {
      ...{ ...base, family: 'gemma3', vocab: 262144, hidden: 1152, layers: 26, heads: 4, kvHeads: 1, headDim: 256, ffn: 6912 },
      ...{ normEps: 1e-6, ropeTheta: 1e6, qkNorm: true, postNorms: true },
    },
    keys: { 'gemma3.attention.sliding_window': { type: 'u32', value: 512 } },
  },
  'smollm3-3b': {
    config: {
      ...{ ...base, family: 'smollm3', vocab: 128256, hidden: 2048, layers: 36, heads: 16, kvHeads: 4, headDim: 128, ffn: 11008 },
      ...{ normEps: 1e-6, ropeTheta: 5e6 },
    },
    keys: {},
  },
};

const small = {
  ...{ vocab: 2000, hidden: 256, layers: 8, heads: 8, kvHeads: 2, headDim: 32, ffn: 512, context: 4096, normEps: 1e-5, ropeTheta: 10000 },
  ...{ tied: true, qkvBias: false, qkNorm: false },
};

const CONVOLVING: readonly LayerKind[] = ['conv', 'conv', 'full', 'conv', 'conv', 'full', 'conv', 'conv'];

/** Small models of families whose published weights are large: for comparing with other engines. */
export const familyShapes: Readonly<Record<string, FamilyShape>> = {
  granite: {
    config: { ...small, family: 'granite' },
    keys: GRANITE,
  },
  smollm3: { config: { ...small, family: 'smollm3', ropeTheta: 2e6 }, keys: {} },
  // two layers of twelve see everything, the others 64 tokens
  gemma3: {
    config: { ...small, family: 'gemma3', layers: 12, qkNorm: true, postNorms: true, ropeTheta: 1e6 },
    keys: { 'gemma3.attention.sliding_window': { type: 'u32', value: 64 } },
  },
  // two layers of eight attend, the others convolve
  lfm2: {
    config: { ...small, family: 'lfm2', qkNorm: true, ropeTheta: 1e6, layerKinds: CONVOLVING, convTaps: 3 },
    keys: lfm2Keys(CONVOLVING, small.kvHeads),
  },
};

export type RandomType = 'Q4_0' | 'Q8_0' | 'F32';

/** Writes a file of the given shape; the same seed gives the same numbers, whatever the tensors' order. `type` is that of every matrix, `extra` a family's own keys. */
export async function randomGguf(
  path: string,
  config: ModelConfig,
  type: RandomType,
  seed = 1,
  extra: Readonly<Record<string, MetadataValue>> = {},
): Promise<void> {
  const tensors = tensorHeads(config, type);
  const file = await open(path, 'w');
  try {
    await file.write(ggufHead({ ...metadata(config), ...extra }, tensors));
    for (const t of tensors) {
      const random = xorshift(seedOf(seed, t.name));
      const bytes = tensorBytes(t);
      // whole rows at a time, about 4 MiB
      const rowBytes = bytes / (t.dims[1] ?? 1);
      const step = rowBytes * Math.max(1, Math.floor((4 << 20) / rowBytes));
      for (let at = 0; at < bytes; at += step) await file.write(randomBytes(t, Math.min(step, bytes - at), random));
      await file.write(padding(bytes));
    }
  } finally {
    await file.close();
  }
}

function tensorHeads(c: ModelConfig, type: RandomType): TensorHead[] {
  const names = c.family === 'lfm2' ? (lfm2.gguf?.names as StoredNames) : ggufNames;
  return tensorList(c).flatMap(({ kind, layer, shape: [, K], parts }) =>
    names[kind].map(({ name, flat }, i): TensorHead => {
      const full = layer < 0 ? name : `blk.${layer}.${name}`;
      if (flat) return { name: full, type: 'F32', dims: [parts[i] / c.hidden, c.hidden] };
      return K === undefined
        ? { name: full, type: 'F32', dims: [parts[i]] }
        : { name: full, type: K % BLOCK === 0 ? type : 'F32', dims: [K, parts[i]] };
    }),
  );
}

/** Data of a tensor's rows: matrices uniform with variance 1/K, norms near 1, biases near 0. */
function randomBytes(t: TensorHead, bytes: number, random: () => number): Uint8Array {
  const K = t.dims[0];
  const unit = () => random() / 2 ** 31 - 1;
  if (t.type === 'F32') {
    const [mean, spread] = t.dims.length > 1 ? [0, Math.sqrt(3 / K)] : t.name.endsWith('bias') ? [0, 0.1] : [1, 0.1];
    return new Uint8Array(Float32Array.from({ length: bytes / 4 }, () => mean + spread * unit()).buffer);
  }
  const out = new Uint8Array(bytes);
  const words = new Uint32Array(out.buffer);
  for (let i = 0; i < words.length; i++) words[i] = random();
  const [size, wide] = t.type === 'Q4_0' ? [18, 4.61] : [34, 73.3]; // and the standard deviation of its q
  for (let at = 0; at < bytes; at += size) {
    const d = f32ToF16((1 + 0.25 * unit()) / (wide * Math.sqrt(K)));
    out[at] = d & 255;
    out[at + 1] = d >> 8;
    if (t.type === 'Q8_0') for (let i = at + 2; i < at + size; i++) if (out[i] === 128) out[i] = 0;
  }
  return out;
}

/** A tensor's own seed (FNV-1a over its name). */
const seedOf = (seed: number, name: string): number =>
  [...name].reduce((h, c) => Math.imul(h ^ c.charCodeAt(0), 0x01000193), seed ^ 0x811c9dc5);

/** Marsaglia's xorshift32. */
function xorshift(seed: number): () => number {
  let x = (seed * 0x9e3779b9) >>> 0 || 1;
  return () => {
    x ^= x << 13;
    x ^= x >>> 17;
    x = (x ^ (x << 5)) >>> 0;
    return x;
  };
}

const CONTROL = ['<|endoftext|>', '<|im_start|>', '<|im_end|>'];
const LETTERS = [...'abcdefghijklmnopqrstuvwxyz'];

/** A byte-level BPE of exactly V tokens: control tokens, bytes, then made-up words of two and four letters, with their merges. */
function vocabulary(V: number): { tokens: string[]; merges: string[] } {
  const tokens = [...CONTROL, ...byteToChar];
  const merges: string[] = [];
  const join = (a: string, b: string) => {
    if (tokens.length >= V) return;
    tokens.push(a + b);
    merges.push(`${a} ${b}`);
  };
  const pairs = LETTERS.flatMap((a) => LETTERS.map((b) => [a, b] as const));
  for (const [a, b] of pairs) join(a, b);
  for (const a of LETTERS) join('Ġ', a);
  for (const [a, b] of pairs) for (const [c, d] of pairs) join(a + b, c + d);
  return { tokens: tokens.slice(0, V), merges };
}

const CHATML =
  "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}{% endfor %}" +
  "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

function metadata(c: ModelConfig): Record<string, MetadataValue> {
  const key = (name: string) => `${c.family}.${name}`;
  const { tokens, merges } = vocabulary(c.vocab);
  const u32 = (value: number) => ({ type: 'u32', value }) as const;
  return {
    'general.architecture': { type: 'string', value: c.family },
    'general.name': { type: 'string', value: 'random' },
    [key('context_length')]: u32(c.context),
    [key('embedding_length')]: u32(c.hidden),
    [key('block_count')]: u32(c.layers),
    [key('feed_forward_length')]: u32(c.ffn),
    [key('attention.head_count')]: u32(c.heads),
    [key('attention.head_count_kv')]: u32(c.kvHeads),
    [key('attention.key_length')]: u32(c.headDim),
    [key('attention.value_length')]: u32(c.headDim),
    [key('rope.dimension_count')]: u32(c.headDim),
    [key('attention.layer_norm_rms_epsilon')]: { type: 'f32', value: c.normEps },
    [key('rope.freq_base')]: { type: 'f32', value: c.ropeTheta },
    [key('vocab_size')]: u32(c.vocab),
    'tokenizer.ggml.model': { type: 'string', value: 'gpt2' },
    'tokenizer.ggml.pre': { type: 'string', value: c.family === 'llama' ? 'smollm' : 'qwen2' },
    'tokenizer.ggml.tokens': { type: 'strings', value: tokens },
    'tokenizer.ggml.token_type': { type: 'i32s', value: tokens.map((_, i) => (i < CONTROL.length ? 3 : 1)) },
    'tokenizer.ggml.merges': { type: 'strings', value: merges },
    'tokenizer.ggml.bos_token_id': u32(0),
    'tokenizer.ggml.eos_token_id': u32(2),
    'tokenizer.ggml.add_bos_token': { type: 'bool', value: false },
    'tokenizer.chat_template': { type: 'string', value: CHATML },
  };
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      shape: { type: 'string', default: 'smollm2-135m' },
      type: { type: 'string', default: 'Q4_0' },
      seed: { type: 'string', default: '1' },
    },
  });
  const config = shapes[values.shape];
  const type = (['Q4_0', 'Q8_0', 'F32'] as const).find((t) => t === values.type);
  if (!positionals[0] || !config || !type) {
    console.error(`usage: tsx cli/random-gguf.ts FILE [--shape ${Object.keys(shapes).join('|')}] [--type Q4_0|Q8_0|F32] [--seed 1]`);
    process.exit(2);
  }
  await randomGguf(positionals[0], config, type, Number(values.seed));
}

/** A small GGUF model with seeded numbers, and the same as a Hugging Face folder. */

import { concat as join } from '../../engine/bytes.ts';
import type { ModelConfig } from '../../engine/config.ts';
import type { Folder } from '../../models/hf/open.ts';
import { decodeRows } from '../../models/quantize/convert.ts';
import { memorySource } from '../../models/source.ts';
import type { ModelTensor } from '../../models/tensors.ts';
import { byteToChar } from '../../models/tokenizer/alphabet.ts';
import { type TensorIn, type Value, writeGguf } from './gguf-writer.ts';

export const small: ModelConfig = {
  family: 'llama',
  vocab: 264,
  hidden: 64,
  layers: 2,
  heads: 4,
  kvHeads: 2,
  headDim: 16,
  ffn: 96,
  context: 128,
  normEps: Math.fround(1e-5),
  ropeTheta: 10000,
  tied: false,
  qkvBias: false,
  qkNorm: false,
};

export const smallGemma: ModelConfig = {
  ...{ ...small, family: 'gemma3', layers: 7, tied: true, qkNorm: true, activation: 'gelu', embedScale: 8, postNorms: true },
  ...{ window: 24, slidingTheta: 10000, layerKinds: Array.from({ length: 7 }, (_, l) => (l === 5 ? 'full' : 'sliding')) },
};

/** 256 bytes, three merges, five control tokens: a byte-level BPE. */
export const tokens = [...byteToChar, 'he', 'll', 'hell', '<|endoftext|>', '<|im_start|>', '<|im_end|>', '<|a|>', '<|b|>'];
export const merges = ['h e', 'l l', 'he ll'];

/** Seeded numbers in [-1, 1): Marsaglia's xorshift32. */
function numbers(seed: number, n: number): Float32Array {
  let x = (seed * 0x9e3779b9) >>> 0;
  return Float32Array.from({ length: n }, () => {
    x ^= x << 13;
    x ^= x >>> 17;
    x = (x ^ (x << 5)) >>> 0;
    return x / 2 ** 31 - 1;
  });
}

const made = new Map<string, Map<string, { shape: number[]; data: Float32Array }>>();

/** Every matrix and vector of the model under Hugging Face's names, [rows, K] row-major. */
export function hfTensors(c: ModelConfig): Map<string, { shape: number[]; data: Float32Array }> {
  const key = JSON.stringify(c);
  const known = made.get(key);
  if (known) return known;
  const out = new Map<string, { shape: number[]; data: Float32Array }>();
  let seed = 1;
  const put = (name: string, ...shape: number[]) =>
    out.set(name, {
      shape,
      data: numbers(
        seed++,
        shape.reduce((a, b) => a * b, 1),
      ),
    });
  put('model.embed_tokens.weight', c.vocab, c.hidden);
  if (!c.tied) put('lm_head.weight', c.vocab, c.hidden);
  put('model.norm.weight', c.hidden);
  for (let l = 0; l < c.layers; l++) {
    const p = `model.layers.${l}`;
    put(`${p}.input_layernorm.weight`, c.hidden);
    put(`${p}.post_attention_layernorm.weight`, c.hidden);
    if (c.postNorms) for (const at of ['pre', 'post']) put(`${p}.${at}_feedforward_layernorm.weight`, c.hidden);
    for (const [x, rows] of [
      ['q', c.heads * c.headDim],
      ['k', c.kvHeads * c.headDim],
      ['v', c.kvHeads * c.headDim],
    ] as const) {
      put(`${p}.self_attn.${x}_proj.weight`, rows, c.hidden);
      if (c.qkvBias) put(`${p}.self_attn.${x}_proj.bias`, rows);
      if (c.qkNorm && x !== 'v') put(`${p}.self_attn.${x}_norm.weight`, c.headDim);
    }
    put(`${p}.self_attn.o_proj.weight`, c.hidden, c.heads * c.headDim);
    put(`${p}.mlp.gate_proj.weight`, c.ffn, c.hidden);
    put(`${p}.mlp.up_proj.weight`, c.ffn, c.hidden);
    put(`${p}.mlp.down_proj.weight`, c.hidden, c.ffn);
  }
  made.set(key, out);
  return out;
}

const bytesOf = (x: Float32Array) => new Uint8Array(x.buffer, x.byteOffset, x.byteLength);

/** What llama.cpp's converter does to q and k of the llama family: rows of the two halves of a head go side by side (LlamaModel.permute). */
export function interleave(x: Float32Array, headDim: number, K: number): Float32Array {
  const out = new Float32Array(x.length);
  for (let r = 0; r < x.length / K; r++) {
    const head = Math.floor(r / headDim) * headDim;
    const from = r - head < headDim / 2 ? [r - head, 0] : [r - head - headDim / 2, 1];
    out.set(x.subarray(r * K, (r + 1) * K), (head + 2 * from[0] + from[1]) * K);
  }
  return out;
}

const GGUF_NAMES: readonly (readonly [RegExp, string])[] = [
  [/^model\.embed_tokens\.weight$/, 'token_embd.weight'],
  [/^lm_head\.weight$/, 'output.weight'],
  [/^model\.norm\.weight$/, 'output_norm.weight'],
  [/^model\.layers\.(\d+)\.input_layernorm\.weight$/, 'blk.$1.attn_norm.weight'],
  [/^model\.layers\.(\d+)\.pre_feedforward_layernorm\.weight$/, 'blk.$1.ffn_norm.weight'],
  [/^model\.layers\.(\d+)\.post_feedforward_layernorm\.weight$/, 'blk.$1.post_ffw_norm.weight'],
  [/^model\.layers\.(\d+)\.post_attention_layernorm\.weight$/, 'blk.$1.ffn_norm.weight'],
  [/^model\.layers\.(\d+)\.self_attn\.([qkv])_proj\.(\w+)$/, 'blk.$1.attn_$2.$3'],
  [/^model\.layers\.(\d+)\.self_attn\.([qk])_norm\.weight$/, 'blk.$1.attn_$2_norm.weight'],
  [/^model\.layers\.(\d+)\.self_attn\.o_proj\.weight$/, 'blk.$1.attn_output.weight'],
  [/^model\.layers\.(\d+)\.mlp\.(\w+)_proj\.weight$/, 'blk.$1.ffn_$2.weight'],
];

export function ggufMetadata(c: ModelConfig): Record<string, Value> {
  const key = (name: string) => `${c.family}.${name}`;
  return {
    'general.architecture': { type: 'string', value: c.family },
    [key('context_length')]: { type: 'u32', value: c.context },
    [key('embedding_length')]: { type: 'u32', value: c.hidden },
    [key('block_count')]: { type: 'u32', value: c.layers },
    [key('feed_forward_length')]: { type: 'u32', value: c.ffn },
    [key('attention.head_count')]: { type: 'u32', value: c.heads },
    [key('attention.head_count_kv')]: { type: 'u32', value: c.kvHeads },
    [key('attention.key_length')]: { type: 'u32', value: c.headDim },
    [key('attention.layer_norm_rms_epsilon')]: { type: 'f32', value: c.normEps },
    [key('rope.freq_base')]: { type: 'f32', value: c.ropeTheta },
    ...(c.window !== undefined && { [key('attention.sliding_window')]: { type: 'u32', value: c.window } as const }),
    'tokenizer.ggml.model': { type: 'string', value: 'gpt2' },
    'tokenizer.ggml.pre': { type: 'string', value: 'gpt-2' },
    'tokenizer.ggml.tokens': { type: 'strings', value: tokens },
    'tokenizer.ggml.token_type': { type: 'i32s', value: tokens.map((_, i) => (i < 259 ? 1 : 3)) },
    'tokenizer.ggml.merges': { type: 'strings', value: merges },
    'tokenizer.ggml.bos_token_id': { type: 'u32', value: 259 },
    'tokenizer.ggml.eos_token_id': { type: 'u32', value: 261 },
    'tokenizer.chat_template': { type: 'string', value: '{{ messages[0].content }}' },
  };
}

export function ggufTensors(c: ModelConfig): TensorIn[] {
  return [...hfTensors(c)].map(([name, { shape, data }]) => {
    const rule = GGUF_NAMES.find(([re]) => re.test(name));
    if (!rule) throw new Error(`no GGUF name for ${name}`);
    const interleaved = ['llama', 'granite', 'smollm3'].includes(c.family) && /\.[qk]_proj\./.test(name);
    const rotated = interleaved ? interleave(data, c.headDim, shape[1] ?? 1) : data;
    const values = c.family === 'gemma3' && /norm\.weight$/.test(name) ? rotated.map((w) => 1 + w) : rotated; // as llama.cpp's converter does
    const to = c.postNorms && name.endsWith('post_attention_layernorm.weight') ? 'blk.$1.post_attention_norm.weight' : rule[1];
    return { name: name.replace(rule[0], to), type: 'F32', dims: [...shape].reverse(), data: bytesOf(values) };
  });
}

export const smallGguf = (c: ModelConfig = small): Uint8Array => writeGguf(ggufMetadata(c), ggufTensors(c));

export function safetensors(tensors: Iterable<[string, { shape: number[]; data: Float32Array }]>): Uint8Array {
  const header: Record<string, unknown> = { __metadata__: { format: 'pt' } };
  const body: Uint8Array[] = [];
  let at = 0;
  for (const [name, { shape, data }] of tensors) {
    header[name] = { dtype: 'F32', shape, data_offsets: [at, at + data.byteLength] };
    body.push(bytesOf(data));
    at += data.byteLength;
  }
  const json = new TextEncoder().encode(JSON.stringify(header));
  return join([new Uint8Array(new BigUint64Array([BigInt(json.length)]).buffer), json, ...body]);
}

/** The model's folder as transformers would save it, in `shards` files. */
export function hfFolder(c: ModelConfig = small, shards = 1): Map<string, Uint8Array> {
  const json = (v: unknown) => new TextEncoder().encode(JSON.stringify(v));
  const files = new Map<string, Uint8Array>();
  files.set(
    'config.json',
    json({
      model_type: c.family === 'gemma3' ? 'gemma3_text' : c.family,
      vocab_size: c.vocab,
      hidden_size: c.hidden,
      num_hidden_layers: c.layers,
      num_attention_heads: c.heads,
      num_key_value_heads: c.kvHeads,
      head_dim: c.headDim,
      intermediate_size: c.ffn,
      max_position_embeddings: c.context,
      rms_norm_eps: c.normEps,
      rope_theta: c.ropeTheta,
      tie_word_embeddings: c.tied,
      ...(c.family === 'gemma3'
        ? { hidden_activation: 'gelu_pytorch_tanh', sliding_window: c.window, query_pre_attn_scalar: c.headDim }
        : { hidden_act: 'silu' }),
    }),
  );
  files.set(
    'tokenizer.json',
    json({
      added_tokens: tokens.slice(259).map((content, i) => ({ id: 259 + i, content, special: true, lstrip: false, rstrip: false })),
      pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, use_regex: true },
      decoder: { type: 'ByteLevel' },
      model: { type: 'BPE', vocab: Object.fromEntries(tokens.slice(0, 259).map((t, i) => [t, i])), merges },
    }),
  );
  files.set(
    'tokenizer_config.json',
    json({ bos_token: '<|endoftext|>', eos_token: '<|im_end|>', chat_template: '{{ messages[0].content }}' }),
  );
  files.set('generation_config.json', json({ temperature: 0.5, top_p: 0.9, top_k: 40, eos_token_id: [261, 259] }));
  const all = [...hfTensors(c)];
  if (shards === 1) files.set('model.safetensors', safetensors(all));
  else {
    const map: Record<string, string> = {};
    for (let s = 0; s < shards; s++) {
      const name = `model-0000${s + 1}-of-0000${shards}.safetensors`;
      const part = all.filter((_, i) => i % shards === s);
      for (const [t] of part) map[t] = name;
      files.set(name, safetensors(part));
    }
    files.set('model.safetensors.index.json', json({ metadata: {}, weight_map: map }));
  }
  return files;
}

export const memoryFolder = (files: ReadonlyMap<string, Uint8Array>): Folder => ({
  name: 'small',
  async open(file) {
    const bytes = files.get(file);
    return bytes && memorySource(bytes, file);
  },
});

/** All values of a tensor, part after part. */
export async function valuesOf(t: ModelTensor): Promise<Float32Array> {
  const out = new Float32Array(t.N * t.K);
  let at = 0;
  for (const p of t.parts) {
    // odd steps, so that ranges cut through heads
    for (let from = 0; from < p.rows; from += 7) {
      const to = Math.min(p.rows, from + 7);
      out.set(decodeRows(p, await p.read(from, to), to - from), at);
      at += (to - from) * p.K;
    }
  }
  return out;
}

/** What a family's files look like: where they keep the configuration and the tensors. One file a family holds what is its own. */
import type { TensorKind } from '../../engine/anatomy.ts';
import type { ModelConfig } from '../../engine/config.ts';
import type { Metadata } from '../gguf/metadata.ts';
import type { Fields } from '../json.ts';
import { type Part, rotateHalfRows } from '../tensors.ts';

/** Fields of a configuration before engine/config.ts has checked them. */
export type RawConfig = { [K in keyof ModelConfig]?: unknown };

/** A tensor of a file that becomes a tensor of engine/anatomy.ts, or some rows of it. */
export interface StoredTensor {
  /** Without the layer: `attn_q.weight`. */
  readonly name: string;
  /** A vector that files keep with two dimensions, as rows one after the other. */
  readonly flat?: boolean;
  /** Makes of the rows as stored what the engine wants. */
  readonly as?: (part: Part, c: ModelConfig) => Part;
}

/** The tensors behind each of engine/anatomy.ts, their rows in order; none where no file of the family has one. */
export type StoredNames = Readonly<Record<TensorKind, readonly StoredTensor[]>>;

/** How a family's files of one kind are read. */
interface Side<Keys> {
  readonly names: StoredNames;
  /** The same with values of the keys folded into tensors other than the layers' matrices. */
  readonly fold?: (names: StoredNames, keys: Keys) => StoredNames;
  /** What differs from the fields that all families share. */
  readonly config?: (keys: Keys, common: RawConfig) => RawConfig;
  /**
   * The window of all layers, tokens, where it is not what the file's sliding_window says. Attention in a window equals full attention up to
   * the window's length, so the context ends there.
   */
  readonly window?: (keys: Keys) => number | undefined;
}

export type GgufSide = Side<Metadata>;

export interface Family {
  /** GGUF's `general.architecture`, and `family` of the configuration. */
  readonly name: string;
  /** Hugging Face's `model_type`, where it is another. */
  readonly modelType?: string;
  /** None where only safetensors name the family so. */
  readonly gguf?: Side<Metadata>;
  readonly hf: Side<Fields>;
}

/** The names of a file's tensors. */
export const namesOf = <Keys>({ names, fold }: Side<Keys>, keys: Keys): StoredNames => fold?.(names, keys) ?? names;

const stored = (...names: string[]): StoredTensor[] => names.map((name) => ({ name }));

/** A tensor whose rows GGUF files hold for interleaved RoPE. */
const interleaved = (name: string): StoredTensor => ({ name, as: (part, c) => rotateHalfRows(part, c.headDim) });

/** Queries and keys whose rows GGUF files hold for interleaved RoPE. */
export const interleavedNames = {
  qkv: [interleaved('attn_q.weight'), interleaved('attn_k.weight'), { name: 'attn_v.weight' }],
  qkvBias: [interleaved('attn_q.bias'), interleaved('attn_k.bias'), { name: 'attn_v.bias' }],
};

/** GGUF's names as nearly every family has them; those of layers come behind `blk.N.`. */
export const ggufNames: StoredNames = {
  embed: stored('token_embd.weight'),
  head: stored('output.weight'),
  norm: stored('output_norm.weight'),
  attnNorm: stored('attn_norm.weight'),
  qkv: stored('attn_q.weight', 'attn_k.weight', 'attn_v.weight'),
  qkvBias: stored('attn_q.bias', 'attn_k.bias', 'attn_v.bias'),
  qNorm: stored('attn_q_norm.weight'),
  kNorm: stored('attn_k_norm.weight'),
  o: stored('attn_output.weight'),
  convIn: [],
  convTaps: [],
  convOut: [],
  attnPostNorm: stored('post_attention_norm.weight'),
  ffnNorm: stored('ffn_norm.weight'),
  gateUp: stored('ffn_gate.weight', 'ffn_up.weight'),
  down: stored('ffn_down.weight'),
  ffnPostNorm: stored('post_ffw_norm.weight'),
};

/** Hugging Face's; those of layers come behind `model.layers.N.`. */
export const hfNames: StoredNames = {
  embed: stored('model.embed_tokens.weight'),
  head: stored('lm_head.weight'),
  norm: stored('model.norm.weight'),
  attnNorm: stored('input_layernorm.weight'),
  qkv: stored('self_attn.q_proj.weight', 'self_attn.k_proj.weight', 'self_attn.v_proj.weight'),
  qkvBias: stored('self_attn.q_proj.bias', 'self_attn.k_proj.bias', 'self_attn.v_proj.bias'),
  qNorm: stored('self_attn.q_norm.weight'),
  kNorm: stored('self_attn.k_norm.weight'),
  o: stored('self_attn.o_proj.weight'),
  convIn: [],
  convTaps: [],
  convOut: [],
  attnPostNorm: [],
  ffnNorm: stored('post_attention_layernorm.weight'),
  gateUp: stored('mlp.gate_proj.weight', 'mlp.up_proj.weight'),
  down: stored('mlp.down_proj.weight'),
  ffnPostNorm: [],
};

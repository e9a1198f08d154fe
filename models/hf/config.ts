import { checkConfig, type ModelConfig, type RopeScaling } from '../../engine/config.ts';
import { ModelFileError } from '../error.ts';
import { Fields, type JsonObject } from '../json.ts';

/**
 * Configuration from Hugging Face's config.json of model types llama, qwen2 and qwen3. `has` tells whether a tensor is in the files.
 * Throws ModelFileError for what would compute something else.
 */
export function hfConfig(json: JsonObject, has: (tensor: string) => boolean): ModelConfig {
  const f = new Fields(json, 'config.json');
  const family = f.string('model_type');
  if (family !== 'llama' && family !== 'qwen2' && family !== 'qwen3') throw f.wrong('model_type', family, 'llama, qwen2 or qwen3');
  const act = f.string('hidden_act', 'silu');
  if (act !== 'silu') throw f.wrong('hidden_act', act, 'silu');
  const hidden = f.int('hidden_size', 8, 1 << 16);
  const heads = f.int('num_attention_heads', 1, 1024);
  const context = f.int('max_position_embeddings', 16, 2 ** 31);
  // Sliding-window attention equals full attention up to the window's length, so the context ends there.
  const slides = f.has('sliding_window') && f.bool('use_sliding_window', family === 'llama');
  const window = slides ? f.int('sliding_window', 16, 2 ** 31) : context;
  const headDim = f.int('head_dim', 8, 256, hidden / heads);
  const rope = f.maybe('rope_parameters'); // transformers 5 keeps theta and scaling together
  const scaling = ropeScaling(rope ?? f.maybe('rope_scaling'));
  const partial = (rope ?? f).number('partial_rotary_factor', 0, 1, 1);
  if (partial !== 1) throw f.wrong('partial_rotary_factor', partial, '1');
  const tied = f.bool('tie_word_embeddings', false);
  const config: ModelConfig = {
    family,
    vocab: f.int('vocab_size', 1, 1 << 20),
    hidden,
    layers: f.int('num_hidden_layers', 1, 512),
    heads,
    kvHeads: f.int('num_key_value_heads', 1, 1024, heads),
    headDim,
    ffn: f.int('intermediate_size', 8, 1 << 18),
    context: Math.min(context, window, 1 << 20),
    normEps: f.number('rms_norm_eps', 0, 1, 1e-6),
    ropeTheta: (rope ?? f).number('rope_theta', 1, 1e12, 10000),
    ...(scaling && { ropeScaling: scaling }),
    tied,
    qkvBias: has('model.layers.0.self_attn.q_proj.bias'),
    qkNorm: has('model.layers.0.self_attn.q_norm.weight'),
  };
  try {
    return checkConfig(config);
  } catch (e) {
    throw new ModelFileError('config.json', (e as Error).message);
  }
}

function ropeScaling(f: Fields | undefined): RopeScaling | undefined {
  if (!f) return undefined;
  const kind = f.string('rope_type', f.string('type', 'default'));
  if (kind === 'default') return undefined;
  if (kind === 'linear') return { kind, factor: f.number('factor', 1, 1e4) };
  if (kind !== 'llama3') throw f.wrong('rope_type', kind, 'default, linear or llama3');
  return {
    kind,
    factor: f.number('factor', 1, 1e4),
    lowFreqFactor: f.number('low_freq_factor', 0, 1e4),
    highFreqFactor: f.number('high_freq_factor', 0, 1e4),
    originalContext: f.int('original_max_position_embeddings', 1, 2 ** 31),
  };
}

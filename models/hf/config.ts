import { ConfigError, MAX_CONTEXT, type ModelConfig, readConfig } from '../../engine/config.ts';
import { ModelFileError } from '../error.ts';
import type { Family, RawConfig } from '../families/family.ts';
import { familyNames, familyOfType } from '../families/index.ts';
import { whyNot } from '../families/others.ts';
import { Fields, type JsonObject } from '../json.ts';

/** Keys of config.json that every family has, by the field they give. */
const KEYS = {
  vocab: 'vocab_size',
  hidden: 'hidden_size',
  layers: 'num_hidden_layers',
  heads: 'num_attention_heads',
  kvHeads: 'num_key_value_heads',
  headDim: 'head_dim',
  ffn: 'intermediate_size',
  context: 'max_position_embeddings',
  normEps: 'rms_norm_eps',
  ropeTheta: 'rope_theta',
  tied: 'tie_word_embeddings',
} as const satisfies RawConfig;

/** The family of a config.json. Throws ModelFileError when it does not run here. */
export function hfFamily(f: Fields): Family {
  const name = f.string('model_type');
  const family = familyOfType(name);
  if (!family) {
    const why = whyNot(name);
    throw f.wrong('model_type', name, `one of ${familyNames()}${why ? ` (${why})` : ''}`);
  }
  return family;
}

/**
 * Configuration from Hugging Face's config.json. `has` tells whether a tensor is in the files. Throws ModelFileError for what would compute
 * something else.
 */
export function hfConfig(json: JsonObject, has: (tensor: string) => boolean): ModelConfig {
  const f = new Fields(json, 'config.json');
  const family = hfFamily(f);
  const act = f.string('hidden_act', 'silu');
  if (act !== 'silu') throw f.wrong('hidden_act', act, 'silu');
  const get = (field: keyof typeof KEYS) => f.get(KEYS[field]);
  const [hidden, heads, context] = [get('hidden'), get('heads'), get('context')];
  const window = family.hf.window ? family.hf.window(f) : f.has('sliding_window') ? f.int('sliding_window', 16, 2 ** 31) : undefined;
  const rope = f.maybe('rope_parameters'); // transformers 5 keeps theta and scaling together
  const scaling = ropeScaling(rope ?? f.maybe('rope_scaling'));
  const partial = (rope ?? f).number('partial_rotary_factor', 0, 1, 1);
  if (partial !== 1) throw f.wrong('partial_rotary_factor', partial, '1');
  const common: RawConfig = {
    family: family.name,
    ...{ vocab: get('vocab'), hidden, layers: get('layers'), heads, kvHeads: get('kvHeads') ?? heads },
    headDim: get('headDim') ?? Number(hidden) / Number(heads),
    ffn: get('ffn'),
    context: typeof context === 'number' ? Math.min(context, window ?? MAX_CONTEXT, MAX_CONTEXT) : context,
    normEps: get('normEps') ?? 1e-6,
    ropeTheta: (rope ?? f).get('rope_theta') ?? 10000,
    ...(scaling !== undefined && { ropeScaling: scaling }),
    tied: get('tied') ?? false,
    qkvBias: has('model.layers.0.self_attn.q_proj.bias'),
    qkNorm: has('model.layers.0.self_attn.q_norm.weight'),
  };
  try {
    return readConfig({ ...common, ...family.hf.config?.(f, common) });
  } catch (e) {
    if (!(e instanceof ConfigError)) throw e;
    const key = Object.hasOwn(KEYS, e.field) ? KEYS[e.field as keyof typeof KEYS] : e.field;
    throw new ModelFileError('config.json', `${key} ${e.problem}`);
  }
}

function ropeScaling(f: Fields | undefined): RawConfig['ropeScaling'] {
  if (!f) return undefined;
  const kind = f.string('rope_type', f.string('type', 'default'));
  if (kind === 'default') return undefined;
  if (kind === 'linear') return { kind, factor: f.get('factor') };
  if (kind !== 'llama3') throw f.wrong('rope_type', kind, 'default, linear or llama3');
  return {
    kind,
    factor: f.get('factor'),
    lowFreqFactor: f.get('low_freq_factor'),
    highFreqFactor: f.get('high_freq_factor'),
    originalContext: f.get('original_max_position_embeddings'),
  };
}

import { ConfigError, MAX_CONTEXT, type ModelConfig, readConfig } from '../../engine/config.ts';
import { ModelFileError } from '../error.ts';
import type { GgufSide, RawConfig } from '../families/family.ts';
import { familyNamed, familyNames } from '../families/index.ts';
import { whyNot } from '../families/others.ts';
import { decoders } from './blocks.ts';
import type { Metadata } from './metadata.ts';
import type { GgufFile, GgufTensor } from './reader.ts';

/** Keys behind `<architecture>.` that every family has (ggml/docs/gguf.md), by the field they give. */
const KEYS = {
  hidden: 'embedding_length',
  layers: 'block_count',
  heads: 'attention.head_count',
  kvHeads: 'attention.head_count_kv',
  headDim: 'attention.key_length',
  ffn: 'feed_forward_length',
  context: 'context_length',
  normEps: 'attention.layer_norm_rms_epsilon',
  ropeTheta: 'rope.freq_base',
} as const satisfies RawConfig;

const ARCHITECTURE = 'general.architecture';

/** The family of a file. Throws ModelFileError when it does not run here. */
export function ggufFamily(m: Metadata): { name: string; gguf: GgufSide } {
  const name = m.string(ARCHITECTURE);
  const family = familyNamed(name);
  if (!family) {
    const why = whyNot(name);
    const problem = `is "${name}"${why ? `: ${why}` : ''}; what runs here: ${familyNames()}`;
    throw new ModelFileError(`key "${ARCHITECTURE}"`, problem, m.offset(ARCHITECTURE));
  }
  return family;
}

/** Configuration from GGUF metadata. Reads the rope_freqs tensor when there is one. Throws ModelFileError naming the key. */
export async function ggufConfig(file: GgufFile): Promise<ModelConfig> {
  const m = file.metadata;
  const family = ggufFamily(m);
  const key = (name: string) => `${family.name}.${name}`;
  const get = (field: keyof typeof KEYS) => m.entries.get(key(KEYS[field]))?.value;
  if (m.int(key('expert_count'), 0, 1 << 16, 0) > 0) {
    throw new ModelFileError(`key "${key('expert_count')}"`, 'mixtures of experts do not run here', m.offset(key('expert_count')));
  }
  const [hidden, heads] = [get('hidden'), get('heads')];
  const window = family.gguf.window ? family.gguf.window(m) : m.int(key('attention.sliding_window'), 0, 2 ** 31, 0) || undefined;
  const context = get('context');
  const common: RawConfig = {
    family: family.name,
    vocab: rowsOf(file.tensors.get('token_embd.weight')),
    ...{ hidden, layers: get('layers'), heads, kvHeads: get('kvHeads') ?? heads },
    headDim: get('headDim') ?? Number(hidden) / Number(heads),
    ffn: get('ffn'),
    context: typeof context === 'number' ? Math.min(context, window ?? MAX_CONTEXT, MAX_CONTEXT) : context,
    normEps: get('normEps'),
    ropeTheta: get('ropeTheta') ?? 10000,
    tied: !file.tensors.has('output.weight'),
    qkvBias: file.tensors.has('blk.0.attn_q.bias'),
    qkNorm: file.tensors.has('blk.0.attn_q_norm.weight'),
  };
  const config = checked(file, key, { ...common, ...family.gguf.config?.(m, common) });
  for (const name of ['attention.value_length', 'rope.dimension_count']) m.int(key(name), config.headDim, config.headDim, config.headDim);
  const ropeScaling = await scalingOf(file, key, config.headDim);
  return ropeScaling ? checked(file, key, { ...config, ropeScaling }) : config;
}

/** Says which key gave a field that is wrong. */
function checked(file: GgufFile, key: (name: string) => string, raw: RawConfig): ModelConfig {
  try {
    return readConfig(raw);
  } catch (e) {
    if (!(e instanceof ConfigError)) throw e;
    const from = Object.hasOwn(KEYS, e.field) ? key(KEYS[e.field as keyof typeof KEYS]) : undefined;
    const given = from !== undefined && (file.metadata.has(from) || raw[e.field as keyof RawConfig] === undefined);
    throw given
      ? new ModelFileError(`key "${from}"`, e.problem, file.metadata.offset(from))
      : new ModelFileError(file.source.name, `${e.field} ${e.problem}`);
  }
}

function rowsOf(t: GgufTensor | undefined): number {
  if (!t) throw new ModelFileError('tensor "token_embd.weight"', 'is missing');
  return t.dims[1] ?? 1;
}

async function scalingOf(file: GgufFile, key: (name: string) => string, headDim: number): Promise<RawConfig['ropeScaling']> {
  const m = file.metadata;
  const typeKey = key('rope.scaling.type');
  const type = m.string(typeKey, 'none');
  const freqs = file.tensors.get('rope_freqs.weight');
  if (type !== 'none' && type !== 'linear') {
    throw new ModelFileError(`key "${typeKey}"`, `is "${type}"; none, linear and a rope_freqs tensor are known`, m.offset(typeKey));
  }
  const factor = m.number(key('rope.scaling.factor'), 0, 1e4, m.number(key('rope.scale_linear'), 0, 1e4, 1)) || 1;
  const linear = (type === 'linear' || m.has(key('rope.scale_linear'))) && factor !== 1;
  if (!freqs) return linear ? { kind: 'linear', factor } : undefined;

  const where = 'tensor "rope_freqs.weight"';
  if (linear) throw new ModelFileError(where, `comes together with linear scaling in "${typeKey}"; only one is possible`, freqs.offset);
  if (freqs.type.name !== 'F32' || freqs.dims[0] !== headDim / 2 || freqs.bytes !== headDim * 2) {
    throw new ModelFileError(where, `must be ${headDim / 2} F32 numbers, is ${freqs.dims.join(' × ')} ${freqs.type.name}`, freqs.offset);
  }
  const factors = new Float32Array(headDim / 2);
  decoders.get('F32')?.(await file.source.read(freqs.offset, freqs.bytes), factors, factors.length);
  return factors.every((f) => f === 1) ? undefined : { kind: 'factors', factors: [...factors] };
}

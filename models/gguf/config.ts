import { checkConfig, type ModelConfig, type RopeScaling } from '../../engine/config.ts';
import { ModelFileError } from '../error.ts';
import { decoders } from './blocks.ts';
import type { GgufFile, GgufTensor } from './reader.ts';

/** Configuration from GGUF metadata (keys: ggml/docs/gguf.md) of the architectures llama, qwen2 and qwen3. Reads the rope_freqs tensor when there is one. Throws ModelFileError. */
export async function ggufConfig(file: GgufFile): Promise<ModelConfig> {
  const m = file.metadata;
  const family = m.string('general.architecture');
  if (family !== 'llama' && family !== 'qwen2' && family !== 'qwen3') {
    throw new ModelFileError(
      'key "general.architecture"',
      `is "${family}"; llama, qwen2 and qwen3 run here`,
      m.offset('general.architecture'),
    );
  }
  const key = (name: string) => `${family}.${name}`;
  if (m.int(key('expert_count'), 0, 1 << 16, 0) > 0) {
    throw new ModelFileError(`key "${key('expert_count')}"`, 'mixtures of experts do not run here', m.offset(key('expert_count')));
  }
  const hidden = m.int(key('embedding_length'), 8, 1 << 16);
  const heads = m.int(key('attention.head_count'), 1, 1024);
  const headDim = m.int(key('attention.key_length'), 1, 256, hidden / heads);
  for (const name of ['attention.value_length', 'rope.dimension_count']) m.int(key(name), headDim, headDim, headDim);
  const context = m.int(key('context_length'), 16, 2 ** 31);
  // Sliding-window attention equals full attention up to the window's length, so the context ends there.
  const window = m.int(key('attention.sliding_window'), 0, 2 ** 31, 0) || context;
  const config: ModelConfig = {
    family,
    vocab: rowsOf(file.tensors.get('token_embd.weight')),
    hidden,
    layers: m.int(key('block_count'), 1, 512),
    heads,
    kvHeads: m.int(key('attention.head_count_kv'), 1, 1024, heads),
    headDim,
    ffn: m.int(key('feed_forward_length'), 8, 1 << 18),
    context: Math.min(context, window, 1 << 20),
    normEps: m.number(key('attention.layer_norm_rms_epsilon'), 0, 1),
    ropeTheta: m.number(key('rope.freq_base'), 1, 1e12, 10000),
    tied: !file.tensors.has('output.weight'),
    qkvBias: file.tensors.has('blk.0.attn_q.bias'),
    qkNorm: file.tensors.has('blk.0.attn_q_norm.weight'),
  };
  const scaling = await ropeScaling(file, family, headDim);
  if (scaling) config.ropeScaling = scaling;
  try {
    return checkConfig(config);
  } catch (e) {
    throw new ModelFileError(file.source.name, (e as Error).message);
  }
}

function rowsOf(t: GgufTensor | undefined): number {
  if (!t) throw new ModelFileError('tensor "token_embd.weight"', 'is missing');
  return t.dims[1] ?? 1;
}

async function ropeScaling(file: GgufFile, family: string, headDim: number): Promise<RopeScaling | undefined> {
  const m = file.metadata;
  const typeKey = `${family}.rope.scaling.type`;
  const type = m.string(typeKey, 'none');
  const freqs = file.tensors.get('rope_freqs.weight');
  if (type !== 'none' && type !== 'linear') {
    throw new ModelFileError(`key "${typeKey}"`, `is "${type}"; none, linear and a rope_freqs tensor are known`, m.offset(typeKey));
  }
  const factor = m.number(`${family}.rope.scaling.factor`, 0, 1e4, m.number(`${family}.rope.scale_linear`, 0, 1e4, 1)) || 1;
  const linear = (type === 'linear' || m.has(`${family}.rope.scale_linear`)) && factor !== 1;
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

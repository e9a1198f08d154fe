import { isVector, type TensorKind } from '../../engine/anatomy.ts';
import type { ModelConfig } from '../../engine/config.ts';
import { ModelFileError } from '../error.ts';
import { checkUsed, type ModelTensor, modelTensors, type Part, rotateHalfRows } from '../tensors.ts';
import { decoders } from './blocks.ts';
import type { GgufFile } from './reader.ts';

/** GGUF's names of the tensors behind one of engine/anatomy.ts, `blk.N.` left out. */
const NAMES: Record<TensorKind, readonly string[]> = {
  embed: ['token_embd.weight'],
  head: ['output.weight'],
  norm: ['output_norm.weight'],
  attnNorm: ['attn_norm.weight'],
  qkv: ['attn_q.weight', 'attn_k.weight', 'attn_v.weight'],
  qkvBias: ['attn_q.bias', 'attn_k.bias', 'attn_v.bias'],
  qNorm: ['attn_q_norm.weight'],
  kNorm: ['attn_k_norm.weight'],
  o: ['attn_output.weight'],
  ffnNorm: ['ffn_norm.weight'],
  gateUp: ['ffn_gate.weight', 'ffn_up.weight'],
  down: ['ffn_down.weight'],
};

/** The tensors of a GGUF model under the engine's names, in loading order; q and k of the llama family in rotate-half order. Throws ModelFileError. */
export function ggufTensors(file: GgufFile, config: ModelConfig): ModelTensor[] {
  const used = new Set(['rope_freqs.weight']); // read with the configuration
  const tensors = modelTensors(config, ({ kind, layer, shape }) => {
    const vector = isVector(shape);
    return NAMES[kind].map((stored) => {
      const full = layer < 0 ? stored : `blk.${layer}.${stored}`;
      used.add(full);
      const part = ggufPart(file, full, vector);
      const interleaved = config.family === 'llama' && /^attn_[qk]\.(weight|bias)$/.test(stored);
      return interleaved ? rotateHalfRows(part, config.headDim) : part;
    });
  });
  checkUsed(file.tensors.keys(), used, (name) => name.endsWith('attn_rot_embd.weight'));
  return tensors;
}

function ggufPart(file: GgufFile, name: string, vector: boolean): Part {
  const t = file.tensors.get(name);
  const where = `tensor "${name}"`;
  if (!t) throw new ModelFileError(where, 'is missing');
  if (!decoders.has(t.type.name)) {
    throw new ModelFileError(where, `has type ${t.type.name}; ${[...decoders.keys()].join(', ')} can be read`, t.offset);
  }
  const wanted = vector ? 1 : 2;
  if (t.dims.slice(wanted).some((d) => d !== 1))
    throw new ModelFileError(where, `has dimensions ${t.dims.join(' × ')}, must have ${wanted}`, t.offset);
  if (vector && t.type.block !== 1)
    throw new ModelFileError(where, `is a vector of type ${t.type.name}; F32, F16 and BF16 are possible`, t.offset);
  const K = vector ? 1 : t.dims[0];
  const rows = vector ? t.dims[0] : (t.dims[1] ?? 1);
  const rowBytes = (K / t.type.block) * t.type.bytes;
  return { name, type: t.type.name, rows, K, read: (from, to) => file.source.read(t.offset + from * rowBytes, (to - from) * rowBytes) };
}

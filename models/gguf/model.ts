import { isVector } from '../../engine/anatomy.ts';
import type { ModelConfig } from '../../engine/config.ts';
import { ModelFileError } from '../error.ts';
import type { StoredNames } from '../families/family.ts';
import { checkUsed, type ModelTensor, modelTensors, type Part } from '../tensors.ts';
import { decoders } from './blocks.ts';
import type { GgufFile } from './reader.ts';

/** The tensors of a GGUF model under the engine's names, in loading order. Throws ModelFileError. */
export function ggufTensors(file: GgufFile, config: ModelConfig, names: StoredNames): ModelTensor[] {
  const used = new Set(['rope_freqs.weight']); // read with the configuration
  const tensors = modelTensors(config, ({ kind, layer, shape }) =>
    names[kind].map(({ name, flat, as }) => {
      const full = layer < 0 ? name : `blk.${layer}.${name}`;
      used.add(full);
      const part = ggufPart(file, full, isVector(shape), flat);
      return as ? as(part, config) : part;
    }),
  );
  checkUsed(file.tensors.keys(), used, (name) => name.endsWith('attn_rot_embd.weight'));
  return tensors;
}

function ggufPart(file: GgufFile, name: string, vector: boolean, flat = false): Part {
  const t = file.tensors.get(name);
  const where = `tensor "${name}"`;
  if (!t) throw new ModelFileError(where, 'is missing');
  if (!decoders.has(t.type.name)) {
    throw new ModelFileError(where, `has type ${t.type.name}; ${[...decoders.keys()].join(', ')} can be read`, t.offset);
  }
  const wanted = vector && !flat ? 1 : 2;
  if (t.dims.slice(wanted).some((d) => d !== 1))
    throw new ModelFileError(where, `has dimensions ${t.dims.join(' × ')}, must have ${wanted}`, t.offset);
  if (vector && t.type.block !== 1)
    throw new ModelFileError(where, `is a vector of type ${t.type.name}; F32, F16 and BF16 are possible`, t.offset);
  const K = vector ? 1 : t.dims[0];
  const rows = vector ? t.dims.reduce((n, d) => n * d, 1) : (t.dims[1] ?? 1);
  const rowBytes = (K / t.type.block) * t.type.bytes;
  return { name, type: t.type.name, rows, K, read: (from, to) => file.source.read(t.offset + from * rowBytes, (to - from) * rowBytes) };
}

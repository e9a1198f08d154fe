import { allocWeights, type ModelWeights } from '../engine/anatomy.ts';
import type { Backend, Buf, WeightFormat } from '../engine/backend.ts';
import { balanceKeys } from '../engine/balance.ts';
import type { ModelConfig } from '../engine/config.ts';
import { PLAIN } from '../engine/formats.ts';
import type { Generation } from './generation.ts';
import { defaultHasher, type NewHasher } from './pack/hash.ts';
import { canonicalJson } from './pack/manifest.ts';
import { type Format, formatOf, packedBytes, packedPieces, type Quantizer } from './quantize/convert.ts';
import type { ModelTensor } from './tensors.ts';
import type { TokenizerSpec } from './tokenizer/spec.ts';

/** A model as some file holds it: GGUF (gguf/open.ts) or a Hugging Face folder (hf/open.ts). Tensors are read when asked for. */
export interface ModelFiles {
  name: string;
  config: ModelConfig;
  /** In loading order. */
  tensors: readonly ModelTensor[];
  tokenizer: TokenizerSpec;
  chatTemplate?: string;
  generation: Generation;
}

export interface FormatOptions {
  /** Of all matrices; `auto` (the default) keeps what the file has as near as possible. */
  format?: Format;
  /** Of the output head (when tied: of the embedding); default: as the others. */
  head?: Format;
}

/** The format that each tensor is to have. */
export function chooseFormat(
  model: Pick<ModelFiles, 'config'>,
  t: ModelTensor,
  { format = 'auto', head = format }: FormatOptions,
): WeightFormat {
  const isHead = t.name === 'head' || (model.config.tied && t.name === 'embed');
  return formatOf(t, isHead ? head : format);
}

/** Of each matrix by its name, the mean square of what each of its columns is multiplied by. */
export type Importance = ReadonlyMap<string, Float64Array>;

export interface ConvertOptions extends FormatOptions {
  /** What rounds, where a format rounds; to the nearest unless given. */
  quantizer?: Quantizer;
  /** Of columns, where a format is rounded to by search. */
  importance?: Importance;
  onProgress?: (loaded: number, total: number) => void;
  hasher?: NewHasher;
}

/**
 * Converts a model's tensors one range of rows at a time straight into a backend. `digest` names the configuration and the
 * converted bytes, as a pack's digest would. Rejects with ModelFileError.
 */
export async function loadModel(
  model: ModelFiles,
  backend: Backend,
  options: ConvertOptions = {},
): Promise<{ weights: ModelWeights; digest: string }> {
  const formats = new Map(model.tensors.map((t) => [t.name, chooseFormat(model, t, options)]));
  const { weights, buffers } = allocWeights(backend, model.config, (t) => formats.get(t.name) ?? PLAIN);
  const total = model.tensors.reduce((n, t) => n + packedBytes(t, formats.get(t.name) ?? PLAIN), 0);
  const hash = (options.hasher ?? defaultHasher)();
  await hash.update(new TextEncoder().encode(canonicalJson({ config: model.config, formats: [...formats] })));
  let loaded = 0;
  for (const t of model.tensors) {
    let offset = 0;
    for await (const piece of packedPieces(
      t,
      formats.get(t.name) ?? PLAIN,
      undefined,
      options.quantizer,
      options.importance?.get(t.name),
    )) {
      backend.write(buffers.get(t.name) as Buf, piece, offset);
      await hash.update(piece);
      offset += piece.length;
      loaded += piece.length;
      options.onProgress?.(loaded, total);
    }
  }
  await balanceKeys(backend, model.config, weights);
  return { weights, digest: await hash.digest() };
}

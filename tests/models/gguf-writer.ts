import { concat } from '../../engine/bytes.ts';
import { ggufHead, type MetadataValue, padding, type TensorHead } from '../../models/gguf/write.ts';

export type Value = MetadataValue;
export type TensorIn = TensorHead & { data: Uint8Array };

/** A GGUF file in memory. */
export function writeGguf(metadata: Record<string, Value>, tensors: readonly TensorIn[]): Uint8Array {
  return concat([ggufHead(metadata, tensors), ...tensors.flatMap((t) => [t.data, padding(t.data.length)])]);
}

import { concat } from '../../engine/bytes.ts';
import { typeNamed } from './types.ts';

/** Metadata values to write; `strings`, `i32s` and `f32s` are arrays. */
export type MetadataValue =
  | { type: 'u32' | 'i32' | 'f32' | 'u64'; value: number }
  | { type: 'bool'; value: boolean }
  | { type: 'string'; value: string }
  | { type: 'strings'; value: readonly string[] }
  | { type: 'i32s' | 'f32s'; value: readonly number[] };

export interface TensorHead {
  name: string;
  /** ggml's name of the type. */
  type: string;
  /** ggml's order: contiguous first, so that a matrix [N, K] has dims [K, N]. */
  dims: readonly number[];
}

const u32 = (v: number) => new Uint8Array(new Uint32Array([v]).buffer);
const u64 = (v: number) => new Uint8Array(new BigUint64Array([BigInt(v)]).buffer);
const utf8 = new TextEncoder();
const text = (s: string) => {
  const bytes = utf8.encode(s);
  return concat([u64(bytes.length), bytes]);
};

function value(v: MetadataValue): Uint8Array {
  switch (v.type) {
    case 'u32':
      return concat([u32(4), u32(v.value)]);
    case 'i32':
      return concat([u32(5), u32(v.value)]);
    case 'f32':
      return concat([u32(6), new Uint8Array(new Float32Array([v.value]).buffer)]);
    case 'bool':
      return concat([u32(7), Uint8Array.of(v.value ? 1 : 0)]);
    case 'u64':
      return concat([u32(10), u64(v.value)]);
    case 'string':
      return concat([u32(8), text(v.value)]);
    case 'strings':
      return concat([u32(9), u32(8), u64(v.value.length), ...v.value.map(text)]);
    case 'i32s':
      return concat([u32(9), u32(5), u64(v.value.length), new Uint8Array(Int32Array.from(v.value).buffer)]);
    case 'f32s':
      return concat([u32(9), u32(6), u64(v.value.length), new Uint8Array(Float32Array.from(v.value).buffer)]);
  }
}

/** Bytes of a tensor's data. */
export function tensorBytes(t: TensorHead): number {
  const { block, bytes } = typeNamed(t.type);
  return (t.dims.reduce((n, d) => n * d, 1) / block) * bytes;
}

/** Zeros that go after `n` bytes of data. */
export const padding = (n: number, alignment = 32): Uint8Array => new Uint8Array((alignment - (n % alignment)) % alignment);

/** All of a GGUF file (version 3) before the first tensor's data; each tensor's data then follows in order, with its padding. */
export function ggufHead(metadata: Readonly<Record<string, MetadataValue>>, tensors: readonly TensorHead[], alignment = 32): Uint8Array {
  const parts: Uint8Array[] = [u32(0x46554747), u32(3), u64(tensors.length), u64(Object.keys(metadata).length)];
  for (const [key, v] of Object.entries(metadata)) parts.push(text(key), value(v));
  let offset = 0;
  for (const t of tensors) {
    parts.push(text(t.name), u32(t.dims.length), ...t.dims.map(u64), u32(typeNamed(t.type).id), u64(offset));
    offset += tensorBytes(t);
    offset += padding(offset, alignment).length;
  }
  const head = concat(parts);
  return concat([head, padding(head.length, alignment)]);
}

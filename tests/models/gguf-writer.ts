import { typeNamed } from '../../models/gguf/types.ts';

/** Metadata values by GGUF's type numbers, for files that tests write. */
export type Value =
  | { type: 'u32' | 'i32' | 'f32' | 'u64' | 'bool'; value: number }
  | { type: 'string'; value: string }
  | { type: 'strings'; value: readonly string[] }
  | { type: 'i32s' | 'f32s'; value: readonly number[] };

export interface TensorIn {
  name: string;
  type: string;
  /** ggml's order: contiguous first. */
  dims: readonly number[];
  data: Uint8Array;
}

const u32 = (v: number) => new Uint8Array(new Uint32Array([v]).buffer);
const u64 = (v: number) => new Uint8Array(new BigUint64Array([BigInt(v)]).buffer);
const str = (s: string) => {
  const bytes = new TextEncoder().encode(s);
  return join([u64(bytes.length), bytes]);
};

export function join(parts: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(parts.reduce((n, p) => n + p.length, 0));
  let at = 0;
  for (const p of parts) {
    out.set(p, at);
    at += p.length;
  }
  return out;
}

function value(v: Value): Uint8Array {
  switch (v.type) {
    case 'u32':
      return join([u32(4), u32(v.value)]);
    case 'i32':
      return join([u32(5), u32(v.value)]);
    case 'f32':
      return join([u32(6), new Uint8Array(new Float32Array([v.value]).buffer)]);
    case 'bool':
      return join([u32(7), Uint8Array.of(v.value)]);
    case 'u64':
      return join([u32(10), u64(v.value)]);
    case 'string':
      return join([u32(8), str(v.value)]);
    case 'strings':
      return join([u32(9), u32(8), u64(v.value.length), ...v.value.map(str)]);
    case 'i32s':
      return join([u32(9), u32(5), u64(v.value.length), new Uint8Array(Int32Array.from(v.value).buffer)]);
    case 'f32s':
      return join([u32(9), u32(6), u64(v.value.length), new Uint8Array(Float32Array.from(v.value).buffer)]);
  }
}

/** A GGUF file (version 3) in memory. */
export function writeGguf(metadata: Record<string, Value>, tensors: readonly TensorIn[], alignment = 32): Uint8Array {
  const head: Uint8Array[] = [u32(0x46554747), u32(3), u64(tensors.length), u64(Object.keys(metadata).length)];
  for (const [key, v] of Object.entries(metadata)) head.push(str(key), value(v));
  const up = (n: number) => Math.ceil(n / alignment) * alignment;
  let offset = 0;
  for (const t of tensors) {
    head.push(str(t.name), u32(t.dims.length), ...t.dims.map(u64), u32(typeNamed(t.type).id), u64(offset));
    offset = up(offset + t.data.length);
  }
  const start = join(head);
  const body: Uint8Array[] = [start, new Uint8Array(up(start.length) - start.length)];
  for (const t of tensors) body.push(t.data, new Uint8Array(up(t.data.length) - t.data.length));
  return join(body);
}

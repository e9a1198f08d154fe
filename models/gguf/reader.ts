import { ModelFileError } from '../error.ts';
import { Cursor, type Source } from '../source.ts';
import { Metadata, type MetadataEntry } from './metadata.ts';
import { type TensorType, tensorTypes } from './types.ts';
import { readString, readValue } from './values.ts';

/** A tensor in the file. `dims` are ggml's: dims[0] is contiguous, so a matrix [N, K] has dims [K, N]. */
export interface GgufTensor {
  name: string;
  dims: number[];
  type: TensorType;
  /** Of the first byte, in the file. */
  offset: number;
  bytes: number;
}

export interface GgufFile {
  source: Source;
  version: number;
  metadata: Metadata;
  tensors: Map<string, GgufTensor>;
}

const MAX_KEYS = 1 << 16;
const MAX_TENSORS = 1 << 16;
const MAX_NAME = 1 << 10;
const MAX_DIM = 2 ** 40;
const MAGIC = 0x46554747; // 'GGUF'

/** Reads the head of a GGUF file (versions 2 and 3, little endian; spec: ggml/docs/gguf.md). Tensor data stays where it is. Throws ModelFileError. */
export async function readGguf(source: Source): Promise<GgufFile> {
  const c = new Cursor(source);
  await c.fill(24, source.name);
  if (c.u32() !== MAGIC) throw new ModelFileError(source.name, 'does not start with GGUF: no GGUF file', 0);
  const version = c.u32();
  if (version !== 0 && (version & 0xffff) === 0)
    throw new ModelFileError(source.name, 'is a big-endian GGUF file; convert it to little endian', 4);
  if (version !== 2 && version !== 3) throw new ModelFileError(source.name, `GGUF version ${version} is not known (2 and 3 are)`, 4);
  const tensorCount = count(c, `${source.name}: tensor count`, MAX_TENSORS);
  const keyCount = count(c, `${source.name}: metadata count`, MAX_KEYS);

  const entries = new Map<string, MetadataEntry>();
  for (let i = 0; i < keyCount; i++) {
    const offset = c.offset;
    const key = await readString(c, `metadata key ${i + 1} of ${keyCount}`, MAX_NAME);
    if (entries.has(key)) throw new ModelFileError(`key "${key}"`, 'comes twice', offset);
    await c.fill(4, `key "${key}"`);
    entries.set(key, { offset, value: await readValue(c, `key "${key}"`, c.u32()) });
  }
  const metadata = new Metadata(entries);
  const alignment = metadata.int('general.alignment', 8, 1 << 16, 32);
  if ((alignment & (alignment - 1)) !== 0) {
    throw new ModelFileError('key "general.alignment"', `is ${alignment}, must be a power of two`, metadata.offset('general.alignment'));
  }

  const infos: GgufTensor[] = [];
  const tensors = new Map<string, GgufTensor>();
  for (let i = 0; i < tensorCount; i++) {
    const at = c.offset;
    const info = await readTensorInfo(c, i, tensorCount);
    if (tensors.has(info.name)) throw new ModelFileError(`tensor "${info.name}"`, 'comes twice', at);
    tensors.set(info.name, info);
    infos.push(info);
  }
  const start = Math.ceil(c.offset / alignment) * alignment;
  place(infos, start, alignment, source);
  return { source, version, metadata, tensors };
}

function count(c: Cursor, where: string, max: number): number {
  const offset = c.offset;
  const n = c.u64();
  if (n > BigInt(max)) throw new ModelFileError(where, `is ${n}, more than ${max}; the file is damaged`, offset);
  return Number(n);
}

async function readTensorInfo(c: Cursor, index: number, total: number): Promise<GgufTensor> {
  const at = c.offset;
  const name = await readString(c, `name of tensor ${index + 1} of ${total}`, MAX_NAME);
  const where = `tensor "${name}"`;
  await c.fill(4, where);
  const n = c.u32();
  if (n < 1 || n > 4) throw new ModelFileError(where, `has ${n} dimensions, must have 1 to 4`, at);
  await c.fill(n * 8 + 12, where);
  const dims: number[] = [];
  let elements = 1;
  for (let i = 0; i < n; i++) {
    const offset = c.offset;
    const d = c.u64();
    if (d < 1n || d > BigInt(MAX_DIM)) throw new ModelFileError(where, `dimension ${i} is ${d}, must be in 1..2^40`, offset);
    dims.push(Number(d));
    elements *= Number(d);
  }
  if (elements > MAX_DIM) throw new ModelFileError(where, `has ${dims.join(' × ')} elements, more than 2^40`, at);
  const typeAt = c.offset;
  const id = c.u32();
  const type = tensorTypes.get(id);
  if (!type) throw new ModelFileError(where, `has the unknown type ${id}`, typeAt);
  if (dims[0] % type.block !== 0) {
    throw new ModelFileError(where, `has rows of ${dims[0]} elements, no multiple of ${type.name}'s block of ${type.block}`, at);
  }
  const offsetAt = c.offset;
  const offset = c.u64();
  if (offset > BigInt(Number.MAX_SAFE_INTEGER)) throw new ModelFileError(where, `offset ${offset} is out of range`, offsetAt);
  return { name, dims, type, offset: Number(offset), bytes: (elements / type.block) * type.bytes };
}

/** Turns offsets into file offsets; checks alignment, the file's end and overlaps. */
function place(infos: GgufTensor[], start: number, alignment: number, source: Source): void {
  for (const t of infos) {
    const where = `tensor "${t.name}"`;
    if (t.offset % alignment !== 0) throw new ModelFileError(where, `offset ${t.offset} is no multiple of ${alignment}`, start + t.offset);
    t.offset += start;
    if (t.offset + t.bytes > source.size) {
      throw new ModelFileError(
        where,
        `ends at ${t.offset + t.bytes} but the file ends at ${source.size}; it is cut short or damaged`,
        t.offset,
      );
    }
  }
  const sorted = [...infos].sort((a, b) => a.offset - b.offset);
  for (let i = 1; i < sorted.length; i++) {
    const [a, b] = [sorted[i - 1], sorted[i]];
    if (a.offset + a.bytes > b.offset) throw new ModelFileError(`tensor "${b.name}"`, `overlaps tensor "${a.name}"`, b.offset);
  }
}

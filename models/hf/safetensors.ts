import { ModelFileError } from '../error.ts';
import { Fields, parseJsonObject } from '../json.ts';
import { Cursor, type Source } from '../source.ts';

export interface SafeTensor {
  name: string;
  /** The format's own name: F32, F16, BF16 … */
  dtype: string;
  shape: number[];
  source: Source;
  /** Of the first byte, in the file. */
  offset: number;
  bytes: number;
}

const MAX_HEADER = 100_000_000; // the format's own limit
const SIZES: Record<string, number> = {
  BOOL: 1,
  U8: 1,
  I8: 1,
  F8_E4M3: 1,
  F8_E5M2: 1,
  I16: 2,
  U16: 2,
  F16: 2,
  BF16: 2,
  I32: 4,
  U32: 4,
  F32: 4,
  I64: 8,
  U64: 8,
  F64: 8,
};

/** Reads the head of a safetensors file (u64 length, JSON, data); tensors stay where they are. Throws ModelFileError. */
export async function readSafetensors(source: Source): Promise<Map<string, SafeTensor>> {
  const c = new Cursor(source, 8);
  await c.fill(8, source.name);
  const length = c.u64();
  if (length > BigInt(Math.min(MAX_HEADER, source.size - 8))) {
    throw new ModelFileError(source.name, `has a header of ${length} bytes, more than the file or the format allow`, 0);
  }
  await c.fill(Number(length), source.name);
  const header = new Fields(parseJsonObject(c.peek(Number(length)), `${source.name}: header`), `${source.name}: header`);
  const start = 8 + Number(length);
  const out = new Map<string, SafeTensor>();
  for (const name of Object.keys(header.raw)) if (name !== '__metadata__') out.set(name, tensor(header.object(name), name, source, start));

  const sorted = [...out.values()].sort((a, b) => a.offset - b.offset || a.bytes - b.bytes);
  for (let i = 1; i < sorted.length; i++) {
    const [a, b] = [sorted[i - 1], sorted[i]];
    if (a.offset + a.bytes > b.offset) throw new ModelFileError(`tensor "${b.name}"`, `overlaps tensor "${a.name}"`, b.offset);
  }
  return out;
}

function tensor(f: Fields, name: string, source: Source, start: number): SafeTensor {
  const where = `tensor "${name}"`;
  const dtype = f.string('dtype');
  const size = SIZES[dtype];
  if (size === undefined) throw new ModelFileError(where, `has the unknown dtype ${JSON.stringify(dtype).slice(0, 40)}`);
  const shape = integers(f, 'shape', where);
  const offsets = integers(f, 'data_offsets', where);
  const elements = shape.reduce((n, d) => n * d, 1);
  if (shape.length > 8 || elements > 2 ** 40) throw new ModelFileError(where, `has the shape ${shape.join(' × ')}, too large`);
  const [from, to] = offsets;
  if (offsets.length !== 2 || from > to) throw new ModelFileError(where, `has data_offsets ${JSON.stringify(offsets).slice(0, 60)}`);
  if (start + to > source.size) {
    throw new ModelFileError(where, `ends at ${start + to} but the file ends at ${source.size}; it is cut short or damaged`, start + from);
  }
  if (to - from !== elements * size) {
    throw new ModelFileError(where, `has ${to - from} bytes, ${dtype} of ${shape.join(' × ')} takes ${elements * size}`, start + from);
  }
  return { name, dtype, shape, source, offset: start + from, bytes: to - from };
}

function integers(f: Fields, key: string, where: string): number[] {
  return f.array(key).map((v) => {
    if (typeof v !== 'number' || !Number.isSafeInteger(v) || v < 0)
      throw new ModelFileError(where, `${key} has ${JSON.stringify(v)?.slice(0, 40)}, must be counts`);
    return v;
  });
}

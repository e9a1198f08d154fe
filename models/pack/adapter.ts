/**
 * Adapters beside a pack, as its isolates load them: `adapters/index.json` lists them by name, `adapters/<sha256>.lora` is one. A file is
 * "TLORA001", a u32 (the header's bytes), the header as JSON, zeros up to a multiple of 64, and then each piece: a and b of LowRank, f32.
 */
import { type AdapterPiece, checkPieces, pieceBytes } from '../../engine/adapters.ts';
import type { LayerMatrix } from '../../engine/anatomy.ts';
import { concat } from '../../engine/bytes.ts';
import type { ModelConfig } from '../../engine/config.ts';
import { ModelFileError } from '../error.ts';
import { Fields, parseJsonObject } from '../json.ts';
import type { lowRank } from '../lora.ts';
import { sha256Hex } from './hash.ts';
import { type PackSource, readWhole } from './source.ts';

const MAGIC = 'TLORA001';
const ALIGN = 64;
const MAX_HEADER = 1 << 20;
/** What a file has at the most beside its numbers: header and padding. */
export const ADAPTER_HEADER = MAX_HEADER;
const MAX_INDEX = 1 << 20;
const MAX_NAME = 64;

export const ADAPTERS = 'adapters/index.json';
export const adapterFile = (id: string): string => `adapters/${id}.lora`;

/** What may name an adapter behind the model's name and a colon. */
export const isAdapterName = (name: string): boolean => name.length <= MAX_NAME && /^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(name);

/** An adapter that a model has. */
export interface AdapterEntry {
  name: string;
  /** SHA-256 of its file. */
  id: string;
  /** Of its file, about what it takes in memory. */
  bytes: number;
  created: number; // s
}

export interface AdapterPack {
  pieces: AdapterPiece[];
  /** Bytes of piece i, within the file's. */
  read(i: number): Uint8Array;
}

const data = (header: number): number => Math.ceil((MAGIC.length + 4 + header) / ALIGN) * ALIGN;

/** A file of an adapter's pieces, and its id. */
export async function writeAdapter(parts: ReturnType<typeof lowRank>): Promise<{ id: string; bytes: Uint8Array }> {
  const header = new TextEncoder().encode(JSON.stringify({ pieces: parts.map(({ piece }) => piece) }));
  const head = new Uint8Array(data(header.length));
  head.set(new TextEncoder().encode(MAGIC));
  new DataView(head.buffer).setUint32(MAGIC.length, header.length, true);
  head.set(header, MAGIC.length + 4);
  const all: Uint8Array[] = [head];
  for (const part of parts) all.push(await part.read());
  const bytes = concat(all);
  return { id: sha256Hex(bytes), bytes };
}

/** Reads a file of the name `id`. Throws ModelFileError when it is another one, or no adapter of this model. */
export function readAdapter(config: ModelConfig, id: string, bytes: Uint8Array): AdapterPack {
  const where = adapterFile(id);
  if (sha256Hex(bytes) !== id) throw new ModelFileError(where, 'is damaged: its SHA-256 is not its name');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const start = MAGIC.length + 4;
  if (bytes.length < start || new TextDecoder().decode(bytes.subarray(0, MAGIC.length)) !== MAGIC)
    throw new ModelFileError(where, `does not begin with ${MAGIC}`, 0);
  const size = view.getUint32(MAGIC.length, true);
  if (size > MAX_HEADER || start + size > bytes.length)
    throw new ModelFileError(where, `says that its header has ${size} bytes`, MAGIC.length);
  const MOST = 2 ** 31;
  const pieces = new Fields(parseJsonObject(bytes.slice(start, start + size), where), where).objects('pieces').map((f) => ({
    ...{ layer: f.int('layer', 0, MOST), matrix: f.string('matrix') as LayerMatrix, row: f.int('row', 0, MOST) },
    ...{ rank: f.int('rank', 0, MOST), N: f.int('N', 0, MOST), K: f.int('K', 0, MOST) },
  }));
  try {
    checkPieces(config, pieces);
  } catch (error) {
    throw new ModelFileError(where, (error as Error).message);
  }
  let at = data(size);
  const from = pieces.map((p) => (at += pieceBytes(p)) - pieceBytes(p));
  if (at !== bytes.length) throw new ModelFileError(where, `has ${bytes.length} bytes, its pieces make ${at}`, bytes.length);
  return { pieces, read: (i) => bytes.subarray(from[i], from[i] + pieceBytes(pieces[i])) };
}

export const writeIndex = (adapters: readonly AdapterEntry[]): string => `${JSON.stringify({ adapters }, null, 2)}\n`;

/** The adapters that a pack has; none where there is no index. Throws ModelFileError when it is no index. */
export async function readIndex(source: PackSource): Promise<AdapterEntry[]> {
  let bytes: Uint8Array;
  try {
    bytes = await readWhole(source, ADAPTERS, MAX_INDEX);
  } catch (error) {
    if (error instanceof ModelFileError && error.offset === undefined) return []; // there is none
    throw error;
  }
  return new Fields(parseJsonObject(bytes, ADAPTERS), ADAPTERS).objects('adapters').map((f, i) => {
    const entry = { name: f.string('name'), id: f.string('id'), bytes: f.int('bytes', 1, 2 ** 32), created: f.int('created', 0, 2 ** 40) };
    if (!isAdapterName(entry.name) || !/^[0-9a-f]{64}$/.test(entry.id)) throw new ModelFileError(ADAPTERS, `has no name or id at ${i}`);
    return entry;
  });
}

import { tensorList } from '../../engine/anatomy.ts';
import type { WeightFormat } from '../../engine/backend.ts';
import { ConfigError, type ModelConfig, readConfig } from '../../engine/config.ts';
import { FORMATS, fits, isWeightFormat, PLAIN, WEIGHT_FORMATS, WEIGHTS_VERSION, weightBytes } from '../../engine/formats.ts';
import { ModelFileError } from '../error.ts';
import { type Generation, SAMPLING_BOUNDS } from '../generation.ts';
import { DIALECT_NAMES, type DialectName } from '../grammar/dialects/index.ts';
import { Fields, parseJsonObject } from '../json.ts';
import { sha256Hex } from './hash.ts';

/** Version of the manifest's own fields. */
export const PACK_VERSION = 1;
/** A shard must fit into a static asset (25 MiB). */
export const SHARD_BYTES = 24 << 20;
/** Tensors start at multiples of it in the stream of shards. */
export const TENSOR_ALIGN = 64;
export const MANIFEST = 'model.json';

export interface PackFile {
  name: string;
  bytes: number;
  sha256: string;
}

/** A tensor's bytes in the stream that the shards make, one after the other. */
export interface PackTensor {
  name: string;
  format: WeightFormat;
  /** [N] (plain f32) or [N, K] (kernel layout). */
  shape: readonly number[];
  offset: number;
  bytes: number;
}

/** The format of a model's tensor, by its name, of those that are held; what a pack does not have is computed in f32. */
export function formatsIn(held: readonly Pick<PackTensor, 'name' | 'format'>[]): (tensor: { name: string }) => WeightFormat {
  const formats = new Map(held.map((t) => [t.name, t.format]));
  return ({ name }) => formats.get(name) ?? 'f32';
}

/** What the model's makers recommend, and where answers end. */
/** `model.json` of a pack. */
export interface Manifest {
  version: typeof PACK_VERSION;
  layout: typeof WEIGHTS_VERSION;
  /** The model's name, as `GET /v1/models` shows it. */
  name: string;
  config: ModelConfig;
  tokenizer: PackFile;
  chatTemplate?: string;
  /** How the model writes tool calls, where its template does not tell. */
  toolCalls?: DialectName;
  generation: Generation;
  tensors: readonly PackTensor[];
  /** All of SHARD_BYTES but the last. */
  shards: readonly PackFile[];
}

/** Reads and checks `model.json`: every number, name and hash. Throws ModelFileError naming the field. */
export function readManifest(bytes: Uint8Array): Manifest {
  const f = new Fields(parseJsonObject(bytes, MANIFEST), MANIFEST);
  f.int('version', PACK_VERSION, PACK_VERSION);
  if (f.get('layout') !== WEIGHTS_VERSION) throw f.wrong('layout', f.get('layout'), `${WEIGHTS_VERSION}; pack the model again`);
  const config = configOf(f.object('config'));
  const shards = f.objects('shards').map(readFile);
  shards.forEach((s, i) => {
    const last = i === shards.length - 1;
    if (s.bytes > SHARD_BYTES || (!last && s.bytes !== SHARD_BYTES))
      throw f.wrong(`shards[${i}].bytes`, s.bytes, `${last ? 'at most ' : ''}${SHARD_BYTES}`);
  });
  const manifest: Manifest = {
    version: PACK_VERSION,
    layout: WEIGHTS_VERSION,
    name: limited(f, 'name', 256),
    config,
    tokenizer: readFile(f.object('tokenizer')),
    generation: readGeneration(f.object('generation'), config.vocab),
    tensors: readTensors(
      f,
      config,
      shards.reduce((n, s) => n + s.bytes, 0),
    ),
    shards,
  };
  if (f.has('chatTemplate')) manifest.chatTemplate = limited(f, 'chatTemplate', 1 << 20);
  if (f.has('toolCalls')) manifest.toolCalls = readDialect(f);
  const names = [MANIFEST, manifest.tokenizer.name, ...shards.map((s) => s.name)];
  if (new Set(names).size !== names.length) throw new ModelFileError(MANIFEST, 'two of its files have the same name');
  return manifest;
}

/** Name of a pack's content: SHA-256 of the canonical manifest, which holds the hashes of all its files. */
export function packDigest(manifest: Manifest): string {
  return sha256Hex(new TextEncoder().encode(canonicalJson(manifest)));
}

/** JSON with sorted keys and no white space. */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_, v: unknown) =>
    typeof v === 'object' && v !== null && !Array.isArray(v)
      ? Object.fromEntries(Object.entries(v).sort(([a], [b]) => (a < b ? -1 : 1)))
      : v,
  );
}

function limited(f: Fields, key: string, max: number): string {
  const s = f.string(key);
  if (s.length > max) throw f.wrong(key, `${s.slice(0, 20)}…`, `at most ${max} characters`);
  return s;
}

function readDialect(f: Fields): DialectName {
  const name = f.string('toolCalls');
  if (!(DIALECT_NAMES as string[]).includes(name)) throw f.wrong('toolCalls', name.slice(0, 40), `one of ${DIALECT_NAMES.join(', ')}`);
  return name as DialectName;
}

function readFile(f: Fields): PackFile {
  const name = f.string('name');
  if (!/^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$/.test(name)) throw f.wrong('name', name, 'a plain file name');
  const sha256 = f.string('sha256');
  if (!/^[0-9a-f]{64}$/.test(sha256)) throw f.wrong('sha256', sha256, '64 hexadecimal digits');
  return { name, bytes: f.int('bytes', 0, 64 << 20), sha256 };
}

function configOf(f: Fields): ModelConfig {
  try {
    return readConfig(f.raw);
  } catch (e) {
    if (!(e instanceof ConfigError)) throw e;
    throw new ModelFileError(f.where, `${e.field} ${e.problem}`);
  }
}

function readGeneration(f: Fields, vocab: number): Generation {
  const stopIds = f.array('stopIds').map((id) => {
    if (typeof id !== 'number' || !Number.isInteger(id) || id < 0 || id >= vocab) throw f.wrong('stopIds', id, `ids in 0..${vocab - 1}`);
    return id;
  });
  const said = Object.entries(SAMPLING_BOUNDS).filter(([key]) => f.has(key));
  return { ...Object.fromEntries(said.map(([key, bounds]) => [key, f.number(key, ...bounds)])), stopIds };
}

/** The table must be what the configuration asks for, in that order, without overlaps, within the shards. */
function readTensors(f: Fields, config: ModelConfig, total: number): PackTensor[] {
  const want = tensorList(config);
  const got = f.objects('tensors');
  if (got.length !== want.length) throw f.wrong('tensors', got.length, `${want.length} tensors, as the configuration asks for`);
  let end = 0;
  return got.map((t, i) => {
    const { name, shape } = want[i];
    const where = `tensor "${name}"`;
    if (t.get('name') !== name) throw t.wrong('name', t.get('name'), `"${name}"`);
    if (JSON.stringify(t.get('shape')) !== JSON.stringify(shape))
      throw new ModelFileError(where, `shape is ${JSON.stringify(t.get('shape'))}, must be ${JSON.stringify(shape)}`);
    const format = t.string('format');
    if (!isWeightFormat(format))
      throw new ModelFileError(where, `format is ${JSON.stringify(format)}, must be one of ${WEIGHT_FORMATS.join(', ')}`);
    const [N, K] = shape;
    if (K === undefined && format !== PLAIN) throw new ModelFileError(where, `is a vector of format ${format}, must be ${PLAIN}`);
    if (K !== undefined && !fits(format, K))
      throw new ModelFileError(where, `has K = ${K}, no multiple of ${FORMATS[format].block}, and must be f32`);
    const need = K === undefined ? N * 4 : weightBytes(format, N, K);
    const [offset, bytes] = [t.int('offset', 0, Number.MAX_SAFE_INTEGER), t.int('bytes', 0, Number.MAX_SAFE_INTEGER)];
    if (bytes !== need) throw new ModelFileError(where, `has ${bytes} bytes, ${format} of its shape takes ${need}`, offset);
    if (offset % TENSOR_ALIGN !== 0 || offset < end)
      throw new ModelFileError(where, `offset must be a multiple of ${TENSOR_ALIGN} from ${end} on`, offset);
    end = offset + bytes;
    if (end > total) throw new ModelFileError(where, `ends at ${end} but the shards end at ${total}`, offset);
    return { name, format, shape, offset, bytes };
  });
}

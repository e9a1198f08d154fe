/** `model.json` of an embedding pack: which files, how tokens become a vector, what it takes. */
import { ModelFileError } from '../models/error.ts';
import { Fields, parseJsonObject } from '../models/json.ts';

export const EMBEDDING_VERSION = 1;
export const MANIFEST = 'model.json';
/** Largest model.onnx that is read at all; the memory plan refuses most of these. */
export const MAX_MODEL = 512 << 20;
export const MAX_TOKENIZER = 32 << 20;
/** Longest text that any pack may ask for, in tokens. */
export const MAX_TOKENS = 8192;

export const POOLINGS = ['mean', 'cls', 'none'] as const;
export type Pooling = (typeof POOLINGS)[number];

export interface PackedFile {
  name: string;
  bytes: number;
  sha256: string;
}

export interface EmbeddingManifest {
  kind: 'embedding';
  version: typeof EMBEDDING_VERSION;
  /** As `GET /v1/models` shows it. */
  name: string;
  model: PackedFile;
  tokenizer: PackedFile;
  /** The graph's output that is pooled. */
  output: string;
  /** mean: of the tokens that are there; cls: the first token's; none: the model pools itself. */
  pooling: Pooling;
  /** Vectors get length 1. */
  normalize: boolean;
  dim: number;
  /** Matryoshka: prefixes of a vector, normalised again, that are vectors of their own. Ascending, `dim` the last. */
  dimensions: number[];
  /** Longest text in tokens. */
  maxTokens: number;
  /** Padded tokens that are computed together at most, unless a text alone is longer. */
  batchTokens: number;
  /** ONNX Runtime's memory after the largest batch, as `turnstone pack` measured it. */
  heapBytes: number;
  /** Put before texts by the client, never by the server; shown in /v1/models. */
  note?: string;
}

/** Whether it is a cross-encoder, whose one number a text says how well two texts belong together. */
export const isScorer = ({ dim, pooling }: Pick<EmbeddingManifest, 'dim' | 'pooling'>): boolean => dim === 1 && pooling === 'none';

/** Reads and bounds every field. Throws ModelFileError naming the one that is wrong. */
export function readEmbeddingManifest(bytes: Uint8Array): EmbeddingManifest {
  const f = new Fields(parseJsonObject(bytes, MANIFEST), MANIFEST);
  if (f.get('kind') !== 'embedding')
    throw f.wrong('kind', f.get('kind'), '"embedding"; a language model is served by MODEL, not by EMBED_MODEL');
  f.int('version', EMBEDDING_VERSION, EMBEDDING_VERSION);
  const dim = f.int('dim', 1, 8192);
  const pooling = POOLINGS.find((p) => p === f.get('pooling'));
  if (!pooling) throw f.wrong('pooling', f.get('pooling'), POOLINGS.join(', '));
  const maxTokens = f.int('maxTokens', 1, MAX_TOKENS);
  return {
    kind: 'embedding',
    version: EMBEDDING_VERSION,
    name: limited(f, 'name', 256),
    model: readFile(f.object('model'), MAX_MODEL),
    tokenizer: readFile(f.object('tokenizer'), MAX_TOKENIZER),
    output: limited(f, 'output', 256),
    pooling,
    normalize: f.bool('normalize', true),
    dim,
    dimensions: readDimensions(f, dim),
    maxTokens,
    batchTokens: f.int('batchTokens', 1, 1 << 16, 1024),
    heapBytes: f.int('heapBytes', 0, 2 ** 32, 0),
    ...(f.has('note') && { note: limited(f, 'note', 1000) }),
  };
}

/** Ascending prefixes that end with `dim`; absent, the whole vector alone. */
export function readDimensions(f: Fields, dim: number): number[] {
  const list = f.array('dimensions', [dim]);
  if (list.length === 0 || list.length > 64) throw f.wrong('dimensions', list, '1 to 64 numbers');
  list.forEach((d, i) => {
    const least = i === 0 ? 1 : Number(list[i - 1]) + 1;
    if (typeof d !== 'number' || !Number.isInteger(d) || d < least || d > dim)
      throw f.wrong(`dimensions[${i}]`, d, `an integer in ${least}..${dim}`);
  });
  if (list.at(-1) !== dim) throw f.wrong('dimensions', list, `ascending and end with ${dim}`);
  return list as number[];
}

function limited(f: Fields, key: string, max: number): string {
  const s = f.string(key);
  if (s.length === 0 || s.length > max) throw f.wrong(key, s.slice(0, 20), `1 to ${max} characters`);
  return s;
}

function readFile(f: Fields, max: number): PackedFile {
  const name = f.string('name');
  if (!/^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$/.test(name)) throw f.wrong('name', name, 'a plain file name');
  const sha256 = f.string('sha256');
  if (!/^[0-9a-f]{64}$/.test(sha256)) throw f.wrong('sha256', sha256, '64 hexadecimal digits');
  return { name, bytes: f.int('bytes', 1, max), sha256 };
}

/** Throws when a file is not the one that was packed. */
export function checkFile(file: PackedFile, bytes: number, sha256: string): void {
  if (bytes !== file.bytes) {
    throw new ModelFileError(`file "${file.name}"`, `has ${bytes} bytes, ${MANIFEST} says ${file.bytes}: it is cut short or another file`);
  }
  if (sha256 !== file.sha256) {
    throw new ModelFileError(
      `file "${file.name}"`,
      `has SHA-256 ${sha256.slice(0, 12)}…, ${MANIFEST} says ${file.sha256.slice(0, 12)}…: it is damaged or another file`,
    );
  }
}

/** OpenAI's model object, as `GET /v1/models` shows it. */
export const describeEmbedder = (m: EmbeddingManifest) => ({
  ...{ id: m.name, object: 'model', created: 0, owned_by: 'turnstone' },
  ...(isScorer(m)
    ? { scores: { by: 'cross-encoder', max_tokens: m.maxTokens } }
    : { embedding: { dimensions: m.dimensions, max_tokens: m.maxTokens, pooling: m.pooling, ...(m.note && { note: m.note }) } }),
});

import { allocPart, type ModelWeights, type Part, type PartWeights, rowsOf, tensorList, whole } from '../../engine/anatomy.ts';
import type { Backend, Buf } from '../../engine/backend.ts';
import { balanceKeys } from '../../engine/balance.ts';
import { PLAIN, weightBytes } from '../../engine/formats.ts';
import { ModelFileError } from '../error.ts';
import { readTokenizer } from '../tokenizer/file.ts';
import { createTokenizer, type Tokenizer } from '../tokenizer/tokenizer.ts';
import { defaultHasher, type NewHasher } from './hash.ts';
import { MANIFEST, type Manifest, packDigest, readManifest } from './manifest.ts';
import { chunks, type PackSource, readWhole } from './source.ts';

const MAX_MANIFEST = 16 << 20;

/** Reads and checks a pack's manifest. `digest` names the pack's content. Throws ModelFileError. */
export async function openPack(source: PackSource): Promise<{ manifest: Manifest; digest: string }> {
  const manifest = readManifest(await readWhole(source, MANIFEST, MAX_MANIFEST));
  return { manifest, digest: packDigest(manifest) };
}

/** Reads the pack's tokenizer, its hash checked. */
export async function loadTokenizer(source: PackSource, manifest: Manifest): Promise<Tokenizer> {
  const { name, bytes, sha256 } = manifest.tokenizer;
  const file = await readWhole(source, name, bytes);
  if (file.length !== bytes) throw new ModelFileError(`file "${name}"`, `has ${file.length} bytes, must have ${bytes}`, file.length);
  const hash = defaultHasher();
  await hash.update(file);
  const got = await hash.digest();
  if (got !== sha256) throw new ModelFileError(`file "${name}"`, `has SHA-256 ${got}, must have ${sha256}; it is damaged`);
  const tokenizer = createTokenizer(readTokenizer(file, `file "${name}"`));
  if (tokenizer.vocab > manifest.config.vocab) {
    throw new ModelFileError(`file "${name}"`, `has ${tokenizer.vocab} tokens, the model only ${manifest.config.vocab}`);
  }
  return tokenizer;
}

export interface LoadOptions {
  /** Bytes of weights loaded so far, and of all. */
  onProgress?: (loaded: number, total: number) => void;
  /** Check every shard's SHA-256. Default true. */
  verify?: boolean;
  hasher?: NewHasher;
}

/**
 * Streams the shards straight into a backend's memory, each tensor to its place, with a running hash and no second copy. Rejects with
 * ModelFileError (which shard or tensor, which byte); what was allocated until then goes with the backend.
 */
export async function loadWeights(
  source: PackSource,
  manifest: Manifest,
  backend: Backend,
  options: LoadOptions = {},
): Promise<ModelWeights> {
  return (await loadPart(source, manifest, backend, whole(manifest.config), options)) as ModelWeights;
}

/** The same for a part of the model. Only shards that hold something of it are read; these as a whole, for their hashes. */
export async function loadPart(
  source: PackSource,
  manifest: Manifest,
  backend: Backend,
  part: Part,
  options: LoadOptions = {},
): Promise<PartWeights> {
  const { onProgress, verify = true, hasher = defaultHasher } = options;
  const { weights, pieces } = place(manifest, backend, part);
  const inside = (from: number, to: number) => pieces.some((p) => p.offset < to && p.offset + p.bytes > from);
  let start = 0;
  const shards = manifest.shards
    .map((s) => ({ ...s, start: (start += s.bytes) - s.bytes }))
    .filter((s) => inside(s.start, s.start + s.bytes));
  const total = shards.reduce((n, s) => n + s.bytes, 0);
  const sink = new PieceSink(backend, pieces);
  let loaded = 0;
  for (const shard of shards) {
    const where = `shard "${shard.name}"`;
    const hash = verify ? hasher() : undefined;
    let at = 0;
    sink.skipTo(shard.start);
    for await (const chunk of chunks(await source.open(shard.name))) {
      if (at + chunk.length > shard.bytes) throw new ModelFileError(where, `is longer than ${shard.bytes} bytes`, shard.bytes);
      const hashed = hash?.update(chunk);
      sink.write(chunk);
      if (hashed) await hashed;
      at += chunk.length;
      onProgress?.((loaded += chunk.length), total);
    }
    if (at !== shard.bytes) throw new ModelFileError(where, `ends after ${at} of ${shard.bytes} bytes, within ${sink.name()}`, at);
    if (!hash) continue;
    const got = await hash.digest();
    if (got !== shard.sha256) throw new ModelFileError(where, `has SHA-256 ${got}, must have ${shard.sha256}; it is damaged`);
  }
  await balanceKeys(backend, manifest.config, weights, part.layers[0]);
  return weights;
}

/** Bytes of the shards' stream, and where they belong. */
interface Piece {
  name: string;
  offset: number;
  bytes: number;
  buf: Buf;
}

/** Allocates a part, and says which bytes of the stream it is made of, in their order. */
function place({ config, tensors }: Manifest, backend: Backend, part: Part): { weights: PartWeights; pieces: Piece[] } {
  const byName = new Map(tensors.map((t) => [t.name, t]));
  const { weights, buffers } = allocPart(backend, config, part, (t) => byName.get(t.name)?.format ?? PLAIN);
  const pieces = tensorList(config).flatMap((t): Piece[] => {
    const [rows, packed, buf] = [rowsOf(t, config, part), byName.get(t.name), buffers.get(t.name)];
    if (!rows || !packed || !buf) return [];
    const [, K] = t.shape;
    const skipped = K === undefined ? 0 : weightBytes(packed.format, rows[0], K);
    return [{ name: t.name, offset: packed.offset + skipped, bytes: buf.bytes, buf }];
  });
  return { weights, pieces: pieces.sort((a, b) => a.offset - b.offset) };
}

/** Sends bytes of the shards' stream to the tensors they belong to, in whole words as devices want them. */
class PieceSink {
  /** Where in the stream the next byte is. */
  #at = 0;
  readonly #backend: Backend;
  readonly #pieces: readonly Piece[];
  #index = 0;
  readonly #word = new Uint8Array(4); // a word cut in two by the border of a chunk
  #held = 0;

  constructor(backend: Backend, pieces: readonly Piece[]) {
    this.#backend = backend;
    this.#pieces = pieces;
  }

  /** The tensor that the next byte belongs to, for errors. */
  name(): string {
    const piece = this.#pieces[this.#index];
    return piece ? `tensor "${piece.name}"` : 'the end';
  }

  /** The stream goes on at `offset`, a whole word; nothing between is wanted. */
  skipTo(offset: number): void {
    if (this.#at < offset) this.#at = offset;
  }

  write(chunk: Uint8Array): void {
    let from = 0;
    while (this.#held > 0 && from < chunk.length) {
      this.#word[this.#held++] = chunk[from++];
      if (this.#held < 4) continue;
      this.#held = 0;
      this.#words(this.#word);
    }
    if (this.#held > 0) return;
    const whole = from + ((chunk.length - from) & ~3);
    if (whole > from) this.#words(chunk.subarray(from, whole));
    for (let i = whole; i < chunk.length; i++) this.#word[this.#held++] = chunk[i];
  }

  #words(bytes: Uint8Array): void {
    let from = 0;
    while (from < bytes.length) {
      const piece = this.#pieces[this.#index];
      if (!piece) {
        this.#at += bytes.length - from;
        return;
      }
      if (this.#at < piece.offset) {
        const gap = Math.min(piece.offset - this.#at, bytes.length - from);
        this.#at += gap;
        from += gap;
        continue;
      }
      const inside = this.#at - piece.offset;
      const n = Math.min(piece.bytes - inside, bytes.length - from);
      this.#backend.write(piece.buf, bytes.subarray(from, from + n), inside);
      this.#at += n;
      from += n;
      if (inside + n === piece.bytes) this.#index++;
    }
  }
}

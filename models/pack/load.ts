import { allocWeights, type ModelWeights } from '../../engine/anatomy.ts';
import type { Backend, Buf } from '../../engine/backend.ts';
import { balanceKeys } from '../../engine/balance.ts';
import { PLAIN } from '../../engine/formats.ts';
import { ModelFileError } from '../error.ts';
import { readTokenizer } from '../tokenizer/file.ts';
import { createTokenizer, type Tokenizer } from '../tokenizer/tokenizer.ts';
import { defaultHasher, type NewHasher } from './hash.ts';
import { MANIFEST, type Manifest, type PackTensor, packDigest, readManifest } from './manifest.ts';
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
  const { onProgress, verify = true, hasher = defaultHasher } = options;
  const formats = new Map(manifest.tensors.map((t) => [t.name, t.format]));
  const { weights, buffers } = allocWeights(backend, manifest.config, (t) => formats.get(t.name) ?? PLAIN);
  const total = manifest.shards.reduce((n, s) => n + s.bytes, 0);
  const sink = new TensorSink(backend, manifest.tensors, buffers);
  for (const shard of manifest.shards) {
    const where = `shard "${shard.name}"`;
    const hash = verify ? hasher() : undefined;
    let at = 0;
    for await (const chunk of chunks(await source.open(shard.name))) {
      if (at + chunk.length > shard.bytes) throw new ModelFileError(where, `is longer than ${shard.bytes} bytes`, shard.bytes);
      const hashed = hash?.update(chunk);
      sink.write(chunk);
      if (hashed) await hashed;
      at += chunk.length;
      onProgress?.(sink.at, total);
    }
    if (at !== shard.bytes) throw new ModelFileError(where, `ends after ${at} of ${shard.bytes} bytes, within ${sink.name()}`, at);
    if (!hash) continue;
    const got = await hash.digest();
    if (got !== shard.sha256) throw new ModelFileError(where, `has SHA-256 ${got}, must have ${shard.sha256}; it is damaged`);
  }
  await balanceKeys(backend, manifest.config, weights);
  return weights;
}

/** Sends consecutive bytes of the shards' stream to the tensors they belong to, in whole words as devices want them. */
class TensorSink {
  /** Bytes of the stream taken so far. */
  at = 0;
  readonly #backend: Backend;
  readonly #tensors: readonly PackTensor[];
  readonly #buffers: ReadonlyMap<string, Buf>;
  #index = 0;
  readonly #word = new Uint8Array(4); // a word cut in two by the border of a chunk
  #held = 0;

  constructor(backend: Backend, tensors: readonly PackTensor[], buffers: ReadonlyMap<string, Buf>) {
    this.#backend = backend;
    this.#tensors = tensors;
    this.#buffers = buffers;
  }

  /** The tensor that the next byte belongs to, for errors. */
  name(): string {
    const t = this.#tensors[this.#index];
    return t ? `tensor "${t.name}"` : 'the end';
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
      const t = this.#tensors[this.#index];
      if (!t) {
        this.at += bytes.length - from;
        return;
      }
      if (this.at < t.offset) {
        const gap = Math.min(t.offset - this.at, bytes.length - from);
        this.at += gap;
        from += gap;
        continue;
      }
      const inside = this.at - t.offset;
      const n = Math.min(t.bytes - inside, bytes.length - from);
      this.#backend.write(this.#buffers.get(t.name) as Buf, bytes.subarray(from, from + n), inside);
      this.at += n;
      from += n;
      if (inside + n === t.bytes) this.#index++;
    }
  }
}

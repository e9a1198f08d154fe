import type { WeightFormat } from '../../engine/backend.ts';
import { WEIGHTS_VERSION } from '../../engine/formats.ts';
import type { DialectName } from '../grammar/dialects/index.ts';
import type { Importance } from '../model.ts';
import { chooseFormat, type FormatOptions, type ModelFiles } from '../model.ts';
import { Loss, packedPieces, type Quantizer } from '../quantize/convert.ts';
import { writeTokenizer } from '../tokenizer/file.ts';
import { defaultHasher, type NewHasher } from './hash.ts';
import {
  MANIFEST,
  type Manifest,
  PACK_VERSION,
  type PackFile,
  type PackTensor,
  packDigest,
  SHARD_BYTES,
  TENSOR_ALIGN,
} from './manifest.ts';

/** Where a pack's files go: a folder, R2, memory. */
export interface PackSink {
  /** The bytes may change once the promise has resolved. */
  write(name: string, bytes: Uint8Array): Promise<void>;
}

/** What became of a tensor. */
export interface TensorReport {
  name: string;
  shape: readonly number[];
  /** Types in the file, `+` between those of joined parts. */
  stored: string;
  format: WeightFormat;
  bytes: number;
  /** Relative RMS error of requantization; 0 when every number was kept. */
  error: number;
}

/** What rounding cost, as lines such as "Q4_1 → w4, error 9.1 %": relative RMS over all tensors of a kind. None when every number was kept. */
export function costs(report: readonly TensorReport[]): string[] {
  const kinds = new Map<string, { squares: number; values: number }>();
  for (const { stored, format, shape, error } of report) {
    if (error === 0) continue;
    const kind = `${stored} → ${format}`;
    const sum = kinds.get(kind) ?? { squares: 0, values: 0 };
    const values = shape.reduce((a, b) => a * b, 1);
    kinds.set(kind, { squares: sum.squares + error * error * values, values: sum.values + values });
  }
  return [...kinds].map(([kind, { squares, values }]) => `${kind}, error ${(100 * Math.sqrt(squares / values)).toPrecision(2)} %`);
}

export interface WriteOptions extends FormatOptions {
  name?: string;
  /** Instead of the model's own. */
  chatTemplate?: string;
  /** How the model writes tool calls, where its template does not tell. */
  toolCalls?: DialectName;
  quantizer?: Quantizer;
  /** Of columns, where a format is rounded to by search. */
  importance?: Importance;
  onTensor?: (report: TensorReport, index: number, total: number) => void;
  hasher?: NewHasher;
}

/** Converts a model into a pack: tensors in kernel layout, cut into shards of 24 MiB. Holds one shard in memory. Rejects with ModelFileError. */
export async function writePack(
  model: ModelFiles,
  sink: PackSink,
  options: WriteOptions = {},
): Promise<{ manifest: Manifest; digest: string; report: TensorReport[] }> {
  const shards = new ShardWriter(sink, options.hasher ?? defaultHasher);
  const tensors: PackTensor[] = [];
  const report: TensorReport[] = [];
  for (const [i, t] of model.tensors.entries()) {
    const format = chooseFormat(model, t, options);
    const loss = new Loss();
    await shards.align(TENSOR_ALIGN);
    const offset = shards.at;
    for await (const piece of packedPieces(t, format, loss, options.quantizer, options.importance?.get(t.name))) await shards.write(piece);
    const shape = t.vector ? [t.N] : [t.N, t.K];
    const bytes = shards.at - offset;
    tensors.push({ name: t.name, format, shape, offset, bytes });
    const stored = [...new Set(t.parts.map((p) => p.type))].join('+');
    report.push({ name: t.name, shape, stored, format, bytes, error: loss.relative });
    options.onTensor?.(report[i], i, model.tensors.length);
  }
  const files = await shards.finish();
  const tokenizer = writeTokenizer(model.tokenizer);
  const hash = (options.hasher ?? defaultHasher)();
  await hash.update(tokenizer);
  await sink.write('tokenizer.bin', tokenizer);
  const { chatTemplate = model.chatTemplate } = options;
  const manifest: Manifest = {
    version: PACK_VERSION,
    layout: WEIGHTS_VERSION,
    name: options.name ?? model.name,
    config: model.config,
    tokenizer: { name: 'tokenizer.bin', bytes: tokenizer.length, sha256: await hash.digest() },
    ...(chatTemplate !== undefined && { chatTemplate }),
    ...(options.toolCalls && { toolCalls: options.toolCalls }),
    generation: model.generation,
    tensors,
    shards: files,
  };
  await sink.write(MANIFEST, new TextEncoder().encode(`${JSON.stringify(manifest, null, 1)}\n`));
  return { manifest, digest: packDigest(manifest), report };
}

class ShardWriter {
  /** Bytes written to the stream so far. */
  at = 0;
  readonly #sink: PackSink;
  readonly #hasher: NewHasher;
  readonly #buffer = new Uint8Array(SHARD_BYTES);
  readonly #files: PackFile[] = [];
  #used = 0;

  constructor(sink: PackSink, hasher: NewHasher) {
    this.#sink = sink;
    this.#hasher = hasher;
  }

  async align(to: number): Promise<void> {
    const gap = (to - (this.at % to)) % to;
    if (gap > 0) await this.write(new Uint8Array(gap));
  }

  async write(bytes: Uint8Array): Promise<void> {
    for (let from = 0; from < bytes.length; ) {
      const n = Math.min(bytes.length - from, SHARD_BYTES - this.#used);
      this.#buffer.set(bytes.subarray(from, from + n), this.#used);
      this.#used += n;
      this.at += n;
      from += n;
      if (this.#used === SHARD_BYTES) await this.#flush();
    }
  }

  async finish(): Promise<PackFile[]> {
    if (this.#used > 0) await this.#flush();
    return this.#files;
  }

  async #flush(): Promise<void> {
    const bytes = this.#buffer.subarray(0, this.#used);
    const hash = this.#hasher();
    await hash.update(bytes);
    const name = `weights-${String(this.#files.length).padStart(3, '0')}.bin`;
    await this.#sink.write(name, bytes);
    this.#files.push({ name, bytes: bytes.length, sha256: await hash.digest() });
    this.#used = 0;
  }
}

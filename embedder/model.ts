/** A pack, opened: texts in, vectors out. The same in a Worker and in Node. */
import { ModelFileError } from '../models/error.ts';
import { hex } from '../models/pack/hash.ts';
import { type PackSource, readWhole } from '../models/pack/source.ts';
import { fill, makeBatches } from './batch.ts';
import { checkFile, type EmbeddingManifest, MANIFEST, MAX_TOKENIZER, readEmbeddingManifest } from './manifest.ts';
import { type MemoryPlan, planMemory } from './memory.ts';
import { checkEncoder, checkVocabulary } from './onnx/check.ts';
import { readGraph } from './onnx/graph.ts';
import { engineError } from './onnx/refusal.ts';
import { finish, poolTokens } from './pool.ts';
import type { Runtime } from './runtime/ort.ts';
import { type PairRow, readTokenizer, type TextTokenizer } from './tokenize.ts';

export interface EmbeddingModel {
  manifest: EmbeddingManifest;
  tokenizer: TextTokenizer;
  plan: MemoryPlan;
  /** Vectors of `dimensions` numbers for rows of token ids, each of 1..maxTokens. `between` is awaited between batches. */
  embed(rows: readonly (readonly number[])[], dimensions?: number, between?: () => Promise<void>): Promise<Float32Array[]>;
  /** A cross-encoder's number for each pair, before any function of it. */
  score(rows: readonly PairRow[], between?: () => Promise<void>): Promise<number[]>;
  close(): Promise<void>;
}

export async function loadManifest(source: PackSource): Promise<EmbeddingManifest> {
  return readEmbeddingManifest(await readWhole(source, MANIFEST, 1 << 16));
}

/** Opens a pack. Rejects with ModelFileError naming the file, tensor, operator or number that is wrong. */
export async function openEmbedding(source: PackSource, runtime: Runtime, memoryMb: number): Promise<EmbeddingModel> {
  const manifest = await loadManifest(source);
  const text = await readWhole(source, manifest.tokenizer.name, MAX_TOKENIZER);
  checkFile(manifest.tokenizer, text.length, await sha256(text));
  const tokenizer = readTokenizer(text, manifest.tokenizer.name);
  const plan = planMemory(manifest, memoryMb, tokenizer.largestId + 1); // before the model is read

  const bytes = await readWhole(source, manifest.model.name, manifest.model.bytes);
  checkFile(manifest.model, bytes.length, await sha256(bytes));
  const where = manifest.model.name;
  const encoder = checkEncoder(readGraph(bytes, where), where, manifest.output);
  if (encoder.dim !== manifest.dim) throw new ModelFileError(MANIFEST, `dim is ${manifest.dim}, but the model's output has ${encoder.dim}`);
  if ((encoder.rank === 2) !== (manifest.pooling === 'none')) {
    throw new ModelFileError(
      MANIFEST,
      `pooling is ${manifest.pooling}, but output "${encoder.output}" is ${encoder.rank === 2 ? 'a vector a text' : 'a vector a token'}`,
    );
  }
  checkVocabulary(encoder.table, tokenizer.largestId, manifest.tokenizer.name);
  const session = await runtime.open(bytes, encoder).catch((e: unknown) => {
    throw engineError(e, where);
  });

  /** What the model gives for each row, pooled. */
  const run = async (rows: readonly (readonly number[])[], between: () => Promise<void>, second?: readonly number[]) => {
    const out = new Array<Float32Array>(rows.length);
    const batches = makeBatches(
      rows.map((r) => r.length),
      { batchTokens: manifest.batchTokens, alone: encoder.dynamic },
    );
    for (const [k, batch] of batches.entries()) {
      if (k > 0) await between();
      const { data, dims } = await session.run(fill(batch, rows, tokenizer.padId, second), batch.texts.length, batch.tokens);
      checkOutput(dims, data, [batch.texts.length, ...(encoder.rank === 3 ? [batch.tokens] : []), encoder.dim]);
      const lengths = batch.texts.map((t) => rows[t].length);
      const pooled = poolTokens(data, manifest.pooling, lengths, batch.tokens, encoder.dim);
      batch.texts.forEach((t, i) => {
        out[t] = pooled[i];
      });
    }
    return out;
  };

  return {
    manifest,
    tokenizer,
    plan,
    async embed(rows, dimensions = manifest.dim, between = async () => {}) {
      return (await run(rows, between)).map((v) => finish(v, dimensions, manifest.normalize));
    },
    async score(rows, between = async () => {}) {
      const ids = rows.map((r) => r.ids);
      const seconds = rows.map((r) => r.second);
      return (await run(ids, between, seconds)).map(([logit]) => logit);
    },
    close: () => session.close(),
  };
}

function checkOutput(dims: readonly number[], data: Float32Array, want: number[]): void {
  if (dims.length !== want.length || want.some((d, i) => d !== dims[i]) || data.length !== want.reduce((a, b) => a * b, 1)) {
    throw new Error(`the model gave [${dims}], not [${want}]`);
  }
}

const sha256 = async (bytes: Uint8Array): Promise<string> =>
  hex(new Uint8Array(await crypto.subtle.digest('SHA-256', bytes as Uint8Array<ArrayBuffer>)));

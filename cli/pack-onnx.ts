/** `turnstone pack model.onnx`: a sentence encoder becomes an embedding pack, after it has been opened and run as the Worker will. */
import { createHash } from 'node:crypto';
import { existsSync, readdirSync } from 'node:fs';
import { mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { basename, dirname, join, resolve } from 'node:path';
import {
  EMBEDDING_VERSION,
  type EmbeddingManifest,
  isScorer,
  MANIFEST,
  MAX_MODEL,
  type PackedFile,
  POOLINGS,
  type Pooling,
  readDimensions,
} from '../embedder/manifest.ts';
import { openEmbedding } from '../embedder/model.ts';
import { checkEncoder, checkVocabulary, type Encoder } from '../embedder/onnx/check.ts';
import { readGraph } from '../embedder/onnx/graph.ts';
import { createRuntime } from '../embedder/runtime/ort.ts';
import { readTokenizer, type TextTokenizer } from '../embedder/tokenize.ts';
import { ModelFileError } from '../models/error.ts';
import { Fields, type JsonObject, parseJsonObject } from '../models/json.ts';
import { memoryPack } from '../models/pack/source.ts';
import { INSTALLED, ROOT } from './build.ts';
import { size } from './table.ts';

export interface PackOnnxOptions {
  /** The .onnx file. `tokenizer.json` is looked for beside it and one folder up, as Hugging Face lays them out. */
  source: string;
  /** The file's bytes, where they are not in it. */
  model?: Uint8Array;
  /** Folder for the pack; made when it is not there. */
  out: string;
  tokenizer?: string;
  /** mean, cls or none; default: what sentence-transformers' files say, else mean (none for a model that pools itself). */
  pooling?: string;
  /** Name of the graph's output; default: last_hidden_state and its like. */
  output?: string;
  /** Matryoshka sizes, comma-separated. */
  dimensions?: string;
  /** Longest text in tokens; default: the model's files, else 512. */
  maxTokens?: number;
  /** Padded tokens computed together. Default 1,024. */
  batchTokens?: number;
  normalize?: boolean;
  name?: string;
  /** What the isolate may hold. Default 128. */
  memoryMb?: number;
  /** The pack's manifest, as JSON; what is said meanwhile goes to the error output. */
  json?: boolean;
  say?: (line: string) => void;
}

/** Validates and writes. Rejects with the name of the input, output, operator, tensor or file that is wrong; nothing is written then. */
export async function packOnnx(o: PackOnnxOptions): Promise<EmbeddingManifest> {
  const print = o.say ?? console.log;
  const say = o.json ? console.error : print;
  const source = resolve(o.source);
  const model = o.model ?? (await read(source, MAX_MODEL));
  const graph = readGraph(model, basename(source));
  const encoder = checkEncoder(graph, basename(source), o.output);
  const tokenizerPath = o.tokenizer ? resolve(o.tokenizer) : beside(source, 'tokenizer.json');
  if (!tokenizerPath) throw new Error(`${dirname(source)} has no tokenizer.json; give it with --tokenizer`);
  const text = await read(tokenizerPath, 32 << 20);
  const tokenizer = readTokenizer(text, basename(tokenizerPath));
  checkVocabulary(encoder.table, tokenizer.largestId, basename(tokenizerPath));

  const pooling = await poolingOf(o, encoder, source);
  const scorer = isScorer({ dim: encoder.dim, pooling });
  const manifest: EmbeddingManifest = {
    kind: 'embedding',
    version: EMBEDDING_VERSION,
    name: o.name ?? basename(resolve(o.out)),
    model: packed('model.onnx', model),
    tokenizer: packed('tokenizer.json', text),
    output: encoder.output,
    pooling,
    normalize: o.normalize ?? !scorer,
    dim: encoder.dim,
    dimensions: dimensionsOf(o.dimensions, encoder.dim),
    maxTokens: o.maxTokens ?? (await longest(source)),
    batchTokens: o.batchTokens ?? 1024,
    heapBytes: 0,
  };
  say(
    `${basename(source)}: opset ${encoder.opset}, ${graph.nodes.length} operators, ${size(model.length)}; ${encoder.inputs.join(', ')} -> ${encoder.output} of ${encoder.dim}` +
      `${encoder.dynamic ? '; its quantization depends on the batch, so texts will be computed one by one' : ''}`,
  );
  manifest.heapBytes = await trial(manifest, model, text, tokenizer, say);
  const limit = o.memoryMb ?? 128;
  const { plan } = await reopen(manifest, model, text, limit); // the arithmetic with what was measured
  say(`memory: ${size(plan.heap)} ONNX Runtime, ${size(plan.file)} file, ${size(plan.js)} JavaScript, of ${limit} MB`);

  await mkdir(o.out, { recursive: true });
  await rm(join(o.out, MANIFEST), { force: true }); // no pack until the new one is whole
  await writeFile(join(o.out, 'model.onnx'), model);
  await writeFile(join(o.out, 'tokenizer.json'), text);
  await writeFile(join(o.out, MANIFEST), `${JSON.stringify(manifest, null, 1)}\n`);
  const gives = scorer ? 'a score a pair of texts' : `vectors of ${manifest.dimensions.join(', ')}`;
  say(`${o.out}: ${manifest.name}, ${manifest.pooling} pooling, up to ${manifest.maxTokens} tokens, ${gives}`);
  if (o.json) print(JSON.stringify(manifest, null, 2));
  return manifest;
}

/** Runs the largest batches and a real text in the very engine that the Worker has; answers what ONNX Runtime's memory has grown to. */
async function trial(
  m: EmbeddingManifest,
  model: Uint8Array,
  text: Uint8Array,
  tokenizer: TextTokenizer,
  say: (line: string) => void,
): Promise<number> {
  const run = await reopen(m, model, text, 65_536);
  const row = (n: number, k: number) => Array.from({ length: n }, (_, i) => (i * 7919 + k) % (tokenizer.largestId + 1));
  const began = performance.now();
  const size = Math.max(1, Math.floor(m.batchTokens / m.maxTokens));
  const embed = (rows: number[][]) =>
    run.model.embed(rows).catch((e: Error) => {
      throw new ModelFileError(m.model.name, `opens but does not run on [${rows.length}, ${rows[0].length}] ids: ${e.message.trim()}`);
    });
  await embed(Array.from({ length: size }, (_, k) => row(m.maxTokens, k)));
  await embed(Array.from({ length: Math.max(1, Math.floor(m.batchTokens / 16)) }, (_, k) => row(16, k)));
  const [v] = await embed([tokenizer.encode('A turnstone turns stones over.')]);
  if (!v.every(Number.isFinite)) throw new ModelFileError(m.model.name, 'gives numbers that are not finite');
  if (v.every((x) => x === 0)) throw new ModelFileError(m.model.name, 'gives nothing but zeros');
  say(`ran in onnxruntime-web, the largest batches in ${((performance.now() - began) / 1000).toFixed(1)} s`);
  return run.memoryBytes();
}

/** A runtime cannot be given back: each trial takes what it takes until the process ends. */
async function reopen(m: EmbeddingManifest, model: Uint8Array, text: Uint8Array, memoryMb: number) {
  runtime ??= createRuntime(new WebAssembly.Module(await readFile(ORT_WASM)));
  const files = new Map([
    [MANIFEST, new TextEncoder().encode(JSON.stringify(m))],
    [m.model.name, model],
    [m.tokenizer.name, text],
  ]);
  const opened = await openEmbedding(memoryPack(files), runtime, memoryMb);
  return { model: opened, plan: opened.plan, memoryBytes: runtime.memoryBytes };
}

let runtime: ReturnType<typeof createRuntime> | undefined;

const WASM = 'ort-wasm-simd-threaded.wasm';
const embedder = join(ROOT, '.build/embedder');
/** ONNX Runtime's module: of its package, which an installed Turnstone has no need of, since the embedder's build has it. */
export const ORT_WASM = INSTALLED
  ? join(embedder, readdirSync(embedder).find((f) => f.endsWith(WASM)) ?? WASM)
  : join(dirname(createRequire(import.meta.url).resolve('onnxruntime-web')), WASM);

async function read(path: string, max: number): Promise<Uint8Array> {
  if (!existsSync(path)) throw new Error(`${path}: there is no such file`);
  const { size: bytes } = await stat(path);
  if (bytes > max) throw new ModelFileError(basename(path), `has ${size(bytes)}, at most ${size(max)} are read`);
  const b = await readFile(path);
  return new Uint8Array(b.buffer, b.byteOffset, b.byteLength);
}

const packed = (name: string, bytes: Uint8Array): PackedFile => ({
  name,
  bytes: bytes.length,
  sha256: createHash('sha256').update(bytes).digest('hex'),
});

/** A file in the model's folder or the one above (`onnx/model.onnx`). */
const beside = (source: string, name: string) => [join(dirname(source), name), join(dirname(source), '..', name)].find(existsSync);

async function config(source: string, name: string): Promise<JsonObject | undefined> {
  const path = beside(source, name);
  return path ? parseJsonObject(await read(path, 1 << 20), name) : undefined;
}

async function poolingOf(o: PackOnnxOptions, encoder: Encoder, source: string): Promise<Pooling> {
  if (o.pooling !== undefined) {
    const p = POOLINGS.find((x) => x === o.pooling);
    if (!p) throw new Error(`--pooling ${o.pooling}: must be one of ${POOLINGS.join(', ')}`);
    return p;
  }
  if (encoder.rank === 2) return 'none';
  const st = await config(source, '1_Pooling/config.json');
  return st?.pooling_mode_cls_token === true ? 'cls' : 'mean';
}

async function longest(source: string): Promise<number> {
  const st = new Fields((await config(source, 'sentence_bert_config.json')) ?? {}, 'sentence_bert_config.json');
  const hf = new Fields((await config(source, 'config.json')) ?? {}, 'config.json');
  return st.has('max_seq_length') ? st.int('max_seq_length', 1, 8192) : Math.min(512, hf.int('max_position_embeddings', 1, 1 << 24, 512));
}

function dimensionsOf(text: string | undefined, dim: number): number[] {
  const list = text === undefined ? [dim] : text.split(',').map(Number);
  if (list.at(-1) !== dim) list.push(dim);
  return readDimensions(new Fields({ dimensions: list }, '--dimensions'), dim);
}

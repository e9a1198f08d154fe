/** `turnstone pack`: a GGUF file or a Hugging Face folder becomes a pack. */

import { existsSync } from 'node:fs';
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { PLAIN } from '../engine/formats.ts';
import { createWasm } from '../kernels/wasm/index.ts';
import { DIALECT_NAMES } from '../models/grammar/index.ts';
import { mergeLora } from '../models/lora.ts';
import { type ConvertOptions, chooseFormat, type ModelFiles } from '../models/model.ts';
import { folderSink, nodeHasher, openAdapter, openModel } from '../models/node/files.ts';
import { type TensorReport, writePack } from '../models/pack/write.ts';
import { type CalibrationReport, calibrate } from '../models/quantize/calibrate.ts';
import { type Format, formatNamed, PACKED, packedBytes, type Quantizer } from '../models/quantize/convert.ts';
import { importanceOf } from '../models/quantize/importance.ts';
import { isRounded } from '../models/quantize/rtn.ts';
import { isSearched } from '../models/quantize/search.ts';
import { compileTemplate } from '../models/template.ts';
import { createTokenizer } from '../models/tokenizer/tokenizer.ts';
import { build } from './build.ts';
import { perplexity, piecesOf } from './evaluate.ts';
import { progress as shown } from './progress.ts';
import { count, percent, shape, size, table } from './table.ts';
import { wasmModules } from './wasm.ts';

export interface PackOptions {
  /** GGUF file or Hugging Face folder. */
  source: string;
  /** Folder for the pack; made when it is not there. */
  out: string;
  /** Of all matrices: a name of PACKED; auto is as near as possible to what the file has. */
  format?: string;
  /** Of the output head; default: as the others. */
  head?: string;
  /** A text file: on its tokens w4 and w8 are rounded to by GPTQ, and others weigh each column by what it is multiplied by. */
  calibrate?: string;
  /** Tokens of it to calibrate on. Default 16,384. */
  tokens?: number;
  /** A text file: its perplexity as the file has the numbers, and as they are packed. */
  evaluate?: string;
  /** The model's name in the API. */
  name?: string;
  /** A file: the chat template, instead of the model's own. */
  chatTemplate?: string;
  /** An adapter to merge: PEFT's folder or a GGUF file. */
  lora?: string;
  /** Multiplies the adapter's own scale. */
  loraScale?: number;
  /** How the model writes tool calls, where its template does not tell. */
  toolCalls?: string;
  /** What was made, as JSON; what is said meanwhile goes to the error output. */
  json?: boolean;
  say?: (line: string) => void;
  /** A line that the next one replaces, on a terminal. */
  progress?: (line: string) => void;
}

/** Makes a pack and prints a table of sizes and errors per tensor. Rejects with what is wrong and where. */
export async function packCommand(options: PackOptions): Promise<void> {
  const { source, out, progress = shown() } = options;
  const print = options.say ?? console.log;
  const say = options.json ? console.error : print;
  const format = formatNamed('--format', options.format ?? 'auto', PACKED);
  const head = formatNamed('--head', options.head ?? format, PACKED);
  if (existsSync(join(source, 'model.json')))
    throw new Error(`${source} is a pack already; pack the GGUF file or Hugging Face folder it came from`);
  if (existsSync(join(out, 'config.json'))) throw new Error(`${out} is a Hugging Face folder; give another folder for the pack`);
  const chatTemplate = options.chatTemplate ? await readFile(options.chatTemplate, 'utf8') : undefined;
  if (chatTemplate !== undefined) compileTemplate(chatTemplate); // throws what is wrong with it
  const toolCalls = DIALECT_NAMES.find((d) => d === options.toolCalls);
  if (options.toolCalls && !toolCalls)
    throw new Error(`--tool-calls is "${options.toolCalls}", must be one of ${DIALECT_NAMES.join(', ')}`);
  const base = await openModel(source);
  const adapter = options.lora ? await openAdapter(options.lora).catch(closed(base)) : undefined;
  try {
    const model = adapter ? await mergeLora(base, adapter, options.loraScale) : base;
    if (adapter) say(`${options.lora}: merged into ${adapter.factors.size} matrices`);
    const errors = new Map<string, CalibrationReport>();
    const text = options.calibrate && sequencesOf(model, await readFile(options.calibrate, 'utf8'), options.tokens ?? 16_384);
    const weighed = text && isSearched(format);
    const importance = weighed
      ? await importanceOf(await nodeWasm(calibrationBytes(model, SEQUENCE, { format, head })), model, text, {
          ...{ format, head, onLayer: (l) => progress(`measuring what layer ${l} reads`) },
        })
      : undefined;
    const quantizer =
      text && !weighed
        ? await calibrated(model, text, { format, head }, (r, done, all) => {
            errors.set(r.name, r);
            progress(`calibrating ${r.name} (${done} of ${all})`);
          })
        : undefined;
    await rm(join(out, 'model.json'), { force: true }); // no pack until the new one is whole
    const written = await writePack(model, folderSink(out), {
      format,
      head,
      hasher: nodeHasher,
      ...(options.name && { name: options.name }),
      ...(chatTemplate !== undefined && { chatTemplate }),
      ...(toolCalls && { toolCalls }),
      ...(quantizer && { quantizer }),
      ...(importance && { importance }),
      onTensor: (r, i, total) => progress(`packing ${r.name} (${i + 1} of ${total})`),
    });
    progress('');
    for (const line of reportLines(written.report, errors)) say(line);
    const bytes = written.manifest.shards.reduce((n, s) => n + s.bytes, 0);
    say('');
    say(
      `${out}: ${written.manifest.name}, ${size(bytes)} in ${written.manifest.shards.length} shards, tokenizer ${size(written.manifest.tokenizer.bytes)}`,
    );
    say(`digest ${written.digest}`);
    if (options.evaluate) {
      const text = await readFile(options.evaluate, 'utf8');
      await evaluate(model, text, options.evaluate, { format, head, quantizer, importance }, say, progress);
    }
    if (options.json)
      print(JSON.stringify({ out, name: written.manifest.name, bytes, digest: written.digest, tensors: written.report }, null, 2));
  } finally {
    await adapter?.close();
    await base.close();
  }
}

/** Closes what was opened before somebody failed. */
const closed = (model: { close(): Promise<void> }) => async (error: unknown) => {
  await model.close();
  throw error;
};

function reportLines(report: readonly TensorReport[], calibrations: ReadonlyMap<string, CalibrationReport>): string[] {
  const matrices = report.filter((r) => r.shape.length === 2);
  const vectors = report.filter((r) => r.shape.length === 1);
  const header = ['tensor', 'stored', 'pack', 'shape', 'size', 'weight error'];
  if (calibrations.size > 0) header.push('output error, nearest', 'calibrated');
  const rows = matrices.map((r) => {
    const c = calibrations.get(r.name);
    const outputs = c ? [percent(Math.sqrt(c.nearest)), percent(Math.sqrt(c.calibrated))] : [];
    return [r.name, r.stored, r.format, shape(r.shape), size(r.bytes), percent(r.error), ...outputs];
  });
  const rest = vectors.reduce((n, r) => n + r.bytes, 0);
  return [
    ...table(header, rows),
    `and ${vectors.length} vectors in f32, ${size(rest)}. Errors are relative RMS; 0 means that every number was kept.`,
  ];
}

async function evaluate(
  model: ModelFiles,
  text: string,
  name: string,
  packed: ConvertOptions,
  say: (line: string) => void,
  progress: (line: string) => void,
): Promise<void> {
  const pieces = piecesOf(model, text);
  progress(`perplexity of ${name} …`);
  const before = await perplexity(model, {}, pieces, nodeWasm);
  const after = await perplexity(model, packed, pieces, nodeWasm);
  progress('');
  const change = 100 * (after / before - 1);
  const tokens = pieces.reduce((n, p) => n + p.length, 0);
  say(
    `perplexity of ${name} (${count(tokens)} tokens, int8 KV): ${before.toPrecision(4)} in the file's numbers, ${after.toPrecision(4)} as packed, ` +
      `${change < 0 ? '−' : '+'}${Math.abs(change).toFixed(2)} %`,
  );
}

const SEQUENCE = 256;

/** A text's first tokens, in sequences of SEQUENCE at most. */
function sequencesOf(model: ModelFiles, text: string, tokens: number): number[][] {
  const length = Math.min(SEQUENCE, model.config.context);
  const tokenizer = createTokenizer(model.tokenizer);
  const { addBos, bos } = model.tokenizer.rules;
  const start = addBos && bos !== undefined ? [bos] : [];
  const step = length - start.length;
  // no token is longer than 16 characters on average
  const ids = tokenizer.encode(text.slice(0, tokens * 16), { bos: false }).slice(0, tokens);
  const sequences = Array.from({ length: Math.ceil(ids.length / step) }, (_, i) => [
    ...start,
    ...ids.slice(i * step, (i + 1) * step),
  ]).filter((s) => s.length > 1);
  if (sequences.length === 0) throw new Error('the calibration text is empty');
  return sequences;
}

async function calibrated(
  model: ModelFiles,
  sequences: readonly (readonly number[])[],
  formats: { format: Format; head: Format },
  onTensor: (r: CalibrationReport, done: number, all: number) => void,
): Promise<Quantizer> {
  const all =
    model.tensors.filter((t) => !t.vector && t.name !== 'embed' && isRounded(chooseFormat(model, t, formats))).length +
    (model.config.tied ? 1 : 0);
  let done = 0;
  return calibrate(await nodeWasm(calibrationBytes(model, SEQUENCE, formats)), model, sequences, {
    ...formats,
    onTensor: (r) => onTensor(r, ++done, all),
  });
}

/** One layer in f32, the embedding, and activations of one sequence, generously. */
function calibrationBytes(model: ModelFiles, T: number, formats: { format: Format; head: Format }): number {
  const { hidden, heads, kvHeads, headDim, ffn } = model.config;
  const layer = model.tensors.filter((t) => t.name.startsWith('layers.0.')).reduce((n, t) => n + packedBytes(t, PLAIN), 0);
  const embed = model.tensors.filter((t) => t.name === 'embed').reduce((n, t) => n + packedBytes(t, chooseFormat(model, t, formats)), 0);
  return layer + embed + T * 4 * (6 * hidden + 8 * (heads + kvHeads) * headDim + 6 * ffn) + (16 << 20);
}

async function nodeWasm(memoryBytes: number) {
  await build(undefined, ['wasm']);
  return createWasm({ modules: await wasmModules(), memoryBytes });
}

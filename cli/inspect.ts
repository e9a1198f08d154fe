/** `turnstone inspect`: what is in a GGUF file, a safetensors file, a Hugging Face folder or a pack. */
import { existsSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { parameters } from '../engine/anatomy.ts';
import type { ModelConfig } from '../engine/config.ts';
import { ModelFileError } from '../models/error.ts';
import type { Generation } from '../models/generation.ts';
import { samplingText } from '../models/generation.ts';
import { ggufConfig } from '../models/gguf/config.ts';
import { openGguf } from '../models/gguf/open.ts';
import { readGguf } from '../models/gguf/reader.ts';
import type { GgufValue } from '../models/gguf/values.ts';
import { readSafetensors } from '../models/hf/safetensors.ts';
import { fileSource, folderPack, nodeHasher, openModel } from '../models/node/files.ts';
import { loadTokenizer, openPack } from '../models/pack/load.ts';
import { chunks } from '../models/pack/source.ts';
import { ggufTokenizer } from '../models/tokenizer/gguf.ts';
import type { TokenizerSpec } from '../models/tokenizer/spec.ts';
import { createTokenizer, type Tokenizer } from '../models/tokenizer/tokenizer.ts';
import { count, shape, size, table } from './table.ts';
import { type Verdict, verdictLines, verdictOf, verdictOfPack } from './verdict.ts';

type Say = (line: string) => void;

export interface InspectOptions {
  /** The verdict alone, as JSON. */
  json?: boolean;
  /** What an isolate may hold; 128 unless given. */
  memoryMb?: number;
}

/**
 * Prints configuration, tensors, tokenizer and sizes, and whether it runs here and what it takes. Rejects with ModelFileError when the file is
 * damaged.
 */
export async function inspectCommand(path: string, say: Say = console.log, o: InspectOptions = {}): Promise<void> {
  if (!existsSync(path)) throw new Error(`${path}: there is no such file or folder`);
  const memoryMb = o.memoryMb ?? 128;
  if (!Number.isInteger(memoryMb) || memoryMb < 16 || memoryMb > 4096) throw new Error('--memory-mb must be a whole number in 16..4096');
  const verdict = await inspect(path, o.json ? () => {} : say, memoryMb);
  if (o.json) return say(JSON.stringify({ path, ...verdict }, null, 2));
  say('');
  for (const line of verdictLines(verdict)) say(line);
}

async function inspect(path: string, say: Say, memoryMb: number): Promise<Verdict> {
  if ((await stat(path)).isDirectory())
    return existsSync(join(path, 'model.json')) ? inspectPack(path, say, memoryMb) : inspectFolder(path, say, memoryMb);
  if (!path.endsWith('.safetensors')) return inspectGguf(path, say, memoryMb);
  await inspectSafetensors(path, say);
  return { runs: false, why: 'One safetensors file is no model: give the folder that holds it, config.json and tokenizer.json.', memoryMb };
}

async function inspectGguf(path: string, say: Say, memoryMb: number): Promise<Verdict> {
  const source = await fileSource(path);
  try {
    const file = await readGguf(source);
    say(`${path}: GGUF version ${file.version}, ${size(source.size)}, ${file.tensors.size} tensors`);
    say('');
    for (const [key, { value }] of file.metadata.entries) say(`  ${key} = ${short(value)}`);
    say('');
    const rows = [...file.tensors.values()].map((t) => [
      t.name,
      t.type.name,
      shape([...t.dims].reverse()),
      size(t.bytes),
      String(t.offset),
    ]);
    for (const line of table(['tensor', 'type', 'shape', 'size', 'offset'], rows)) say(line);
    say('');
    await attempt(say, async () => configLines(await ggufConfig(file)));
    await attempt(say, async () => specLines(ggufTokenizer(file.metadata)));
    return await verdictOf(() => openGguf(source), memoryMb);
  } finally {
    await source.close();
  }
}

async function inspectSafetensors(path: string, say: Say): Promise<void> {
  const source = await fileSource(path);
  try {
    const tensors = await readSafetensors(source);
    say(`${path}: safetensors, ${size(source.size)}, ${tensors.size} tensors`);
    say('');
    const rows = [...tensors.values()].map((t) => [t.name, t.dtype, shape(t.shape), size(t.bytes), String(t.offset)]);
    for (const line of table(['tensor', 'type', 'shape', 'size', 'offset'], rows)) say(line);
  } finally {
    await source.close();
  }
}

async function inspectFolder(path: string, say: Say, memoryMb: number): Promise<Verdict> {
  let model: Awaited<ReturnType<typeof openModel>>;
  try {
    model = await openModel(path);
  } catch (e) {
    if (!(e instanceof ModelFileError)) throw e;
    return { runs: false, why: e.message, memoryMb };
  }
  try {
    say(`${path}: Hugging Face folder, ${model.tensors.length} tensors`);
    say('');
    const rows = model.tensors.map((t) => [
      t.name,
      [...new Set(t.parts.map((p) => p.type))].join('+'),
      shape(t.vector ? [t.N] : [t.N, t.K]),
    ]);
    for (const line of table(['tensor', 'type', 'shape'], rows)) say(line);
    say('');
    for (const line of [...configLines(model.config), ...specLines(model.tokenizer), ...generationLines(model.generation)]) say(line);
    say(`chat template: ${model.chatTemplate ? `${model.chatTemplate.length} characters` : 'none'}`);
    return await verdictOf(async () => model, memoryMb);
  } finally {
    await model.close();
  }
}

async function inspectPack(path: string, say: Say, memoryMb: number): Promise<Verdict> {
  const source = folderPack(path);
  const { manifest, digest } = await openPack(source);
  const total = manifest.shards.reduce((n, s) => n + s.bytes, 0);
  say(`${path}: pack "${manifest.name}", ${size(total)}, ${manifest.tensors.length} tensors, layout ${manifest.layout}`);
  say(`digest ${digest}`);
  say('');
  const rows = manifest.tensors.map((t) => [t.name, t.format, shape(t.shape), size(t.bytes), String(t.offset)]);
  for (const line of table(['tensor', 'format', 'shape', 'size', 'offset'], rows)) say(line);
  say('');
  const files: string[][] = [];
  for (const f of [...manifest.shards, manifest.tokenizer]) {
    const hash = nodeHasher();
    let bytes = 0;
    for await (const c of chunks(await source.open(f.name))) {
      bytes += c.length;
      await hash.update(c);
    }
    const state =
      bytes !== f.bytes
        ? `has ${bytes} bytes, must have ${f.bytes}`
        : (await hash.digest()) === f.sha256
          ? 'whole'
          : 'DAMAGED: wrong SHA-256';
    files.push([f.name, size(f.bytes), f.sha256.slice(0, 16), state]);
  }
  for (const line of table(['file', 'size', 'sha256', 'state'], files)) say(line);
  say('');
  for (const line of configLines(manifest.config)) say(line);
  const tokenizer = await loadTokenizer(source, manifest);
  for (const line of tokenizerLines(tokenizer)) say(line);
  for (const line of generationLines(manifest.generation)) say(line);
  say(`chat template: ${manifest.chatTemplate ? `${manifest.chatTemplate.length} characters` : 'none'}`);
  return verdictOfPack(manifest, tokenizer, memoryMb);
}

/** Lines, or why there are none: a file can be looked at although it cannot be run. */
async function attempt(say: Say, lines: () => Promise<string[]>): Promise<void> {
  try {
    for (const line of await lines()) say(line);
  } catch (e) {
    if (!(e instanceof ModelFileError)) throw e;
    // the verdict says why
  }
}

function configLines(c: ModelConfig): string[] {
  const scaling = c.ropeScaling ? `, scaling ${c.ropeScaling.kind}` : '';
  const extras = [c.tied && 'tied head', c.qkvBias && 'QKV bias', c.qkNorm && 'QK norm'].filter(Boolean).join(', ');
  return [
    `${c.family}: ${c.layers} layers, hidden ${c.hidden}, ${c.heads} heads of ${c.headDim} over ${c.kvHeads}, FFN ${c.ffn}, vocabulary ${count(c.vocab)}`,
    `context ${count(c.context)}, RoPE theta ${count(c.ropeTheta)}${scaling}, norm eps ${c.normEps}${extras && `, ${extras}`}`,
    `${count(parameters(c))} parameters`,
  ];
}

function specLines(spec: TokenizerSpec): string[] {
  const kinds = { spm: 'SPM', 'bpe-bytes': 'byte-level BPE', 'bpe-chars': 'BPE with byte fallback' };
  return [
    `tokenizer: ${kinds[spec.rules.kind]}, ${count((spec.merges?.length ?? 0) / 3)} merges`,
    ...tokenizerLines(createTokenizer(spec)),
  ];
}

function tokenizerLines(t: Tokenizer): string[] {
  const named = (id: number | undefined) =>
    id === undefined ? 'none' : `${id} ${JSON.stringify(new TextDecoder().decode(t.bytesOf(id)))}`;
  return [
    `${count(t.vocab)} tokens, ${t.specialIds.length} of them control; bos ${named(t.bos)}, eos ${named(t.eos)}, stops at ${t.stopIds.map(named).join(', ') || 'none'}`,
  ];
}

function generationLines({ stopIds: _, ...rest }: Generation): string[] {
  const said = samplingText(rest);
  return said === undefined ? [] : [`drawn, where a request does not say: ${said}`];
}

function short(v: GgufValue): string {
  if (typeof v === 'string') return v.length > 80 ? `${JSON.stringify(v.slice(0, 77))}… (${v.length} characters)` : JSON.stringify(v);
  if (typeof v !== 'object') return String(v);
  const first = Array.from(v as ArrayLike<unknown>)
    .slice(0, 6)
    .map((x) => (typeof x === 'string' ? JSON.stringify(x) : String(x)));
  return `[${first.join(', ')}${v.length > 6 ? ', …' : ''}] (${v.length})`;
}

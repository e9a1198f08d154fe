import { isVector } from '../../engine/anatomy.ts';
import type { ModelConfig } from '../../engine/config.ts';
import { ModelFileError } from '../error.ts';
import { namesOf, type StoredNames } from '../families/family.ts';
import { hfSampling } from '../generation.ts';
import { Fields, isObject, type JsonObject, parseJsonObject } from '../json.ts';
import type { ModelFiles } from '../model.ts';
import type { Source } from '../source.ts';
import { checkUsed, type ModelTensor, modelTensors, type Part } from '../tensors.ts';
import { jsonTokenizer } from '../tokenizer/json.ts';
import { hfConfig, hfFamily } from './config.ts';
import { readSafetensors, type SafeTensor } from './safetensors.ts';

/** A Hugging Face folder: files by name, undefined when there is none. */
export interface Folder {
  readonly name: string;
  open(file: string): Promise<Source | undefined>;
}

/** Opens a model saved by transformers: config.json, safetensors (sharded too), tokenizer.json and what lies beside. Rejects with ModelFileError. */
export async function openHf(folder: Folder): Promise<ModelFiles> {
  const tensors = await allTensors(folder);
  const own = await needJson(folder, 'config.json');
  const fields = new Fields(own, 'config.json');
  const config = hfConfig(own, (name) => tensors.has(name));
  const generation = await maybeJson(folder, 'generation_config.json');
  const tokenizerConfig = await maybeJson(folder, 'tokenizer_config.json');
  const eosIds = [...eosOf(generation, config.vocab), ...eosOf(own, config.vocab)];
  const tokenizer = jsonTokenizer(await needJson(folder, 'tokenizer.json'), tokenizerConfig, eosIds);
  const template = (await maybeText(folder, 'chat_template.jinja')) ?? templateOf(tokenizerConfig);
  return {
    name: folder.name,
    config,
    tensors: hfTensors(tensors, config, namesOf(hfFamily(fields).hf, fields)),
    tokenizer,
    ...(template !== undefined && { chatTemplate: template }),
    generation: { ...hfSampling(new Fields(generation, 'generation_config.json')), stopIds: tokenizer.rules.stopIds },
  };
}

function hfTensors(all: Map<string, SafeTensor>, config: ModelConfig, names: StoredNames): ModelTensor[] {
  const used = new Set<string>();
  const tensors = modelTensors(config, ({ kind, layer, shape }) =>
    names[kind].map(({ name, flat, as }) => {
      const full = layer < 0 ? name : `model.layers.${layer}.${name}`;
      used.add(full);
      const stored = part(all.get(full), full, isVector(shape), flat);
      return as ? as(stored, config) : stored;
    }),
  );
  // Saved although they are computed, or the same as the embedding.
  checkUsed(all.keys(), used, (name) => name.endsWith('rotary_emb.inv_freq') || (config.tied && name === 'lm_head.weight'));
  return tensors;
}

function part(t: SafeTensor | undefined, name: string, vector: boolean, flat = false): Part {
  const where = `tensor "${name}"`;
  if (!t) throw new ModelFileError(where, 'is missing');
  if (t.dtype !== 'F32' && t.dtype !== 'F16' && t.dtype !== 'BF16')
    throw new ModelFileError(where, `has dtype ${t.dtype}; F32, F16 and BF16 can be read`, t.offset);
  const wanted = vector ? 1 : 2;
  if (!flat && t.shape.length !== wanted)
    throw new ModelFileError(where, `has the shape ${t.shape.join(' × ')}, must have ${wanted} dimensions`, t.offset);
  const [rows, K = 1] = flat ? [t.shape.reduce((n, d) => n * d, 1)] : t.shape;
  const rowBytes = K * (t.dtype === 'F32' ? 4 : 2);
  return { name, type: t.dtype, rows, K, read: (from, to) => t.source.read(t.offset + from * rowBytes, (to - from) * rowBytes) };
}

/** Tensors of `model.safetensors`, or of the files that `model.safetensors.index.json` lists. */
async function allTensors(folder: Folder): Promise<Map<string, SafeTensor>> {
  const single = await folder.open('model.safetensors');
  if (single) return readSafetensors(single);
  const INDEX = 'model.safetensors.index.json';
  const index = await maybeJson(folder, INDEX);
  if (!isObject(index.weight_map)) throw new ModelFileError(folder.name, `has neither model.safetensors nor ${INDEX} with a weight_map`);
  const map = new Fields(index.weight_map, `${INDEX}: weight_map`);
  const out = new Map<string, SafeTensor>();
  const files = new Map<string, Map<string, SafeTensor>>();
  for (const name of Object.keys(map.raw)) {
    const file = map.string(name);
    if (!/^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$/.test(file)) throw map.wrong(name, file, 'a plain file name');
    let tensors = files.get(file);
    if (!tensors) {
      const source = await folder.open(file);
      if (!source) throw new ModelFileError(`file "${file}"`, `is named in ${INDEX} but is not there`);
      tensors = await readSafetensors(source);
      files.set(file, tensors);
    }
    const t = tensors.get(name);
    if (!t) throw new ModelFileError(`tensor "${name}"`, `is not in ${file}, where ${INDEX} puts it`);
    out.set(name, t);
  }
  return out;
}

const MAX_TEXT = 64 << 20;

async function maybeBytes(folder: Folder, file: string): Promise<Uint8Array | undefined> {
  const source = await folder.open(file);
  if (source && source.size > MAX_TEXT) throw new ModelFileError(`file "${file}"`, `has ${source.size} bytes, more than ${MAX_TEXT}`);
  return source?.read(0, source.size);
}

async function maybeText(folder: Folder, file: string): Promise<string | undefined> {
  const bytes = await maybeBytes(folder, file);
  return bytes && new TextDecoder().decode(bytes);
}

async function maybeJson(folder: Folder, file: string): Promise<JsonObject> {
  const bytes = await maybeBytes(folder, file);
  return bytes ? parseJsonObject(bytes, file) : {};
}

async function needJson(folder: Folder, file: string): Promise<JsonObject> {
  const bytes = await maybeBytes(folder, file);
  if (!bytes) throw new ModelFileError(folder.name, `has no ${file}`);
  return parseJsonObject(bytes, file);
}

/** `eos_token_id`: an id or a list. */
function eosOf(json: JsonObject, vocab: number): number[] {
  const v = json.eos_token_id ?? [];
  return (Array.isArray(v) ? v : [v]).filter((id): id is number => typeof id === 'number' && Number.isInteger(id) && id >= 0 && id < vocab);
}

/** `chat_template`: a text, or a list of named ones. */
function templateOf(config: JsonObject): string | undefined {
  const t = config.chat_template;
  if (typeof t === 'string') return t;
  if (!Array.isArray(t)) return undefined;
  const named = t.filter(isObject);
  const best = named.find((x) => x.name === 'default') ?? named[0];
  return typeof best?.template === 'string' ? best.template : undefined;
}

/**
 * Adapters of low rank (LoRA, Hu et al., 2021): merged into the matrices that they change, W + scale · B · A, in float32 and row by row while
 * the model is read; or as pieces that the engine computes beside it. PEFT's folders (adapter_config.json, adapter_model.safetensors) and GGUF adapters, on models of either kind.
 */
import type { AdapterPiece } from '../engine/adapters.ts';
import { type LayerMatrix, tensorList } from '../engine/anatomy.ts';
import type { ModelConfig } from '../engine/config.ts';
import { ModelFileError } from './error.ts';
import type { StoredNames, StoredTensor } from './families/family.ts';
import { FAMILIES } from './families/index.ts';
import { decoders } from './gguf/blocks.ts';
import { readGguf } from './gguf/reader.ts';
import type { Folder } from './hf/open.ts';
import { readSafetensors } from './hf/safetensors.ts';
import { Fields, parseJsonObject } from './json.ts';
import type { ModelFiles } from './model.ts';
import type { Source } from './source.ts';
import type { ModelTensor, Part } from './tensors.ts';

/** What an adapter adds to one matrix [N, K]: `a` is [rank, K], `b` is [N, rank]. */
interface Factors {
  a?: Part;
  b?: Part;
}

export interface Adapter {
  name: string;
  /** Whose names the matrices have. */
  kind: 'hf' | 'gguf';
  alpha: number;
  /** Scale is alpha / √rank instead of alpha / rank. */
  rooted: boolean;
  /** By the name of the matrix, `.weight` included. */
  factors: ReadonlyMap<string, Factors>;
}

const MAX_RANK = 1024;
const MAX_CONFIG = 1 << 20;
/** Of adapter_config.json: what would change the sum, and the value with which it does not. */
const PLAIN: readonly [field: string, plain: readonly unknown[], why: string][] = [
  ['use_dora', [false], 'DoRA rescales the sum'],
  ['fan_in_fan_out', [false], 'matrices are stored the other way round'],
  ['bias', ['none'], 'it changes biases'],
  ['modules_to_save', [], 'whole matrices are replaced'],
  ['rank_pattern', [], 'ranks differ'],
  ['alpha_pattern', [], 'scales differ'],
];

/** PEFT's folder. Rejects with ModelFileError naming the field or tensor that is in the way. */
export async function openPeft(folder: Folder): Promise<Adapter> {
  const CONFIG = 'adapter_config.json';
  const source = await folder.open(CONFIG);
  if (!source) throw new ModelFileError(folder.name, `has no ${CONFIG}: it is no adapter of PEFT`);
  if (source.size > MAX_CONFIG) throw new ModelFileError(CONFIG, `has ${source.size} bytes, more than ${MAX_CONFIG}`);
  const f = new Fields(parseJsonObject(await source.read(0, source.size), CONFIG), CONFIG);
  if (f.string('peft_type') !== 'LORA') throw new ModelFileError(CONFIG, `peft_type "${f.string('peft_type')}", must be LORA`);
  for (const [field, plain, why] of PLAIN) {
    const v = f.raw[field];
    const empty = v === undefined || v === null || (typeof v === 'object' && Object.keys(v).length === 0);
    if (!empty && !plain.includes(v))
      throw new ModelFileError(CONFIG, `${field} is ${JSON.stringify(v).slice(0, 60)}: ${why}, which is not merged here`);
  }
  const weights = await folder.open('adapter_model.safetensors');
  if (!weights) throw new ModelFileError(folder.name, 'has no adapter_model.safetensors');
  const factors = new Map<string, Factors>();
  for (const t of (await readSafetensors(weights)).values()) {
    const [, matrix, side] = /^base_model\.model\.(.+)\.lora_([AB])(?:\.default)?\.weight$/.exec(t.name) ?? [];
    const where = `tensor "${t.name}"`;
    if (!matrix) throw new ModelFileError(where, 'is none of lora_A and lora_B of a linear layer');
    if (t.shape.length !== 2 || !decoders.has(t.dtype))
      throw new ModelFileError(where, `is ${t.dtype} of ${t.shape.join(' × ')}, must be F32, F16 or BF16 of rows and columns`);
    const [rows, K] = t.shape;
    const rowBytes = rows === 0 ? 0 : t.bytes / rows;
    put(factors, `${matrix}.weight`, side === 'A' ? 'a' : 'b', {
      ...{ name: t.name, type: t.dtype, rows, K },
      read: (from, to) => t.source.read(t.offset + from * rowBytes, (to - from) * rowBytes),
    });
  }
  const rooted = f.raw.use_rslora === true;
  return { name: folder.name, kind: 'hf', alpha: f.number('lora_alpha', 0, 1e6), rooted, factors };
}

/** A GGUF adapter, as llama.cpp's convert_lora_to_gguf writes it. Rejects with ModelFileError. */
export async function openGgufAdapter(source: Source): Promise<Adapter> {
  const file = await readGguf(source);
  const m = file.metadata;
  const type = m.has('general.type') ? m.string('general.type') : 'model';
  if (type !== 'adapter' || m.string('adapter.type') !== 'lora')
    throw new ModelFileError(source.name, `is a GGUF ${type}, must be an adapter of type lora`);
  const factors = new Map<string, Factors>();
  for (const t of file.tensors.values()) {
    const [, matrix, side] = /^(.+\.weight)\.lora_([ab])$/.exec(t.name) ?? [];
    const where = `tensor "${t.name}"`;
    if (!matrix) throw new ModelFileError(where, 'is none of lora_a and lora_b of a matrix');
    if (!decoders.has(t.type.name)) throw new ModelFileError(where, `has type ${t.type.name}, which cannot be read`, t.offset);
    const [K, rows = 1, ...more] = t.dims;
    if (more.some((d) => d !== 1)) throw new ModelFileError(where, `has dimensions ${t.dims.join(' × ')}, must have 2`, t.offset);
    const rowBytes = (K / t.type.block) * t.type.bytes;
    put(factors, matrix, side as 'a' | 'b', {
      ...{ name: t.name, type: t.type.name, rows, K },
      read: (from, to) => source.read(t.offset + from * rowBytes, (to - from) * rowBytes),
    });
  }
  return { name: source.name, kind: 'gguf', alpha: m.number('adapter.lora.alpha', 0, 1e6), rooted: false, factors };
}

function put(all: Map<string, Factors>, matrix: string, side: 'a' | 'b', part: Part): void {
  all.set(matrix, { ...all.get(matrix), [side]: part });
}

/**
 * The model with an adapter merged: matrices that it changes come in float32, so that packing rounds them. `scale` multiplies the
 * adapter's own. Rejects with ModelFileError when the adapter is another model's: a matrix that is not there, or of another shape.
 */
export async function mergeLora(model: ModelFiles, adapter: Adapter, scale = 1): Promise<ModelFiles> {
  const names = storedNames(model, adapter.kind);
  const used = new Set<string>();
  const merged = async (t: ModelTensor): Promise<ModelTensor> => {
    if (t.vector) return t;
    const parts = await Promise.all(
      t.parts.map(async (part, i) => {
        const stored = t.parts.length === names[t.kind].length ? names[t.kind][i] : undefined;
        const name = stored && matrixName(adapter, t.layer, stored);
        const found = name === undefined ? undefined : factorsOf(adapter, name, part.rows, part.K);
        if (!stored || !found) return part;
        used.add(name as string);
        const { a, b } = found;
        // rows of B are put in the order that the model's file has them in
        const rows = stored.as ? stored.as(b, model.config) : b;
        return sum(part, await floats(a, 0, a.rows), rows, scale * scaleOf(adapter, a.rows));
      }),
    );
    return { ...t, parts };
  };
  const tensors: ModelTensor[] = [];
  for (const t of model.tensors) tensors.push(await merged(t));
  checkAllUsed(adapter, used, model.name);
  return { ...model, tensors };
}

/**
 * The adapter beside a packed model: what it adds to each matrix of each layer, in the engine's order of rows (engine/adapters.ts), to be read
 * one after the other. Rejects with ModelFileError when it is another model's, or changes what is no matrix of a layer.
 */
export function lowRank(config: ModelConfig, model: string, adapter: Adapter): { piece: AdapterPiece; read(): Promise<Uint8Array> }[] {
  const names = storedNames({ config, name: model }, adapter.kind);
  const used = new Set<string>();
  const pieces = tensorList(config).flatMap(({ kind, layer, shape: [N, K], parts }) => {
    if (layer < 0 || K === undefined) return [];
    let row = 0;
    return names[kind].flatMap((stored, i) => {
      const rows = names[kind].length === parts.length ? parts[i] : N;
      const first = (row += rows) - rows;
      const name = matrixName(adapter, layer, stored);
      const found = factorsOf(adapter, name, rows, K);
      if (!found) return [];
      used.add(name);
      const { a, b } = found;
      const piece: AdapterPiece = { layer, matrix: kind as LayerMatrix, row: first, rank: a.rows, N: rows, K };
      const read = async () => {
        const out = new Float32Array(a.rows * (rows + K));
        out.set(await floats(a, 0, a.rows));
        const values = await floats(stored.as ? stored.as(b, config) : b, 0, rows);
        const factor = scaleOf(adapter, a.rows);
        for (let n = 0; n < rows; n++) for (let j = 0; j < a.rows; j++) out[a.rows * K + j * rows + n] = factor * values[n * a.rows + j];
        return new Uint8Array(out.buffer);
      };
      return [{ piece, read }];
    });
  });
  checkAllUsed(adapter, used, model);
  return pieces;
}

function checkAllUsed(adapter: Adapter, used: ReadonlySet<string>, model: string): void {
  for (const name of adapter.factors.keys()) {
    if (!used.has(name)) throw new ModelFileError(`matrix "${name}"`, `is changed by ${adapter.name}, and ${model} has none of that name`);
  }
}

/** The name that an adapter has for a matrix; layer −1 is the model's own. */
function matrixName({ kind }: Adapter, layer: number, stored: StoredTensor): string {
  const prefix = layer < 0 ? '' : kind === 'hf' ? `model.layers.${layer}.` : `blk.${layer}.`;
  return `${prefix}${stored.name}`;
}

/** What an adapter adds to a matrix [rows, K], if it does. Throws ModelFileError when that is of another shape. */
function factorsOf(adapter: Adapter, name: string, rows: number, K: number): Required<Factors> | undefined {
  const found = adapter.factors.get(name);
  if (!found) return undefined;
  const { a, b } = found;
  if (!a || !b) throw new ModelFileError(`matrix "${name}"`, `has lora_${a ? 'A' : 'B'} only, in ${adapter.name}`);
  if (a.K !== K || b.rows !== rows || a.rows !== b.K || a.rows < 1 || a.rows > MAX_RANK) {
    throw new ModelFileError(
      `tensor "${b.name}"`,
      `is ${b.rows} × ${b.K} and lora_A ${a.rows} × ${a.K}: the model's matrix is ${rows} × ${K}`,
    );
  }
  return { a, b };
}

const scaleOf = ({ alpha, rooted }: Adapter, rank: number): number => alpha / (rooted ? Math.sqrt(rank) : rank);

function storedNames(model: Pick<ModelFiles, 'config' | 'name'>, kind: Adapter['kind']): StoredNames {
  const family = FAMILIES.find((f) => f.name === model.config.family);
  const side = kind === 'hf' ? family?.hf : family?.gguf;
  if (!side) throw new ModelFileError(model.name, `is of the family ${model.config.family}, into which no adapter is merged here`);
  return side.names;
}

async function floats(part: Part, from: number, to: number): Promise<Float32Array> {
  const x = new Float32Array((to - from) * part.K);
  decoders.get(part.type)?.(await part.read(from, to), x, x.length);
  return x;
}

/** part + factor · b · a. */
const sum = (part: Part, a: Float32Array, b: Part, factor: number): Part => ({
  ...part,
  type: 'F32',
  async read(from, to) {
    const [w, rows] = [await floats(part, from, to), await floats(b, from, to)];
    const { K } = part;
    const rank = b.K;
    const row = new Float64Array(K);
    for (let r = 0; r < to - from; r++) {
      row.fill(0);
      for (let j = 0; j < rank; j++) {
        const by = factor * rows[r * rank + j];
        for (let k = 0; k < K; k++) row[k] += by * a[j * K + k];
      }
      for (let k = 0; k < K; k++) w[r * K + k] += row[k];
    }
    return new Uint8Array(w.buffer);
  },
});

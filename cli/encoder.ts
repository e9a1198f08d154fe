/**
 * A sentence-transformers folder of the BERT family becomes ONNX: safetensors in, one graph out, without Python; a sentence encoder, or a
 * cross-encoder, which has a classifier of one label and reads two texts at once. Matrices are kept in 8
 * bits, round to nearest in blocks along K with a scale each (MatMulNBits), the table of words in 8 bits with a scale a row; activations and
 * everything else are float32, so that a vector does not depend on its batch.
 */
import { existsSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { GraphWriter } from '../embedder/onnx/write.ts';
import { f16ToF32 } from '../engine/math.ts';
import { ModelFileError } from '../models/error.ts';
import { readSafetensors, type SafeTensor } from '../models/hf/safetensors.ts';
import { Fields, parseJsonObject } from '../models/json.ts';
import { fileSource } from '../models/node/files.ts';

const OPSET = 20;
const MICROSOFT = 'com.microsoft';
const BLOCKS = [128, 64, 32, 16];
const MASKED = -1e9;
const CLASSIFIER = 'classifier.weight';

/** Whether a folder holds a sentence encoder and no language model. */
export const isEncoderFolder = (folder: string): boolean =>
  existsSync(join(folder, 'modules.json')) || /^(bert|roberta|xlm-roberta|distilbert|mpnet|albert)$/.test(typeOf(folder));

const json = (folder: string, name: string): Fields => {
  const path = join(folder, name);
  return new Fields(existsSync(path) ? parseJsonObject(new Uint8Array(readFileSync(path)), name) : {}, name);
};
function typeOf(folder: string): string {
  const config = json(folder, 'config.json');
  return config.has('model_type') ? config.string('model_type') : '';
}

interface Shape {
  hidden: number;
  layers: number;
  heads: number;
  inner: number;
  vocab: number;
  positions: number;
  eps: number;
  /** Gelu's `approximate`, or none for relu. */
  gelu: 'none' | 'tanh' | undefined;
}

/** A model's shape, and whether it scores pairs of texts. */
type Kind = Shape & { scores: boolean };

const OTHERWISE = 'export it to ONNX by "optimum-cli export onnx --task feature-extraction" and pack model.onnx';

/** What the files say. Throws ModelFileError naming the file and the field of what is not converted. */
function shapeOf(folder: string): Shape {
  if (!existsSync(join(folder, 'config.json'))) throw new ModelFileError(folder, 'has no config.json');
  const c = json(folder, 'config.json');
  const wrong = (why: string) => new ModelFileError('config.json', `${why}; ${OTHERWISE}`);
  if (!c.has('model_type')) throw wrong("has no model_type: it is not the model's own, which is needed for its number of heads");
  const type = c.string('model_type');
  if (type !== 'bert') throw wrong(`model_type "${type}": encoders of type bert are converted`);
  const positions = c.has('position_embedding_type') ? c.string('position_embedding_type') : 'absolute';
  if (positions !== 'absolute') throw wrong(`position_embedding_type "${positions}", must be absolute`);
  const act = c.has('hidden_act') ? c.string('hidden_act') : 'gelu';
  if (!['gelu', 'gelu_new', 'gelu_pytorch_tanh', 'relu'].includes(act)) throw wrong(`hidden_act "${act}", must be gelu, gelu_new or relu`);
  const hidden = c.int('hidden_size', 16, 8192);
  const heads = c.int('num_attention_heads', 1, 128);
  if (hidden % heads !== 0) throw wrong(`hidden_size ${hidden} is no multiple of num_attention_heads ${heads}`);
  return {
    ...{ hidden, heads },
    layers: c.int('num_hidden_layers', 1, 64),
    inner: c.int('intermediate_size', 16, 32_768),
    vocab: c.int('vocab_size', 1, 1 << 20),
    positions: c.int('max_position_embeddings', 16, 32_768),
    eps: c.has('layer_norm_eps') ? c.number('layer_norm_eps', 0, 1) : 1e-12,
    gelu: act === 'relu' ? undefined : act === 'gelu' ? 'none' : 'tanh',
  };
}

/** Steps after the encoder: pooling and length 1 are the embedder's; anything else is refused by its name. */
function checkModules(folder: string): void {
  const path = join(folder, 'modules.json');
  if (!existsSync(path)) return;
  for (const m of JSON.parse(readFileSync(path, 'utf8')) as { type?: string }[]) {
    const name = String(m.type).split('.').at(-1);
    if (!['Transformer', 'Pooling', 'Normalize'].includes(String(name)))
      throw new ModelFileError('modules.json', `has a step "${name}" after the encoder; Transformer, Pooling and Normalize are converted`);
  }
  const pooling = json(folder, '1_Pooling/config.json');
  for (const mode of ['max_tokens', 'mean_sqrt_len_tokens', 'weightedmean_tokens', 'lasttoken']) {
    if (pooling.raw[`pooling_mode_${mode}`] === true)
      throw new ModelFileError('1_Pooling/config.json', `pools by ${mode}; mean and cls are computed here`);
  }
}

/** The model as ONNX. `float`: matrices in float32, to compare with. Rejects with ModelFileError. */
export async function encoderToOnnx(folder: string, { float = false } = {}): Promise<Uint8Array> {
  const shape = shapeOf(folder);
  checkModules(folder);
  const path = join(folder, 'model.safetensors');
  if (!existsSync(path)) throw new ModelFileError(basename(folder), 'has no model.safetensors');
  const source = await fileSource(path);
  try {
    const tensors = await readSafetensors(source);
    const prefix = tensors.has('bert.embeddings.word_embeddings.weight') ? 'bert.' : '';
    const read = (name: string, ...dims: number[]) => floats(tensors, name.startsWith('classifier.') ? name : prefix + name, dims);
    const labels = tensors.get(CLASSIFIER)?.shape[0];
    if (labels !== undefined && labels !== 1)
      throw new ModelFileError(`tensor "${CLASSIFIER}"`, `has ${labels} labels; a classifier of one, which scores pairs, is converted`);
    return await new Bert({ ...shape, scores: labels === 1 }, read, float).write();
  } finally {
    await source.close();
  }
}

type Read = (name: string, ...dims: number[]) => Promise<Float32Array>;

class Bert {
  readonly #s: Kind;
  readonly #read: Read;
  readonly #float: boolean;
  readonly #g = new GraphWriter();

  constructor(shape: Kind, read: Read, float: boolean) {
    this.#s = shape;
    this.#read = read;
    this.#float = float;
  }

  async write(): Promise<Uint8Array> {
    const g = this.#g;
    const { layers, hidden, scores } = this.#s;
    let x = await this.#embed();
    const masked = this.#mask();
    for (let l = 0; l < layers; l++) x = await this.#layer(`encoder.layer.${l}`, x, masked);
    const opsets = { '': OPSET, [MICROSOFT]: 1 };
    if (scores) {
      await this.#score(x);
      return g.model(['input_ids', 'attention_mask', 'token_type_ids'], 'logits', ['batch', 1], opsets);
    }
    g.node('Identity', [x], {}, '', 'last_hidden_state');
    return g.model(['input_ids', 'attention_mask'], 'last_hidden_state', ['batch', 'tokens', hidden], opsets);
  }

  /** The first token's vector through the pooler and the classifier, which stays in float32: [batch, 1]. */
  async #score(x: string): Promise<void> {
    const g = this.#g;
    const { hidden } = this.#s;
    const first = g.node('Squeeze', [
      g.node('Slice', [x, g.ints('from', [0]), g.ints('to', [1]), g.ints('axis_1', [1])]),
      g.ints('axes_1', [1]),
    ]);
    const pooled = g.node('Tanh', [await this.#dense('pooler.dense', first, hidden, hidden)]);
    const w = g.tensor(CLASSIFIER, [hidden, 1], await this.#read(CLASSIFIER, 1, hidden));
    const b = g.tensor('classifier.bias', [1], await this.#read('classifier.bias', 1));
    g.node('Add', [g.node('MatMul', [pooled, w]), b], {}, '', 'logits');
  }

  /** Words + positions + token types (the first, where there is one text), normalised. */
  async #embed(): Promise<string> {
    const g = this.#g;
    const { vocab, hidden, positions, scores } = this.#s;
    const words = await this.#read('embeddings.word_embeddings.weight', vocab, hidden);
    const places = await this.#read('embeddings.position_embeddings.weight', positions, hidden);
    const types = await this.#read('embeddings.token_type_embeddings.weight', 0, hidden);
    if (!scores) for (let i = 0; i < places.length; i++) places[i] += types[i % hidden];
    let word: string;
    if (this.#float) word = g.node('Gather', [g.tensor('words', [vocab, hidden], words), 'input_ids']);
    else {
      const { q, scales } = rows8(words, vocab, hidden);
      const row = g.node('Gather', [g.tensor('words', [vocab, hidden], q), 'input_ids']);
      const scale = g.node('Gather', [g.tensor('word_scales', [vocab, 1], scales), 'input_ids']);
      word = g.node('Mul', [g.node('Cast', [row], { to: 1 }), scale]);
    }
    const tokens = g.node('Shape', ['input_ids'], { start: 1, end: 2 });
    const all = g.tensor('positions', [positions, hidden], places);
    const place = g.node('Slice', [all, g.ints('zero', [0]), tokens, g.ints('axis_0', [0])]);
    const placed = g.node('Add', [word, place]);
    const typed = () =>
      g.node('Add', [placed, g.node('Gather', [g.tensor('types', [types.length / hidden, hidden], types), 'token_type_ids'])]);
    return this.#norm('embeddings.LayerNorm', scores ? typed() : placed);
  }

  /** 0 where a token is, a large negative number where padding is: [batch, 1, 1, tokens]. */
  #mask(): string {
    const g = this.#g;
    const gone = g.node('Sub', [g.floats('one', [1]), g.node('Cast', ['attention_mask'], { to: 1 })]);
    return g.node('Unsqueeze', [g.node('Mul', [gone, g.floats('masked', [MASKED])]), g.ints('axes_1_2', [1, 2])]);
  }

  async #layer(name: string, x: string, masked: string): Promise<string> {
    const g = this.#g;
    const { hidden, heads, inner, gelu } = this.#s;
    const size = hidden / heads;
    const one = async (part: 'query' | 'key' | 'value') => ({
      w: await this.#read(`${name}.attention.self.${part}.weight`, hidden, hidden),
      b: await this.#read(`${name}.attention.self.${part}.bias`, hidden),
    });
    const parts = [await one('query'), await one('key'), await one('value')];
    for (const numbers of [parts[0].w, parts[0].b]) for (let i = 0; i < numbers.length; i++) numbers[i] /= Math.sqrt(size);
    const qkv = this.#linear(`${name}.qkv`, x, joined(parts.map((p) => p.w)), joined(parts.map((p) => p.b)), hidden);
    const split = ['q', 'k', 'v'].map((p) => `${name}.${p}`);
    g.nodes('Split', [qkv], split, { axis: -1, num_outputs: 3 });
    const shape = g.ints(`${name}.heads`, [0, 0, heads, size]);
    const [q, k, v] = split.map((p, i) =>
      g.node('Transpose', [g.node('Reshape', [p, shape])], { perm: i === 1 ? [0, 2, 3, 1] : [0, 2, 1, 3] }),
    );
    const scores = g.node('Softmax', [g.node('Add', [g.node('MatMul', [q, k]), masked])], { axis: -1 });
    const mixed = g.node('Transpose', [g.node('MatMul', [scores, v])], { perm: [0, 2, 1, 3] });
    const flat = g.node('Reshape', [mixed, g.ints(`${name}.flat`, [0, 0, hidden])]);
    const out = await this.#dense(`${name}.attention.output.dense`, flat, hidden, hidden);
    const y = await this.#norm(`${name}.attention.output.LayerNorm`, g.node('Add', [out, x]));
    const up = await this.#dense(`${name}.intermediate.dense`, y, hidden, inner);
    const act = gelu === undefined ? g.node('Relu', [up]) : g.node('Gelu', [up], { approximate: gelu });
    const down = await this.#dense(`${name}.output.dense`, act, inner, hidden);
    return this.#norm(`${name}.output.LayerNorm`, g.node('Add', [down, y]));
  }

  async #norm(name: string, x: string): Promise<string> {
    const { hidden, eps } = this.#s;
    const [w, b] = [await this.#read(`${name}.weight`, hidden), await this.#read(`${name}.bias`, hidden)];
    const g = this.#g;
    const inputs = [x, g.tensor(`${name}.weight`, [hidden], w), g.tensor(`${name}.bias`, [hidden], b)];
    return g.node('LayerNormalization', inputs, { axis: -1, epsilon: { float: eps } });
  }

  async #dense(name: string, x: string, K: number, N: number): Promise<string> {
    return this.#linear(name, x, await this.#read(`${name}.weight`, N, K), await this.#read(`${name}.bias`, N), K);
  }

  /** x · wᵀ + b, with w of [N, K]. */
  #linear(name: string, x: string, w: Float32Array, b: Float32Array, K: number): string {
    const g = this.#g;
    const N = b.length;
    const bias = g.tensor(`${name}.bias`, [N], b);
    if (this.#float) return g.node('Add', [g.node('MatMul', [x, g.tensor(`${name}.weight`, [K, N], transposed(w, N, K))]), bias]);
    const block = BLOCKS.find((size) => K % size === 0);
    if (!block) throw new ModelFileError(`tensor "${name}.weight"`, `has ${K} columns, must be a multiple of 16; ${OTHERWISE}`);
    const { q, scales } = blocks8(w, block);
    const packed = g.tensor(`${name}.weight`, [N, K / block, block], q);
    const inputs = [x, packed, g.tensor(`${name}.scales`, [N * (K / block)], scales)];
    return g.node('Add', [g.node('MatMulNBits', inputs, { K, N, bits: 8, block_size: block }, MICROSOFT), bias]);
  }
}

/** Each row by its largest absolute value: w ≈ q · scale, q in −127..127. */
function rows8(w: Float32Array, rows: number, K: number): { q: Int8Array; scales: Float32Array } {
  const q = new Int8Array(w.length);
  const scales = new Float32Array(rows);
  for (let r = 0; r < rows; r++) {
    const scale = largest(w, r * K, K) / 127;
    scales[r] = scale;
    if (scale > 0) for (let i = r * K; i < (r + 1) * K; i++) q[i] = Math.round(w[i] / scale);
  }
  return { q, scales };
}

/** The same in blocks, with MatMulNBits' zero point of 128: w ≈ (q − 128) · scale. */
function blocks8(w: Float32Array, block: number): { q: Uint8Array; scales: Float32Array } {
  const q = new Uint8Array(w.length).fill(128);
  const scales = new Float32Array(w.length / block);
  for (let s = 0; s < scales.length; s++) {
    const scale = largest(w, s * block, block) / 127;
    scales[s] = scale;
    if (scale > 0) for (let i = s * block; i < (s + 1) * block; i++) q[i] = 128 + Math.round(w[i] / scale);
  }
  return { q, scales };
}

function largest(w: Float32Array, from: number, count: number): number {
  let most = 0;
  for (let i = from; i < from + count; i++) most = Math.max(most, Math.abs(w[i]));
  return most;
}

function transposed(w: Float32Array, rows: number, K: number): Float32Array {
  const out = new Float32Array(w.length);
  for (let r = 0; r < rows; r++) for (let k = 0; k < K; k++) out[k * rows + r] = w[r * K + k];
  return out;
}

function joined(parts: readonly Float32Array[]): Float32Array {
  const out = new Float32Array(parts.reduce((n, p) => n + p.length, 0));
  let at = 0;
  for (const p of parts) {
    out.set(p, at);
    at += p.length;
  }
  return out;
}

/** A tensor in float32. Throws when it is not there, of another shape (0: any) or of a type that is not read. */
async function floats(tensors: ReadonlyMap<string, SafeTensor>, name: string, dims: readonly number[]): Promise<Float32Array> {
  const where = `tensor "${name}"`;
  const t = tensors.get(name);
  if (!t) throw new ModelFileError(where, 'is missing');
  if (t.shape.length !== dims.length || t.shape.some((d, i) => dims[i] !== 0 && d !== dims[i]))
    throw new ModelFileError(where, `is ${t.shape.join(' × ')}, must be ${dims.map((d) => d || 'n').join(' × ')}`, t.offset);
  const bytes = await t.source.read(t.offset, t.bytes);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const out = new Float32Array(t.shape.reduce((n, d) => n * d, 1));
  const bits = new Uint32Array(out.buffer);
  for (let i = 0; i < out.length; i++) {
    if (t.dtype === 'F32') bits[i] = view.getUint32(4 * i, true);
    else if (t.dtype === 'BF16') bits[i] = view.getUint16(2 * i, true) << 16;
    else if (t.dtype === 'F16') out[i] = f16ToF32(view.getUint16(2 * i, true));
    else throw new ModelFileError(where, `has dtype ${t.dtype}; F32, F16 and BF16 can be read`, t.offset);
  }
  if (!out.every(Number.isFinite)) throw new ModelFileError(where, 'has numbers that are not finite', t.offset);
  return out;
}

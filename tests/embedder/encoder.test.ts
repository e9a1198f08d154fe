/** A sentence-transformers folder of the BERT family: what its ONNX computes beside a forward pass that is written out here, and beside transformers'. */
import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { encoderToOnnx, isEncoderFolder } from '../../cli/encoder.ts';
import { ORT_WASM, packOnnx } from '../../cli/pack-onnx.ts';
import { openEmbedding } from '../../embedder/model.ts';
import { createRuntime } from '../../embedder/runtime/ort.ts';
import { serveRerank, serveScore } from '../../embedder/score.ts';
import { serveEmbeddings } from '../../embedder/serve.ts';
import { folderPack } from '../../models/node/files.ts';
import { FIXTURES, farthest, temporary } from './packs.ts';

const runtime = createRuntime(new WebAssembly.Module(readFileSync(ORT_WASM)));
const TOKENIZER = join(FIXTURES, 'small/tokenizer.json');
const VOCAB = 261;
const [HIDDEN, HEADS, INNER, LAYERS, POSITIONS] = [32, 4, 64, 2, 64];
const CONFIG = {
  ...{ model_type: 'bert', hidden_size: HIDDEN, num_attention_heads: HEADS, num_hidden_layers: LAYERS, intermediate_size: INNER },
  ...{ vocab_size: VOCAB, max_position_embeddings: POSITIONS, layer_norm_eps: 1e-12, hidden_act: 'gelu' },
};

type Weights = Map<string, { shape: number[]; data: Float32Array }>;

function randomWeights(): Weights {
  let x = 7;
  const draw = () => (x = (x * 48271) % 2147483647) / 2147483647 - 0.5;
  const all: Weights = new Map();
  const add = (name: string, ...shape: number[]) =>
    all.set(name, {
      shape,
      data: Float32Array.from({ length: shape.reduce((n, d) => n * d, 1) }, () => draw() + (name.endsWith('Norm.weight') ? 1 : 0)),
    });
  const dense = (name: string, n: number, k: number) => add(`${name}.weight`, n, k) && add(`${name}.bias`, n);
  const norm = (name: string) => add(`${name}.LayerNorm.weight`, HIDDEN) && add(`${name}.LayerNorm.bias`, HIDDEN);
  add('embeddings.word_embeddings.weight', VOCAB, HIDDEN);
  add('embeddings.position_embeddings.weight', POSITIONS, HIDDEN);
  add('embeddings.token_type_embeddings.weight', 2, HIDDEN);
  norm('embeddings');
  for (let l = 0; l < LAYERS; l++) {
    for (const part of ['query', 'key', 'value']) dense(`encoder.layer.${l}.attention.self.${part}`, HIDDEN, HIDDEN);
    dense(`encoder.layer.${l}.attention.output.dense`, HIDDEN, HIDDEN);
    norm(`encoder.layer.${l}.attention.output`);
    dense(`encoder.layer.${l}.intermediate.dense`, INNER, HIDDEN);
    dense(`encoder.layer.${l}.output.dense`, HIDDEN, INNER);
    norm(`encoder.layer.${l}.output`);
  }
  return all;
}

function safetensors(all: Weights): Uint8Array {
  let at = 0;
  const header: Record<string, object> = {};
  for (const [name, { shape, data }] of all) header[name] = { dtype: 'F32', shape, data_offsets: [at, (at += data.byteLength)] };
  const head = new TextEncoder().encode(JSON.stringify(header));
  return Buffer.concat([
    Buffer.from(BigUint64Array.of(BigInt(head.length)).buffer),
    head,
    ...[...all.values()].map(({ data }) => Buffer.from(data.buffer)),
  ]);
}

/** A classifier of one label behind the first token, as BertForSequenceClassification has it. */
function withHead(all: Weights, labels = 1): Weights {
  const out: Weights = new Map([...all].map(([name, t]) => [`bert.${name}`, t]));
  const some = (n: number, k: number) => Float32Array.from({ length: n * k }, (_, i) => Math.sin(7 * i + n) / 2);
  for (const [name, n] of [
    ['bert.pooler.dense', HIDDEN],
    ['classifier', labels],
  ] as const) {
    out.set(`${name}.weight`, { shape: [n, HIDDEN], data: some(n, HIDDEN) });
    out.set(`${name}.bias`, { shape: [n], data: some(n, 1) });
  }
  return out;
}

/** BERT (Devlin et al., 2018) in doubles, one text: the mean of its tokens' vectors, at length 1. */
function forward(all: Weights, ids: readonly number[]): number[] {
  const xs = hiddenOf(all, ids);
  const mean = xs[0].map((_, d) => xs.reduce((s, x) => s + x[d], 0));
  const length = Math.hypot(...mean);
  return mean.map((x) => x / length);
}

/** The score of two texts in a row, the second from `second` on: the classifier over the first token's vector through the pooler. */
function scoreOf(all: Weights, ids: readonly number[], second: number): number {
  const bert: Weights = new Map([...all].map(([name, t]) => [name.replace(/^bert\./, ''), t]));
  const first = hiddenOf(bert, ids, second)[0];
  const w = (name: string) => (bert.get(name) as { data: Float32Array }).data;
  const pooled = first.map((_, n) =>
    Math.tanh(first.reduce((s, v, k) => s + v * w('pooler.dense.weight')[n * HIDDEN + k], w('pooler.dense.bias')[n])),
  );
  const logit = pooled.reduce((s, v, k) => s + v * w('classifier.weight')[k], w('classifier.bias')[0]);
  return 1 / (1 + Math.exp(-logit));
}

/** Each token's vector after the last layer; tokens from `second` on are of the second type. */
function hiddenOf(all: Weights, ids: readonly number[], second = ids.length): number[][] {
  const w = (name: string) => (all.get(name) as { data: Float32Array }).data;
  const norm = (name: string, x: number[]) => {
    const mean = x.reduce((a, b) => a + b) / x.length;
    const sd = Math.sqrt(x.reduce((a, b) => a + (b - mean) ** 2, 0) / x.length + 1e-12);
    return x.map((v, i) => ((v - mean) / sd) * w(`${name}.LayerNorm.weight`)[i] + w(`${name}.LayerNorm.bias`)[i]);
  };
  const dense = (name: string, x: number[]) =>
    Array.from(w(`${name}.bias`), (b, n) => x.reduce((sum, v, k) => sum + v * w(`${name}.weight`)[n * x.length + k], b));
  const erf = (z: number) => {
    let [sum, term] = [z, z]; // its Taylor series: arguments are small here
    for (let n = 1; n < 60; n++) sum += (term *= (-z * z) / n) / (2 * n + 1);
    return (2 / Math.sqrt(Math.PI)) * sum;
  };
  const row = (name: string, r: number) => Array.from(w(name).subarray(r * HIDDEN, (r + 1) * HIDDEN));
  let xs = ids.map((id, i) => {
    const [word, place, type] = [
      row('embeddings.word_embeddings.weight', id),
      row('embeddings.position_embeddings.weight', i),
      row('embeddings.token_type_embeddings.weight', i < second ? 0 : 1),
    ];
    return norm(
      'embeddings',
      word.map((v, k) => v + place[k] + type[k]),
    );
  });
  const size = HIDDEN / HEADS;
  for (let l = 0; l < LAYERS; l++) {
    const name = `encoder.layer.${l}`;
    const [q, k, v] = ['query', 'key', 'value'].map((part) => xs.map((x) => dense(`${name}.attention.self.${part}`, x)));
    const mixed = xs.map((_, i) => {
      const out: number[] = [];
      for (let h = 0; h < HEADS; h++) {
        const head = (x: number[]) => x.slice(h * size, (h + 1) * size);
        const scores = k.map((key) => Math.exp(head(q[i]).reduce((s, a, d) => s + a * head(key)[d], 0) / Math.sqrt(size)));
        const total = scores.reduce((a, b) => a + b);
        for (let d = 0; d < size; d++) out.push(v.reduce((s, value, j) => s + (scores[j] / total) * head(value)[d], 0));
      }
      return out;
    });
    xs = xs.map((x, i) => {
      const y = norm(
        `${name}.attention.output`,
        dense(`${name}.attention.output.dense`, mixed[i]).map((a, d) => a + x[d]),
      );
      const up = dense(`${name}.intermediate.dense`, y).map((a) => (a / 2) * (1 + erf(a / Math.SQRT2)));
      return norm(
        `${name}.output`,
        dense(`${name}.output.dense`, up).map((a, d) => a + y[d]),
      );
    });
  }
  return xs;
}

function folderOf(config: object, weights = randomWeights(), prefix = ''): string {
  const folder = temporary();
  writeFileSync(join(folder, 'config.json'), JSON.stringify(config));
  writeFileSync(join(folder, 'model.safetensors'), safetensors(new Map([...weights].map(([name, t]) => [prefix + name, t]))));
  symlinkSync(TOKENIZER, join(folder, 'tokenizer.json'));
  return folder;
}

async function packed(folder: string, float = false, mb = 512) {
  const out = join(temporary(), 'pack');
  const manifest = await packOnnx({
    source: join(folder, 'model.onnx'),
    model: await encoderToOnnx(folder, { float }),
    out,
    batchTokens: 256,
    memoryMb: mb,
    say: () => {},
  });
  return { manifest, model: await openEmbedding(folderPack(out), runtime, mb) };
}
const cosine = (a: ArrayLike<number>, b: ArrayLike<number>): number => {
  let [ab, aa, bb] = [0, 0, 0];
  for (let i = 0; i < a.length; i++) [ab, aa, bb] = [ab + a[i] * b[i], aa + a[i] ** 2, bb + b[i] ** 2];
  return ab / Math.sqrt(aa * bb);
};
const TEXTS = ['It rained.', 'The ship left the harbour at dawn.', 'x'];

describe('a folder of sentence-transformers', () => {
  it('is computed as BERT is: in float32 within 1e-5, in 8 bits within a cosine of 0.999; texts of a batch do not disturb each other', async () => {
    const weights = randomWeights();
    const folder = folderOf(CONFIG, weights);
    expect(isEncoderFolder(folder)).toBe(true);
    const { model } = await packed(folder, true);
    const rows = TEXTS.map((t) => model.tokenizer.encode(t));
    const want = rows.map((ids) => forward(weights, ids));
    expect(farthest(await model.embed(rows), want)).toBeLessThan(1e-5);
    await model.close();
    const small = await packed(folder);
    const together = await small.model.embed(rows);
    for (const [i, v] of together.entries()) expect(cosine(v, want[i])).toBeGreaterThan(0.999);
    const alone = [];
    for (const ids of rows) alone.push((await small.model.embed([ids]))[0]);
    expect(farthest(together, alone)).toBeLessThan(1e-6);
    expect(small.manifest).toMatchObject({ pooling: 'mean', normalize: true, dim: HIDDEN });
    await small.model.close();
  });

  it('may have its names under "bert.", and pool by its first token', async () => {
    const folder = folderOf(CONFIG, undefined, 'bert.');
    mkdirSync(join(folder, '1_Pooling'));
    writeFileSync(join(folder, '1_Pooling/config.json'), JSON.stringify({ pooling_mode_cls_token: true }));
    const { manifest, model } = await packed(folder);
    expect(manifest.pooling).toBe('cls');
    await model.close();
  });

  it('with a classifier of one label scores pairs: in float32 within 1e-5 of BERT in doubles, in 8 bits within 0.01, the best first', async () => {
    const weights = withHead(randomWeights());
    const folder = folderOf(CONFIG, weights);
    const documents = ['It rained.', 'x', 'It rained.'];
    const request = { kind: 'rerank', query: 'Did it rain?', documents, topN: 2, returnDocuments: true } as const;
    const float = await packed(folder, true);
    expect(float.manifest).toMatchObject({ pooling: 'none', normalize: false, dim: 1 });
    const pairs = documents.map((d) => float.model.tokenizer.encodePair(request.query, d));
    const want = pairs.map(({ ids, second }) => scoreOf(weights, ids, second));
    const { data } = await serveScore(float.model, { kind: 'score', first: documents.map(() => request.query), second: documents });
    for (const [i, { score }] of data.entries()) expect(Math.abs(score - want[i])).toBeLessThan(1e-5);
    await expect(serveEmbeddings(float.model, { kind: 'embeddings', input: ['x'], encodingFormat: 'float' })).rejects.toThrow(
      'is a cross-encoder',
    );
    await float.model.close();
    const { model } = await packed(folder);
    const { results, turnstone } = await serveRerank(model, request);
    expect(turnstone).toEqual({ scored_by: 'cross-encoder' });
    const best = want[0] > want[1] ? [0, 2] : [1, 0]; // the first and the last are the same text
    expect(results.map((r) => r.index)).toEqual(best);
    expect(results.map((r) => r.document)).toEqual(best.map((i) => ({ text: documents[i] })));
    for (const { index, relevance_score } of results) expect(Math.abs(relevance_score - want[index])).toBeLessThan(0.01);
    await model.close();
  });

  it('with a classifier of several labels is refused by its tensor', async () => {
    await expect(encoderToOnnx(folderOf(CONFIG, withHead(randomWeights(), 3)))).rejects.toThrow(
      'tensor "classifier.weight": has 3 labels; a classifier of one',
    );
  });

  it.each([
    ['another family', { ...CONFIG, model_type: 'mpnet' }, 'model_type "mpnet": encoders of type bert are converted; export it to ONNX'],
    [
      'relative positions',
      { ...CONFIG, position_embedding_type: 'relative_key' },
      'position_embedding_type "relative_key", must be absolute',
    ],
    ['an activation', { ...CONFIG, hidden_act: 'silu' }, 'hidden_act "silu", must be gelu'],
    [
      'other weights',
      { ...CONFIG, intermediate_size: 128 },
      'tensor "encoder.layer.0.intermediate.dense.weight": is 64 × 32, must be 128 × 32',
    ],
    ['more layers', { ...CONFIG, num_hidden_layers: 3 }, 'tensor "encoder.layer.2.attention.self.query.weight": is missing'],
  ])('%s is refused by its name', async (_, config, why) => {
    await expect(encoderToOnnx(folderOf(config))).rejects.toThrow(why);
  });

  it('with a step after the encoder that is not computed here is refused by its name', async () => {
    const folder = folderOf(CONFIG);
    writeFileSync(join(folder, 'modules.json'), JSON.stringify([{ type: 'sentence_transformers.models.Dense' }]));
    await expect(encoderToOnnx(folder)).rejects.toThrow('has a step "Dense" after the encoder');
  });
});

const MINILM = join(process.env.TURNSTONE_MODELS ?? join(homedir(), '.cache/turnstone-models'), 'all-MiniLM-L6-v2');
const noMinilm = existsSync(join(MINILM, 'model.safetensors')) ? '' : ' (skipped: all-MiniLM-L6-v2 is not on this machine)';
/** As its repository has it. */
const MINILM_CONFIG = {
  ...{ model_type: 'bert', hidden_size: 384, num_attention_heads: 12, num_hidden_layers: 6, intermediate_size: 1536, vocab_size: 30_522 },
  ...{ max_position_embeddings: 512, layer_norm_eps: 1e-12, hidden_act: 'gelu' },
};
/** SENTENCES=200 takes all. */
const SENTENCES = Number(process.env.SENTENCES ?? 40);

describe.skipIf(noMinilm)(`all-MiniLM-L6-v2${noMinilm}`, () => {
  it('fits 128 MB, and its vectors are those of transformers in float32 within a cosine of 0.999', { timeout: 300_000 }, async () => {
    const folder = temporary();
    for (const file of ['model.safetensors', 'tokenizer.json', 'modules.json', 'sentence_bert_config.json'])
      symlinkSync(join(MINILM, file), join(folder, file));
    writeFileSync(join(folder, 'config.json'), JSON.stringify(MINILM_CONFIG));
    const { model } = await packed(folder, false, 128);
    const { sentences, int8 } = JSON.parse(readFileSync(join(FIXTURES, 'minilm.json'), 'utf8')) as { sentences: string[]; int8: string };
    const want = new Int8Array(Buffer.from(int8, 'base64'));
    const some = Array.from({ length: SENTENCES }, (_, i) => Math.floor((i * sentences.length) / SENTENCES));
    const got = await model.embed(some.map((i) => model.tokenizer.encode(sentences[i])));
    const cosines = got.map((v, n) => cosine(v, want.subarray(some[n] * 384, (some[n] + 1) * 384)));
    console.log(`all-MiniLM-L6-v2 in 8 bits: ${SENTENCES} sentences, cosine to float32 at least ${Math.min(...cosines).toFixed(5)}`);
    expect(Math.min(...cosines)).toBeGreaterThan(0.999);
    await model.close();
  });
});

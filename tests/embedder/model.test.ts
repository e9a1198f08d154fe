import { cpSync, existsSync, readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { ORT_WASM, packOnnx } from '../../cli/pack-onnx.ts';
import { type EmbeddingModel, openEmbedding } from '../../embedder/model.ts';
import { createRuntime } from '../../embedder/runtime/ort.ts';
import { folderPack } from '../../models/node/files.ts';
import { blocksOf } from '../docs.ts';
import { DUNLIN, FIXTURES, farthest, recorded, smallPack, temporary } from './packs.ts';

const runtime = createRuntime(new WebAssembly.Module(readFileSync(ORT_WASM)));
const open = (folder: string, mb = 512): Promise<EmbeddingModel> => openEmbedding(folderPack(folder), runtime, mb);
const embed = (m: EmbeddingModel, texts: string[]) => m.embed(texts.map((t) => m.tokenizer.encode(t)));

let small: string;
beforeAll(async () => {
  small = await smallPack();
});

describe('onnxruntime-web in Node against PyTorch', () => {
  it('f32 within 1e-5, tokens equal', async () => {
    const want = recorded('small');
    const model = await open(small);
    expect(want.texts.map((t) => model.tokenizer.encode(t))).toEqual(want.ids);
    expect(farthest(await embed(model, want.texts), want.vectors)).toBeLessThan(1e-5);
    await model.close();
  });

  it('the shipped int8 model within 1e-3, tokens equal', async () => {
    const want = recorded('dunlin');
    const model = await open(DUNLIN);
    expect(want.texts.map((t) => model.tokenizer.encode(t))).toEqual(want.ids);
    expect(farthest(await embed(model, want.texts), want.vectors)).toBeLessThan(1e-3);
    await model.close();
  });

  it('a vector does not depend on what it was computed with', async () => {
    const { texts } = recorded('dunlin');
    const model = await open(DUNLIN);
    const together = await embed(model, [...texts, ...texts.map((t) => `${t} And more.`)]);
    const alone = [];
    for (const t of texts) alone.push((await embed(model, [t]))[0]);
    expect(farthest(together.slice(0, texts.length), alone)).toBeLessThan(1e-6);
    for (const v of alone) expect(Math.hypot(...v)).toBeCloseTo(1, 5);
    await model.close();
  });

  it('prefixes are the same direction at length 1', async () => {
    const model = await open(small);
    const rows = [model.tokenizer.encode('It rained.')];
    const [whole] = await model.embed(rows);
    const [short] = await model.embed(rows, 8);
    const length = Math.hypot(...whole.slice(0, 8));
    expect(farthest([short], [whole.slice(0, 8).map((x) => x / length)])).toBeLessThan(1e-6);
    await model.close();
  });
});

describe('what is wrong has a name', () => {
  const tokenizer = join(FIXTURES, 'small/tokenizer.json');
  const lines = blocksOf('docs/embeddings.md').flatMap(({ language, text }) => (language === 'text' ? text.trim().split('\n') : []));
  /** What docs/embeddings.md shows, but for its numbers. */
  const shown = (error: string): string => {
    const form = (line: string) => line.replaceAll(/[\d.]+/g, '#');
    expect(
      lines.map((line) => form(error).startsWith(form(line.replace(/ …$/, '')))),
      `docs/embeddings.md shows ${error}`,
    ).toContain(true);
    return error;
  };
  const pack = async (source: string, more: object = {}) => {
    const out = join(temporary(), 'x');
    const error = await packOnnx({ source, out, tokenizer, say: () => {}, ...more }).then(
      () => 'packed',
      (e: Error) => e.message,
    );
    expect(existsSync(out) ? readdirSync(out) : []).toEqual([]); // nothing is written
    return error;
  };

  it('an operator that onnxruntime-web lacks', async () => {
    expect(shown(await pack(join(FIXTURES, 'own-domain.onnx')))).toMatch(/operator com\.example:FlashEncoder of node "encode"/);
    expect(await pack(join(FIXTURES, 'no-such-operator.onnx'))).toMatch(/operator FlashEncoder: onnxruntime-web does not know it/);
    expect(shown(await pack(join(FIXTURES, 'not-built-in.onnx')))).toMatch(
      /operator BiasSplitGelu \(version 1\) of node "activate": onnxruntime-web has no/,
    );
  });

  it('a file that is cut short', async () => {
    const folder = temporary();
    cpSync(join(FIXTURES, 'small'), folder, { recursive: true });
    truncateSync(join(folder, 'model.onnx'), 40_000);
    expect(shown(await pack(join(folder, 'model.onnx')))).toMatch(/^model\.onnx: .*the file is cut short or damaged \(at byte/);
    const opened = temporary();
    cpSync(small, opened, { recursive: true });
    truncateSync(join(opened, 'model.onnx'), 40_000);
    await expect(open(opened)).rejects.toThrow(/file "model\.onnx": has 40000 bytes, model\.json says \d+: it is cut short/);
  });

  it('a tokenizer of another model, or none', async () => {
    const other = join(DUNLIN, 'tokenizer.json');
    expect(shown(await pack(join(FIXTURES, 'small/model.onnx'), { tokenizer: other }))).toMatch(
      /ids up to 16383, but the model's table "embed.weight" has \d+ rows/,
    );
    expect(await pack(join(DUNLIN, 'model.onnx'))).toMatch(/tokenizer\.json: has ids up to \d+, and 16\d+ of 16384 rows/);
    const folder = temporary();
    writeFileSync(join(folder, 'tokenizer.json'), '{"model": {"type": "Sorcery", "vocab": {}}}');
    expect(await pack(join(FIXTURES, 'small/model.onnx'), { tokenizer: join(folder, 'tokenizer.json') })).toMatch(
      /tokenizer\.json: is no tokenizer that can be used/,
    );
    const opened = temporary();
    cpSync(small, opened, { recursive: true });
    cpSync(other, join(opened, 'tokenizer.json'));
    await expect(open(opened)).rejects.toThrow(/file "tokenizer\.json": has \d+ bytes, model\.json says/);
  });

  it('too little memory, with the arithmetic', async () => {
    const refused = await open(DUNLIN, 64).catch((error: Error) => error.message);
    expect(shown(String(refused))).toMatch(/model "dunlin": needs [\d.]+ MB of 64\.0 MB: ONNX Runtime with the model [\d.]+ MB/);
    expect(await pack(join(FIXTURES, 'small/model.onnx'), { memoryMb: 16 })).toMatch(/needs [\d.]+ MB of 16\.0 MB/);
  });
});

/** Tokenizers of real models, where their files are, beside llama.cpp's. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { type RealName, realModel } from '../../bench/real-models.ts';
import { openModel } from '../../models/node/files.ts';
import { createTokenizer } from '../../models/tokenizer/tokenizer.ts';

/** What llama.cpp (node-llama-cpp 3.22.1) made of the texts: spaces, digits, scripts, joined emoji, controls, markup. `bench/compare/vectors.ts` records them. */
const vectorsOf = (name: RealName) =>
  JSON.parse(readFileSync(new URL(`../fixtures/tokenizer-${name}.json`, import.meta.url), 'utf8')) as { text: string; ids: number[] }[];

describe.each([
  ['gemma3', '<end_of_turn>'],
  ['qwen-coder', '<|im_end|>'],
  ['smollm2', '<|im_end|>'],
] as const)('%s', (name, stop) => {
  const { path, missing } = realModel(name);
  const vectors = vectorsOf(name);

  it.skipIf(missing)(`gives llama.cpp’s ids for ${vectors.length} texts${missing ? ` (skipped: ${missing})` : ''}`, async () => {
    const model = await openModel(path);
    try {
      const tokenizer = createTokenizer(model.tokenizer);
      expect(tokenizer.stopIds).toContain(tokenizer.idOf(stop));
      const got = vectors.map(({ text }) => ({ text, ids: tokenizer.encode(text, { special: true, bos: false }) }));
      expect(got.filter(({ ids }, i) => `${ids}` !== `${vectors[i].ids}`)).toEqual([]);
      expect(vectors.length).toBeGreaterThanOrEqual(60);
    } finally {
      await model.close();
    }
  });
});

const gemma = realModel('gemma3');
it.skipIf(gemma.missing)(`Gemma 3 270M is read with its layers’ kinds${gemma.missing ? ` (skipped: ${gemma.missing})` : ''}`, async () => {
  const model = await openModel(gemma.path);
  expect(model.config).toMatchObject({
    ...{ family: 'gemma3', layers: 18, window: 512, slidingTheta: 10_000, ropeTheta: 1e6, activation: 'gelu' },
  });
  expect(model.config.layerKinds?.flatMap((kind, l) => (kind === 'full' ? [l] : []))).toEqual([5, 11, 17]);
  await model.close();
});

/** The real Gemma 3 270M, where its file is: its tokenizer beside llama.cpp's, its configuration, its first words. */
import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { realModel } from '../../bench/real-models.ts';
import { openModel } from '../../models/node/files.ts';
import { createTokenizer } from '../../models/tokenizer/tokenizer.ts';

const { path, missing } = realModel('gemma3');
/** What llama.cpp (node-llama-cpp 3.22.1) made of 65 texts: spaces, digits, scripts, joined emoji, controls, markup. */
const vectors = JSON.parse(readFileSync(new URL('../fixtures/tokenizer-gemma3.json', import.meta.url), 'utf8')) as {
  text: string;
  ids: number[];
}[];

it.skipIf(missing)(`gives llama.cpp’s ids for ${vectors.length} texts${missing ? `: ${missing}` : ''}`, async () => {
  const model = await openModel(path);
  try {
    expect(model.config).toMatchObject({
      family: 'gemma3',
      layers: 18,
      window: 512,
      slidingTheta: 10_000,
      ropeTheta: 1e6,
      activation: 'gelu',
    });
    expect(model.config.layerKinds?.flatMap((kind, l) => (kind === 'full' ? [l] : []))).toEqual([5, 11, 17]);
    const tokenizer = createTokenizer(model.tokenizer);
    expect(tokenizer.stopIds).toContain(tokenizer.idOf('<end_of_turn>'));
    for (const { text, ids } of vectors) expect(tokenizer.encode(text, { special: true, bos: false }), JSON.stringify(text)).toEqual(ids);
  } finally {
    await model.close();
  }
});

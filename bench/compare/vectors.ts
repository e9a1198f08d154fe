/**
 * What llama.cpp makes of the texts of tests/fixtures/tokenizer-gemma3.json with the tokenizers of the other real models: fixtures for
 * tests/models/vectors.test.ts. Special tokens in a text are read as such, nothing is put before it.
 *
 *   npx tsx bench/compare/vectors.ts
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { LlamaPeer } from '../peers/llama.ts';
import { type RealName, realModel } from '../real-models.ts';

const fixture = (name: RealName) => new URL(`../../tests/fixtures/tokenizer-${name}.json`, import.meta.url);
const texts = (JSON.parse(readFileSync(fixture('gemma3'), 'utf8')) as { text: string }[]).map(({ text }) => text);

for (const name of ['smollm2', 'qwen-coder'] as const) {
  const { path, missing } = realModel(name);
  if (missing) throw new Error(missing);
  const peer = await LlamaPeer.open(path, { context: 64 });
  const lines = texts.map((text) => JSON.stringify({ text, ids: peer.tokenize(text) }));
  writeFileSync(fixture(name), `[\n ${lines.join(',\n ')}\n]\n`);
  console.log(`${name}: ${lines.length} texts`);
  await peer.close();
}

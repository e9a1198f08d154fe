/** `pack --evaluate`: the perplexity that it prints is that of the forward pass, and rounding shows in it. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { packCommand } from '../../cli/pack.ts';
import { smallGguf } from './small-model.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'turnstone-evaluate-'));
});
afterAll(() => rm(folder, { recursive: true }));

async function evaluated(format: string, text: string): Promise<{ line: string; before: number; after: number }> {
  const [file, words] = [join(folder, 'small.gguf'), join(folder, 'words.txt')];
  await writeFile(file, smallGguf());
  await writeFile(words, text);
  const said: string[] = [];
  await packCommand({ source: file, out: join(folder, format), format, evaluate: words, say: (l) => said.push(l), progress: () => {} });
  const line = said.at(-1) ?? '';
  const [, before, after] = /: ([\d.e+]+) in the file's numbers, ([\d.e+]+) as packed/.exec(line) ?? [];
  return { line, before: Number(before), after: Number(after) };
}

it('of a model of drawn weights is near its vocabulary, the same where numbers are kept, and another where they are rounded', async () => {
  const text = 'hello hell, what is it that they tell? '.repeat(40);
  const kept = await evaluated('auto', text);
  expect(kept.line).toMatch(/^perplexity of .*words\.txt \([\d,]+ tokens, int8 KV\): .* as packed, \+0\.00 %$/);
  expect(kept.after).toBe(kept.before);
  expect(kept.before).toBeGreaterThan(50); // of 264 tokens
  const rounded = await evaluated('w4', text);
  expect(rounded.before).toBe(kept.before);
  expect(rounded.after).not.toBe(kept.before);
  await expect(evaluated('w8', 'x')).rejects.toThrow('fewer than 16 tokens');
});

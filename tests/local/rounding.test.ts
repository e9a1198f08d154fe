/** What a file becomes when it is served: kept, or rounded when that is asked for, and then said at every start. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { localPack } from '../../cli/packs.ts';
import { smallGguf } from '../models/small-model.ts';

let folder: string;
const packs: string[] = [];
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'turnstone-rounding-'));
  await writeFile(join(folder, 'small.gguf'), smallGguf());
});
afterAll(() => Promise.all([folder, ...packs].map((path) => rm(path, { recursive: true, force: true }))));

async function said(format?: string): Promise<string[]> {
  const lines: string[] = [];
  packs.push((await localPack(join(folder, 'small.gguf'), (line) => lines.push(line), format)).folder);
  return lines;
}

it('says nothing of rounding when the numbers are kept', async () => {
  expect(await said()).toEqual(['Packing small.gguf …']);
});

it('says what was asked for and what it costs, at the next start too', async () => {
  const cost = /^small\.gguf is rounded: F32 → w4, error \d+(\.\d+)? %$/;
  expect(await said('w4')).toEqual(['Packing small.gguf …', expect.stringMatching(cost)]);
  expect(await said('w4')).toEqual([expect.stringMatching(cost)]);
});

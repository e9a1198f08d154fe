import { readFileSync, statSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { REAL_MODELS, type RealName, realModel } from '../../bench/real-models.ts';
import { withCatalogue } from '../../cli/hub/catalogue-table.ts';
import { CATALOGUE, parseName } from '../../cli/hub/names.ts';
import { verdictOf } from '../../cli/verdict.ts';
import { openModel } from '../../models/node/files.ts';

it('docs/models.md shows the catalogue: npx tsx cli/hub/catalogue-write.ts writes it', () => {
  const page = readFileSync(new URL('../../docs/models.md', import.meta.url), 'utf8');
  expect(page).toBe(withCatalogue(page));
});

it.each(Object.keys(CATALOGUE))('%s names a repository, what is taken of it, and what it is for', (name) => {
  const { repo, pick, entry } = parseName(name);
  expect(repo).toMatch(/^[\w.-]+\/[\w.-]+$/);
  expect(pick).toMatch(/^[\w.-]+(\.gguf)?$/);
  expect(entry?.about).toMatch(/(fits|larger than) one isolate$/);
  expect(entry?.isolates === 1).toBe(entry?.about.endsWith('fits one isolate'));
});

/** Files of this machine that have the shape and the types of an entry's. */
const ALIKE: [RealName, string[]][] = [
  ['smollm2', ['smollm2']],
  ['gemma3', ['gemma3']],
  ['qwen-coder', ['qwen2.5-coder', 'qwen2.5']],
];

describe.each(ALIKE)('%s', (real, names) => {
  const { path, missing } = realModel(real);
  it.skipIf(missing)(
    `takes the isolates and has the context that the catalogue says${missing ? ` (skipped: ${missing})` : ''}`,
    async () => {
      const model = await openModel(path);
      const { isolates } = await verdictOf(async () => model, 128);
      await model.close();
      for (const name of names) expect({ count: CATALOGUE[name].isolates, context: CATALOGUE[name].context }, name).toEqual(isolates);
      if (CATALOGUE[names[0]].sha256)
        expect(CATALOGUE[names[0]]).toMatchObject({ sha256: REAL_MODELS[real].sha256, bytes: statSync(path).size });
    },
  );
});

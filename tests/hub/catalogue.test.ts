import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { withCatalogue } from '../../cli/hub/catalogue-table.ts';
import { CATALOGUE, parseName } from '../../cli/hub/names.ts';

it('docs/models.md shows the catalogue: npx tsx cli/hub/catalogue-write.ts writes it', () => {
  const page = readFileSync(new URL('../../docs/models.md', import.meta.url), 'utf8');
  expect(page).toBe(withCatalogue(page));
});

it.each(Object.keys(CATALOGUE))('%s names a repository, what is taken of it, and what it is for', (name) => {
  const { repo, pick, entry } = parseName(name);
  expect(repo).toMatch(/^[\w.-]+\/[\w.-]+$/);
  expect(pick).toMatch(/^[\w.-]+(\.gguf)?$/);
  expect(entry?.about).toMatch(/(fits|larger than) one isolate$/);
  expect(entry?.oneIsolate).toBe(entry?.about.endsWith('fits one isolate'));
});

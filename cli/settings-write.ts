/** `npx tsx cli/settings-write.ts`: writes the tables of settings into README.md and docs/settings.md. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from './build.ts';
import { PAGES, settingsTable, withTable } from './settings.ts';

for (const [page, names] of Object.entries(PAGES)) {
  const path = join(ROOT, page);
  writeFileSync(path, withTable(readFileSync(path, 'utf8'), settingsTable(names)));
}

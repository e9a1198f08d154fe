/** `npx tsx cli/hub/catalogue-write.ts`: writes the catalogue's table into docs/models.md. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from '../build.ts';
import { withCatalogue } from './catalogue-table.ts';

const path = join(ROOT, 'docs/models.md');
writeFileSync(path, withCatalogue(readFileSync(path, 'utf8')));

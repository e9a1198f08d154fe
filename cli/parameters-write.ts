/** `npx tsx cli/parameters-write.ts`: writes docs/parameters.md. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from './build.ts';
import { PARAMETERS_PAGE, parametersPage } from './parameters.ts';

writeFileSync(join(ROOT, PARAMETERS_PAGE), parametersPage());

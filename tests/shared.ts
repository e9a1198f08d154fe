import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from '../cli/build.ts';

/** Data that the tests read and the project does not contain: beside the checkout, in `../shared/data`. */
export function shared(path: string): { path: string; missing: boolean; why: string } {
  const full = join(ROOT, '../shared/data', path);
  const missing = !existsSync(full);
  if (missing) console.warn(`skipped: ../shared/data/${path} is not there`);
  return { path: full, missing, why: `../shared/data/${path} is not there` };
}

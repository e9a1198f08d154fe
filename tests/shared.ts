import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { ROOT } from '../cli/build.ts';

/** Data that the tests read and the project does not contain: beside the checkout, in `../shared/data`. */
export function shared(path: string): { path: string; missing: boolean; why: string } {
  const full = join(ROOT, '../shared/data', path);
  const missing = !existsSync(full);
  if (missing) console.warn(`skipped: ../shared/data/${path} is not there`);
  return { path: full, missing, why: `../shared/data/${path} is not there` };
}

/** A public model's file, which the project does not contain: in `$TURNSTONE_MODELS`, else `~/.cache/turnstone-models`. */
export function realModel(name: string): { name: string; path: string; missing: boolean; why: string } {
  const path = join(process.env.TURNSTONE_MODELS ?? join(homedir(), '.cache/turnstone-models'), name);
  const missing = !existsSync(path);
  if (missing) console.warn(`skipped: ${path} is not there`);
  return { name, path, missing, why: `${path} is not there` };
}

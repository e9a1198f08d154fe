/** What is known here of a deployment: which scripts it has, in the order in which they are deployed, and which files of packs. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Script } from './scripts.ts';

export interface Deployed {
  scripts: Pick<Script, 'name' | 'holds' | 'path'>[];
  /** Names in the bucket. */
  objects: string[];
}

const FILE = 'deployment.json';

/** Undefined: nothing was written there. */
export function readRecord(out: string): Deployed | undefined {
  const path = join(out, FILE);
  return existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as Deployed) : undefined;
}

/** Adds to what is there: a script that is no longer needed, such as a stage, is still to be removed. */
export function writeRecord(out: string, { scripts, objects }: Deployed): void {
  const before = readRecord(out);
  const left = before?.scripts.filter((s) => !scripts.some((t) => t.name === s.name)) ?? [];
  const all = [...left, ...scripts].map(({ name, holds, path }) => ({ name, holds, path }));
  mkdirSync(out, { recursive: true });
  writeFileSync(
    join(out, FILE),
    JSON.stringify({ scripts: all, objects: [...new Set([...(before?.objects ?? []), ...objects])] }, null, 1),
  );
}

/** Throws saying how to come to one. */
export function recordOf(out: string, name: string): Deployed {
  const record = readRecord(out);
  if (record) return record;
  throw new Error(
    `${out} says nothing of a deployment ${name}. Where it was deployed from another folder, turnstone deploy --dry-run with its model and flags writes the same files here`,
  );
}

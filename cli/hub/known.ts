/** The models that a server may be asked for beside the first: those that were pulled, and what MODELS names. */
import { existsSync, readdirSync, statSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import type { Known } from '../models.ts';
import { CATALOGUE, isModelName } from './names.ts';
import { ModelStore, type StoredModel } from './store.ts';

/** Of a file, or of all files of a folder. */
export function bytesOf(path: string): number {
  const stat = statSync(path);
  if (!stat.isDirectory()) return stat.size;
  return readdirSync(path).reduce((n, f) => n + statSync(join(path, f)).size, 0);
}

/** When a file or folder was written, s. */
export const createdOf = (path: string): number => Math.floor(statSync(path).mtimeMs / 1000);

const knownOf = (store: ModelStore, m: StoredModel): Known => ({
  id: m.name,
  path: store.pathOf(m),
  bytes: m.files.reduce((n, f) => n + f.bytes, 0),
  created: Math.floor(Date.parse(m.pulled) / 1000),
  about: Object.hasOwn(CATALOGUE, m.name) ? CATALOGUE[m.name].about : undefined,
});

/** `more`: paths and names, comma-separated. The answer looks anew each time: models come and go. Throws with what to do when one of `more` is not here. */
export function knownModels(more = '', store = new ModelStore()): () => Known[] {
  const names = more
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '');
  const paths = names.filter((name) => {
    if (existsSync(name)) return true;
    if (store.get(name)) return false; // listed with the others
    if (isModelName(name)) throw new Error(`MODELS: ${name} is not here yet; bring it with: npm run turnstone -- pull ${name}`);
    throw new Error(`MODELS: ${name} is no file or folder, and no model of that name. Names: ${Object.keys(CATALOGUE).join(', ')}`);
  });
  const given = paths.map((path) => ({
    id: basename(resolve(path)).replace(/\.gguf$/i, ''),
    path: resolve(path),
    bytes: bytesOf(path),
    created: createdOf(path),
  }));
  return () => [...given, ...store.list().map((m) => knownOf(store, m))];
}

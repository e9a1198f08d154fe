/** What `start` is asked to serve: a path, or a model by name, which is brought when it is not here. */
import { existsSync } from 'node:fs';
import { pullCommand } from '../commands/models.ts';
import { CATALOGUE, isModelName } from './names.ts';
import { ModelStore } from './store.ts';

export interface Found {
  path: string;
  /** The model's name in the API, when it is not the file's. */
  id?: string;
}

/** Resolves with undefined for the shipped model. Rejects with what there is when nothing has that name, or with why it cannot be brought. */
export async function findModel(
  text: string | undefined,
  o: { memoryMb?: number } = {},
  store = new ModelStore(),
): Promise<Found | undefined> {
  if (!text || text === 'pebble') return undefined;
  if (existsSync(text)) return { path: text };
  if (!isModelName(text)) {
    const names = Object.keys(CATALOGUE).join(', ');
    throw new Error(`MODEL=${text}: there is no such file or folder, and no model of that name. Names: ${names}, or hf:org/repo[:quant].`);
  }
  const model = store.get(text) ?? (await pullCommand(text, o));
  return { path: store.pathOf(model), ...(Object.hasOwn(CATALOGUE, text) && { id: text }) };
}

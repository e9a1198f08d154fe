/** The models that are measured: random weights in real shapes, written once, and the one that ships. */
import { existsSync, mkdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from '../cli/build.ts';
import { type LocalPack, localPack } from '../cli/packs.ts';
import { type RandomType, randomGguf, shapes } from '../cli/random-gguf.ts';

export type Shape = 'smollm2-135m' | 'qwen2.5-0.5b';

/** Path of a GGUF file of random weights, written when it is not there yet. */
export async function randomModel(shape: Shape, type: RandomType, say: (line: string) => void = () => {}): Promise<string> {
  const folder = join(ROOT, '.cache');
  const path = join(folder, `${shape}-${type.toLowerCase()}.gguf`);
  if (existsSync(path)) return path;
  say(`writing ${path}`);
  mkdirSync(folder, { recursive: true });
  await randomGguf(`${path}.part`, shapes[shape], type);
  renameSync(`${path}.part`, path); // never half a file under the name
  return path;
}

/** It as a pack, kept in `.cache/packs`. */
export const packOf = (path: string | undefined, say: (line: string) => void = () => {}): Promise<LocalPack> => localPack(path, say);

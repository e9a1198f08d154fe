/** Perplexity of held-out text through the model's forward pass and the wasm kernels. */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from '../../cli/build.ts';
import type { KvFormat } from '../../engine/index.ts';
import { perplexityOf, surprises } from '../../models/quantize/surprises.ts';
import type { Loaded } from './models.ts';

const STORIES = join(ROOT, '../shared/data/text/tinystories-sample.txt.xz');
const END = '<|endoftext|>';

/** The last twentieth of the stories, which training leaves out, as one text; or why there is none. */
export function heldOutStories(): { text?: string; missing?: string } {
  if (!existsSync(STORIES)) return { missing: '../shared/data/text is not there' };
  let all: string;
  try {
    all = execFileSync('xz', ['-dc', STORIES], { maxBuffer: 1 << 28 }).toString('utf8');
  } catch {
    return { missing: 'the program xz is needed to read the stories' };
  }
  const stories = all
    .split(END)
    .filter((x) => x.length > 100)
    .map((x) => x.trim());
  const held = stories.slice(Math.floor(stories.length * 0.95), Math.floor(stories.length * 0.95) + 80);
  return { text: held.map((s) => END + s).join('') };
}

/** exp of the mean negative log-likelihood of every token after the first of each sequence. */
export const perplexity = async (
  { model, backend, weights }: Loaded,
  kv: KvFormat,
  sequences: readonly (readonly number[])[],
): Promise<number> => perplexityOf(await surprises({ config: model.config, backend, weights }, kv, sequences));

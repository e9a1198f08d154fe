/** Perplexity of held-out text through the model's forward pass and the wasm kernels. */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from '../../cli/build.ts';
import type { KvFormat } from '../../engine/index.ts';
import { PAGE } from '../../engine/layout.ts';
import { Runner } from '../../engine/runner.ts';
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
export async function perplexity(
  { model, backend: be, weights }: Loaded,
  kv: KvFormat,
  sequences: readonly (readonly number[])[],
): Promise<number> {
  const c = model.config;
  const T = Math.max(...sequences.map((s) => s.length));
  const maxBlocks = Math.ceil(T / PAGE);
  const size = { maxTokens: T, maxSequences: 1, maxRows: T, maxBlocks, context: T };
  const runner = new Runner({ backend: be, config: c, weights, size, kv, pages: maxBlocks });
  const pages = Array.from({ length: maxBlocks }, (_, i) => i);
  let [sum, n] = [0, 0];
  for (const s of sequences) {
    const count = s.length - 1;
    runner.run([{ seq: { ids: s, pages }, start: 0, count, logits: count, draft: [] }]);
    const raw = await be.read(runner.logits, 0, count * c.vocab * 4);
    const logits = new Float32Array(raw.buffer, raw.byteOffset, raw.byteLength / 4);
    for (let i = 0; i + 1 < s.length; i++) sum += surprise(logits.subarray(i * c.vocab, (i + 1) * c.vocab), s[i + 1]);
    n += s.length - 1;
  }
  return Math.exp(sum / n);
}

function surprise(row: Float32Array, id: number): number {
  const top = row.reduce((a, b) => Math.max(a, b));
  return Math.log(row.reduce((a, x) => a + Math.exp(x - top), 0)) + top - row[id];
}

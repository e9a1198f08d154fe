/** Perplexity of held-out text through the model's forward pass and the wasm kernels. */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from '../../cli/build.ts';
import { formatsOf, type KvFormat } from '../../engine/index.ts';
import { PAGE } from '../../engine/layout.ts';
import { allocScratch, forward } from '../../engine/model.ts';
import { ropeTable } from '../../engine/rope.ts';
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
  const pages = Math.ceil(T / PAGE);
  const words = (values: ArrayLike<number>) => bytes(Uint32Array.from(values));
  const filled = (data: Uint8Array, label: string) => {
    const b = be.alloc(data.length, label);
    be.write(b, data);
    return b;
  };
  const count = (n: number) => Array.from({ length: n }, (_, i) => i);
  const scratch = allocScratch(be, c, formatsOf(weights), T, T);
  const pool = be.kvPool({ format: kv, layers: c.layers, kvHeads: c.kvHeads, headDim: c.headDim }, pages);
  const table = filled(bytes(ropeTable(c, T)), 'rope');
  const batch = {
    ...{ S: 1, maxBlocks: pages, ids: be.alloc(T * 4, 'ids'), pos: filled(words(count(T)), 'pos'), slot: filled(words(count(T)), 'slot') },
    ...{
      seqOf: filled(words(count(T).fill(0)), 'seqOf'),
      blocks: filled(words(count(pages)), 'blocks'),
      rows: filled(words(count(T)), 'rows'),
    },
  };
  let [sum, n] = [0, 0];
  for (const s of sequences) {
    be.write(batch.ids, words(s));
    forward(be, c, weights, table, pool, scratch, { ...batch, T: s.length, R: s.length - 1 });
    const raw = await be.read(scratch.logits, 0, (s.length - 1) * c.vocab * 4);
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

const bytes = (a: Uint32Array | Float32Array): Uint8Array => new Uint8Array(a.buffer, a.byteOffset, a.byteLength);

/** Greedy runs of whole models on two backends, compared. No platform here: Node, Deno and browsers run it. */

import { GREEDY, type Sampling, type StepEvent } from '../../engine/index.ts';
import type { PackSource } from '../../models/pack/source.ts';
import { type Maker, openModel } from '../../serving/run/open.ts';
import { chatPrompt } from '../../serving/run/prompt.ts';
import type { Runtime } from '../../serving/run/runtime.ts';
import { importPages } from '../../web/src/device/pages.ts';

const greedy: Sampling = { ...GREEDY, logprobs: 10 };

/** What a local request without a tenant is salted with. */
const SALT = JSON.stringify(['public', '']);

type Token = StepEvent['tokens'][number];
export interface Run {
  tokens: Token[];
  cached: number;
}

export const open = (source: PackSource, id: string, maker: Maker, kv: 'i8' | 'f32' = 'i8'): Promise<Runtime> =>
  openModel({ source, id, maker, kv, memoryBytes: 96 << 20, context: 512 });

/** All prompts together, `n` tokens each, nothing stops them. */
export async function generate(
  rt: Runtime,
  prompts: readonly (readonly number[])[],
  n: number,
  tag: string,
  sampling: Sampling = greedy,
): Promise<Run[]> {
  const { engine } = rt;
  prompts.forEach((prompt, i) => {
    engine.add({ id: `${tag}/${i}`, prompt, maxTokens: n, stopIds: [], sampling, salt: SALT });
  });
  const runs: Run[] = prompts.map(() => ({ tokens: [], cached: 0 }));
  while (engine.busy) {
    for (const event of await engine.step()) {
      const run = runs[Number(event.request.slice(tag.length + 1))];
      run.tokens.push(...event.tokens);
      run.cached += event.cachedTokens ?? 0;
    }
  }
  return runs;
}

export interface Agreement {
  prompts: number;
  /** Prompts whose tokens are the same to the end. */
  same: number;
  /** Where the others part: how much better the reference finds its own token than the one chosen instead. */
  gaps: { prompt: number; token: number; gap: number }[];
  /** Largest difference of a log-probability of the same token after the same text. */
  error: number;
  /** The mean of these differences. */
  mean: number;
}

/** `got` against `want`. */
export function compareRuns(want: readonly Run[], got: readonly Run[]): Agreement {
  const out: Agreement = { prompts: want.length, same: 0, gaps: [], error: 0, mean: 0 };
  let compared = 0;
  want.forEach((w, p) => {
    const g = got[p];
    for (let i = 0; i < w.tokens.length; i++) {
      const [a, b] = [w.tokens[i], g.tokens[i]];
      for (const x of a.top ?? []) {
        const y = b?.top?.find((t) => t.id === x.id);
        if (!y) continue;
        const off = Math.abs(x.logprob - y.logprob);
        out.error = Math.max(out.error, off);
        out.mean += off;
        compared++;
      }
      if (a.id === b?.id) continue;
      const other = a.top?.find((t) => t.id === b?.id);
      out.gaps.push({ prompt: p, token: i, gap: other ? (a.logprob as number) - other.logprob : Number.POSITIVE_INFINITY });
      return;
    }
    out.same++;
  });
  out.mean /= Math.max(1, compared);
  return out;
}

const NOUNS = ['bird', 'river', 'lamp', 'goat', 'boat', 'stone', 'garden', 'train', 'clock', 'apple'];

/** Twenty short conversations of two kinds. */
export const prompts = (rt: Runtime): number[][] =>
  NOUNS.flatMap((noun, i) => [
    chatPrompt(rt.served, {
      messages: [{ role: 'user', content: `Write a short story with the words ${noun}, moon and friend.` }],
      tools: [],
    }),
    chatPrompt(rt.served, {
      messages: [{ role: 'user', content: `What is ${12 + 7 * i} + ${31 + 3 * i}? Then say a word about a ${noun}.` }],
      tools: [],
    }),
  ]);

/** Goes on, on `b`, with a conversation whose pages `a` computed. */
export async function continueOn(a: Runtime, b: Runtime): Promise<{ imported: number; cached: number; agreement: Agreement }> {
  const text = Array.from({ length: 12 }, (_, i) => `The ${NOUNS[i % 10]} was near the ${NOUNS[(i + 3) % 10]}.`).join(' ');
  const prompt = chatPrompt(a.served, { messages: [{ role: 'user', content: text }], tools: [] });
  const want = await generate(a, [prompt], 24, 'edge');
  const pages: Uint8Array[] = [];
  for (const name of a.engine.names.chain(prompt, SALT)) {
    const page = await a.engine.exportPage(name);
    if (page) pages.push(page);
  }
  const imported = importPages(b, prompt, pages);
  const got = await generate(b, [prompt], 24, 'device');
  return { imported, cached: got[0].cached, agreement: compareRuns(want, got) };
}

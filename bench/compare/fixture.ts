/** What llama.cpp said about a model, small enough to keep: the test checks Turnstone against it without llama.cpp. */
import type { RandomType } from '../../cli/random-gguf.ts';
import type { Shape } from '../model.ts';
import type { RealName } from '../real-models.ts';

/** How many of the best tokens are kept. */
export const TOP = 5;

export interface Recorded {
  prompt: number[];
  /** llama.cpp's greedy tokens. */
  tokens: number[];
  /** Its best tokens with their log-probabilities after `tokens.slice(0, step)`. */
  scores: { step: number; top: [id: number, logprob: number][] }[];
}

export interface Fixture {
  about: string;
  /** node-llama-cpp's version, and what its CPU build used. */
  llama: string;
  recorded: string;
  model:
    | { shape: Shape; type: RandomType; seed: number }
    | { family: string; type: RandomType; seed: number }
    | { published: string; type: RandomType; seed: number }
    | { folder: string; sha256: string }
    | { real: RealName; sha256: string; f32?: true };

  kv: 'F32' | 'F16';
  prompts: Recorded[];
}

/** log softmax at the best `TOP` ids of a row of logits, descending. */
export function best(logits: Float32Array): [number, number][] {
  let max = -Infinity;
  for (const x of logits) if (x > max) max = x;
  let sum = 0;
  for (const x of logits) sum += Math.exp(x - max);
  const lse = max + Math.log(sum);
  const ids: number[] = []; // descending, ties to the lowest id
  for (let id = 0; id < logits.length; id++) {
    if (ids.length === TOP && logits[id] <= logits[ids[TOP - 1]]) continue;
    let at = Math.min(ids.length, TOP - 1);
    while (at > 0 && logits[ids[at - 1]] < logits[id]) at--;
    ids.splice(at, 0, id);
    ids.length = Math.min(ids.length, TOP);
  }
  return ids.map((id) => [id, Number((logits[id] - lse).toFixed(5))]);
}

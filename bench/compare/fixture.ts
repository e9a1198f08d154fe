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
  const ids = Array.from(logits.keys()).sort((a, b) => logits[b] - logits[a] || a - b);
  return ids.slice(0, TOP).map((id) => [id, Number((logits[id] - lse).toFixed(5))]);
}

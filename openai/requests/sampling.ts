/** From what the client gave to what the engine needs. */

import type { Sampling } from '../../engine/types.ts';
import type { SamplingParams } from './types.ts';

/** OpenAI's own defaults, for a model that states none. */
const OPENAI: Omit<Sampling, 'seed' | 'logitBias' | 'logprobs'> = {
  temperature: 1,
  topP: 1,
  topK: 0,
  minP: 0,
  repetition: 1,
  frequency: 0,
  presence: 0,
  minTokens: 0,
};

/** The model's own generation defaults; what it leaves out is OpenAI's. */
export type SamplingDefaults = Partial<typeof OPENAI>;

/**
 * Client first, then the model's defaults, then OpenAI's. `drawSeed` is called when the client gave none. A `top_k` of -1 and a
 * `top_p` of 0 are other engines' spellings of "off" and "greedy".
 */
export function resolveSampling(given: SamplingParams, defaults: SamplingDefaults, drawSeed: () => readonly [number, number]): Sampling {
  const pick = <K extends keyof typeof OPENAI>(key: K): number => given[key] ?? defaults[key] ?? OPENAI[key];
  const topP = pick('topP');
  return {
    temperature: topP === 0 ? 0 : pick('temperature'),
    topP: topP === 0 ? 1 : topP,
    topK: Math.max(0, pick('topK')),
    minP: pick('minP'),
    repetition: pick('repetition'),
    frequency: pick('frequency'),
    presence: pick('presence'),
    minTokens: pick('minTokens'),
    logitBias: given.logitBias,
    seed: given.seed ?? drawSeed(),
    logprobs: given.logprobs,
  };
}

/** Defaults under the names that a request gives them; those that are off too. */
export function samplingFields(defaults: SamplingDefaults): Record<string, number> {
  const of = (key: keyof typeof OPENAI) => defaults[key] ?? OPENAI[key];
  return {
    ...{ temperature: of('temperature'), top_p: of('topP'), top_k: of('topK'), min_p: of('minP') },
    ...{ repetition_penalty: of('repetition'), frequency_penalty: of('frequency'), presence_penalty: of('presence') },
  };
}

/** Each choice draws from a seed of its own; choice 0 keeps the request's, so that n = 1 and n = 4 begin alike. */
export function choiceSeed(seed: readonly [number, number], choice: number): readonly [number, number] {
  if (choice === 0) return seed;
  // One odd multiple of 2^64 / golden ratio (splitmix64's increment) a choice: distinct for every choice.
  const mixed = BigInt.asUintN(64, (BigInt(seed[1]) << 32n) + BigInt(seed[0]) + BigInt(choice) * 0x9e3779b97f4a7c15n);
  return [Number(mixed & 0xffffffffn), Number(mixed >> 32n)];
}

/** What goes into the engine and what comes out: token ids only. */

export interface Sampling {
  /** 0 is greedy. */
  temperature: number;
  topP: number; // 1 = off
  topK: number; // 0 = off
  minP: number; // 0 = off
  repetition: number; // 1 = off; over prompt and output
  frequency: number; // 0 = off; over output
  presence: number; // 0 = off; over output
  minTokens: number; // stop ids are banned until then
  logitBias: readonly (readonly [id: number, add: number])[];
  /** 64-bit seed as two u32. The caller draws one when the client gave none. */
  seed: readonly [lo: number, hi: number];
  /** undefined: none; n: log-probabilities of the chosen token and the n best (0..20), from the unscaled distribution. */
  logprobs?: number;
}

/** The best token each time and nothing else asked for. */
export const GREEDY: Sampling = {
  ...{ temperature: 0, topP: 1, topK: 0, minP: 0, repetition: 1, frequency: 0, presence: 0, minTokens: 0 },
  ...{ logitBias: [], seed: [0, 0] },
};

/** Restricts the next token, e.g. to a JSON schema's language. One instance a sequence. */
export interface Constraint {
  /** Bit i of word i >> 5 allows id i; null allows everything, no bit ends the generation. Valid until the next `accept`. */
  mask(): Uint32Array | null;
  accept(id: number): void;
  /** A copy that goes on by itself: where there is one, drafted tokens can be checked ahead. */
  clone?(): Constraint;
}

export interface GenerateRequest {
  id: string;
  prompt: readonly number[];
  /** Already generated tokens when a generation is continued elsewhere: they count as output. */
  generated?: readonly number[];
  maxTokens: number;
  /** Ending ids; the ending token is not reported. */
  stopIds: readonly number[];
  sampling: Sampling;
  /** Pages are shared only between requests of the same salt (the tenant's). */
  salt: string;
  /** Id of a loaded adapter that it is computed with. Pages are shared between requests of the same adapter only. */
  adapter?: string;
  /** Whose it is: owners share time and pages fairly, however many sequences each has. Default: the salt. */
  owner?: string;
  constraint?: Constraint;
  /** n: log-probabilities of the prompt's own tokens, and the n best (0..20) in each place. Its pages are computed, not found. `maxTokens` may be 0 then. */
  promptLogprobs?: number;
}

export interface TokenLogprob {
  id: number;
  logprob: number;
}

/** A prompt's token, under the model's distribution in its place, without penalties. */
export interface ScoredToken extends TokenLogprob {
  /** 1: no other is likelier; of equally likely ones the lower id comes first. */
  rank: number;
  top: readonly TokenLogprob[];
}

export type FinishReason = 'stop' | 'length' | 'abort';

/** One event a sequence a step at most, except under speculation, where several tokens come at once. */
export interface StepEvent {
  request: string;
  tokens: readonly { id: number; logprob?: number; top?: readonly TokenLogprob[] }[];
  finish?: FinishReason;
  /** The prompt's next tokens, from its second on, where `promptLogprobs` asks for them: all come before or with the first token. */
  prompt?: readonly ScoredToken[];
  /** What was thrown for this sequence alone: nothing more comes of it, the others are untouched. */
  error?: unknown;
  /** Set together with the first tokens: prompt tokens whose pages were found, not computed. */
  cachedTokens?: number;
}

/** The parts that chunks and whole answers share. */

import type { FinishReason } from '../../engine/types.ts';
import type { ApiError } from '../errors.ts';
import type { PromptToken, TokenLogprobs, TokenText, UsageCounts } from './answer.ts';
import type { Choice, PlacedLogprobs } from './choice.ts';

export const DONE = 'data: [DONE]\n\n';

/** What some clients' line splitters take for line breaks besides those of the standard: next line, line and paragraph separators. */
const BREAKS = /[\u0085\u2028\u2029]/g;

/** JSON text without anything that a client could take for a line break: JSON escapes all the others. */
export const oneLine = (json: string): string => json.replace(BREAKS, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`);

/** One server-sent event. */
export const frame = (json: string): string => `data: ${oneLine(json)}\n\n`;

/** In a stream already begun the status is sent, so the envelope is an event; clients throw on it. */
export const errorFrame = (error: ApiError): string => frame(JSON.stringify(error.envelope())) + DONE;

export function usageObject(u: UsageCounts): Record<string, unknown> {
  return {
    prompt_tokens: u.prompt,
    completion_tokens: u.completion,
    total_tokens: u.prompt + u.completion,
    prompt_tokens_details: { cached_tokens: u.cached },
    ...(u.reasoning ? { completion_tokens_details: { reasoning_tokens: u.reasoning } } : {}),
  };
}

/** A stop string, a stop id and an abort that the server wanted are all `stop`; so is what cut a call short. */
export function finishReason(reason: FinishReason, choice: Choice): 'stop' | 'length' | 'tool_calls' {
  if (reason === 'length' && !choice.stopped) return 'length';
  return choice.calls > 0 && !choice.cut ? 'tool_calls' : 'stop';
}

/** JSON has no -Infinity: a token of probability 0 gets OpenAI's own floor. */
const finite = (logprob: number): number => Math.max(logprob, -9999);

const tokenObject = (t: TokenText) => ({ token: t.token, logprob: finite(t.logprob), bytes: t.bytes });

/** The `content` array of a chat's logprobs. */
export function chatLogprobs(tokens: readonly TokenLogprobs[]): unknown[] {
  return tokens.map((t) => ({ ...tokenObject(t), top_logprobs: t.top.map(tokenObject) }));
}

/** The form of completions: parallel arrays; of equal texts among the best ones, the likeliest stays. */
export function completionLogprobs(tokens: readonly PlacedLogprobs[]): Record<string, unknown> {
  return {
    tokens: tokens.map((t) => t.token),
    token_logprobs: tokens.map((t) => (t.first ? null : finite(t.logprob))),
    top_logprobs: tokens.map((t) => (t.first ? null : Object.fromEntries([...t.top].reverse().map((x) => [x.token, finite(x.logprob)])))),
    text_offset: tokens.map((t) => t.offset),
  };
}

/** vLLM's form of a prompt's tokens: of each place, by id, the token that is there and the `best` likeliest; null of the first. */
export function promptLogprobs(tokens: readonly PromptToken[], best: number): unknown[] {
  const entry = (t: Pick<TokenText, 'token' | 'logprob'>, rank: number) => ({ logprob: finite(t.logprob), rank, decoded_token: t.token });
  return tokens.map(({ id, text, scored }) => {
    if (!scored) return null;
    const top = scored.top.slice(0, best).map((t, i) => [t.id, entry(t, i + 1)] as const);
    return Object.fromEntries([[id, entry({ ...text, ...scored }, scored.rank)], ...top]);
  });
}

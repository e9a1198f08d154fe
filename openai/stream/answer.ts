/**
 * Tokens' text in, OpenAI's JSON out: one object a request, the same for streams and for whole answers.
 *
 *   const answer = createAnswer(request, meta);
 *   send(answer.open());
 *   for each step:  send(answer.push(choice, text, logprobs));  if (answer.stopped(choice)) abort the sequence
 *   at its end:     send(answer.finish(choice, reason));
 *   send(answer.close(usage));
 *
 * Every method returns the bytes to send now as text, '' when there is nothing (always, until `close`, when not streaming).
 */

import type { FinishReason } from '../../engine/types.ts';
import type { ApiError } from '../errors.ts';

/** The same in every chunk of an answer. */
export interface AnswerMeta {
  /** Without prefix: `chatcmpl-`, `cmpl-` or `resp_` is put before it. */
  id: string;
  model: string;
  /** Unix seconds. */
  created: number;
  /** Changes when the weights or the numerics change. */
  fingerprint?: string;
}

/** `bytes` because a token may be half a character. */
export interface TokenText {
  token: string;
  bytes: readonly number[];
  logprob: number;
}

/** One generated token: its own log-probability and the best ones, best first. */
export interface TokenLogprobs extends TokenText {
  top: readonly TokenText[];
}

/** A token of the prompt. Its own log-probability and the best ones in its place; of the first nothing is known. */
export interface PromptToken {
  id: number;
  /** Where its text begins, in UTF-16 units of the prompt's. */
  offset: number;
  text: Omit<TokenText, 'logprob'>;
  scored?: { logprob: number; rank: number; top: readonly (TokenText & { id: number })[] };
}

/** Counts over all choices; `cached`: prompt tokens whose pages were found, not computed. */
export interface UsageCounts {
  prompt: number;
  completion: number;
  cached: number;
  /** Of the completion's tokens. */
  reasoning?: number;
}

export interface Answer {
  readonly contentType: 'text/event-stream; charset=utf-8' | 'application/x-ndjson' | 'application/json';
  /** The frames before the first token. */
  open(): string;
  /** Completions: the prompt's text, before the first token, when the request asks for it, and its tokens where they are scored. No stop string is looked for in it. */
  echo(choice: number, text: string, tokens?: readonly PromptToken[]): string;
  /** The prompt's tokens, scored, before the first token, when the request asks for them. */
  prompt(choice: number, tokens: readonly PromptToken[]): string;
  /** `text` as newly detokenized, may be ''. `logprobs` of the tokens behind it, when the request asked for them. */
  push(choice: number, text: string, logprobs?: readonly TokenLogprobs[]): string;
  /** True once a stop string was found: abort the sequence, then `finish(choice, 'stop')`. Further text is dropped. */
  stopped(choice: number): boolean;
  finish(choice: number, reason: FinishReason): string;
  /** Usage and `[DONE]`, or the whole JSON when not streaming. `extra` is added to the last object, under its keys. `now` in Unix seconds. */
  close(usage: UsageCounts, extra?: Record<string, unknown>, now?: number): string;
  /** The last frames when generation fails midway. Not streaming: the envelope as JSON, to be sent with `error.status`. */
  fail(error: ApiError): string;
}

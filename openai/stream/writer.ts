/** What the writers of all formats share: choices whose text is read, and told as it comes or, where the answer is not streamed, at its end. */

import type { FinishReason } from '../../engine/types.ts';
import type { ApiError } from '../errors.ts';
import type { Piece } from '../tools.ts';
import type { Answer, AnswerMeta, PromptToken, TokenLogprobs, UsageCounts } from './answer.ts';
import type { Choice } from './choice.ts';

export abstract class FormatWriter implements Answer {
  readonly contentType: Answer['contentType'];
  protected readonly streams: boolean;
  protected readonly meta: AnswerMeta;
  protected readonly choices: readonly Choice[];

  constructor(
    streams: boolean,
    meta: AnswerMeta,
    choices: readonly Choice[],
    type: Answer['contentType'] = 'text/event-stream; charset=utf-8',
  ) {
    this.streams = streams;
    this.meta = meta;
    this.choices = choices;
    this.contentType = streams ? type : 'application/json';
  }

  open(): string {
    return this.streams ? this.opening() : '';
  }

  echo(_choice: number, _text: string, _tokens?: readonly PromptToken[]): string {
    return '';
  }

  prompt(_choice: number, _tokens: readonly PromptToken[]): string {
    return '';
  }

  push(choice: number, text: string, logprobs?: readonly TokenLogprobs[]): string {
    return this.#told(this.tell(choice, this.choices[choice].push(text, logprobs)));
  }

  stopped(choice: number): boolean {
    return this.choices[choice].stopped;
  }

  finish(choice: number, reason: FinishReason): string {
    return this.#told(this.end(choice, this.choices[choice].finish(), reason));
  }

  fail(error: ApiError): string {
    return this.streams ? this.failing(error) : JSON.stringify(error.envelope());
  }

  abstract close(usage: UsageCounts, extra?: Record<string, unknown>, now?: number): string;

  /** Before the first token of a stream. */
  protected opening(): string {
    return '';
  }

  /** Takes what a token added; gives what a stream says of it. */
  protected abstract tell(choice: number, pieces: readonly Piece[]): string;
  /** Takes the last of a choice; gives what a stream says of it and of its end. */
  protected abstract end(choice: number, pieces: readonly Piece[], reason: FinishReason): string;
  /** The last of a stream that breaks. */
  protected abstract failing(error: ApiError): string;

  #told(text: string): string {
    return this.streams ? text : '';
  }
}

/** A response that is generated here and stored nowhere: as events, and as a whole. */

import type { FinishReason } from '../../engine/types.ts';
import type { ApiError } from '../errors.ts';
import type { ResponsesRequest } from '../requests/types.ts';
import type { Answer, AnswerMeta, TokenLogprobs, UsageCounts } from './answer.ts';
import { type Choice, choiceOf } from './choice.ts';
import { chatLogprobs } from './frames.ts';
import { ResponseEvents, type ResponseMeta, responseObject } from './response-events.ts';

const metaOf = (r: ResponsesRequest, meta: AnswerMeta): ResponseMeta => ({
  id: `resp_${meta.id}`,
  model: meta.model,
  created: meta.created,
  echo: r.echo,
});

/** Both forms: the whole is what the last event carries. */
abstract class ResponseAnswer implements Answer {
  abstract readonly contentType: Answer['contentType'];
  protected readonly events: ResponseEvents;
  protected readonly meta: ResponseMeta;
  protected status: 'completed' | 'incomplete' = 'completed';
  readonly #choice: Choice;

  constructor(request: ResponsesRequest, meta: AnswerMeta) {
    this.meta = metaOf(request, meta);
    this.events = new ResponseEvents(this.meta);
    this.#choice = choiceOf(request, request.stop);
  }

  open(): string {
    return this.events.open();
  }

  echo(): string {
    return '';
  }

  push(_choice: number, text: string, logprobs?: readonly TokenLogprobs[]): string {
    const pieces = this.#choice.push(text, logprobs);
    return this.events.push(pieces, chatLogprobs(this.#choice.takeLogprobs()));
  }

  protected counted(usage: UsageCounts): UsageCounts {
    return { ...usage, reasoning: this.#choice.reasoningTokens };
  }

  stopped(): boolean {
    return this.#choice.stopped;
  }

  finish(_choice: number, reason: FinishReason): string {
    this.status = reason === 'length' && !this.#choice.stopped ? 'incomplete' : 'completed';
    const pieces = this.#choice.finish();
    return this.events.push(pieces, chatLogprobs(this.#choice.takeLogprobs(true)));
  }

  abstract close(usage: UsageCounts, extra?: Record<string, unknown>, now?: number): string;
  abstract fail(error: ApiError): string;
}

export class ResponseStream extends ResponseAnswer {
  readonly contentType = 'text/event-stream; charset=utf-8';

  close(usage: UsageCounts, extra?: Record<string, unknown>, completed?: number): string {
    return this.events.close({ status: this.status, usage: this.counted(usage), extra, completed });
  }

  fail(error: ApiError): string {
    return this.events.close({ status: 'failed', error: error.envelope().error });
  }
}

export class ResponseWhole extends ResponseAnswer {
  readonly contentType = 'application/json';

  override open(): string {
    return '';
  }

  override push(choice: number, text: string, logprobs?: readonly TokenLogprobs[]): string {
    super.push(choice, text, logprobs);
    return '';
  }

  override finish(choice: number, reason: FinishReason): string {
    super.finish(choice, reason);
    return '';
  }

  close(usage: UsageCounts, extra?: Record<string, unknown>, completed?: number): string {
    this.events.close({ status: this.status }); // ends the open item
    return JSON.stringify(
      responseObject(this.meta, { status: this.status, output: this.events.output, usage: this.counted(usage), extra, completed }),
    );
  }

  fail(error: ApiError): string {
    return JSON.stringify(error.envelope());
  }
}

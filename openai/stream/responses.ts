/** A response that is generated here and stored nowhere: as events, and as a whole, which is what the last event carries. */

import type { FinishReason } from '../../engine/types.ts';
import type { ApiError } from '../errors.ts';
import type { ResponsesRequest } from '../requests/types.ts';
import type { Piece } from '../tools.ts';
import type { AnswerMeta, UsageCounts } from './answer.ts';
import { choiceOf } from './choice.ts';
import { chatLogprobs } from './frames.ts';
import { ResponseEvents, type ResponseMeta, responseObject } from './response-events.ts';
import { FormatWriter } from './writer.ts';

export class ResponseAnswer extends FormatWriter {
  readonly #events: ResponseEvents;
  readonly #response: ResponseMeta;
  #status: 'completed' | 'incomplete' = 'completed';

  constructor(request: ResponsesRequest, meta: AnswerMeta) {
    super(request.stream, meta, [choiceOf(request, request.stop)]);
    this.#response = { id: `resp_${meta.id}`, model: meta.model, created: meta.created, echo: request.echo };
    this.#events = new ResponseEvents(this.#response);
  }

  close(counts: UsageCounts, extra?: Record<string, unknown>, completed?: number): string {
    const usage = { ...counts, reasoning: this.choices[0].reasoningTokens };
    const state = { status: this.#status, usage, extra, completed };
    const last = this.#events.close(state); // ends the open item
    return this.streams ? last : JSON.stringify(responseObject(this.#response, { ...state, output: this.#events.output }));
  }

  protected override opening(): string {
    return this.#events.open();
  }

  protected tell(_choice: number, pieces: readonly Piece[]): string {
    return this.#events.push(pieces, chatLogprobs(this.choices[0].takeLogprobs()));
  }

  protected end(_choice: number, pieces: readonly Piece[], reason: FinishReason): string {
    this.#status = reason === 'length' && !this.choices[0].stopped ? 'incomplete' : 'completed';
    return this.#events.push(pieces, chatLogprobs(this.choices[0].takeLogprobs(true)));
  }

  protected failing(error: ApiError): string {
    return this.#events.close({ status: 'failed', error: error.envelope().error });
  }
}

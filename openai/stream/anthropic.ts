/** Answers in the form of Anthropic's Messages API: its events, and the whole message. */

import type { FinishReason } from '../../engine/types.ts';
import type { ApiError } from '../errors.ts';
import type { ChatRequest } from '../requests/types.ts';
import type { Piece } from '../tools.ts';
import type { Answer, AnswerMeta, UsageCounts } from './answer.ts';
import { type Choice, choiceOf } from './choice.ts';
import { finishReason, oneLine } from './frames.ts';

type Block =
  | { type: 'text'; text: string }
  | { type: 'thinking'; thinking: string; signature: string }
  | { type: 'tool_use'; id: string; name: string; input: unknown };

const TYPES: Record<number, string> = {
  400: 'invalid_request_error',
  401: 'authentication_error',
  403: 'permission_error',
  404: 'not_found_error',
  413: 'request_too_large',
  429: 'rate_limit_error',
  503: 'overloaded_error',
};

/** An error as Anthropic's clients expect it. */
export const anthropicError = (status: number, message: string): Record<string, unknown> => ({
  type: 'error',
  error: { type: TYPES[status] ?? (status < 500 ? 'invalid_request_error' : 'api_error'), message },
});

const event = (type: string, data: Record<string, unknown>): string =>
  `event: ${type}\ndata: ${oneLine(JSON.stringify({ type, ...data }))}\n\n`;

/** Both forms: the whole is the blocks that the events tell. */
abstract class MessageAnswer implements Answer {
  abstract readonly contentType: Answer['contentType'];
  protected readonly meta: AnswerMeta;
  protected readonly blocks: Block[] = [];
  readonly #choice: Choice;
  /** Arguments of the open call so far. */
  #input = '';
  #open = false;
  #reason: string | null = null;

  constructor(request: ChatRequest, meta: AnswerMeta) {
    this.meta = meta;
    this.#choice = choiceOf(request, request.stop);
  }

  abstract open(): string;
  abstract close(usage: UsageCounts): string;
  abstract fail(error: ApiError): string;

  echo(): string {
    return '';
  }

  push(_choice: number, text: string): string {
    return this.#pieces(this.#choice.push(text));
  }

  stopped(): boolean {
    return this.#choice.stopped;
  }

  finish(_choice: number, reason: FinishReason): string {
    const out = this.#pieces(this.#choice.finish()) + this.#end();
    const how = finishReason(reason, this.#choice);
    if (how === 'length') this.#reason = 'max_tokens';
    else if (how === 'tool_calls') this.#reason = 'tool_use';
    else this.#reason = this.#choice.stopString === undefined ? 'end_turn' : 'stop_sequence';
    return out;
  }

  protected end(): { stop_reason: string | null; stop_sequence: string | null } {
    return { stop_reason: this.#reason, stop_sequence: this.#reason === 'stop_sequence' ? (this.#choice.stopString ?? null) : null };
  }

  protected message(usage: UsageCounts): Record<string, unknown> {
    const head = { id: `msg_${this.meta.id}`, type: 'message', role: 'assistant', model: this.meta.model };
    return { ...head, content: this.blocks, ...this.end(), usage: usageOf(usage) };
  }

  #pieces(pieces: readonly Piece[]): string {
    let out = '';
    for (const p of pieces) {
      if (p.kind === 'name') {
        out += this.#begin({ type: 'tool_use', id: `toolu_${this.meta.id}_${p.call}`, name: p.name, input: {} });
      } else if (p.kind === 'arguments') {
        this.#input += p.text;
        out += this.#delta({ type: 'input_json_delta', partial_json: p.text });
      } else if (p.kind === 'cut') out += this.#end();
      else if (p.kind === 'reasoning') {
        if (!this.#is('thinking')) out += this.#begin({ type: 'thinking', thinking: '', signature: '' });
        (this.blocks.at(-1) as { thinking: string }).thinking += p.text;
        out += this.#delta({ type: 'thinking_delta', thinking: p.text });
      } else {
        if (!this.#is('text')) out += this.#begin({ type: 'text', text: '' });
        (this.blocks.at(-1) as { text: string }).text += p.text;
        out += this.#delta({ type: 'text_delta', text: p.text });
      }
    }
    return out;
  }

  #is(type: Block['type']): boolean {
    return this.#open && this.blocks.at(-1)?.type === type;
  }

  #begin(block: Block): string {
    const before = this.#end();
    this.blocks.push(block);
    this.#open = true;
    return before + event('content_block_start', { index: this.blocks.length - 1, content_block: block });
  }

  #delta(delta: Record<string, unknown>): string {
    return event('content_block_delta', { index: this.blocks.length - 1, delta });
  }

  #end(): string {
    if (!this.#open) return '';
    this.#open = false;
    const block = this.blocks.at(-1);
    if (block?.type === 'tool_use') {
      block.input = objectOf(this.#input);
      this.#input = '';
    }
    return event('content_block_stop', { index: this.blocks.length - 1 });
  }
}

/** Arguments that were cut off are none. */
function objectOf(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return {};
  }
}

/** Pages found in the cache are counted apart, as the API has it. */
const usageOf = (u: UsageCounts) => ({
  input_tokens: u.prompt - u.cached,
  cache_creation_input_tokens: 0,
  cache_read_input_tokens: u.cached,
  output_tokens: u.completion,
});

/** The prompt's tokens are counted only when the answer is: they come with the last event but one. */
export class MessageStream extends MessageAnswer {
  readonly contentType = 'text/event-stream; charset=utf-8';

  open(): string {
    return event('message_start', { message: { ...this.message({ prompt: 0, cached: 0, completion: 0 }), content: [] } });
  }

  close(usage: UsageCounts): string {
    return event('message_delta', { delta: this.end(), usage: usageOf(usage) }) + event('message_stop', {});
  }

  fail(error: ApiError): string {
    const { type, ...rest } = anthropicError(error.status, error.message);
    return event(type as string, rest);
  }
}

export class MessageWhole extends MessageAnswer {
  readonly contentType = 'application/json';

  open(): string {
    return '';
  }

  override push(choice: number, text: string): string {
    super.push(choice, text);
    return '';
  }

  override finish(choice: number, reason: FinishReason): string {
    super.finish(choice, reason);
    return '';
  }

  close(usage: UsageCounts): string {
    return JSON.stringify(this.message(usage));
  }

  fail(error: ApiError): string {
    return JSON.stringify(anthropicError(error.status, error.message));
  }
}

/** Answers in the form of Anthropic's Messages API: its events, and the whole message. */

import type { FinishReason } from '../../engine/types.ts';
import type { ApiError } from '../errors.ts';
import type { ChatRequest } from '../requests/types.ts';
import type { Piece } from '../tools.ts';
import type { AnswerMeta, UsageCounts } from './answer.ts';
import { choiceOf } from './choice.ts';
import { finishReason, oneLine } from './frames.ts';
import { FormatWriter } from './writer.ts';

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
export class MessageAnswer extends FormatWriter {
  readonly #blocks: Block[] = [];
  /** Arguments of the open call so far. */
  #input = '';
  #open = false;
  #reason: string | null = null;

  constructor(request: ChatRequest, meta: AnswerMeta) {
    super(request.stream, meta, [choiceOf(request, request.stop)]);
  }

  /** The prompt's tokens are counted only when the answer is: they come with the last event but one. */
  close(usage: UsageCounts): string {
    if (!this.streams) return JSON.stringify(this.#message(usage));
    return event('message_delta', { delta: this.#stop(), usage: usageOf(usage) }) + event('message_stop', {});
  }

  override fail(error: ApiError): string {
    return this.streams ? this.failing(error) : JSON.stringify(anthropicError(error.status, error.message));
  }

  protected override opening(): string {
    return event('message_start', { message: { ...this.#message({ prompt: 0, cached: 0, completion: 0 }), content: [] } });
  }

  protected tell(_choice: number, pieces: readonly Piece[]): string {
    return this.#pieces(pieces);
  }

  protected end(_choice: number, pieces: readonly Piece[], reason: FinishReason): string {
    const out = this.#pieces(pieces) + this.#end();
    const how = finishReason(reason, this.choices[0]);
    if (how === 'length') this.#reason = 'max_tokens';
    else if (how === 'tool_calls') this.#reason = 'tool_use';
    else this.#reason = this.choices[0].stopString === undefined ? 'end_turn' : 'stop_sequence';
    return out;
  }

  protected failing(error: ApiError): string {
    const { type, ...rest } = anthropicError(error.status, error.message);
    return event(type as string, rest);
  }

  #stop(): { stop_reason: string | null; stop_sequence: string | null } {
    return { stop_reason: this.#reason, stop_sequence: this.#reason === 'stop_sequence' ? (this.choices[0].stopString ?? null) : null };
  }

  #message(usage: UsageCounts): Record<string, unknown> {
    const head = { id: `msg_${this.meta.id}`, type: 'message', role: 'assistant', model: this.meta.model };
    return { ...head, content: this.#blocks, ...this.#stop(), usage: usageOf(usage) };
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
        (this.#blocks.at(-1) as { thinking: string }).thinking += p.text;
        out += this.#delta({ type: 'thinking_delta', thinking: p.text });
      } else {
        if (!this.#is('text')) out += this.#begin({ type: 'text', text: '' });
        (this.#blocks.at(-1) as { text: string }).text += p.text;
        out += this.#delta({ type: 'text_delta', text: p.text });
      }
    }
    return out;
  }

  #is(type: Block['type']): boolean {
    return this.#open && this.#blocks.at(-1)?.type === type;
  }

  #begin(block: Block): string {
    const before = this.#end();
    this.#blocks.push(block);
    this.#open = true;
    return before + event('content_block_start', { index: this.#blocks.length - 1, content_block: block });
  }

  #delta(delta: Record<string, unknown>): string {
    return event('content_block_delta', { index: this.#blocks.length - 1, delta });
  }

  #end(): string {
    if (!this.#open) return '';
    this.#open = false;
    const block = this.#blocks.at(-1);
    if (block?.type === 'tool_use') {
      block.input = objectOf(this.#input);
      this.#input = '';
    }
    return event('content_block_stop', { index: this.#blocks.length - 1 });
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

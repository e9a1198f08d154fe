/**
 * The events of one response. Their numbers depend only on the pieces of text that go in, so that telling an answer again, from
 * storage or by generating it again, gives the same events; a client that comes back gets those after the last it has seen.
 */

import type { ErrorEnvelope } from '../errors.ts';
import type { FunctionCallItem, MessageItem, OutputItem, ReasoningItem } from '../requests/item-types.ts';
import { outputText } from '../requests/items.ts';
import type { Piece } from '../tools.ts';
import type { UsageCounts } from './answer.ts';
import { type Choice, choiceOf, type TextOptions } from './choice.ts';
import { oneLine } from './frames.ts';

export type { TextOptions } from './choice.ts';

export interface ResponseMeta {
  /** With its prefix, `resp_…`. */
  id: string;
  model: string;
  /** Unix seconds. */
  created: number;
  echo: Record<string, unknown>;
}

export type ResponseStatus = 'queued' | 'in_progress' | 'completed' | 'incomplete' | 'failed' | 'cancelled';

/** How a response stands; what is not known yet is left out. */
export interface ResponseState {
  status: ResponseStatus;
  output?: readonly OutputItem[];
  usage?: UsageCounts;
  error?: ErrorEnvelope['error'];
  /** Unix seconds. */
  completed?: number;
  /** Added to the object under its keys. */
  extra?: Record<string, unknown>;
}

const textOf = (item: OutputItem): string => (item.type === 'message' ? item.content.map((c) => c.text).join('') : '');

/** The response object, at any time of its life. */
export function responseObject(meta: ResponseMeta, s: ResponseState): Record<string, unknown> {
  return {
    id: meta.id,
    object: 'response',
    created_at: meta.created,
    status: s.status,
    completed_at: s.status === 'completed' ? (s.completed ?? null) : null,
    // The API names few codes for errors of a response; the message says the rest.
    error: s.error ? { code: s.error.code === 'rate_limit_exceeded' ? s.error.code : 'server_error', message: s.error.message } : null,
    incomplete_details: s.status === 'incomplete' ? { reason: 'max_output_tokens' } : null,
    model: meta.model,
    output: s.output ?? [],
    output_text: (s.output ?? []).map(textOf).join(''),
    usage: s.usage ? usageOf(s.usage) : null,
    ...meta.echo,
    ...s.extra,
  };
}

const usageOf = (u: UsageCounts) => ({
  input_tokens: u.prompt,
  input_tokens_details: { cached_tokens: u.cached, cache_write_tokens: 0 },
  output_tokens: u.completion,
  output_tokens_details: { reasoning_tokens: u.reasoning ?? 0 },
  total_tokens: u.prompt + u.completion,
});

/** The events' names of a response's end. There is none for a cancelled one: clients end on `incomplete`, and its status tells. */
const LAST = {
  completed: 'response.completed',
  incomplete: 'response.incomplete',
  cancelled: 'response.incomplete',
  failed: 'response.failed',
} as const;

/** Reads text that has left the stop strings already, as a session keeps it. */
export const storedChoice = (r: TextOptions): Choice => choiceOf(r, []);

/** Text as it came, with the log-probabilities (`chatLogprobs`) of the tokens behind it. */
export interface Said {
  text: string;
  logprobs?: readonly unknown[];
}

/** The output items of a text, the same as its events tell. */
export function outputOf(
  meta: ResponseMeta,
  text: string | readonly Said[],
  request: TextOptions,
  status: keyof typeof LAST,
): readonly OutputItem[] {
  const choice = storedChoice(request);
  const events = new ResponseEvents(meta, Number.POSITIVE_INFINITY);
  const pieces: readonly Said[] = typeof text === 'string' ? [{ text }] : text;
  for (const said of pieces) events.push(choice.push(said.text), said.logprobs);
  events.push(choice.finish());
  events.close({ status });
  return events.output;
}

export class ResponseEvents {
  readonly #meta: ResponseMeta;
  readonly #after: number;
  #number = 0;
  /** The last of them may be open. */
  readonly #items: OutputItem[] = [];
  #open = false;
  /** Log-probabilities of tokens whose text has not been told yet. */
  #scores: unknown[] = [];

  /** Events numbered up to `after` are counted but not written. */
  constructor(meta: ResponseMeta, after = -1) {
    this.#meta = meta;
    this.#after = after;
  }

  get output(): readonly OutputItem[] {
    return this.#items;
  }

  open(): string {
    const response = responseObject(this.#meta, { status: 'in_progress' });
    return this.#event('response.created', { response }) + this.#event('response.in_progress', { response });
  }

  /** `logprobs`: of the tokens behind the pieces; those of reasoning and calls are not told. */
  push(pieces: readonly Piece[], logprobs: readonly unknown[] = []): string {
    let out = '';
    this.#scores.push(...logprobs);
    for (const p of pieces) {
      if (p.kind !== 'text') this.#scores = [];
      if (p.kind === 'text') out += this.#text(p.text);
      else if (p.kind === 'reasoning') out += this.#reasoning(p.text);
      else if (p.kind === 'name') out += this.#call(p.call, p.name);
      else if (p.kind === 'arguments') out += this.#arguments(p.text);
      else out += this.#endItem('incomplete');
    }
    return out;
  }

  /** Ends the open item, then the response. `state.output` is what was pushed. */
  close(state: Omit<ResponseState, 'output'> & { status: keyof typeof LAST }): string {
    const out = this.#endItem(state.status === 'completed' ? 'completed' : 'incomplete');
    return out + this.#event(LAST[state.status], { response: responseObject(this.#meta, { ...state, output: this.#items }) });
  }

  #text(text: string): string {
    let out = '';
    let item = this.#last('message');
    if (!item) {
      out = this.#endItem('completed');
      const added: MessageItem = { type: 'message', id: this.#id('msg'), status: 'in_progress', role: 'assistant', content: [] };
      item = { ...added, content: [outputText('')] };
      out += this.#begin(item, added);
      out += this.#event('response.content_part.added', { ...this.#at(), content_index: 0, part: outputText('') });
    }
    const logprobs = this.#scores;
    this.#scores = [];
    item.content[0].text += text;
    if (logprobs.length > 0) item.content[0].logprobs = [...(item.content[0].logprobs ?? []), ...logprobs];
    return out + this.#event('response.output_text.delta', { ...this.#at(), content_index: 0, delta: text, logprobs });
  }

  #reasoning(text: string): string {
    let out = '';
    let item = this.#last('reasoning');
    if (!item) {
      out = this.#endItem('completed');
      const added: ReasoningItem = { type: 'reasoning', id: this.#id('rs'), status: 'in_progress', summary: [], content: [] };
      item = { ...added, content: [{ type: 'reasoning_text', text: '' }] };
      out += this.#begin(item, added);
      out += this.#event('response.content_part.added', { ...this.#at(), content_index: 0, part: { type: 'reasoning_text', text: '' } });
    }
    item.content[0].text += text;
    return out + this.#event('response.reasoning_text.delta', { ...this.#at(), content_index: 0, delta: text });
  }

  #call(call: number, name: string): string {
    const out = this.#endItem('completed');
    const item: FunctionCallItem = {
      type: 'function_call',
      id: this.#id('fc'),
      call_id: `call_${this.#meta.id.replace(/^resp_/, '')}_${call}`,
      name,
      arguments: '',
      status: 'in_progress',
    };
    return out + this.#begin(item, item);
  }

  #arguments(text: string): string {
    const item = this.#last('function_call');
    if (!item) return '';
    item.arguments += text;
    return this.#event('response.function_call_arguments.delta', { ...this.#at(), delta: text });
  }

  #begin(item: OutputItem, added: OutputItem): string {
    this.#items.push(item);
    this.#open = true;
    return this.#event('response.output_item.added', { output_index: this.#items.length - 1, item: added });
  }

  #endItem(status: 'completed' | 'incomplete'): string {
    if (!this.#open) return '';
    this.#open = false;
    const item = this.#items.at(-1)!;
    item.status = status;
    let out = '';
    if (item.type === 'message') {
      const [part] = item.content;
      out += this.#event('response.output_text.done', { ...this.#at(), content_index: 0, text: part.text, logprobs: part.logprobs ?? [] });
      out += this.#event('response.content_part.done', { ...this.#at(), content_index: 0, part });
    } else if (item.type === 'reasoning') {
      const [part] = item.content;
      out += this.#event('response.reasoning_text.done', { ...this.#at(), content_index: 0, text: part.text });
      out += this.#event('response.content_part.done', { ...this.#at(), content_index: 0, part });
    } else {
      out += this.#event('response.function_call_arguments.done', { ...this.#at(), name: item.name, arguments: item.arguments });
    }
    return out + this.#event('response.output_item.done', { output_index: this.#items.length - 1, item });
  }

  #last<T extends OutputItem['type']>(type: T): Extract<OutputItem, { type: T }> | undefined {
    const item = this.#open ? this.#items.at(-1) : undefined;
    return item?.type === type ? (item as Extract<OutputItem, { type: T }>) : undefined;
  }

  #id(prefix: string): string {
    return `${prefix}_${this.#meta.id.replace(/^resp_/, '')}_${this.#items.length}`;
  }

  #at(): { item_id: string; output_index: number } {
    return { item_id: this.#items.at(-1)!.id, output_index: this.#items.length - 1 };
  }

  /** `id:` is what a browser's EventSource sends back as Last-Event-ID. */
  #event(type: string, data: Record<string, unknown>): string {
    const n = this.#number++;
    return n <= this.#after ? '' : `id: ${n}\nevent: ${type}\ndata: ${oneLine(JSON.stringify({ type, sequence_number: n, ...data }))}\n\n`;
  }
}

/** Answers in the form of Ollama's /api/chat and /api/generate: lines of JSON, and the whole. */

import type { FinishReason } from '../../engine/types.ts';
import type { ApiError } from '../errors.ts';
import type { ChatRequest, CompletionRequest } from '../requests/types.ts';
import type { Piece } from '../tools.ts';
import type { AnswerMeta, UsageCounts } from './answer.ts';
import { Choice, choiceOf } from './choice.ts';
import { chatLogprobs, finishReason } from './frames.ts';
import { FormatWriter } from './writer.ts';

/** An error as Ollama's clients expect it. */
export const ollamaError = (_status: number, message: string): Record<string, unknown> => ({ error: message });

/** A model as Ollama's clients know it: with a tag. */
export const ollamaName = (id: string): string => (id.includes(':') ? id : `${id}:latest`);

/** The object that everything said has in common. `created` in s. */
export const ollamaHead = (model: string, created: number) => ({
  model: ollamaName(model),
  created_at: new Date(created * 1000).toISOString(),
});

/** Text in the place that the API has for it. */
export const ollamaText = (wire: string | undefined, content: string, more: object = {}): Record<string, unknown> =>
  wire === 'ollama' ? { message: { role: 'assistant', content, ...more } } : { response: content, ...more };

interface Call {
  id: string;
  function: { index: number; name: string; arguments: unknown };
}

/** Text, thinking and calls that are told together. */
interface Said {
  text: string;
  thinking: string;
  calls: Call[];
  logprobs: unknown[];
}

const nothing = (): Said => ({ text: '', thinking: '', calls: [], logprobs: [] });

export class OllamaAnswer extends FormatWriter {
  readonly #wire: ChatRequest['wire'];
  /** What was not told yet: of a stream little, of a whole answer all. */
  #said = nothing();
  /** The call that is being written: it is told when its arguments are whole. */
  #open?: { call: number; name: string; text: string };
  #reason = 'stop';

  constructor(request: ChatRequest | CompletionRequest, meta: AnswerMeta) {
    const { stop } = request;
    const choice = request.kind === 'chat' ? choiceOf(request, stop) : new Choice({ stop, parallelToolCalls: true });
    super(request.stream, meta, [choice], 'application/x-ndjson');
    this.#wire = request.wire;
  }

  /** Times are in ns, by the clock of who computed (`turnstone.timings`). A model is loaded before its request is admitted. */
  close(usage: UsageCounts, extra?: Record<string, unknown>): string {
    const { timings } = (extra?.turnstone ?? {}) as { timings?: { prefill_ms: number; decode_ms: number } };
    const [prompt, answer] = [timings?.prefill_ms ?? 0, timings?.decode_ms ?? 0].map((ms) => Math.round(ms * 1e6));
    return this.#object(true, {
      ...{ done_reason: this.#reason, total_duration: prompt + answer, load_duration: 0 },
      ...{ prompt_eval_count: usage.prompt, prompt_eval_duration: prompt, eval_count: usage.completion, eval_duration: answer },
    });
  }

  protected tell(_choice: number, pieces: readonly Piece[]): string {
    this.#take(pieces);
    this.#said.logprobs.push(...chatLogprobs(this.choices[0].takeLogprobs()));
    return this.#line();
  }

  protected end(_choice: number, pieces: readonly Piece[], reason: FinishReason): string {
    this.#take(pieces);
    this.#end();
    this.#said.logprobs.push(...chatLogprobs(this.choices[0].takeLogprobs(true)));
    this.#reason = finishReason(reason, this.choices[0]) === 'length' ? 'length' : 'stop';
    return this.#line();
  }

  protected failing(error: ApiError): string {
    return `${JSON.stringify(ollamaError(error.status, error.message))}\n`;
  }

  #take(pieces: readonly Piece[]): void {
    for (const p of pieces) {
      if (p.kind === 'arguments') {
        if (this.#open) this.#open.text += p.text;
        continue;
      }
      if (p.kind === 'cut') this.#open = undefined;
      else this.#end();
      if (p.kind === 'name') this.#open = { call: p.call, name: p.name, text: '' };
      else if (p.kind === 'text') this.#said.text += p.text;
      else if (p.kind === 'reasoning') this.#said.thinking += p.text;
    }
  }

  #end(): void {
    if (!this.#open) return;
    const { call: index, name, text } = this.#open;
    this.#open = undefined;
    this.#said.calls.push({ id: `call_${this.meta.id}_${index}`, function: { index, name, arguments: JSON.parse(text || '{}') } });
  }

  /** A line, when there is something to tell. */
  #line(): string {
    const { text, thinking, calls } = this.#said;
    return this.streams && (text !== '' || thinking !== '' || calls.length > 0) ? this.#object(false) : '';
  }

  #object(done: boolean, more: object = {}): string {
    const { text, thinking, calls, logprobs } = this.#said;
    this.#said = nothing();
    const beside = { ...(thinking !== '' && { thinking }), ...(calls.length > 0 && { tool_calls: calls }) };
    const said = { ...ollamaText(this.#wire, text, beside), ...(logprobs.length > 0 && { logprobs }) };
    const line = JSON.stringify({ ...ollamaHead(this.meta.model, this.meta.created), ...said, done, ...more });
    return this.streams ? `${line}\n` : line;
  }
}

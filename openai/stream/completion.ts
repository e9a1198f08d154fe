/** Text completions: chunks, and the whole answer. An echoed prompt is pushed like any text, before the first token. */

import type { FinishReason } from '../../engine/types.ts';
import type { ApiError } from '../errors.ts';
import type { CompletionRequest } from '../requests/types.ts';
import type { Answer, AnswerMeta, TokenLogprobs, UsageCounts } from './answer.ts';
import { Choice, type PlacedLogprobs } from './choice.ts';
import { completionLogprobs, DONE, errorFrame, finishReason, frame, usageObject } from './frames.ts';

const choicesOf = (r: CompletionRequest): Choice[] =>
  Array.from({ length: r.prompts.length * r.n }, () => new Choice({ stop: r.stop, tools: undefined, parallelToolCalls: true }));

/** Chunks and whole answers bear the same object name. */
const headOf = (meta: AnswerMeta) => ({
  id: `cmpl-${meta.id}`,
  object: 'text_completion',
  created: meta.created,
  model: meta.model,
  ...(meta.fingerprint === undefined ? {} : { system_fingerprint: meta.fingerprint }),
});

export class CompletionStream implements Answer {
  readonly contentType = 'text/event-stream; charset=utf-8';
  readonly #meta: AnswerMeta;
  readonly #choices: Choice[];
  readonly #usage: boolean;
  readonly #head: string;
  readonly #tail: string;

  constructor(request: CompletionRequest, meta: AnswerMeta) {
    this.#meta = meta;
    this.#choices = choicesOf(request);
    this.#usage = request.includeUsage;
    this.#head = `${JSON.stringify(headOf(meta)).slice(0, -1)},"choices":[`;
    this.#tail = this.#usage ? '],"usage":null}' : ']}';
  }

  open(): string {
    return '';
  }

  echo(choice: number, text: string): string {
    this.#choices[choice].echo(text);
    return text === '' ? '' : this.#chunk(choice, text, []);
  }

  push(choice: number, text: string, logprobs?: readonly TokenLogprobs[]): string {
    const c = this.#choices[choice];
    const shown = textOf(c.push(text, logprobs));
    return shown === '' ? '' : this.#chunk(choice, shown, c.takeLogprobs());
  }

  stopped(choice: number): boolean {
    return this.#choices[choice].stopped;
  }

  finish(choice: number, reason: FinishReason): string {
    const c = this.#choices[choice];
    return this.#chunk(choice, textOf(c.finish()), c.takeLogprobs(true), finishReason(reason, c));
  }

  close(usage: UsageCounts, extra?: Record<string, unknown>): string {
    if (!this.#usage && !extra) return DONE;
    const last = { ...headOf(this.#meta), choices: [], ...(this.#usage ? { usage: usageObject(usage) } : {}), ...extra };
    return frame(JSON.stringify(last)) + DONE;
  }

  fail(error: ApiError): string {
    return errorFrame(error);
  }

  #chunk(choice: number, text: string, logprobs: PlacedLogprobs[], finish?: string): string {
    const scores = logprobs.length ? JSON.stringify(completionLogprobs(logprobs)) : 'null';
    const reason = finish ? `"${finish}"` : 'null';
    return frame(
      `${this.#head}{"index":${choice},"text":${JSON.stringify(text)},"logprobs":${scores},"finish_reason":${reason}}${this.#tail}`,
    );
  }
}

export class CompletionWhole implements Answer {
  readonly contentType = 'application/json';
  readonly #meta: AnswerMeta;
  readonly #choices: Choice[];
  readonly #whole: { text: string; logprobs: PlacedLogprobs[]; finish: string }[];
  readonly #scored: boolean;

  constructor(request: CompletionRequest, meta: AnswerMeta) {
    this.#meta = meta;
    this.#choices = choicesOf(request);
    this.#whole = this.#choices.map(() => ({ text: '', logprobs: [], finish: 'stop' }));
    this.#scored = request.sampling.logprobs !== undefined;
  }

  open(): string {
    return '';
  }

  echo(choice: number, text: string): string {
    this.#choices[choice].echo(text);
    this.#whole[choice].text += text;
    return '';
  }

  push(choice: number, text: string, logprobs?: readonly TokenLogprobs[]): string {
    this.#whole[choice].text += textOf(this.#choices[choice].push(text, logprobs));
    return '';
  }

  stopped(choice: number): boolean {
    return this.#choices[choice].stopped;
  }

  finish(choice: number, reason: FinishReason): string {
    const c = this.#choices[choice];
    const w = this.#whole[choice];
    w.text += textOf(c.finish());
    w.logprobs = c.takeLogprobs(true);
    w.finish = finishReason(reason, c);
    return '';
  }

  close(usage: UsageCounts, extra?: Record<string, unknown>): string {
    const choices = this.#whole.map((w, index) => ({
      index,
      text: w.text,
      logprobs: this.#scored ? completionLogprobs(w.logprobs) : null,
      finish_reason: w.finish,
    }));
    return JSON.stringify({ ...headOf(this.#meta), choices, usage: usageObject(usage), ...extra });
  }

  fail(error: ApiError): string {
    return JSON.stringify(error.envelope());
  }
}

/** Without tools every piece is text. */
function textOf(pieces: ReturnType<Choice['push']>): string {
  let text = '';
  for (const p of pieces) if (p.kind === 'text') text += p.text;
  return text;
}

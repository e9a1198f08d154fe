/** Chat completions: chunks, and the whole answer. */

import type { FinishReason } from '../../engine/types.ts';
import type { ApiError } from '../errors.ts';
import type { ChatRequest } from '../requests/types.ts';
import type { Piece } from '../tools.ts';
import type { Answer, AnswerMeta, TokenLogprobs, UsageCounts } from './answer.ts';
import { type Choice, choiceOf, type PlacedLogprobs } from './choice.ts';
import { chatLogprobs, DONE, errorFrame, finishReason, frame, usageObject } from './frames.ts';

const choicesOf = (r: ChatRequest): Choice[] => Array.from({ length: r.n }, () => choiceOf(r, r.stop));

/** What a chunk can say. That a call was cut is said by the finish reason. */
type Shown = Exclude<Piece, { kind: 'cut' }>;

const counted = (usage: UsageCounts, choices: readonly Choice[]): UsageCounts => ({
  ...usage,
  reasoning: choices.reduce((n, c) => n + c.reasoningTokens, 0),
});

const headOf = (meta: AnswerMeta, object: string) => ({
  id: `chatcmpl-${meta.id}`,
  object,
  created: meta.created,
  model: meta.model,
  ...(meta.fingerprint === undefined ? {} : { system_fingerprint: meta.fingerprint }),
});

/** Depends on nothing random, so that an answer told again has the same ids. */
const callId = (meta: AnswerMeta, choice: number, call: number): string => `call_${meta.id}_${choice}_${call}`;

export class ChatStream implements Answer {
  readonly contentType = 'text/event-stream; charset=utf-8';
  readonly #meta: AnswerMeta;
  readonly #choices: Choice[];
  readonly #usage: boolean;
  /** `{"id":…,"choices":[` of every chunk, and what follows `]`. */
  readonly #head: string;
  readonly #tail: string;

  constructor(request: ChatRequest, meta: AnswerMeta) {
    this.#meta = meta;
    this.#choices = choicesOf(request);
    this.#usage = request.includeUsage;
    this.#head = `${JSON.stringify(headOf(meta, 'chat.completion.chunk')).slice(0, -1)},"choices":[`;
    this.#tail = this.#usage ? '],"usage":null}' : ']}';
  }

  open(): string {
    return this.#choices.map((_, i) => this.#chunk(i, '{"role":"assistant","content":"","refusal":null}')).join('');
  }

  echo(): string {
    return '';
  }

  push(choice: number, text: string, logprobs?: readonly TokenLogprobs[]): string {
    const c = this.#choices[choice];
    const pieces = c.push(text, logprobs).filter((p) => p.kind !== 'cut');
    return pieces.length === 0 ? '' : this.#pieces(choice, pieces, c.takeLogprobs());
  }

  stopped(choice: number): boolean {
    return this.#choices[choice].stopped;
  }

  finish(choice: number, reason: FinishReason): string {
    const c = this.#choices[choice];
    const frames = this.#pieces(
      choice,
      c.finish().filter((p) => p.kind !== 'cut'),
      [],
    );
    return frames + this.#chunk(choice, '{}', c.takeLogprobs(true), finishReason(reason, c));
  }

  close(usage: UsageCounts, extra?: Record<string, unknown>): string {
    if (!this.#usage && !extra) return DONE;
    const last = {
      ...headOf(this.#meta, 'chat.completion.chunk'),
      choices: [],
      ...(this.#usage ? { usage: usageObject(counted(usage, this.#choices)) } : {}),
      ...extra,
    };
    return frame(JSON.stringify(last)) + DONE;
  }

  fail(error: ApiError): string {
    return errorFrame(error);
  }

  #pieces(choice: number, pieces: readonly Shown[], logprobs: PlacedLogprobs[]): string {
    let frames = '';
    for (const [i, piece] of pieces.entries()) frames += this.#chunk(choice, this.#delta(choice, piece), i === 0 ? logprobs : []);
    return frames;
  }

  #delta(choice: number, piece: Shown): string {
    switch (piece.kind) {
      case 'text':
        return `{"content":${JSON.stringify(piece.text)}}`;
      case 'reasoning':
        return `{"reasoning_content":${JSON.stringify(piece.text)}}`;
      case 'name':
        return JSON.stringify({
          tool_calls: [
            {
              index: piece.call,
              id: callId(this.#meta, choice, piece.call),
              type: 'function',
              function: { name: piece.name, arguments: '' },
            },
          ],
        });
      case 'arguments':
        return `{"tool_calls":[{"index":${piece.call},"function":{"arguments":${JSON.stringify(piece.text)}}}]}`;
    }
  }

  #chunk(choice: number, delta: string, logprobs: PlacedLogprobs[] = [], finish?: string): string {
    const scores = logprobs.length ? `{"content":${JSON.stringify(chatLogprobs(logprobs))},"refusal":null}` : 'null';
    const reason = finish ? `"${finish}"` : 'null';
    return frame(`${this.#head}{"index":${choice},"delta":${delta},"logprobs":${scores},"finish_reason":${reason}}${this.#tail}`);
  }
}

interface WholeChoice {
  reasoning: string;
  content: string;
  calls: { name: string; arguments: string }[];
  logprobs: PlacedLogprobs[];
  finish: string;
}

export class ChatWhole implements Answer {
  readonly contentType = 'application/json';
  readonly #meta: AnswerMeta;
  readonly #choices: Choice[];
  readonly #whole: WholeChoice[];
  readonly #scored: boolean;

  constructor(request: ChatRequest, meta: AnswerMeta) {
    this.#meta = meta;
    this.#choices = choicesOf(request);
    this.#whole = this.#choices.map(() => ({ reasoning: '', content: '', calls: [], logprobs: [], finish: 'stop' }));
    this.#scored = request.sampling.logprobs !== undefined;
  }

  open(): string {
    return '';
  }

  echo(): string {
    return '';
  }

  push(choice: number, text: string, logprobs?: readonly TokenLogprobs[]): string {
    this.#add(choice, this.#choices[choice].push(text, logprobs));
    return '';
  }

  stopped(choice: number): boolean {
    return this.#choices[choice].stopped;
  }

  finish(choice: number, reason: FinishReason): string {
    const c = this.#choices[choice];
    this.#add(choice, c.finish());
    this.#whole[choice].logprobs = c.takeLogprobs(true);
    this.#whole[choice].finish = finishReason(reason, c);
    return '';
  }

  close(usage: UsageCounts, extra?: Record<string, unknown>): string {
    const choices = this.#whole.map((w, index) => ({
      index,
      message: {
        role: 'assistant',
        content: w.content === '' && w.calls.length ? null : w.content,
        refusal: null,
        ...(w.reasoning ? { reasoning_content: w.reasoning } : {}),
        ...(w.calls.length
          ? { tool_calls: w.calls.map((f, i) => ({ id: callId(this.#meta, index, i), type: 'function', function: f })) }
          : {}),
      },
      logprobs: this.#scored ? { content: chatLogprobs(w.logprobs), refusal: null } : null,
      finish_reason: w.finish,
    }));
    return JSON.stringify({
      ...headOf(this.#meta, 'chat.completion'),
      choices,
      usage: usageObject(counted(usage, this.#choices)),
      ...extra,
    });
  }

  fail(error: ApiError): string {
    return JSON.stringify(error.envelope());
  }

  #add(choice: number, pieces: readonly Piece[]): void {
    const w = this.#whole[choice];
    for (const p of pieces) {
      if (p.kind === 'text') w.content += p.text;
      else if (p.kind === 'reasoning') w.reasoning += p.text;
      else if (p.kind === 'name') w.calls.push({ name: p.name, arguments: '' });
      else if (p.kind === 'arguments') w.calls[p.call].arguments += p.text;
    }
  }
}

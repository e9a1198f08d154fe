/** Chat completions: chunks, and the whole answer. */

import type { FinishReason } from '../../engine/types.ts';
import type { ApiError } from '../errors.ts';
import type { ChatRequest } from '../requests/types.ts';
import type { Piece } from '../tools.ts';
import type { AnswerMeta, PromptToken, UsageCounts } from './answer.ts';
import { type Choice, choiceOf, type PlacedLogprobs } from './choice.ts';
import { chatLogprobs, DONE, errorFrame, finishReason, frame, promptLogprobs, usageObject } from './frames.ts';
import { FormatWriter } from './writer.ts';

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

interface WholeChoice {
  reasoning: string;
  content: string;
  calls: { name: string; arguments: string }[];
  logprobs: PlacedLogprobs[];
  finish: string;
}

export class ChatAnswer extends FormatWriter {
  readonly #usage: boolean;
  /** `{"id":…,"choices":[` of every chunk, and what follows `]`. */
  readonly #head: string;
  readonly #tail: string;
  readonly #scored: boolean;
  /** What an answer that is not streamed says. */
  readonly #whole: WholeChoice[];
  /** Best ones that are told of each of the prompt's tokens; undefined: nothing is. */
  readonly #promptBest?: number;
  #prompt?: unknown[];

  constructor(request: ChatRequest, meta: AnswerMeta) {
    const choices = Array.from({ length: request.n }, () => choiceOf(request, request.stop));
    super(request.stream, meta, choices);
    this.#usage = request.includeUsage;
    this.#head = `${JSON.stringify(headOf(meta, 'chat.completion.chunk')).slice(0, -1)},"choices":[`;
    this.#tail = this.#usage ? '],"usage":null}' : ']}';
    this.#scored = request.sampling.logprobs !== undefined;
    this.#promptBest = request.promptLogprobs;
    this.#whole = choices.map(() => ({ reasoning: '', content: '', calls: [], logprobs: [], finish: 'stop' }));
  }

  /** All choices have one prompt: the first tells of it. */
  override prompt(choice: number, tokens: readonly PromptToken[]): string {
    if (choice === 0 && this.#promptBest !== undefined) this.#prompt = promptLogprobs(tokens, this.#promptBest);
    return '';
  }

  close(usage: UsageCounts, extra?: Record<string, unknown>): string {
    if (!this.streams) return this.#object(usage, extra);
    if (!this.#usage && !extra) return DONE;
    const last = {
      ...headOf(this.meta, 'chat.completion.chunk'),
      choices: [],
      ...(this.#usage ? { usage: usageObject(counted(usage, this.choices)) } : {}),
      ...extra,
    };
    return frame(JSON.stringify(last)) + DONE;
  }

  protected override opening(): string {
    return this.choices.map((_, i) => this.#chunk(i, '{"role":"assistant","content":"","refusal":null}')).join('');
  }

  protected tell(choice: number, pieces: readonly Piece[]): string {
    if (!this.streams) return this.#add(choice, pieces);
    const shown = pieces.filter((p) => p.kind !== 'cut');
    return shown.length === 0 ? '' : this.#pieces(choice, shown, this.choices[choice].takeLogprobs());
  }

  protected end(choice: number, pieces: readonly Piece[], reason: FinishReason): string {
    const c = this.choices[choice];
    if (this.streams) {
      const shown = pieces.filter((p) => p.kind !== 'cut');
      return this.#pieces(choice, shown, []) + this.#chunk(choice, '{}', c.takeLogprobs(true), finishReason(reason, c));
    }
    this.#add(choice, pieces);
    Object.assign(this.#whole[choice], { logprobs: c.takeLogprobs(true), finish: finishReason(reason, c) });
    return '';
  }

  protected failing(error: ApiError): string {
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
              id: callId(this.meta, choice, piece.call),
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

  #object(usage: UsageCounts, extra?: Record<string, unknown>): string {
    const choices = this.#whole.map((w, index) => ({
      index,
      message: {
        role: 'assistant',
        content: w.content === '' && w.calls.length ? null : w.content,
        refusal: null,
        ...(w.reasoning ? { reasoning_content: w.reasoning } : {}),
        ...(w.calls.length
          ? { tool_calls: w.calls.map((f, i) => ({ id: callId(this.meta, index, i), type: 'function', function: f })) }
          : {}),
      },
      logprobs: this.#scored ? { content: chatLogprobs(w.logprobs), refusal: null } : null,
      finish_reason: w.finish,
    }));
    return JSON.stringify({
      ...headOf(this.meta, 'chat.completion'),
      choices,
      ...(this.#prompt && { prompt_logprobs: this.#prompt }),
      usage: usageObject(counted(usage, this.choices)),
      ...extra,
    });
  }

  #add(choice: number, pieces: readonly Piece[]): string {
    const w = this.#whole[choice];
    for (const p of pieces) {
      if (p.kind === 'text') w.content += p.text;
      else if (p.kind === 'reasoning') w.reasoning += p.text;
      else if (p.kind === 'name') w.calls.push({ name: p.name, arguments: '' });
      else if (p.kind === 'arguments') w.calls[p.call].arguments += p.text;
    }
    return '';
  }
}

/** Text completions: chunks, and the whole answer. An echoed prompt is pushed like any text, before the first token. */

import type { FinishReason } from '../../engine/types.ts';
import type { ApiError } from '../errors.ts';
import type { CompletionRequest } from '../requests/types.ts';
import type { Piece } from '../tools.ts';
import type { AnswerMeta, PromptToken, UsageCounts } from './answer.ts';
import { Choice, type PlacedLogprobs } from './choice.ts';
import { completionLogprobs, DONE, errorFrame, finishReason, frame, promptLogprobs, usageObject } from './frames.ts';
import { FormatWriter } from './writer.ts';

/** Chunks and whole answers bear the same object name. */
const headOf = (meta: AnswerMeta) => ({
  id: `cmpl-${meta.id}`,
  object: 'text_completion',
  created: meta.created,
  model: meta.model,
  ...(meta.fingerprint === undefined ? {} : { system_fingerprint: meta.fingerprint }),
});

export class CompletionAnswer extends FormatWriter {
  readonly #usage: boolean;
  readonly #head: string;
  readonly #tail: string;
  readonly #scored: boolean;
  /** What an answer that is not streamed says. */
  readonly #whole: { text: string; logprobs: PlacedLogprobs[]; finish: string; prompt?: unknown[] }[];
  /** Best ones that are told of each of the prompt's tokens; undefined: nothing is. */
  readonly #promptBest?: number;

  constructor(request: CompletionRequest, meta: AnswerMeta) {
    const choices = Array.from(
      { length: request.prompts.length * request.n },
      () => new Choice({ stop: request.stop, tools: undefined, parallelToolCalls: true }),
    );
    super(request.stream, meta, choices);
    this.#usage = request.includeUsage;
    this.#head = `${JSON.stringify(headOf(meta)).slice(0, -1)},"choices":[`;
    this.#tail = this.#usage ? '],"usage":null}' : ']}';
    this.#scored = request.sampling.logprobs !== undefined;
    this.#promptBest = request.promptLogprobs;
    this.#whole = choices.map(() => ({ text: '', logprobs: [], finish: 'stop' }));
  }

  override echo(choice: number, text: string, tokens?: readonly PromptToken[]): string {
    this.choices[choice].echo(text, tokens);
    this.#whole[choice].text += text;
    return text === '' || !this.streams ? '' : this.#chunk(choice, text, this.choices[choice].takeLogprobs());
  }

  override prompt(choice: number, tokens: readonly PromptToken[]): string {
    if (this.#promptBest !== undefined) this.#whole[choice].prompt = promptLogprobs(tokens, this.#promptBest);
    return '';
  }

  close(usage: UsageCounts, extra?: Record<string, unknown>): string {
    if (!this.streams) {
      const choices = this.#whole.map(({ text, logprobs, finish, prompt }, index) => ({
        ...{ index, text, logprobs: this.#scored ? completionLogprobs(logprobs) : null, finish_reason: finish },
        ...(prompt && { prompt_logprobs: prompt }),
      }));
      return JSON.stringify({ ...headOf(this.meta), choices, usage: usageObject(usage), ...extra });
    }
    if (!this.#usage && !extra) return DONE;
    const last = { ...headOf(this.meta), choices: [], ...(this.#usage ? { usage: usageObject(usage) } : {}), ...extra };
    return frame(JSON.stringify(last)) + DONE;
  }

  protected tell(choice: number, pieces: readonly Piece[]): string {
    const text = textOf(pieces);
    if (this.streams) return text === '' ? '' : this.#chunk(choice, text, this.choices[choice].takeLogprobs());
    this.#whole[choice].text += text;
    return '';
  }

  protected end(choice: number, pieces: readonly Piece[], reason: FinishReason): string {
    const c = this.choices[choice];
    const [text, logprobs, finish] = [textOf(pieces), c.takeLogprobs(true), finishReason(reason, c)];
    if (this.streams) return this.#chunk(choice, text, logprobs, finish);
    const w = this.#whole[choice];
    Object.assign(w, { text: w.text + text, logprobs, finish });
    return '';
  }

  protected failing(error: ApiError): string {
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

/** Without tools every piece is text. */
function textOf(pieces: readonly Piece[]): string {
  let text = '';
  for (const p of pieces) if (p.kind === 'text') text += p.text;
  return text;
}

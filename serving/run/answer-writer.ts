/** The events of one request's answer, in the form its client reads. */
import type { FinishReason, ScoredToken } from '../../engine/index.ts';
import type { ApiError } from '../../openai/errors.ts';
import type { Answer, PromptToken, TokenLogprobs } from '../../openai/stream/answer.ts';
import type { Writer } from './token-sink.ts';

export interface AnswerWriterOptions {
  answer: Answer;
  /** Choices of all prompts. */
  choices: number;
  /** Choices a prompt: of each prompt's, the first one's cached tokens count. */
  n: number;
  /** Text that comes before each choice (completions with `echo`). */
  echo?: (index: number) => string;
  /** The prompt of a choice, where it is told what the model makes of it: its echo waits for that. */
  scored?: (index: number, scores: readonly ScoredToken[]) => PromptToken[];
  /** Tokens of all prompts, each counted once. */
  promptTokens: number;
  /** Prompt tokens found before an accelerator added pages; undefined: what the engine found is what there was. */
  cachedTokens?: number;
  /** Added to the last object of the answer. */
  extra?: () => Record<string, unknown> | undefined;
}

export class AnswerWriter implements Writer {
  readonly #o: AnswerWriterOptions;
  readonly #usage: { prompt: number; completion: number; cached: number };

  constructor(o: AnswerWriterOptions) {
    this.#o = o;
    this.#usage = { prompt: o.promptTokens, completion: 0, cached: 0 };
  }

  get contentType(): string {
    return this.#o.answer.contentType;
  }

  open(): string {
    const { answer, choices, echo, scored } = this.#o;
    return answer.open() + (echo && !scored ? Array.from({ length: choices }, (_, i) => answer.echo(i, echo(i))).join('') : '');
  }

  begin(index: number, cached: number, scores: readonly ScoredToken[]): string {
    const { answer, echo, n, scored, cachedTokens = cached } = this.#o;
    if (index % n === 0) this.#usage.cached += Math.min(cached, cachedTokens);
    if (!scored) return '';
    const tokens = scored(index, scores);
    return (echo ? answer.echo(index, echo(index), tokens) : '') + answer.prompt(index, tokens);
  }

  /** Tokens of all choices. */
  get generated(): number {
    return this.#usage.completion;
  }

  push(index: number, _token: number, text: string, logprobs: TokenLogprobs | undefined): string {
    this.#usage.completion++;
    return this.#o.answer.push(index, text, logprobs && [logprobs]);
  }

  settle(): string {
    return '';
  }

  stopped(index: number): boolean {
    return this.#o.answer.stopped(index);
  }

  finish(index: number, reason: FinishReason, rest: string): string {
    const { answer } = this.#o;
    const last = answer.push(index, rest);
    return last + answer.finish(index, answer.stopped(index) ? 'stop' : reason);
  }

  close(): string {
    return this.#o.answer.close(this.#usage, this.#o.extra?.(), Math.floor(Date.now() / 1000));
  }

  fail(error: ApiError): string {
    return this.#o.answer.fail(error);
  }
}

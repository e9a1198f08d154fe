/** One choice of an answer: its text through the stop strings and, for chats with tools, through the tool-call parser. */

import { ReasoningSplitter } from '../reasoning.ts';
import { StopMatcher } from '../stop.ts';
import { type OfferedTool, type Piece, ToolParser } from '../tools.ts';
import type { PromptToken, TokenLogprobs } from './answer.ts';

/** A token's log-probabilities with where its text begins, in UTF-16 units of the choice's text. */
export interface PlacedLogprobs extends TokenLogprobs {
  offset: number;
  /** A prompt's first token: nothing is before it that it could follow. */
  first?: boolean;
}

export interface ChoiceOptions {
  stop: readonly string[];
  /** The tools that may be called; undefined: none may. */
  tools?: readonly OfferedTool[];
  /** Reasoning at the text's beginning is split off. */
  reasoning?: boolean;
  /** What is no call is JSON: nothing inside it is taken for one. */
  json?: boolean;
  /** False: the choice is over after its first call. */
  parallelToolCalls: boolean;
}

/** What of a request decides how its text is read. */
export interface TextOptions {
  tools: readonly OfferedTool[];
  toolChoice: { mode: string };
  parallelToolCalls: boolean;
  responseFormat: { type: string };
}

export const choiceOf = (r: TextOptions, stop: readonly string[]): Choice =>
  new Choice({
    stop,
    reasoning: true,
    tools: r.toolChoice.mode === 'none' ? undefined : r.tools,
    json: r.responseFormat.type !== 'text',
    parallelToolCalls: r.parallelToolCalls,
  });

export class Choice {
  readonly #stop: StopMatcher;
  readonly #reasoning: ReasoningSplitter | null;
  readonly #tools: ToolParser | null;
  #cut = false;
  #thought = 0;
  readonly #single: boolean;
  /** Of the text given, and of the part that has left the stop matcher. */
  #length = 0;
  #shown = 0;
  #pending: PlacedLogprobs[] = [];
  /** Has left the stop matcher, and was not taken. */
  #text = '';

  constructor(options: ChoiceOptions) {
    this.#stop = new StopMatcher(options.stop);
    this.#reasoning = options.reasoning ? new ReasoningSplitter() : null;
    this.#tools = options.tools ? new ToolParser({ tools: options.tools, json: options.json }) : null;
    this.#single = !options.parallelToolCalls;
  }

  get stopped(): boolean {
    return this.#stop.stopped || (this.#single && this.#tools?.complete === true);
  }

  /** Tokens of reasoning, its end's tag with them. */
  get reasoningTokens(): number {
    return this.#thought;
  }

  /** The stop string that ended the text. */
  get stopString(): string | undefined {
    return this.#stop.found;
  }

  /** Whether a call ended without its arguments being whole: by a stop string, the limit, or because they are no JSON. */
  get cut(): boolean {
    return this.#cut;
  }

  /** Tool calls begun. */
  get calls(): number {
    return this.#tools?.calls ?? 0;
  }

  /** The text of one token. */
  push(text: string, logprobs?: readonly TokenLogprobs[]): Piece[] {
    if (this.stopped) return [];
    if (logprobs) for (const l of logprobs) this.#pending.push({ ...l, offset: this.#length });
    this.#length += text.length;
    const thinking = this.#reasoning?.inside;
    const pieces = this.#pieces(this.#stop.push(text));
    // inside a call it is no stop: what ends the call is the call itself
    while (this.#stop.stopped && this.#tools?.inside) {
      const [stop, rest] = this.#stop.resume();
      pieces.push(...this.#pieces(stop));
      pieces.push(...this.#pieces(rest));
    }
    if (thinking || this.#reasoning?.inside) this.#thought++;
    return pieces;
  }

  /** Text that was not generated, such as an echoed prompt: shown as it is. */
  echo(text: string, tokens: readonly PromptToken[] = []): void {
    for (const { text: t, offset, scored } of tokens) {
      this.#pending.push({ ...t, ...(scored ?? { logprob: 0, top: [], first: true }), offset: this.#length + offset });
    }
    this.#length += text.length;
    this.#shown += text.length;
  }

  finish(): Piece[] {
    const rest = this.#pieces(this.#stop.flush());
    if (this.#reasoning) rest.push(...this.#split(this.#reasoning.flush()));
    return this.#tools ? [...rest, ...this.#noted(this.#tools.flush())] : rest;
  }

  /** The text as it was generated, up to the stop string, that was not taken before: what a session keeps. */
  takeText(): string {
    const text = this.#text;
    this.#text = '';
    return text;
  }

  /** Of the tokens whose text has left the stop matcher; `all` at the end, where a token may have no text, unless a stop string cut it off. */
  takeLogprobs(all = false): PlacedLogprobs[] {
    if (this.#pending.length === 0) return this.#pending;
    if (all && !this.#stop.stopped) return this.#pending.splice(0);
    let k = 0;
    while (k < this.#pending.length && this.#pending[k].offset < this.#shown) k++;
    return this.#pending.splice(0, k);
  }

  #pieces(text: string): Piece[] {
    if (text === '') return [];
    this.#shown += text.length;
    this.#text += text;
    return this.#split(this.#reasoning ? this.#reasoning.push(text) : { reasoning: '', text });
  }

  #split({ reasoning, text }: { reasoning: string; text: string }): Piece[] {
    const pieces: Piece[] = reasoning === '' ? [] : [{ kind: 'reasoning', text: reasoning }];
    if (text === '') return pieces;
    return [...pieces, ...(this.#tools ? this.#noted(this.#tools.push(text)) : [{ kind: 'text' as const, text }])];
  }

  #noted(pieces: Piece[]): Piece[] {
    this.#cut ||= pieces.some((p) => p.kind === 'cut');
    return pieces;
  }
}

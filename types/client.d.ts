/** What Turnstone's API has beyond OpenAI's, typed, for any JavaScript with fetch. Beside OpenAI's own client, not instead of it. */

/** Fields of a request that OpenAI's types do not have (docs/parameters.md). */
export interface Extensions {
  top_k?: number;
  min_p?: number;
  repetition_penalty?: number;
  min_tokens?: number;
  ignore_eos?: boolean;
  /** Log-probabilities of the prompt's own tokens, and so many of the likeliest in each place: `prompt_logprobs` of chats and of completions' choices. */
  prompt_logprobs?: number;
  stop_token_ids?: number[];
  /** Pages are found again under the same salt alone. */
  cache_salt?: string;
  chat_template?: string;
  chat_template_kwargs?: Record<string, unknown>;
  continue_final_message?: boolean;
  add_generation_prompt?: boolean;
  /** Regular expression, choice or GBNF grammar that the answer has to match. */
  guided_regex?: string;
  guided_choice?: string[];
  guided_grammar?: string;
  /** Seconds that the model stays loaded, -1 for ever. */
  keep_alive?: number | string;
  /** The answer says where and how fast it was computed, and what it costs. */
  explain?: boolean;
}

/** By the replica's clock, ms. */
export interface Timings {
  prefill_tokens: number;
  prefill_ms: number;
  decode_tokens: number;
  decode_ms: number;
}

/** US dollars, on Cloudflare, beyond what a plan includes. */
export interface Cost {
  usd: number;
  compute: number;
  session: number;
  requests: number;
  rows: number;
}

export interface Told {
  timings?: Timings;
  cost?: Cost;
  /** Where its prompt was computed. */
  route?: { place: 'local' | 'npu'; why: string; cached: number; took: number };
  /** The answer goes on from one of another model, so that nothing of it could be used. */
  recomputed?: boolean;
  /** Keywords of a schema without `strict` that nothing enforced, each as "#pointer keyword". */
  not_enforced?: string[];
}

/** A request's body with extensions, of the same type as without: `client.chat.completions.create(extended({ …, top_k: 40 }))`. */
export declare function extended<T extends object>(body: T & Extensions): T;

/** What an answer, or the last chunk or event of a stream, tells beside OpenAI's fields; undefined where it tells nothing. */
export declare function toldOf(answer: unknown): Told | undefined;

export interface ConnectOptions {
  /** With `/v1`, as OpenAI's client takes it. */
  baseURL: string;
  apiKey?: string;
  fetch?: (url: string, init?: RequestInit) => Promise<Response>;
}

export interface Message {
  role: string;
  content: string;
}

/** Rejects what the server refuses with TurnstoneError. */
export interface Turnstone {
  /** Ids of a text, or of a conversation as the model's template writes it. */
  tokenize(text: string | Message[], model?: string): Promise<number[]>;
  detokenize(tokens: number[], model?: string): Promise<string>;
  /** A conversation's prompt as text. */
  applyTemplate(messages: Message[], model?: string): Promise<string>;
  /** The KV pages of a conversation, to go on with it elsewhere (frames: docs/npu-protocol.md). */
  pages(messages: Message[], model?: string): Promise<Uint8Array>;
  /**
   * The text of a stored response (`POST /v1/responses` with `store` and `background` or `stream`), from its beginning, as it comes. Where
   * the connection breaks, or the server is started again, it connects again and goes on behind what was read.
   */
  follow(response: string, signal?: AbortSignal): AsyncGenerator<string, void>;
}

export declare class TurnstoneError extends Error {
  readonly status: number;
  readonly code?: string;
  readonly param?: string;
}

export declare function connect(o: ConnectOptions): Turnstone;

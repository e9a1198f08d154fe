/** A model inside your own program: the engine, its kernels and OpenAI's API, without a server. In Node and in browsers. */

export interface OpenOptions {
  /** For weights, KV pages and scratch together; default 512. What the model leaves becomes context. */
  memoryMB?: number;
  /** Tokens; default: what fits, up to the model's own. */
  context?: number;
  /** Bytes of weights loaded, of all. */
  onProgress?: (loaded: number, total: number) => void;
  /** Node: what is done before it can answer, such as packing a file for the first time. */
  say?: (line: string) => void;
  /** Browsers: sent with the requests for the pack's files. */
  headers?: Record<string, string>;
  /** Browsers: where `turnstone/wasm/turnstone-simd.wasm` and `turnstone/wasm/turnstone-relaxed.wasm` are served, when not beside the engine. */
  kernels?: { simd: string | URL; relaxed?: string | URL };
}

export interface Message {
  role: 'system' | 'user' | 'assistant';
  content: string;
}

/** As OpenAI's API names them, Turnstone's extensions too; what is not given is left to the model. */
export interface Fields {
  max_tokens?: number;
  temperature?: number;
  top_p?: number;
  top_k?: number;
  min_p?: number;
  seed?: number;
  stop?: string | string[];
  response_format?: object;
  [more: string]: unknown;
}

export interface Asked extends Fields {
  /** Stops the computation; the iteration then throws its reason. */
  signal?: AbortSignal;
}

/** What the API refused: its own message, status, code and the field it is about. */
export declare class RequestError extends Error {
  readonly status: number;
  readonly code: string | null;
  readonly param: string | null;
}

export declare class Model {
  private constructor();
  /** Its name in the API. */
  readonly id: string;
  /** Tokens that a prompt and its answer may have together. */
  readonly context: number;
  /** What computes. */
  readonly backend: string;
  /** Bytes of weights, KV pages and scratch. */
  readonly memory: Readonly<Record<string, number>>;
  /** The answer to a conversation (or to one question), in pieces as they are generated. Leaving the loop stops the computation. Throws RequestError. */
  chat(messages: string | readonly Message[], asked?: Asked): AsyncGenerator<string>;
  /** What follows a text, in pieces. Leaving the loop stops the computation. Throws RequestError. */
  complete(prompt: string, asked?: Asked): AsyncGenerator<string>;
  /** OpenAI's API without a network: `new OpenAI({ baseURL: 'http://model/v1', apiKey: '-', fetch: model.fetch })`. */
  readonly fetch: (input: string | URL | Request, init?: RequestInit) => Promise<Response>;
  /** Frees the weights; answers that are being generated break off. */
  close(): void;
}

/**
 * Opens a model. Node: a pack folder, a GGUF file or a Hugging Face folder, packed once where it must be; without a path, the model
 * that the package brings. Browsers: the URL of a pack. Rejects with what to do when it cannot be.
 */
export declare function openModel(source?: string | URL, options?: OpenOptions): Promise<Model>;

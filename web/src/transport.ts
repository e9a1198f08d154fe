/** What the page asks, and what it is told, whoever answers. */

/** A call the model asks for; `arguments` is JSON text, complete once the stream has ended. */
export interface ToolCall {
  /** Its number in the stream, by which later pieces find it. */
  index: number;
  id: string;
  name: string;
  arguments: string;
}

/** A message as the API takes it. */
export type WireMessage =
  | { role: 'system' | 'user'; content: string }
  | {
      role: 'assistant';
      content: string | null;
      tool_calls?: { id: string; type: 'function'; function: { name: string; arguments: string } }[];
    }
  | { role: 'tool'; content: string; tool_call_id: string };

/** One request for a chat completion; a field left out takes the server's default. */
export interface ChatRequest extends SamplingFields {
  model?: string;
  messages: WireMessage[];
  max_tokens?: number;
  tools?: unknown[];
  response_format?: unknown;
}

/** Sampling under the API's names. */
export interface SamplingFields {
  temperature?: number;
  top_p?: number;
  top_k?: number;
  min_p?: number;
  repetition_penalty?: number;
  frequency_penalty?: number;
  presence_penalty?: number;
  seed?: number;
  stop?: string[];
}

/** One request for an answer that the server keeps and generates whoever listens. */
export interface KeptRequest extends SamplingFields {
  model?: string;
  input: unknown[];
  instructions?: string;
  previous_response_id?: string;
  max_output_tokens?: number;
  tools?: unknown[];
  text?: unknown;
}

/** Token counts of one answer, as the server reports them. */
export interface Usage {
  prompt: number;
  completion: number;
  cached: number;
}

/** What an answer took by the server's clock. */
export interface Timings {
  /** Prompt tokens computed, neither cached nor an accelerator's, and ms until the first token. */
  prefill: { tokens: number; ms: number };
  /** Tokens after the first, and ms from it to the last. */
  decode: { tokens: number; ms: number };
}

/** One thing an answer's stream says. */
export type Delta =
  | { type: 'open'; route?: string }
  /** The server keeps the answer under this name. */
  | { type: 'kept'; kept: Kept }
  /** Everything up to this event has been told. */
  | { type: 'seq'; seq: number }
  | { type: 'text'; text: string }
  | { type: 'tool'; index: number; id?: string; name?: string; arguments?: string }
  | { type: 'finish'; reason: string }
  | { type: 'usage'; usage: Usage }
  | { type: 'timing'; route?: string; first?: number; timings?: Timings };

export interface Model {
  id: string;
  /** Context length in tokens, where the server says it. */
  context?: number;
  /** `cold`: it is loaded when it is asked for. */
  state?: 'loaded' | 'loading' | 'cold';
  /** Of its file. */
  bytes?: number;
  about?: string;
}

/** What a pack says of its model. */
export interface ModelCard {
  /** Weights and tokenizer, bytes. */
  bytes: number;
  parameters?: number;
  /** What the server takes where a request says nothing. */
  defaults: Partial<Record<'temperature' | 'topP' | 'topK' | 'minP' | 'repetition' | 'frequency' | 'presence', number>>;
}

/** Where answers come from. HTTP is one; an engine inside the page is another. Errors are thrown as `Problem`. */
export interface Transport {
  models(signal?: AbortSignal): Promise<Model[]>;
  chat(request: ChatRequest, signal: AbortSignal): AsyncIterable<Delta>;
  /** Goes on from the end of `text`, which is the beginning of the next answer to `request`. */
  goOn(request: ChatRequest, text: string, signal: AbortSignal): AsyncIterable<Delta>;
  /** Tokens of the messages as the model reads them, tools and all. */
  count(request: ChatRequest, signal?: AbortSignal): Promise<number>;
  /** Answers that outlive the connection; absent where nobody keeps them. */
  kept?: Keeping;
}

export type Fetcher = (url: string, init: RequestInit) => Promise<Response>;
/** Calls a path; a refusal is thrown as a Problem. */
export type Call = (path: string, init?: RequestInit) => Promise<Response>;

/** The answer as the server keeps it. */
export interface Kept {
  /** `resp_…` */
  id: string;
  /** Number of the last event that is in the text. */
  seq: number;
  /** `Chat.from` of the request: the server's history begins there. */
  from?: string;
}

/** Answers that outlive their connection. */
export interface Keeping {
  /** A new answer. */
  begin(request: KeptRequest, signal: AbortSignal): AsyncIterable<Delta>;
  /** The rest of one that was begun. */
  resume(kept: Kept, signal: AbortSignal): AsyncIterable<Delta>;
  cancel(id: string): Promise<void>;
  forget(id: string): Promise<void>;
}

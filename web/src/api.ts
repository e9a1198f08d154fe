import { deltasOf } from './chunks.ts';
import { isRecord } from './json.ts';
import { type Keeping, keptDeltas } from './kept.ts';
import { offline, Problem, problemOf } from './problem.ts';
import { bodyOf, events } from './sse.ts';
import type { Kept } from './turns.ts';

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

/**
 * OpenAI's API over HTTP. `key` is asked for at every call, so that a key entered later is used; `fetcher` is who answers,
 * where it is not the network.
 */
export function httpTransport(
  base: string,
  key: () => string,
  fetcher: Fetcher = (url, init) => fetch(url, init),
): Transport & { kept: Keeping } {
  const call: Call = async (path, init = {}) => {
    const headers = new Headers(init.headers);
    if (key()) headers.set('authorization', `Bearer ${key()}`);
    if (init.body) headers.set('content-type', 'application/json');
    const response = await fetcher(base + path, { ...init, headers }).catch((error: unknown) => {
      if (init.signal?.aborted || error instanceof Problem) throw error;
      throw offline();
    });
    if (!response.ok) throw problemOf(response.status, await response.text().catch(() => ''), response.headers.get('retry-after'));
    return response;
  };
  const post = (path: string, body: unknown, signal?: AbortSignal) => call(path, { method: 'POST', body: JSON.stringify(body), signal });
  const tokens = async (body: unknown, signal?: AbortSignal): Promise<unknown> => (await post('/v1/tokenize', body, signal)).json();

  async function* stream(path: string, body: unknown, signal: AbortSignal): AsyncGenerator<Delta> {
    const response = await post(
      path,
      { ...(body as object), stream: true, stream_options: { include_usage: true }, explain: true },
      signal,
    );
    yield { type: 'open', route: response.headers.get('x-turnstone-route') ?? undefined };
    const answer = bodyOf(response);
    if (answer) yield* deltasOf(events(answer));
  }

  return {
    async models(signal) {
      const response = await call('/v1/models', { signal });
      return readModels(await response.json().catch(() => null));
    },
    chat: (request, signal) => stream('/v1/chat/completions', request, signal),
    async *goOn({ messages, tools, response_format: _, ...request }, text, signal) {
      const { model } = request;
      const [before, begun] = await Promise.all([
        tokens({ model, messages, tools }, signal),
        tokens({ model, prompt: text, add_special_tokens: false }, signal),
      ]);
      yield* stream('/v1/completions', { ...request, prompt: [...readIds(before), ...readIds(begun)] }, signal);
    },
    async count({ model, messages, tools }, signal) {
      return messages.length ? readIds(await tokens({ model, messages, tools }, signal)).length : 0;
    },
    kept: keptDeltas(call),
  };
}

function readIds(body: unknown): number[] {
  const ids = isRecord(body) && Array.isArray(body.tokens) ? body.tokens : [];
  return ids.filter((id): id is number => Number.isInteger(id) && id >= 0);
}

/** The models of `GET /v1/models` that chat: not those of embeddings, nor entries without an id. */
export function readModels(body: unknown): Model[] {
  const data = isRecord(body) && Array.isArray(body.data) ? body.data : [];
  return data.flatMap((entry: unknown) => {
    if (!isRecord(entry) || typeof entry.id !== 'string' || isRecord(entry.embedding)) return [];
    const context = entry.max_model_len ?? entry.context_length;
    const state = (['loaded', 'loading', 'cold'] as const).find((s) => s === entry.state);
    return [
      {
        ...{ id: entry.id, context: typeof context === 'number' ? context : undefined },
        ...(state && { state }),
        ...(typeof entry.bytes === 'number' && { bytes: entry.bytes }),
        ...(typeof entry.about === 'string' && { about: entry.about }),
      },
    ];
  });
}

import { isRecord } from './json.ts';
import { offline, Problem, problemOf } from './problem.ts';
import { deltasOf, events } from './sse.ts';

/** A call the model asks for; `arguments` is JSON text, complete once the stream has ended. */
export interface ToolCall {
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

/** One request; a field left out takes the server's default. */
export interface ChatRequest {
  model?: string;
  messages: WireMessage[];
  temperature?: number;
  top_p?: number;
  max_tokens?: number;
  seed?: number;
  tools?: unknown[];
}

/** Token counts of one answer, as the server reports them. */
export interface Usage {
  prompt: number;
  completion: number;
  cached: number;
}

/** One thing an answer's stream says. */
export type Delta =
  | { type: 'open'; route?: string }
  | { type: 'text'; text: string }
  | { type: 'tool'; index: number; id?: string; name?: string; arguments?: string }
  | { type: 'finish'; reason: string }
  | { type: 'usage'; usage: Usage };

export interface Model {
  id: string;
  /** Context length in tokens, where the server says it. */
  context?: number;
}

/** Where answers come from. HTTP is one; an engine inside the page is another. Errors are thrown as `Problem`. */
export interface Transport {
  models(signal?: AbortSignal): Promise<Model[]>;
  chat(request: ChatRequest, signal: AbortSignal): AsyncIterable<Delta>;
}

/**
 * OpenAI's API over HTTP. `key` is asked for at every call, so that a key entered later is used; `fetcher` is who answers,
 * where it is not the network.
 */
export function httpTransport(
  base: string,
  key: () => string,
  fetcher: (url: string, init: RequestInit) => Promise<Response> = (url, init) => fetch(url, init),
): Transport {
  const call = async (path: string, init: RequestInit): Promise<Response> => {
    const headers = new Headers(init.headers);
    if (key()) headers.set('authorization', `Bearer ${key()}`);
    const response = await fetcher(base + path, { ...init, headers }).catch((error: unknown) => {
      if (init.signal?.aborted || error instanceof Problem) throw error;
      throw offline();
    });
    if (!response.ok) throw problemOf(response.status, await response.text().catch(() => ''), response.headers.get('retry-after'));
    return response;
  };

  return {
    async models(signal) {
      const response = await call('/v1/models', { signal });
      const body: unknown = await response.json().catch(() => null);
      return readModels(body);
    },

    async *chat(request, signal) {
      const response = await call('/v1/chat/completions', {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ ...request, stream: true, stream_options: { include_usage: true } }),
        signal,
      });
      yield { type: 'open', route: response.headers.get('x-turnstone-route') ?? undefined };
      if (response.body) yield* deltasOf(events(response.body));
    },
  };
}

/** The list of `GET /v1/models`; entries without an id are left out. */
export function readModels(body: unknown): Model[] {
  const data = isRecord(body) && Array.isArray(body.data) ? body.data : [];
  return data.flatMap((entry: unknown) => {
    if (!isRecord(entry) || typeof entry.id !== 'string') return [];
    const context = entry.max_model_len ?? entry.context_length;
    return [{ id: entry.id, context: typeof context === 'number' ? context : undefined }];
  });
}

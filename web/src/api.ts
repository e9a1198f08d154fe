import { deltasOf } from './chunks.ts';
import { isRecord } from './json.ts';
import { keptDeltas } from './kept.ts';
import { offline, Problem, problemOf } from './problem.ts';
import { bodyOf, events } from './sse.ts';
import type { Call, Delta, Fetcher, Keeping, Model, Transport } from './transport.ts';

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

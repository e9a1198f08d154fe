/** `turnstone/client`: what the API has beyond OpenAI's. types/client.d.ts is what is published of it. */
import { EventSourceParserStream } from 'eventsource-parser/stream';
import type { ConnectOptions, Extensions, Message, Told, Turnstone } from '../types/client.d.ts';

export const extended = <T extends object>(body: T & Extensions): T => body;

export function toldOf(answer: unknown): Told | undefined {
  const { turnstone, response } = (answer ?? {}) as { turnstone?: Told; response?: unknown };
  return turnstone ?? (response ? toldOf(response) : undefined);
}

export class TurnstoneError extends Error {
  readonly status: number;
  readonly code?: string;
  readonly param?: string;

  constructor(status: number, { message, code, param }: { message?: string; code?: string; param?: string }) {
    super(message ?? `the server answered ${status}`);
    this.name = 'TurnstoneError';
    this.status = status;
    this.code = code;
    this.param = param;
  }
}

interface Event {
  type: string;
  sequence_number: number;
  delta?: string;
  response?: { error?: { message?: string; code?: string } | null };
}

/** Connections in a row that bring nothing. */
const MOST = 30;
const MAX_PAUSE_MS = 5_000;
const LAST = new Set(['response.completed', 'response.incomplete', 'response.cancelled']);

export function connect({ baseURL, apiKey, fetch = globalThis.fetch }: ConnectOptions): Turnstone {
  const base = baseURL.replace(/\/+$/, '');
  const headers = { 'content-type': 'application/json', ...(apiKey && { authorization: `Bearer ${apiKey}` }) };
  const ask = async (path: string, body?: object, signal?: AbortSignal): Promise<Response> => {
    const method = body ? 'POST' : 'GET';
    const answer = await fetch(base + path, { method, headers, signal, ...(body && { body: JSON.stringify(body) }) });
    if (answer.ok) return answer;
    const { error } = (await answer.json().catch(() => ({}))) as { error?: object };
    throw new TurnstoneError(answer.status, error ?? {});
  };
  const said = (input: string | Message[], model?: string) => ({
    ...(typeof input === 'string' ? { prompt: input } : { messages: input }),
    model,
  });
  return {
    tokenize: async (input, model) => ((await (await ask('/tokenize', said(input, model))).json()) as { tokens: number[] }).tokens,
    detokenize: async (tokens, model) => ((await (await ask('/detokenize', { tokens, model })).json()) as { prompt: string }).prompt,
    applyTemplate: async (messages, model) =>
      ((await (await ask('/apply-template', { messages, model })).json()) as { prompt: string }).prompt,
    pages: async (messages, model) => new Uint8Array(await (await ask('/turnstone/pages', { messages, model })).arrayBuffer()),
    async *follow(response, signal) {
      let after = -1;
      for (let idle = 0; ; idle++) {
        try {
          const path = `/responses/${encodeURIComponent(response)}?stream=true${after < 0 ? '' : `&starting_after=${after}`}`;
          for await (const event of events(await ask(path, undefined, signal))) {
            after = event.sequence_number;
            idle = 0;
            if (event.type === 'response.output_text.delta') yield event.delta ?? '';
            if (LAST.has(event.type)) return;
            if (event.type === 'response.failed') throw new TurnstoneError(500, event.response?.error ?? {});
          }
        } catch (error) {
          if (signal?.aborted || idle >= MOST) throw error;
          if (error instanceof TurnstoneError && error.status !== 503 && error.status !== 429) throw error;
        }
        if (idle >= MOST) throw new TurnstoneError(503, { message: 'the response goes no further' });
        await new Promise((resolve) => setTimeout(resolve, Math.min(MAX_PAUSE_MS, 100 * 2 ** idle)));
      }
    },
  };
}

async function* events(answer: Response): AsyncGenerator<Event> {
  if (!answer.body) return;
  const read = answer.body.pipeThrough(new TextDecoderStream()).pipeThrough(new EventSourceParserStream());
  for await (const { data } of read) if (data !== '[DONE]') yield JSON.parse(data) as Event;
}

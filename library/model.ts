/** A model inside one's own program: engine, kernels and OpenAI's API, without a server. `node.ts` and `browser.ts` open one. */
import { EventSourceParserStream } from 'eventsource-parser/stream';
import { clientRoutes } from '../serving/clients.ts';
import { coreApp, onHost } from '../serving/core.ts';
import { inProcess } from '../serving/in-process.ts';
import { type OpenOptions as Opening, openModel } from '../serving/run/open.ts';
import type { Runtime } from '../serving/run/runtime.ts';
import type { Asked, Message, OpenOptions, Model as Published } from '../types/engine.d.ts';

/** What the API refused: its own message and code. */
export class RequestError extends Error {
  readonly status: number;
  readonly code: string | null;
  readonly param: string | null;

  constructor(status: number, code: string | null, param: string | null, message: string) {
    super(message);
    this.name = 'RequestError';
    this.status = status;
    this.code = code;
    this.param = param;
  }
}

interface Chunk {
  error?: { message: string; code: string | null; param: string | null };
  choices?: { text?: string; delta?: { content?: string | null } }[];
}

export class Model implements Published {
  readonly #rt: Runtime;
  readonly #app: ReturnType<typeof onHost>;
  #closed = false;

  constructor(rt: Runtime) {
    this.#rt = rt;
    this.#app = onHost(coreApp(clientRoutes), inProcess({ model: rt.served.id, runtime: async () => rt, vars: { PUBLIC: '1' } })); // none but this program reaches it
  }

  /** Its name in the API. */
  get id(): string {
    return this.#rt.served.id;
  }

  /** Tokens that a prompt and its answer may have together. */
  get context(): number {
    return this.#rt.engine.plan.context;
  }

  /** What computes: `wasm` or `webgpu`. */
  get backend(): string {
    return this.#rt.served.backend.name;
  }

  /** Bytes of weights, KV pages and scratch. */
  get memory(): Readonly<Record<string, number>> {
    return { ...this.#rt.engine.plan.bytes };
  }

  /** The answer to a conversation (or to one question), in pieces as they are generated. Leaving the loop stops the computation. Throws RequestError. */
  chat(messages: string | readonly Message[], asked: Asked = {}): AsyncGenerator<string> {
    const list = typeof messages === 'string' ? [{ role: 'user', content: messages }] : messages;
    return this.#stream('/v1/chat/completions', { messages: list }, asked);
  }

  /** What follows a text, in pieces. Leaving the loop stops the computation. Throws RequestError. */
  complete(prompt: string, asked: Asked = {}): AsyncGenerator<string> {
    return this.#stream('/v1/completions', { prompt }, asked);
  }

  /**
   * OpenAI's API without a network: `new OpenAI({ baseURL: 'http://model/v1', apiKey: '-', fetch: model.fetch })`. Errors are
   * responses, as a server's.
   */
  readonly fetch = async (input: string | URL | Request, init?: RequestInit): Promise<Response> => {
    if (this.#closed) throw new Error('the model is closed');
    return this.#app.fetch(new Request(input, init));
  };

  /** Frees the weights; answers that are being generated break off. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#rt.served.backend.dispose();
  }

  async *#stream(path: string, body: object, { signal, ...fields }: Asked): AsyncGenerator<string> {
    signal?.throwIfAborted();
    const left = new AbortController();
    const response = await this.fetch(`http://model${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ ...body, ...fields, model: this.id, stream: true }),
      signal: signal ? AbortSignal.any([signal, left.signal]) : left.signal,
    });
    if (!response.ok || !response.body) throw refusal(response.status, (await response.json()) as Chunk);
    const events = response.body.pipeThrough(new TextDecoderStream()).pipeThrough(new EventSourceParserStream()).getReader();
    const leave = () => void events.cancel().catch(() => {});
    signal?.addEventListener('abort', leave);
    try {
      for (let next = await events.read(); !next.done; next = await events.read()) {
        signal?.throwIfAborted();
        const { data } = next.value;
        if (data === '[DONE]') return;
        const chunk = JSON.parse(data) as Chunk;
        if (chunk.error) throw refusal(500, chunk);
        const piece = chunk.choices?.[0]?.delta?.content ?? chunk.choices?.[0]?.text;
        if (piece) yield piece;
      }
    } finally {
      signal?.removeEventListener('abort', leave);
      left.abort();
      leave();
    }
    signal?.throwIfAborted();
    throw new Error('the answer broke off');
  }
}

const refusal = (status: number, { error }: Chunk): RequestError =>
  new RequestError(status, error?.code ?? null, error?.param ?? null, error?.message ?? `the engine answered ${status}`);

/** Opens a pack for `openModel` of node.ts and browser.ts, in the memory that was asked for. */
export async function openWith(parts: () => Promise<Pick<Opening, 'source' | 'id' | 'maker' | 'hasher'>>, o: OpenOptions): Promise<Model> {
  const { memoryMB = 512, context, onProgress } = o;
  if (!(memoryMB >= 16 && memoryMB <= 4096)) throw new RangeError(`memoryMB is ${memoryMB}, must be from 16 to 4096`);
  return new Model(await openModel({ ...(await parts()), memoryBytes: memoryMB * 1e6, context, onProgress }));
}

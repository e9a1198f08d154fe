/**
 * The Responses API over one WebSocket, as OpenAI's WebSocket mode has it: each message of the client's is a request, each event of its answer
 * a message back. Requests that name the same `stream_id`, or none, follow each other; those of different streams run side by side.
 */

import { ApiError, asApiError, badRequest, type ErrorEnvelope } from '../../openai/errors.ts';
import { bodyObject, type Fields, integer, oneOf, optional, string } from '../../openai/requests/fields.ts';
import { readLines } from './ndjson.ts';

const TYPES = ['response.create', 'response.retrieve', 'response.cancel'] as const;
/** Requests of one socket that run or wait. */
const MAX_WAITING = 64;
/** Responses that are not stored and may be gone on from while the socket is open, and what they take at most. */
const MAX_KEPT = 8;
const MAX_KEPT_CHARS = 1 << 20;

/** What a response that nobody stores was asked and said. `base`: the stored response before that. */
export interface Kept {
  id: string;
  base?: string;
  items: unknown[];
}

export interface TalkOptions {
  /** The API, in the socket's tenant's name. */
  app: (request: Request) => Promise<Response>;
  send: (event: object) => void;
  kept: Kept[];
  /** `kept` has changed. */
  keep: (kept: readonly Kept[]) => void;
}

interface Running {
  abort: AbortController;
  /** Its object, as its last event had it. */
  response?: ResponseBody;
}

/** `response.retrieve` and `response.cancel` are this server's own: to hear the rest of a response after a broken socket, and to end one. */
export class Talk {
  readonly #o: TalkOptions;
  readonly #running = new Set<Running>();
  readonly #tails = new Map<string, Promise<void>>();
  #waiting = 0;

  constructor(o: TalkOptions) {
    this.#o = o;
  }

  /** One message. Settles when its answer has ended. Never rejects. */
  async message(text: string): Promise<void> {
    let stream: string | undefined;
    try {
      const given = parsed(text);
      stream = optional(given.stream_id, (v) => string(v, 'stream_id', 1, 64));
      const type = oneOf(given.type, 'type', TYPES);
      if (type === 'response.cancel') return await this.#cancel(given);
      if (this.#waiting >= MAX_WAITING)
        throw badRequest(`More than ${MAX_WAITING} requests wait on this socket.`, 'type', 'too_many_requests');
      await this.#after(stream ?? '', () => (type === 'response.create' ? this.#create(given, stream) : this.#retrieve(given, stream)));
    } catch (error) {
      const shown = asApiError(error);
      if (shown.status === 500) console.error('socket:', error);
      this.#fail(shown.status, shown.envelope().error, stream);
    }
  }

  /** The socket is gone: what nobody keeps is not generated on. */
  close(): void {
    for (const running of this.#running) running.abort.abort();
  }

  async #after(stream: string, work: () => Promise<void>): Promise<void> {
    this.#waiting++;
    const before = this.#tails.get(stream) ?? Promise.resolve();
    const mine = before.then(work);
    const tail = mine.catch(() => {});
    this.#tails.set(stream, tail);
    try {
      await mine;
    } finally {
      this.#waiting--;
      if (this.#tails.get(stream) === tail) this.#tails.delete(stream);
    }
  }

  async #create(given: Fields, stream: string | undefined): Promise<void> {
    const { type: _t, stream_id: _s, stream: _, stream_options: _o, generate, background, ...body } = given;
    if (background === true) throw badRequest("'background' is not supported over a WebSocket.", 'background', 'unsupported_value');
    const previous = body.previous_response_id;
    const kept = this.#o.kept.find((k) => k.id === previous);
    const input = itemsOf(body.input);
    const items = [...(kept?.items ?? []), ...input];
    const base = kept ? kept.base : typeof previous === 'string' ? previous : undefined;
    const warm = generate === false; // its prompt is computed, and so is there when the next one comes
    const asked = {
      ...body,
      ...(kept && { input: items, previous_response_id: base }),
      ...(warm && { input: items, store: false, max_output_tokens: 1, text: undefined, tool_choice: undefined }),
      stream: true,
    };
    const ended = await this.#relay(stream, post('/v1/responses', asked), (event) => {
      const { response } = event;
      if (response && kept) response.previous_response_id = previous as string;
      if (!warm || event.type === 'response.created' || event.type === 'response.failed') return event;
      if (!response || !ENDED.test(event.type)) return undefined;
      const rest = { status: 'completed', incomplete_details: null, output: [], output_text: '' };
      return { ...event, type: 'response.completed', response: { ...response, ...rest } };
    });
    if (ended === undefined && kept) this.#keep(this.#o.kept.filter((k) => k !== kept));
    if (ended?.store === false) this.#keep([...this.#o.kept, { id: ended.id, base, items: [...items, ...(ended.output ?? [])] }]);
  }

  /** The events of a stored response after the one numbered `starting_after`, the rest as it comes. */
  async #retrieve(given: Fields, stream: string | undefined): Promise<void> {
    const id = string(given.response_id, 'response_id', 1, 256);
    const after = optional(given.starting_after, (v) => integer(v, 'starting_after', -1, 999_999_999)) ?? -1;
    const query = new URLSearchParams({ stream: 'true', starting_after: String(after) });
    await this.#relay(stream, new Request(`http://localhost/v1/responses/${encodeURIComponent(id)}?${query}`), (event) => event);
  }

  async #cancel(given: Fields): Promise<void> {
    const id = string(given.response_id, 'response_id', 1, 256);
    const running = [...this.#running].find((r) => r.response?.id === id);
    if (running?.response?.store === false) return running.abort.abort();
    const answer = await this.#o.app(post(`/v1/responses/${encodeURIComponent(id)}/cancel`, {}));
    if (!answer.ok) throw asErrorOf(answer.status, await answer.json());
    await answer.body?.cancel();
  }

  /** Sends an answer's events, each as `shown` has it; the response as it ended, undefined when it did not or failed. */
  async #relay(
    stream: string | undefined,
    request: Request,
    shown: (event: Event) => Event | undefined,
  ): Promise<ResponseBody | undefined> {
    const running: Running = { abort: new AbortController() };
    this.#running.add(running);
    const { signal } = running.abort;
    try {
      const answer = await this.#o.app(new Request(request, { signal }));
      if (!answer.ok || !answer.body) throw asErrorOf(answer.status, await answer.json());
      for await (const line of readLines(answer.body, signal)) {
        if (!line.startsWith('data: ')) continue;
        const event = JSON.parse(line.slice(6)) as Event & Partial<ErrorEnvelope>;
        if (event.error && event.type === undefined) throw asErrorOf(503, event);
        const out = shown(event);
        if (event.response) running.response = event.response;
        if (out) this.#send(out, stream);
        if (ENDED.test(event.type)) return (out ?? event).response;
      }
      return undefined;
    } catch (error) {
      if (!signal.aborted) throw error;
      const { response } = running;
      if (response) this.#send({ type: 'response.incomplete', response: { ...response, status: 'cancelled' } }, stream);
      return undefined;
    } finally {
      this.#running.delete(running);
    }
  }

  #keep(kept: Kept[]): void {
    while (kept.length > MAX_KEPT || (kept.length > 0 && JSON.stringify(kept).length > MAX_KEPT_CHARS)) kept.shift();
    this.#o.kept = kept;
    this.#o.keep(kept);
  }

  #send(event: object, stream: string | undefined): void {
    this.#o.send(stream === undefined ? event : { ...event, stream_id: stream });
  }

  /** The envelope as the documents of the mode have it, and beside it the fields that the client's types name. */
  #fail(status: number, error: ErrorEnvelope['error'], stream: string | undefined): void {
    const { message, code, param } = error;
    this.#send({ type: 'error', status, error, code, message, param, sequence_number: 0 }, stream);
  }
}

interface Event {
  type: string;
  response?: ResponseBody;
}

/** What is read of a response's object. */
interface ResponseBody {
  id: string;
  store?: boolean;
  previous_response_id?: string | null;
  output?: unknown[];
}

const ENDED = /^response\.(completed|incomplete)$/;

const post = (path: string, body: object): Request =>
  new Request(`http://localhost${path}`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) });

function parsed(text: string): Fields {
  try {
    return bodyObject(JSON.parse(text));
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw badRequest(`The message is not valid JSON: ${error.message}.`, undefined, 'invalid_json');
  }
}

const itemsOf = (input: unknown): unknown[] =>
  typeof input === 'string' ? [{ type: 'message', role: 'user', content: input }] : Array.isArray(input) ? (input as unknown[]) : [];

/** The API's own refusal, as it is. */
function asErrorOf(status: number, body: unknown): ApiError {
  const { message, type, code, param } = (body as ErrorEnvelope).error;
  return new ApiError(status, message, { type, code: code ?? undefined, param: param ?? undefined });
}

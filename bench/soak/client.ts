/** A client that loses its connection at random, and must end up with the whole answer all the same. */
import { setTimeout as pause } from 'node:timers/promises';

export interface Turn {
  input: string;
  tokens: number;
  temperature: number;
  seed: number;
}

/** How a turn is disturbed. */
export type Trouble = 'none' | 'reconnect' | 'leave' | 'whole' | 'cancel';

interface Event {
  id: number;
  type: string;
  delta?: string;
  response?: { id: string; status: string; output_text: string };
}

export interface Tally {
  turns: number;
  disconnects: number;
  cancelled: number;
  deleted: number;
  /** 429, each waited for as long as it said. */
  refused: number;
}

export const newTally = (): Tally => ({ turns: 0, disconnects: 0, cancelled: 0, deleted: 0, refused: 0 });

export class Client {
  readonly #url: string;
  readonly #model: string;
  readonly #random: () => number;
  readonly tally: Tally;

  constructor(url: string, model: string, random: () => number, tally: Tally) {
    this.#url = url;
    this.#model = model;
    this.#random = random;
    this.tally = tally;
  }

  /** The text of a conversation's next turn, under some trouble. `ids`: its responses so far; the new one is added last. */
  async respond(turn: Turn, ids: string[], trouble: Trouble): Promise<string> {
    const previous = ids.at(-1);
    const body = { input: turn.input, previous_response_id: previous, store: true, max_output_tokens: turn.tokens, ...sampling(turn) };
    this.tally.turns++;
    if (trouble === 'whole') {
      const answer = (await (await this.#post('/v1/responses', body)).json()) as { id: string; output_text: string };
      ids.push(answer.id);
      return answer.output_text;
    }
    let id = '';
    let text = '';
    let last = -1;
    /** False: the connection was given up (leaving the loop closes it) or broke before the end. */
    const read = async (response: Response, most: number): Promise<boolean> => {
      let seen = 0;
      for await (const e of eventsOf(response)) {
        if (e.id !== last + 1) throw new Error(`event ${e.id} came after ${last}`);
        last = e.id;
        id ||= e.response?.id ?? '';
        text += e.type === 'response.output_text.delta' ? e.delta : '';
        if (e.response && /^response\.(completed|incomplete|failed|cancelled)$/.test(e.type)) {
          if (e.type === 'response.failed') throw new Error(`failed: ${JSON.stringify(e.response)}`);
          return true;
        }
        if (++seen === most && id !== '') {
          this.tally.disconnects++;
          return false;
        }
      }
      return false;
    };
    const some = () => (trouble === 'none' ? Number.POSITIVE_INFINITY : 2 + Math.floor(this.#random() * turn.tokens));
    let over = await read(await this.#post('/v1/responses', { ...body, stream: true }), some());
    if (!over && trouble === 'cancel') {
      this.tally.cancelled++;
      await this.#post(`/v1/responses/${id}/cancel`);
      const branch = previous === undefined ? [] : [previous];
      const text = await this.respond(turn, branch, 'none'); // beside the one that was given up
      ids.push(id, branch.at(-1)!);
      return text;
    }
    ids.push(id);
    if (!over && trouble === 'leave') return this.#ended(id);
    for (let tries = 0; !over; tries++) {
      if (tries === 100) throw new Error(`response ${id} does not end`);
      const answer = await this.#fetch(`/v1/responses/${id}?stream=true&starting_after=${last}`);
      over = await read(answer, tries < 2 ? some() : Number.POSITIVE_INFINITY);
    }
    return text;
  }

  /** A chat completion whose pages are kept under a key. Cut off, it is simply asked again. */
  async chat(turn: Turn, messages: readonly object[], key: string, trouble: Trouble): Promise<string> {
    this.tally.turns++;
    const body = { messages, prompt_cache_key: key, max_tokens: turn.tokens, stream: true, ...sampling(turn) };
    for (let cut = trouble !== 'none' && trouble !== 'whole'; ; cut = false) {
      const most = cut ? 1 + Math.floor(this.#random() * turn.tokens) : Number.POSITIVE_INFINITY;
      let text = '';
      let seen = 0;
      for await (const e of eventsOf(await this.#post('/v1/chat/completions', body))) {
        const chunk = e as unknown as {
          error?: { message: string };
          choices: { delta: { content?: string }; finish_reason: string | null }[];
        };
        if (chunk.error) throw new Error(chunk.error.message);
        text += chunk.choices[0]?.delta.content ?? '';
        if (chunk.choices[0]?.finish_reason) return text;
        if (++seen === most) break;
      }
      this.tally.disconnects++;
    }
  }

  /** Afterwards it cannot be found. */
  async remove(id: string): Promise<void> {
    await this.#fetch(`/v1/responses/${id}`, { method: 'DELETE' });
    const { status } = await fetch(`${this.#url}/v1/responses/${id}`);
    if (status !== 404) throw new Error(`response ${id} was deleted and answers ${status}`);
    this.tally.deleted++;
  }

  async #ended(id: string): Promise<string> {
    for (let tries = 0; tries < 600; tries++) {
      const r = (await (await this.#fetch(`/v1/responses/${id}`)).json()) as { status: string; output_text: string };
      if (r.status === 'completed' || r.status === 'incomplete') return r.output_text;
      if (r.status === 'failed') throw new Error(`response ${id} failed`);
      await pause(100 + 200 * this.#random());
    }
    throw new Error(`response ${id} does not end`);
  }

  #post(path: string, body: object = {}): Promise<Response> {
    const headers = { 'content-type': 'application/json' };
    return this.#fetch(path, { method: 'POST', headers, body: JSON.stringify({ model: this.#model, ...body }) });
  }

  /** A refusal is waited for as long as it says. */
  async #fetch(path: string, init: RequestInit = {}): Promise<Response> {
    for (let tries = 0; ; tries++) {
      const response = await fetch(this.#url + path, init).catch((error: Error & { cause?: { code?: string } }) => {
        // an idle connection may be closed by the server just as it is used again
        if (error.cause?.code !== 'UND_ERR_SOCKET' || tries > 2) throw error;
        return undefined;
      });
      if (!response) continue;
      if (response.ok) return response;
      const text = await response.text();
      if (response.status !== 429 || tries > 20) throw new Error(`${path} answered ${response.status}: ${text}`);
      this.tally.refused++;
      await pause(1000 * Number(response.headers.get('retry-after')) * (1 + 0.2 * this.#random()));
    }
  }
}

const sampling = (t: Turn) => ({ temperature: t.temperature, seed: t.seed, ignore_eos: true });

/** Events as they come, until the stream ends; `id` is -1 where there is none. */
async function* eventsOf(response: Response): AsyncGenerator<Event> {
  const decoder = new TextDecoder();
  let held = '';
  for await (const bytes of response.body!) {
    const frames = (held + decoder.decode(bytes as Uint8Array, { stream: true })).split('\n\n');
    held = frames.pop() ?? '';
    for (const frame of frames) {
      const data = /^data: (\{.*)$/m.exec(frame)?.[1];
      if (data) yield { id: Number(/^id: (\d+)$/m.exec(frame)?.[1] ?? -1), ...(JSON.parse(data) as Omit<Event, 'id'>) };
    }
  }
}

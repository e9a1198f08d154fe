/** Stored responses of one process: the Session object's part, in memory, on the engine that is here. */

import { ApiError, asApiError, type ErrorEnvelope, isTransient } from '../../openai/errors.ts';
import { readNumber } from '../../policy/settings.ts';
import type { Runtime } from '../run/runtime.ts';
import { runTurn } from '../run/turn.ts';
import { Answer } from './answer.ts';
import { converse, goesOn, nextIn } from './conversation.ts';
import { ResponseStore, type StoreLimits } from './memory-turns.ts';
import { readLines } from './ndjson.ts';
import { applyLine } from './run-line.ts';
import { isOpen, newTurn, tooLong } from './turns.ts';
import {
  type BeginAnswer,
  type BeginRequest,
  type Json,
  type ResponseKeeper,
  type RunLine,
  type RunOrder,
  type StoredResponse,
  textOf,
} from './types.ts';

const LIMITS: StoreLimits = { count: 4096, bytes: 256 << 20, ttlMs: readNumber('SESSION_TTL_S', {}) * 1000, open: 256 };
/** Starts without a single new token after which a turn is given up, and how long until the next. */
const MAX_FAILURES = 5;
const BACKOFF_MS = 100;

/** The engine's own prefix cache is where pages are found again: there are none to fetch. */
const NO_PAGES = { missing: async () => [], fetch: async () => new Response(null, { status: 404 }) };

/**
 * Responses kept in memory, bounded, and gone with the process. A turn runs to its end, whoever listens; when the engine is lost in
 * between, the rest is generated on the one that `runtime` gives next.
 */
export class Responses {
  readonly store: ResponseStore;
  /** Seals ids (durable-objects/session/ids.ts): they live as long as this. */
  readonly secret = crypto.randomUUID();
  readonly #runtime: () => Promise<Runtime>;
  /** Of turns that run. */
  readonly #answers = new Map<string, Answer>();
  readonly #live = new Map<string, AbortController>();

  constructor(runtime: () => Promise<Runtime>, limits: Partial<StoreLimits> = {}) {
    this.#runtime = runtime;
    this.store = new ResponseStore({ ...LIMITS, ...limits });
  }

  /** The session of that name (durable-objects/session/ids.ts), whether it has been begun or not. */
  session(name: string): ResponseKeeper {
    const { store } = this;
    return {
      begin: async (r) => this.#begin(name, r),
      get: async (id) => this.#get(name, id),
      inputItems: async (id) => {
        const path = store.of(name, id) && store.path(id);
        return path?.flatMap((t) => (t.id === id ? [...t.input] : [...t.input, ...t.output]));
      },
      cancel: async (id) => {
        if (!store.of(name, id)) return undefined;
        this.#stop(id);
        return this.#get(name, id);
      },
      remove: async (id) => {
        if (!store.of(name, id)) return false;
        this.#stop(id);
        store.remove(id);
        return true;
      },
      converse: async (root, op) => {
        if (op.do === 'create' ? !store.room(2 * JSON.stringify(op.items).length) : !store.of(name, root))
          return { ok: false, why: 'not_found' };
        return converse(store.within(name), root, op, Date.now());
      },
      fetch: async (url) => {
        const query = new URL(url).searchParams;
        const id = query.get('response') ?? '';
        if (!store.of(name, id)) return new Response('no such response', { status: 404 });
        return new Response(this.#answer(id).read(Number(query.get('after') ?? -1)));
      },
    };
  }

  /** Ends all that runs. */
  close(): void {
    for (const id of [...this.#live.keys()]) this.#stop(id);
    this.store.close();
  }

  #begin(session: string, given: BeginRequest): BeginAnswer {
    const { store } = this;
    if (store.get(given.id)) return { ok: false, why: 'exists' };
    let r = given;
    if (r.conversation !== undefined) {
      if (!store.of(session, r.conversation)) return { ok: false, why: 'conversation_not_found' };
      const next = nextIn(store.within(session), r.conversation);
      if (!next.ok) return next;
      r = { ...r, previous: next.previous };
    }
    let history: Json[] = [];
    if (r.previous !== undefined) {
      if (!store.of(session, r.previous)) return { ok: false, why: 'previous_not_found' };
      const path = store.path(r.previous);
      if (!path) return { ok: false, why: 'earlier_deleted' };
      if (isOpen(path.at(-1)!.status)) return { ok: false, why: 'previous_not_finished' };
      history = path.flatMap((t) => [...t.input, ...t.output]);
    }
    if (tooLong(history, r.input)) return { ok: false, why: 'too_long' };
    const json = JSON.stringify(r);
    if (!store.room(2 * json.length)) return { ok: false, why: 'refused', reason: 'queue_full', retryAfter: 1 };
    // 53 bits: a client can ask for the same answer again with `seed`, a JSON number
    const [lo, hi] = crypto.getRandomValues(new Uint32Array(2));
    store.insert(session, newTurn(JSON.parse(json) as BeginRequest, r.seed ?? [lo!, hi! >>> 11], Date.now()));
    if (r.conversation !== undefined) goesOn(store.within(session), r.conversation, r.id);
    void this.#run(r.id, history);
    return { ok: true };
  }

  #get(session: string, id: string): { response: StoredResponse; text: string } | undefined {
    const response = this.store.of(session, id);
    return response && { response, text: this.store.tokens(id).text.map(textOf).join('') + response.tail };
  }

  #answer(id: string): Answer {
    return this.#answers.get(id) ?? new Answer(this.store, id);
  }

  #stop(id: string): void {
    this.#answer(id).end('cancelled', {});
    this.#live.get(id)?.abort(new Error('cancelled'));
  }

  /** Generates a turn to its end. Never rejects. */
  async #run(id: string, history: readonly Json[]): Promise<void> {
    const answer = this.#answer(id);
    const abort = new AbortController();
    this.#answers.set(id, answer);
    this.#live.set(id, abort);
    for (let failures = 0; answer.open && answer.claim(answer.epoch + 1); ) {
      const before = answer.length;
      try {
        await this.#attempt(answer, history, abort.signal);
      } catch (error) {
        if (!answer.open) break;
        answer.flush(Date.now());
        const shown = asApiError(error);
        failures = answer.length > before ? 0 : failures + 1;
        if ((error instanceof ApiError && !isTransient(error.status)) || failures >= MAX_FAILURES) {
          answer.end('failed', { error: shown.envelope().error as unknown as Json });
          break;
        }
        console.warn('responses: a turn is tried again:', error instanceof Error ? error.message : error);
        await new Promise((resolve) => setTimeout(resolve, BACKOFF_MS * 2 ** failures));
      }
    }
    this.#answers.delete(id);
    this.#live.delete(id);
  }

  /** One go. Throws when the engine was at fault, or when the request is. */
  async #attempt(answer: Answer, history: readonly Json[], signal: AbortSignal): Promise<void> {
    const { store } = this;
    const turn = store.get(answer.id);
    if (!turn) return;
    const { id, tenant, epoch, model, request, input, seed } = turn;
    const order: RunOrder = {
      ...{ response: id, session: '', replica: '', tenant, epoch, model, request, history, input, seed },
      prompt: store.prompt(id),
      generated: store.tokens(id).ids,
    };
    const http = new Request('http://localhost/session/run', { signal });
    const rt = await this.#runtime();
    const lines = await runTurn(rt, order, NO_PAGES, http, (work) => void work.catch(() => {})).catch((error) => {
      throw asApiError(error);
    });
    for await (const line of readLines(lines.body as ReadableStream<Uint8Array>, signal)) {
      const read = JSON.parse(line) as RunLine;
      if (read.type === 'error') {
        const { message, param, ...error } = read.error as unknown as ErrorEnvelope['error'];
        throw new ApiError(read.status, message, { type: error.type, code: error.code ?? undefined, param: param ?? undefined });
      }
      if (applyLine(store, answer, read, Date.now()) || !answer.open) return;
    }
    throw new Error('the engine went away without an end');
  }
}

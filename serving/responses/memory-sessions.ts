/** Stored responses of one process: the Session object's part, in memory, on the engine that is here. */

import { asApiError } from '../../openai/errors.ts';
import type { Item } from '../../openai/requests/item-types.ts';
import { readNumber } from '../../policy/settings.ts';
import { inEnvelope } from '../run/dispatch.ts';
import type { Runtime } from '../run/runtime.ts';
import { runTurn } from '../run/turn.ts';
import { Answer } from './answer.ts';
import { inputItems, insertTurn, readHistory, removeTurn, turnSoFar } from './begin.ts';
import { converse } from './conversation.ts';
import { drive, type Place } from './drive.ts';
import { ResponseStore, type StoreLimits } from './memory-turns.ts';
import type { BeginAnswer, BeginRequest, ResponseKeeper, StoredResponse } from './types.ts';

const LIMITS: StoreLimits = { count: 4096, bytes: 256 << 20, ttlMs: readNumber('SESSION_TTL_S', {}) * 1000, open: 256 };

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
      inputItems: async (id) => inputItems(store.within(name), id),
      cancel: async (id) => {
        if (!store.of(name, id)) return undefined;
        this.#stop(id);
        return this.#get(name, id);
      },
      remove: async (id) => {
        if (!store.of(name, id)) return false;
        this.#stop(id);
        removeTurn(store, id);
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
    const turns = store.within(session);
    const begun = readHistory(turns, given);
    if (!begun.ok) return begun;
    const { request: r, history } = begun;
    const json = JSON.stringify(r);
    if (!store.room(2 * json.length)) return { ok: false, why: 'refused', reason: 'queue_full', retryAfter: 1 };
    insertTurn(turns, JSON.parse(json) as BeginRequest);
    void this.#run(r.id, history);
    return { ok: true };
  }

  #get(session: string, id: string): { response: StoredResponse; text: string } | undefined {
    return this.store.of(session, id) && turnSoFar(this.store, id);
  }

  #answer(id: string): Answer {
    return this.#answers.get(id) ?? new Answer(this.store, id);
  }

  #stop(id: string): void {
    this.#answer(id).end('cancelled', {});
    this.#live.get(id)?.abort(new Error('cancelled'));
  }

  /** Generates a turn to its end. Never rejects. */
  async #run(id: string, history: readonly Item[]): Promise<void> {
    const answer = this.#answer(id);
    const abort = new AbortController();
    this.#answers.set(id, answer);
    this.#live.set(id, abort);
    const place: Place = {
      lease: async () => ({ session: '', replica: '', epoch: answer.epoch + 1, history, signal: abort.signal }),
      run: async (order, signal) => {
        const rt = await this.#runtime();
        const http = new Request('http://localhost/session/run', { signal });
        return inEnvelope(() => runTurn(rt, order, NO_PAGES, http, (work) => void work.catch(() => {})));
      },
      givenUp: (fault) => asApiError(fault).envelope().error,
    };
    await drive(this.store, answer, place, abort.signal).catch((error: unknown) => {
      answer.end('failed', { error: asApiError(error).envelope().error });
    });
    this.#answers.delete(id);
    this.#live.delete(id);
  }
}

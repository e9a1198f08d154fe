/** Models that are being brought while the server runs, asked for from the page. */
import { ApiError, badRequest, notFound } from '../../openai/errors.ts';
import { CATALOGUE, parseName } from './names.ts';
import { type PullOptions, pull } from './pull.ts';
import { ModelStore } from './store.ts';

/** A model of the catalogue, or one that is being brought. */
export interface Offer {
  name: string;
  parameters?: string;
  licence?: string;
  about?: string;
  state: 'here' | 'absent' | 'pulling';
  /** Bytes that are here, of all, while it is brought. */
  bytes?: number;
  of?: number;
  /** Why the last try ended. */
  error?: string;
}

interface Pulling {
  abort: AbortController;
  bytes: number;
  of: number;
  error?: string;
  over: boolean;
}

const MOST = 2; // at once

export class Pulls {
  readonly #o: PullOptions;
  readonly #store: ModelStore;
  readonly #all = new Map<string, Pulling>();

  constructor(o: PullOptions = {}) {
    this.#o = o;
    this.#store = o.store ?? new ModelStore();
  }

  list(): Offer[] {
    const others = [...this.#all.keys()].filter((name) => !Object.hasOwn(CATALOGUE, name));
    return [...Object.keys(CATALOGUE), ...others].map((name) => {
      const now = this.#all.get(name);
      const { parameters, licence, about } = Object.hasOwn(CATALOGUE, name) ? CATALOGUE[name] : {};
      const state = now && !now.over ? 'pulling' : this.#store.get(name) ? 'here' : 'absent';
      return {
        ...{ name, parameters, licence, about, state },
        ...(state === 'pulling' && { bytes: now?.bytes, of: now?.of }),
        ...(state === 'absent' && now?.error && { error: now.error }),
      };
    });
  }

  /** Begins to bring a model; nothing where that goes on already. Throws ApiError. */
  begin(name: unknown): void {
    if (typeof name !== 'string' || name.length > 256) throw badRequest("'name' must be the name of a model.", 'name');
    try {
      parseName(name);
    } catch (error) {
      throw badRequest(`${(error as Error).message}.`, 'name');
    }
    const running = [...this.#all.values()].filter((p) => !p.over).length;
    const before = this.#all.get(name);
    if (before && !before.over) return;
    if (running >= MOST)
      throw new ApiError(429, `${MOST} models are being brought already; wait for one, or cancel it.`, { code: 'too_many_pulls' });
    const mine: Pulling = { abort: new AbortController(), bytes: 0, of: 0, over: false };
    this.#all.set(name, mine);
    const progress = (bytes: number, of: number) => Object.assign(mine, { bytes, of });
    pull(name, { ...this.#o, store: this.#store, signal: mine.abort.signal, progress })
      .catch((error: unknown) => {
        if (!mine.abort.signal.aborted) mine.error = error instanceof Error ? error.message : String(error);
      })
      .finally(() => {
        mine.over = true;
      });
  }

  /** Ends it; what is here is gone on from the next time. Throws 404. */
  cancel(name: unknown): void {
    const mine = typeof name === 'string' ? this.#all.get(name) : undefined;
    if (!mine || mine.over) throw notFound('No model of that name is being brought.');
    mine.abort.abort(new Error('cancelled'));
  }

  stop(): void {
    for (const p of this.#all.values()) p.abort.abort(new Error('the server is stopping'));
  }
}

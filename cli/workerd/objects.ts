import { fetchSocket } from './fetch.ts';

/** The part of DurableObjectNamespace that there is here. */
export interface ObjectNamespace {
  idFromName(name: string): string;
  idFromString(id: string): string;
  get(id: string): { fetch(url: string, init?: RequestInit): Promise<Response> };
}

/** The server's Durable Objects as the launcher (and tests) call them, through the Worker in modules/control.ts. */
export class Objects {
  readonly #socket: string;
  readonly #secret: string;

  readonly #elsewhere: readonly number[];

  /** `elsewhere`: replicas that have a binding of their own. */
  constructor(socket: string, secret: string, elsewhere: readonly number[]) {
    this.#socket = socket;
    this.#secret = secret;
    this.#elsewhere = elsewhere;
  }

  /** The replica of that number, wherever it is. */
  replica(name: string): ReturnType<ObjectNamespace['get']> {
    return this.namespace(this.#elsewhere.includes(Number(name)) ? `REPLICA_${name}` : 'REPLICA').get(`replica-${name}`);
  }

  /** A binding's objects: `fetch` as it is, methods with arguments and results that are JSON. */
  namespace(binding: string): ObjectNamespace {
    const get = (name: string) =>
      new Proxy(
        {},
        {
          get: (_, method) => {
            if (typeof method !== 'string' || method === 'then') return undefined;
            if (method === 'fetch') return (url: string, init: RequestInit = {}) => this.#fetch(binding, name, url, init);
            return (...args: unknown[]) => this.#call(binding, name, method, args);
          },
        },
      );
    return { idFromName: (name: string) => name, idFromString: (id: string) => id, get: get as ObjectNamespace['get'] };
  }

  /** ms of `times` calls of a method one after the other, from one object of this server to another. */
  async timed(binding: string, name: string, method: string, args: unknown[], times: number): Promise<number> {
    const from = performance.now();
    await this.#call(binding, name, method, args, times);
    return performance.now() - from;
  }

  #url(...parts: string[]): string {
    return `http://control/${parts.map(encodeURIComponent).join('/')}`;
  }

  #fetch(binding: string, name: string, url: string, init: RequestInit): Promise<Response> {
    const { pathname, search } = new URL(url);
    const headers = { ...Object.fromEntries(new Headers(init.headers)), 'x-launcher': this.#secret };
    return fetchSocket(this.#socket, this.#url(binding, name, 'fetch') + pathname + search, { ...init, headers });
  }

  async #call(binding: string, name: string, method: string, args: unknown[], times = 1): Promise<unknown> {
    const headers = { 'x-launcher': this.#secret, 'content-type': 'application/json', 'x-times': String(times) };
    const init = { method: 'POST', headers, body: JSON.stringify(args) };
    const answer = await fetchSocket(this.#socket, this.#url(binding, name, 'call', method), init);
    const { value, error } = (await answer.json()) as { value?: unknown; error?: string };
    if (error !== undefined) throw new Error(error);
    return value ?? undefined;
  }
}

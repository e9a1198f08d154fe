/** Durable Objects of another workerd process as if they were this one's: every call goes on through that process's debug port, a Unix socket. */
import { DurableObject } from 'cloudflare:workers';

interface Env {
  PORT: { connect(address: string): { getActor(service: string, className: string, id: string): Fetcher } };
  /** `unix:` and the path of the socket. */
  ADDRESS: string;
}

abstract class Remote extends DurableObject<Env> {
  constructor(ctx: DurableObjectState, env: Env, className: string) {
    super(ctx, env);
    // a connection for each call: one that failed would stay broken
    const there = () => env.PORT.connect(env.ADDRESS).getActor('turnstone', className, ctx.id.toString());
    // biome-ignore lint/correctness/noConstructorReturn: whatever method is called is the other object's
    return new Proxy(this, {
      get(object, name) {
        if (name === 'fetch') return (request: Request) => there().fetch(request);
        return Reflect.has(object, name) ? Reflect.get(object, name) : Reflect.get(there(), name);
      },
    });
  }
}

export class Replica extends Remote {
  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env, 'Replica');
  }
}

/** A replica of another model: ADDRESS and a digest of the model's name, which is in the object's (`replica-0/<model>`), are its process's. */
export class ModelReplica extends DurableObject<Env> {
  override async fetch(request: Request): Promise<Response> {
    const { name = '' } = this.ctx.id;
    const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(name.slice(name.indexOf('/') + 1)));
    const hex = Array.from(new Uint8Array(digest, 0, 8), (b) => b.toString(16).padStart(2, '0')).join('');
    return this.env.PORT.connect(this.env.ADDRESS + hex)
      .getActor('turnstone', 'Replica', this.ctx.id.toString())
      .fetch(request);
  }
}

/** A stage of the model: called several times a token, over one connection until it fails. */
export class Stage extends DurableObject<Env> {
  #there?: StageThere;

  async open(order: unknown): Promise<unknown> {
    this.#there = undefined;
    return this.#connected(async (there) => there.open(order));
  }

  async call(instance: string, call: unknown, trace?: string): Promise<unknown> {
    return this.#connected(async (there) => there.call(instance, call, trace));
  }

  async #connected(work: (there: StageThere) => Promise<unknown>): Promise<unknown> {
    this.#there ??= this.env.PORT.connect(this.env.ADDRESS).getActor('turnstone', 'Stage', this.ctx.id.toString()) as unknown as StageThere;
    try {
      return await work(this.#there);
    } catch (error) {
      this.#there = undefined;
      throw error;
    }
  }
}

interface StageThere {
  open(order: unknown): Promise<unknown>;
  call(instance: string, call: unknown, trace?: string): Promise<unknown>;
}

export class Session extends Remote {
  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env, 'Session');
  }
}

export class Scheduler extends Remote {
  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env, 'Scheduler');
  }
}

export default {};

/**
 * Models beside the first, on this machine. Each is computed in a workerd process of its own, which is started when the model is
 * asked for, and ended when it was not used for long, or when another one needs the memory: the least recently used goes first,
 * and never before its answers have ended. Their queues and sessions are in the first process (serving/models.ts).
 */
import { createServer, type Server as HttpServer } from 'node:http';
import { setTimeout as pause } from 'node:timers/promises';
import { LEAVING } from '../durable-objects/replica/port.ts';
import { schedulerOf } from '../durable-objects/scheduler/port.ts';
import { ApiError, asApiError, badRequest, type ErrorEnvelope, modelNotFound, notFound, serverOverloaded } from '../openai/errors.ts';
import { Registry } from '../openai/prometheus.ts';
import type { Asked, ModelEntry } from '../serving/models.ts';
import { replicaNames, type SchedulerPort } from '../serving/scheduler.ts';
import { type AdapterBook, roomFor } from './adapters.ts';
import type { Pulls } from './hub/pulls.ts';
import { nodeHandler } from './node-http.ts';
import { type LocalPack, localPack } from './packs.ts';
import { FIRST } from './processes.ts';
import { MODELS, modelSocket, replicasConfig, type Vars } from './workerd/config.ts';
import type { Home } from './workerd/home.ts';
import { Kept } from './workerd/keep.ts';
import type { Objects } from './workerd/objects.ts';
import { startWorkerd } from './workerd/process.ts';

/** A model that may be asked for. */
export interface Known {
  id: string;
  /** A pack, a GGUF file or a Hugging Face folder. */
  path: string;
  bytes: number;
  created: number; // s
  about?: string;
}

export interface ModelsOptions {
  home: Home;
  objects: () => Objects;
  /** The first model's name. */
  first: string;
  /** All that are there now, the first among them. */
  known: () => readonly Known[];
  /** Of the Worker: REPLICAS among them. */
  vars: Vars;
  format?: string;
  /** MiB that each may hold, and all together. */
  eachMb: number;
  allMb: number;
  keepAliveMs: number;
  /** Of all models. */
  adapters: AdapterBook;
  /** Models may be brought while the server runs. */
  pulls?: Pulls;
  say: (line: string) => void;
}

const POLL_MS = 20;
const GRACE_MS = 500;
/** So long an answer that is whole may take to be read to its end by its client. */
const READ_MS = 60_000;
/** How often it is looked whether a model has not been used for long, at the least. */
const LOOK_MS = 5_000;

export class Models {
  readonly #o: ModelsOptions;
  readonly #here = new Map<string, Loaded>();
  /** Loads that wait or run. */
  readonly #wanted = new Map<string, Promise<void>>();
  /** One load or unload at a time. */
  #turn: Promise<unknown> = Promise.resolve();
  readonly #registry = new Registry({});
  readonly #requests = this.#registry.counter(
    'turnstone_model_requests_total',
    'Requests for models beside the first, whether loaded or not.',
  );
  readonly #loads = this.#registry.counter('turnstone_model_loads_total', 'Models loaded beside the first.');
  readonly #unloads = this.#registry.counter('turnstone_model_unloads_total', 'Models unloaded.');
  #server?: HttpServer;
  #timer?: NodeJS.Timeout;
  #over = false;

  constructor(o: ModelsOptions) {
    this.#o = o;
  }

  /** Answers the Worker at `path`, a Unix socket. */
  async listen(path: string): Promise<void> {
    const server = createServer(nodeHandler((request) => this.#answer(request)));
    await new Promise<void>((done, fail) => server.once('error', fail).listen(path, done));
    this.#server = server;
    const every = Math.min(LOOK_MS, Math.max(POLL_MS, this.#o.keepAliveMs / 2));
    this.#timer = setInterval(() => void this.#inTurn(() => this.#unloadUnused()).catch(() => {}), every).unref();
  }

  /** Queues of the models that are loaded now. */
  queues(): SchedulerPort[] {
    return [...this.#here.keys()].map((id) => this.#queue(id));
  }

  /** Their replicas. */
  replicas(): ReturnType<Objects['replica']>[] {
    const objects = this.#o.objects().namespace('MODEL_REPLICA');
    return [...this.#here.keys()].flatMap((id) => replicaNames(this.#o.vars).map((r) => objects.get(`replica-${r}/${id}`)));
  }

  list(): ModelEntry[] {
    return this.#o.known().flatMap((m) => this.#entries(m));
  }

  /** A model and its adapters. */
  #entries({ id, bytes, created, about }: Known): ModelEntry[] {
    const entry: ModelEntry = {
      ...{ id, object: 'model', created, owned_by: 'turnstone', kind: 'chat', bytes, ...(about && { about }) },
      state: id === this.#o.first || this.#here.get(id)?.ready ? 'loaded' : this.#wanted.has(id) ? 'loading' : 'cold',
      ...(this.#here.get(id)?.context && { max_model_len: this.#here.get(id)?.context }),
    };
    const { about: _, bytes: __, ...same } = entry;
    const adapters = this.#o.adapters.names(id).map((name): ModelEntry => ({ ...same, id: `${id}:${name}`, parent: id, state: 'cold' }));
    return [entry, ...adapters];
  }

  pidOf(id: string): number | undefined {
    return this.#here.get(id)?.kept.process?.pid;
  }

  /** Resolves when the model computes. Rejects with ApiError: there is none of that name, it does not fit, it does not load. */
  async load(id: string, asked?: Asked): Promise<void> {
    await this.#load(id);
    if (!asked) return;
    this.#requests.add(1, { model_name: id });
    const here = this.#here.get(id);
    if (here) here.keepAliveMs = asked.keepAliveMs ?? this.#o.keepAliveMs;
  }

  #load(id: string): Promise<void> {
    const wanted = this.#wanted.get(id);
    if (wanted) return wanted;
    const here = this.#here.get(id);
    if (here && !here.leaving) {
      here.used = Date.now();
      return Promise.resolve();
    }
    const work = this.#inTurn(() => this.#start(id)).finally(() => this.#wanted.delete(id));
    this.#wanted.set(id, work);
    return work;
  }

  async stop(): Promise<void> {
    this.#over = true;
    clearInterval(this.#timer);
    this.#o.pulls?.stop();
    this.#server?.close().closeAllConnections();
    await this.#turn.catch(() => {});
    await Promise.all([...this.#here.values()].map((m) => m.kept.stop()));
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.#turn.then(work, work);
    this.#turn = mine.catch(() => {});
    return mine;
  }

  async #start(id: string): Promise<void> {
    if (this.#over) throw serverOverloaded('The server is stopping.');
    const known = this.#o.known();
    const model = known.find((m) => m.id === id);
    if (!model) throw modelNotFound(id, [...new Set(known.map((m) => m.id))]);
    await this.#makeRoom(id);
    const { say, format } = this.#o;
    const began = performance.now();
    const pack = await localPack(model.path, say, format, id, true).catch((cause: Error) => {
      throw unavailable(id, cause.message, cause);
    });
    const adapters = await this.#o.adapters.open(pack).catch((cause: Error) => {
      throw unavailable(id, cause.message, cause);
    });
    const vars = { ...this.#o.vars, ADAPTERS_MB: roomFor(this.#o.vars.ADAPTERS_MB, adapters) };
    const m = new Loaded({ ...this.#o, vars }, { ...pack, adapters: adapters.folder }, (there) =>
      there ? this.#join(id) : this.#leave(id),
    );
    this.#here.set(id, m);
    try {
      await m.start();
    } catch (error) {
      this.#here.delete(id);
      await m.kept.stop();
      throw error;
    }
    m.ready = true;
    m.used = Date.now();
    this.#loads.add(1, { model_name: id });
    say(`${id} is loaded (${((performance.now() - began) / 1000).toFixed(1)} s)`);
  }

  /** Unloads until one more may be held: those without work first, and of these the least recently used. */
  async #makeRoom(id: string): Promise<void> {
    const { eachMb, allMb } = this.#o;
    if (eachMb > allMb)
      throw unavailable(id, `it may hold MEMORY_MB=${eachMb}, and all models beside the first MODELS_MB=${allMb}: raise that`);
    while ((this.#here.size + 1) * eachMb > allMb) {
      const all = await Promise.all(
        [...this.#here.entries()].map(async ([id, m]) => ({ id, used: m.used, busy: Number((await this.#unfinished(id)) > 0) })),
      );
      const [{ id: least }] = all.sort((a, b) => a.busy - b.busy || a.used - b.used);
      await this.#unload(least);
    }
  }

  async #unloadUnused(): Promise<void> {
    for (const [id, m] of [...this.#here]) {
      if (Date.now() - m.used < m.keepAliveMs) continue;
      if ((await this.#unfinished(id)) > 0) m.used = Date.now();
      else await this.#unload(id);
    }
  }

  /** Gives it nothing new, waits until its answers have ended, and ends its process. What came meanwhile waits in its queue, and loads it again. */
  async #unload(id: string): Promise<void> {
    const m = this.#here.get(id) as Loaded;
    m.leaving = true;
    for (const r of replicaNames(this.#o.vars)) await this.#queue(id).drain(r, true);
    while (!this.#over && (await this.#running(id)) > 0) await pause(POLL_MS);
    await this.#read(id);
    await this.#leave(id);
    await m.kept.stop(GRACE_MS);
    this.#here.delete(id);
    this.#unloads.add(1, { model_name: id });
    this.#o.say(`${id} is unloaded`);
    if ((await this.#queue(id).stats()).waiting > 0) this.load(id).catch(() => {}); // who waits asks, too, and is told
  }

  /** Waits until its answers were read to their ends: the queue knows when they were computed. */
  async #read(id: string): Promise<void> {
    const replica = this.#o.objects().namespace('MODEL_REPLICA').get(`replica-0/${id}`); // it says it of its whole process
    const late = Date.now() + READ_MS;
    for (let quiet = 0; quiet < 2 && !this.#over && Date.now() < late; await pause(POLL_MS)) {
      const answer = await replica.fetch(`https://replica${LEAVING}`).catch(() => undefined);
      if (!answer?.ok) return; // it has ended by itself
      quiet = ((await answer.json()) as { leaving: number }).leaving > 0 ? 0 : quiet + 1;
    }
  }

  async #unfinished(id: string): Promise<number> {
    const { waiting } = await this.#queue(id).stats();
    return waiting + (await this.#running(id));
  }

  async #running(id: string): Promise<number> {
    const { tenants } = await this.#queue(id).stats();
    return tenants.reduce((n, t) => n + t.running + t.brief, 0);
  }

  #queue(id: string): SchedulerPort {
    return schedulerOf({ SCHEDULER: this.#o.objects().namespace('SCHEDULER') as never, MODEL_ID: this.#o.first }, id);
  }

  /** Lets its queue have the replicas. */
  async #join(id: string): Promise<void> {
    for (const r of replicaNames(this.#o.vars)) {
      await this.#queue(id).drain(r, false);
      await this.#queue(id).absent(r, false);
    }
  }

  /** Its process is not there. */
  async #leave(id: string): Promise<void> {
    for (const r of replicaNames(this.#o.vars)) await this.#queue(id).absent(r, true);
  }

  async #loadAdapter(model: unknown, name: unknown, path: unknown): Promise<void> {
    const base = this.#base(model);
    if (typeof name !== 'string' || typeof path !== 'string')
      throw badRequest("'name' and 'path' must be text.", typeof name === 'string' ? 'path' : 'name');
    await this.#o.adapters.load(base, name, path).catch((error: Error) => {
      throw badRequest(error.message, 'path', 'adapter_unusable');
    });
    this.#o.say(`${base}:${name} can be asked for`);
  }

  #unloadAdapter(model: unknown, name: unknown): void {
    const base = this.#base(model);
    const names = this.#o.adapters.names(base);
    if (typeof name !== 'string' || !this.#o.adapters.unload(base, name))
      throw modelNotFound(
        `${base}:${name}`,
        names.map((n) => `${base}:${n}`),
      );
    this.#o.say(`${base}:${name} is gone`);
  }

  /** The first model unless a name is given. */
  #base(model: unknown = this.#o.first): string {
    const known = this.#o.known().map((m) => m.id);
    if (typeof model !== 'string' || !known.includes(model)) throw modelNotFound(String(model), known);
    return model;
  }

  async #answer(request: Request): Promise<Response> {
    const { pathname } = new URL(request.url);
    try {
      if (pathname === '/models') return Response.json({ data: this.list() });
      if (pathname === '/metrics') return new Response(this.#registry.render());
      const { pulls } = this.#o;
      if (pathname === '/offers') return Response.json({ data: pulls?.list() ?? [] });
      const { model, name, path, asked } = (await request.json()) as { model: string; name: unknown; path: unknown; asked?: Asked };
      if (pathname === '/load') await this.load(model, asked);
      else if (pathname === '/pull' && pulls) pulls.begin(name);
      else if (pathname === '/cancel' && pulls) pulls.cancel(name);
      else if (pathname === '/adapters/load') await this.#loadAdapter(model, name, path);
      else if (pathname === '/adapters/unload') this.#unloadAdapter(model, name);
      else throw notFound('There is nothing here.');
      return Response.json({});
    } catch (error) {
      const e = asApiError(error);
      if (e !== error) this.#o.say(`A model was not loaded: ${error instanceof Error ? error.message : error}`);
      return Response.json(e.envelope(), { status: e.status, headers: e.headers });
    }
  }
}

const unavailable = (id: string, why: string, cause?: unknown) =>
  new ApiError(503, `The model '${id}' cannot be served: ${why}.`, { code: 'model_unavailable', param: 'model', cause });

/** A model's process. */
class Loaded {
  readonly kept: Kept;
  readonly #o: ModelsOptions;
  readonly #id: string;
  used = Date.now();
  /** As the last request had it. */
  keepAliveMs: number;
  ready = false;
  /** It gets nothing new. */
  leaving = false;
  context?: number;

  /** Tells the queue whether the process is there. */
  readonly #tell: (there: boolean) => Promise<void>;

  constructor(o: ModelsOptions, pack: LocalPack, tell: (there: boolean) => Promise<void>) {
    this.#o = o;
    this.keepAliveMs = o.keepAliveMs;
    this.#tell = tell;
    this.#id = pack.id;
    const { sockets, guard } = o.home;
    const first = { name: FIRST, address: sockets.address(FIRST), classes: ['Session', 'Scheduler'] };
    const vars = { ...o.vars, FIRST_MODEL: o.first };
    this.kept = new Kept({
      name: `workerd of ${pack.id}`,
      say: o.say,
      start: () => {
        const config = replicasConfig({ vars, pack, name: MODELS, first });
        return startWorkerd({ config, guard, debug: sockets.path(modelSocket(pack.id)) });
      },
      ended: () => tell(false),
      restarted: () => this.#open(),
    });
  }

  async start(): Promise<void> {
    await this.kept.start();
    await this.#open();
  }

  /** Loads its weights. Rejects with its replica's own words, such as the arithmetic of what does not fit. */
  async #open(): Promise<void> {
    const replica = this.#o.objects().namespace('MODEL_REPLICA').get(`replica-0/${this.#id}`);
    const answer = await replica.fetch('https://replica/v1/models');
    if (!answer.ok) {
      const { error } = (await answer.json()) as ErrorEnvelope;
      throw new ApiError(answer.status, error.message, { code: error.code ?? undefined, param: 'model' });
    }
    this.context = ((await answer.json()) as { data: { max_model_len: number }[] }).data[0].max_model_len;
    await this.#tell(true);
  }
}

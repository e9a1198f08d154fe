/** `turnstone start`: the Worker with its Durable Objects and assets in workerd on this machine. */
import { randomBytes } from 'node:crypto';
import { chmodSync, mkdirSync } from 'node:fs';
import { createServer as createHttp, type Server as HttpServer } from 'node:http';
import { createServer } from 'node:net';
import { availableParallelism } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { schedulerOf } from '../durable-objects/scheduler/port.ts';
import { folderPack } from '../models/node/files.ts';
import { openPack } from '../models/pack/load.ts';
import { keysIn } from '../policy/keys.ts';
import { faultsIn, readNumber } from '../policy/settings.ts';
import type { StagesPlan } from '../policy/stages.ts';
import { AdapterBook, roomFor } from './adapters.ts';
import { build, INSTALLED, ROOT } from './build.ts';
import { cutPack } from './cut.ts';
import { type Embedder, launchEmbedder } from './embedder.ts';
import { healQueue } from './heal.ts';
import { findModel } from './hub/find.ts';
import { bytesOf, createdOf } from './hub/known.ts';
import { lockStorage } from './lock.ts';
import { Models, type ModelsOptions } from './models.ts';
import { nodeHandler } from './node-http.ts';
import { type Npu, startNpu } from './npu.ts';
import { type LocalPack, localPack, modelPath } from './packs.ts';
import { elsewhere, FIRST, startProcesses } from './processes.ts';
import { type StageProcesses, stagesElsewhere, startStages } from './stage-processes.ts';
import { serverConfig } from './workerd/config.ts';
import { type Home, openHome } from './workerd/home.ts';
import { Kept } from './workerd/keep.ts';
import { Objects } from './workerd/objects.ts';
import { startWorkerd } from './workerd/process.ts';

/** `npu` and `local` force the route, `auto` estimates, `device-time` estimates by the simulated device's own time and waits for it. */
export type NpuMode = 'auto' | 'npu' | 'local' | 'device-time';

export interface StartOptions {
  /** 0 takes a free one. */
  port?: number;
  /** Anything but loopback needs API keys. */
  host?: string;
  /** A pack folder, GGUF file, Hugging Face folder or a model's name; default: the shipped model. */
  model?: string;
  /** Kernel format that `model` is packed in, when it is no pack: w4, w8, f32 or auto. */
  format?: string;
  /** The simulated accelerator in a process of its own: off unless given. With `auto` it starts when it is first asked. */
  npu?: NpuMode;
  /** An accelerator that is running already, such as `turnstone gpu-host`, instead of the simulated one. */
  accelerator?: { address: string; secret: string };
  /** Embeddings, in a process of its own that the first text starts: off unless given. `model`: an embedding pack's folder. */
  embedder?: { model?: string; memoryMb?: string };
  /** Other models than `model`, loaded when they are asked for: none unless given. `known`: all that there are beside it. */
  models?: Pick<ModelsOptions, 'known' | 'allMb' | 'keepAliveMs' | 'pulls'>;
  /** LoRA adapters: paths by `name`, of the first model, or `base:name`. With `models` they may be loaded and unloaded while it runs. */
  adapters?: ReadonlyMap<string, string>;
  /** workerd processes that compute, each with `REPLICAS` replicas and a core: 1 unless given. All but the first start after the server. */
  processes?: number | string;
  /** Isolates that the model is cut into: as few as hold it unless given, 1 for one piece. */
  stages?: number | string;
  /** Where they are: processes of their own, or facets of the replica's object. */
  stagesIn?: 'processes' | 'facets';
  /** What starts after the server waits for this, too. */
  after?: Promise<unknown>;
  /** Where Durable Objects keep their data; default `.wrangler/state`: in the clone, or where one stands with an installed package. */
  persist?: string;
  /** Variables and secrets of the Worker (wrangler.toml, worker/env.ts). */
  vars?: Record<string, string | undefined>;
  /** Opens the runtime's inspector on a free port of this machine. */
  inspect?: boolean;
  /** How long a stage of the model may not answer, twice, until it is started again, ms. */
  patienceMs?: number;
  /** Progress, a line each. */
  say?: (line: string) => void;
}

export interface Server {
  url: string;
  /** The served model. */
  pack: LocalPack;
  /** Its Durable Objects. */
  objects: Objects;
  /** workerd's process id: of the one that listens. */
  pid(): number | undefined;
  /** host:port of the runtime's inspector, when it was asked for. */
  inspector(): string | undefined;
  npu?: Npu;
  embedder?: Embedder;
  models?: Models;
  /** Of a model in stages: those in processes of their own. */
  stages?: StageProcesses;
  /** Settles when all processes compute. */
  whole: Promise<void>;
  /** Resolves with the reason when the server cannot be kept running. */
  lost: Promise<Error>;
  /**
   * Nothing new is admitted (503 with Retry-After), what runs ends, for `ms` at the most; then its clients are told. Answers how
   * many requests did not end. `waits` is called once, where there are any.
   */
  drain(ms: number, waits?: (requests: number) => void): Promise<number>;
  /** Ends all processes. `graceMs`: what is on its way to clients may arrive. */
  stop(graceMs?: number): Promise<void>;
}

const MAX_REPLICAS = 64; // of the queue
const LOOPBACK = new Set(['127.0.0.1', 'localhost', '::1']);

/** Throws when other machines would be served without keys. */
export function mayListen(host: string, { API_KEYS, PUBLIC }: Partial<Record<string, string>>): void {
  if (!LOOPBACK.has(host) && !API_KEYS && PUBLIC !== '1')
    throw new Error(`HOST=${host} would serve other machines: set API_KEYS (comma-separated keys) first, or PUBLIC=1 to serve everybody.`);
}

/** Starts the server and resolves when it listens. Rejects with what to do when it cannot. */
export async function startServer(o: StartOptions = {}): Promise<Server> {
  const say = o.say ?? (() => {});
  const host = o.host ?? '127.0.0.1';
  const port = o.port ?? 8787;
  const vars = Object.fromEntries(Object.entries(o.vars ?? {}).filter((e): e is [string, string] => e[1] !== undefined));
  const faults = faultsIn({ ...vars, PROCESSES: o.processes?.toString(), STAGES: o.stages?.toString() });
  if (faults.length > 0) throw new Error(faults.join('\n'));
  keysIn(vars.API_KEYS);
  const open = vars.PUBLIC === '1';
  mayListen(host, vars);
  const layout = { processes: readNumber('PROCESSES', { PROCESSES: o.processes?.toString() }), replicas: readNumber('REPLICAS', vars) };
  if (layout.processes * layout.replicas > MAX_REPLICAS) {
    throw new Error(`PROCESSES × REPLICAS is ${layout.processes * layout.replicas}, must be ${MAX_REPLICAS} at most`);
  }
  await tryPort(port, host);
  const found = await findModel(o.model, { memoryMb: readNumber('MEMORY_MB', vars) });
  modelPath(found?.path);

  const home = openHome();
  const undo: ((graceMs: number) => unknown)[] = [() => home.close()];
  /** The last begun is ended first. */
  const stop = async (graceMs = 0) => {
    for (const end of undo.splice(0).reverse()) await end(graceMs);
  };
  try {
    return await start();
  } catch (error) {
    await stop();
    throw error;
  }

  async function start(): Promise<Server> {
    const persist = resolve(o.persist ?? join(INSTALLED ? '.' : ROOT, '.wrangler/state'));
    const lock = await lockStorage(persist, home.guard.pid);
    undo.push(() => lock.release());
    const storage = join(persist, 'do');
    mkdirSync(storage, { recursive: true, mode: 0o700 });
    chmodSync(storage, 0o700); // conversations are the user's alone, also in a folder of before
    await build(say, ['modules', 'wasm', 'page', 'worker']);
    const pack = await localPack(found?.path, say, o.format, found?.id);
    const book = new AdapterBook(o.adapters ?? new Map(), pack.id, join(persist, 'adapters'));
    const adapters = await book.open(pack);
    pack.adapters = adapters.folder;
    const adapterRoom = { ADAPTERS_MB: roomFor(vars.ADAPTERS_MB, adapters) }; // of the first model
    const cuts = await cutPack(pack, { ...vars, ...adapterRoom }, readNumber('STAGES', { STAGES: o.stages?.toString() }), say);
    const stages = cuts && (await inStages(cuts, home, pack, vars));
    const facets = cuts && !stages;
    if (stages) undo.push(() => stages.stop());

    let listens = () => {};
    const listening = new Promise<void>((done) => {
      listens = done;
    });
    const later = Promise.all([listening, o.after]);
    const npu = await accelerator(home, pack, vars, later);
    const embedder = o.embedder && launchEmbedder(home, { ...o.embedder, inspect: o.inspect, say }, later);
    if (embedder) {
      const front = await listenAt(home.sockets.path('embeddings'), embedder);
      undo.push(() => front.close().closeAllConnections());
    }

    const { debug, ...others } = elsewhere(layout, home);
    let objects: Objects | undefined;
    const models = o.models && moreModels(home, pack, book, o.models, () => objects as Objects, { ...vars, ...others.vars });
    if (models) undo.push(() => models.stop());
    await models?.listen(home.sockets.path('launcher'));
    const control = { address: home.sockets.address('control'), secret: randomBytes(24).toString('hex') };
    const all = {
      ...(vars.API_KEYS || open ? {} : { LOCAL_ONLY: '1' }),
      ...vars,
      ...adapterRoom,
      ...others.vars,
      ...(npu && { NPU_SECRET: npu.secret, NPU_ROUTE: o.npu ?? 'auto' }),
      ...(cuts && { STAGES: JSON.stringify({ ...cuts, cores: facets ? 1 : availableParallelism() } satisfies StagesPlan) }),
    };
    let bound = port;
    const config = () =>
      serverConfig({
        ...{ vars: all, pack, storage, control, elsewhere: others.elsewhere, npu: npu?.address },
        address: `${shownHost(host)}:${bound}`,
        embedder: embedder && home.sockets.address('embeddings'),
        models: models && { launcher: home.sockets.address('launcher'), sockets: home.sockets.address('') },
        stages: facets ? 'facets' : cuts ? stagesElsewhere(cuts, home) : [],
      });
    let lose: (error: Error) => void = () => {};
    const lost = new Promise<Error>((done) => {
      lose = done;
    });
    const kept = new Kept({
      name: 'workerd',
      say,
      start: () =>
        startWorkerd({ config: config(), guard: home.guard, debug: models ? home.sockets.path(FIRST) : debug, inspect: o.inspect }),
      gaveUp: lose,
    });
    undo.push((graceMs) => kept.stop(graceMs));
    bound = (await kept.start().catch(portTaken(port))).ports.get('http') ?? port;

    const elsewhereAre = others.elsewhere.flatMap((p) => p.replicas);
    objects = new Objects(home.sockets.path('control'), control.secret, elsewhereAre);
    await healQueue(objects, storage, say);
    const more = await startProcesses({ ...layout, home, objects, vars: replicaVars(all), pack, npu: npu?.address, after: o.after, say });
    if (npu) undo.push(() => npu.stop());
    if (embedder) undo.push(() => embedder.stop());
    undo.push(() => more.stop());
    listens();
    return {
      url: `http://${shownHost(/^(0\.0\.0\.0|\*|::)$/.test(host) ? '127.0.0.1' : host)}:${bound}`,
      ...{ pack, objects, npu, embedder, models, stages, lost, stop },
      drain: (ms, waits) => drain(objects as Objects, layout.processes * layout.replicas, ms, models, waits),
      pid: () => kept.process?.pid,
      inspector: () => (o.inspect && kept.process ? `127.0.0.1:${kept.process.ports.get('inspector')}` : undefined),
      whole: more.ready,
    };
  }

  function moreModels(
    home: Home,
    pack: LocalPack,
    adapters: AdapterBook,
    { known, allMb, keepAliveMs, pulls }: NonNullable<StartOptions['models']>,
    objects: () => Objects,
    vars: Record<string, string>,
  ): Models {
    const { REPLICAS_HERE: _, NPU_URL: __, NPU_SECRET: ___, NPU_NUMERICS: ____, ...own } = replicaVars(vars);
    const eachMb = readNumber('MEMORY_MB', own);
    const first = { id: pack.id, path: found?.path ?? '', bytes: bytesOf(pack.folder), created: createdOf(pack.folder) };
    const all = () => [first, ...known().filter((m) => m.id !== first.id && m.path !== first.path)];
    return new Models({
      ...{ home, objects, say, format: o.format, eachMb, allMb, keepAliveMs, pulls, adapters },
      first: pack.id,
      known: all,
      vars: own,
    });
  }

  async function inStages(
    cuts: StagesPlan,
    home: Home,
    pack: LocalPack,
    { MEMORY_MB = '', ...others }: Record<string, string>,
  ): Promise<StageProcesses | undefined> {
    if (layout.processes * layout.replicas > 1)
      throw new Error(`${pack.id} is served in stages, and so by one replica: unset PROCESSES and REPLICAS.`);
    await build(say, ['stage']);
    if (o.stagesIn === 'facets') return undefined;
    return startStages(cuts, { home, pack, vars: { MEMORY_MB, ...tracing(others) }, inspect: o.inspect, patienceMs: o.patienceMs, say });
  }

  async function accelerator(
    home: Home,
    pack: LocalPack,
    { KV = '', CONTEXT = '', NPU_DEVICE }: Record<string, string>,
    later: Promise<unknown>,
  ) {
    if (o.accelerator) return { ...o.accelerator, pid: () => undefined, stop: async () => {} };
    if (!o.npu) return undefined;
    const { config } = (await openPack(folderPack(pack.folder))).manifest;
    if (config.layerKinds?.includes('conv')) {
      say(`The simulated accelerator has no gated short convolution, which ${pack.id} needs: prefill runs in the replicas.`);
      return undefined;
    }
    if (KV === 'i8v4') {
      say('The simulated accelerator has no pages with values of 4 bits (KV=i8v4): prefill runs in the replicas.');
      return undefined;
    }
    const NPU_SECRET = randomBytes(24).toString('hex');
    return startNpu({
      ...{ home, pack, say, vars: { NPU_SECRET, KV, CONTEXT, ...(NPU_DEVICE && { NPU_DEVICE }) } },
      later: o.npu === 'auto' ? later : undefined, // where it is forced, the first prompt waits for it
    });
  }
}

const POLL_MS = 100;
const TELL_MS = 500;

/** Rejects where the server does not answer any more. */
async function drain(
  objects: Objects,
  replicas: number,
  ms: number,
  models: Models | undefined,
  waits?: (requests: number) => void,
): Promise<number> {
  const SCHEDULER = objects.namespace('SCHEDULER') as never;
  const until = Date.now() + ms;
  const close = async (now: boolean) => {
    const queues = [schedulerOf({ SCHEDULER }), ...(models?.queues() ?? [])];
    return (await Promise.all(queues.map((q) => q.close(now)))).reduce((n, left) => n + left, 0);
  };
  let left = await close(false);
  if (left > 0) waits?.(left);
  for (; left > 0 && Date.now() < until; left = await close(false)) await pause(POLL_MS);
  if (left === 0) return 0;
  await close(true);
  const tell = (replica: { fetch(url: string, init?: RequestInit): Promise<Response> }) =>
    replica.fetch('https://replica/close', { method: 'POST' });
  const all = Array.from({ length: replicas }, (_, r) => objects.replica(String(r)));
  await Promise.allSettled([...all, ...(models?.replicas() ?? [])].map(tell));
  await pause(TELL_MS);
  return left;
}

/** What of the settings a stage is told beside its memory. */
const tracing = (vars: Record<string, string>) => Object.fromEntries(Object.entries(vars).filter(([name]) => name.startsWith('OTEL_')));

/** Processes with replicas only check no key. */
function replicaVars({ API_KEYS: _, ADMIN_KEY: __, ...vars }: Record<string, string>): Record<string, string> {
  return vars;
}

export const shownHost = (host: string) => (host.includes(':') ? `[${host}]` : host === 'localhost' ? '127.0.0.1' : host);

/** Before anything is built or loaded. */
async function tryPort(port: number, host: string): Promise<void> {
  const probe = createServer();
  await new Promise<void>((done, fail) => {
    probe.once('error', fail);
    probe.listen({ port, host: host === '*' ? undefined : host, exclusive: true }, () => probe.close(() => done()));
  }).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'EADDRINUSE') throw taken(port);
    if (error.code === 'EACCES')
      throw new Error(`Port ${port} may not be listened on by this user. Set PORT to another one, e.g. PORT=8788 npm start.`);
    throw new Error(`HOST=${host} cannot be listened on: ${error.message}.`);
  });
}

const taken = (port: number) => new Error(`Port ${port} is taken. Set PORT to another one, e.g. PORT=8788 npm start.`);

/** Somebody came between the try and the start. */
const portTaken = (port: number) => (error: Error) => {
  throw /Address already in use/i.test(error.message) ? taken(port) : error;
};

/** The embedder as the Worker asks it: through the launcher, which knows why it does not answer. */
async function listenAt(path: string, embedder: Embedder): Promise<HttpServer> {
  const front = createHttp(nodeHandler((request) => embedder.fetch(request)));
  await new Promise<void>((done, fail) => front.once('error', fail).listen(path, done));
  return front;
}

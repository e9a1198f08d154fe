/** `turnstone start`: the Worker with its Durable Objects, assets and R2 in a local workerd. */
import { randomBytes } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { Log, LogLevel, Miniflare, type MiniflareOptions } from 'miniflare';
import { unstable_getMiniflareWorkerOptions as workerOptions } from 'wrangler';
import { integerVar, kvOf } from '../durable-objects/env.ts';
import { keysIn } from '../openai/keys.ts';
import { build, ROOT } from './build.ts';
import { type Embedder, launchEmbedder } from './embedder.ts';
import { type Npu, startNpu } from './npu.ts';
import { type LocalPack, localPack } from './packs.ts';
import { layoutOptions, MAX_PROCESSES, startProcesses } from './processes.ts';
import { Registry } from './registry.ts';
import { storePack } from './store.ts';
import { Supervisor } from './supervise.ts';

export interface StartOptions {
  /** 0 takes a free one. */
  port?: number;
  /** Anything but loopback needs API keys. */
  host?: string;
  /** A pack folder, GGUF file or Hugging Face folder; default: the shipped model. */
  model?: string;
  /** Kernel format that `model` is packed in, when it is no pack: w4, w8, f32 or auto. */
  format?: string;
  /** The simulated accelerator in a process of its own: off unless given. `npu` and `local` force the route, `auto` estimates. */
  npu?: 'auto' | 'npu' | 'local';
  /** An accelerator that is running already, such as `turnstone gpu-host`, instead of the simulated one. */
  accelerator?: { address: string; secret: string };
  /** Embeddings, in a process of its own that starts after the server: off unless given. `model`: an embedding pack's folder. */
  embedder?: { model?: string; memoryMb?: string };
  /** workerd processes that compute, each with `REPLICAS` replicas and a core: 1 unless given. All but the first start after the server. */
  processes?: number | string;
  /** What starts after the server waits for this, too. */
  after?: Promise<unknown>;
  /** Where R2 and Durable Objects keep their data; default `.wrangler/state`. */
  persist?: string;
  /** Variables and secrets of the Worker (wrangler.toml, worker/env.ts). */
  vars?: Record<string, string | undefined>;
  /** Opens the runtime's inspector on a free port of this machine. */
  inspect?: boolean;
  /** Progress, a line each. */
  say?: (line: string) => void;
}

export interface Server {
  url: string;
  /** The served model. */
  pack: LocalPack;
  miniflare: Miniflare;
  npu?: Npu;
  embedder?: Embedder;
  /** Settles when all processes compute. */
  whole: Promise<void>;
  stop(): Promise<void>;
}

const MAX_REPLICAS = 64; // of the queue
const LOOPBACK = new Set(['127.0.0.1', 'localhost', '::1']);

/** Starts the server and resolves when it listens. Rejects with what to do when it cannot. */
export async function startServer(o: StartOptions = {}): Promise<Server> {
  const say = o.say ?? (() => {});
  const host = o.host ?? '127.0.0.1';
  const vars = Object.fromEntries(Object.entries(o.vars ?? {}).filter((e): e is [string, string] => e[1] !== undefined));
  keysIn(vars.API_KEYS);
  kvOf(vars.KV);
  if (!LOOPBACK.has(host) && !vars.API_KEYS) {
    throw new Error(`HOST=${host} would serve other machines: set API_KEYS (comma-separated keys) first, or leave HOST out.`);
  }
  const layout = {
    processes: integerVar('PROCESSES', o.processes?.toString(), 1, MAX_PROCESSES) ?? 1,
    replicas: integerVar('REPLICAS', vars.REPLICAS, 1, MAX_REPLICAS) ?? 1,
  };
  integerVar('PROCESSES × REPLICAS', String(layout.processes * layout.replicas), 1, MAX_REPLICAS);
  await build(say, ['wasm', 'page', 'worker', ...(o.npu && !o.accelerator ? ['npu'] : [])]);
  const pack = await localPack(o.model, say, o.format);
  const persist = resolve(o.persist ?? join(ROOT, '.wrangler/state'));
  mkdirSync(persist, { recursive: true });

  await storePack(join(persist, 'r2'), pack, say);
  const secret = o.accelerator?.secret ?? randomBytes(24).toString('hex');
  const npu: Npu | undefined = o.accelerator
    ? { ...o.accelerator, pid: process.pid, stop: async () => {} }
    : o.npu && (await openNpu(persist, pack, secret, vars));

  let listens = () => {};
  const listening = new Promise<void>((resolve) => {
    listens = resolve;
  });
  const embedder =
    o.embedder &&
    launchEmbedder({ ...o.embedder, inspect: o.inspect, persist: join(persist, 'embedder-r2'), say }, Promise.all([listening, o.after]));

  const registry = layout.processes > 1 ? new Registry() : undefined;
  const more = layoutOptions(layout, registry?.folder);
  const { workerOptions: worker } = workerOptions(join(ROOT, 'wrangler.toml'));
  const { assets, ...own } = worker;
  const turnstone = {
    ...own,
    name: 'turnstone',
    modules: true as const,
    modulesRoot: join(ROOT, '.build/worker'),
    scriptPath: join(ROOT, '.build/worker/index.js'),
    modulesRules: [{ type: 'CompiledWasm' as const, include: ['**/*.wasm'] }],
    bindings: {
      ...worker.bindings,
      ...(vars.API_KEYS ? {} : { LOCAL_ONLY: '1' }),
      ...vars,
      ...more.bindings,
      MODEL_ID: pack.id,
      ...(npu && { NPU_SECRET: secret, NPU_ROUTE: o.npu ?? 'auto' }),
    },
    durableObjects: { ...worker.durableObjects, ...more.objects },
    serviceBindings: {
      ...worker.serviceBindings,
      ASSETS: 'site',
      ...(npu && { NPU: { external: { address: npu.address, http: {} } } }),
      ...(embedder && { EMBEDDER: embedder.fetch }),
    },
  };
  // The assets are a Worker of their own: their router in front of ours would keep a client's disconnect to itself.
  const site = {
    name: 'site',
    modules: true as const,
    script: 'export default {}',
    compatibilityDate: worker.compatibilityDate,
    assets: { ...assets, directory: join(ROOT, 'dist/web'), binding: undefined, routerConfig: { has_user_worker: false } },
  };
  const supervisor = new Supervisor(say, 'workerd');
  const options: MiniflareOptions = {
    workers: [turnstone, site],
    host,
    port: o.port ?? 8787,
    ...(o.inspect && { inspectorPort: 0 }),
    cf: false,
    r2Persist: join(persist, 'r2'),
    durableObjectsPersist: join(persist, 'do'),
    ...more.shared,
    log: new Log(LogLevel.ERROR),
    handleRuntimeStdio: supervisor.handleRuntimeStdio,
  };
  const miniflare = new Miniflare(options);
  try {
    const url = await miniflare.ready;
    supervisor.watch(miniflare, { ...options, port: Number(url.port) });
    const others = await startProcesses({
      ...layout,
      first: miniflare,
      worker: turnstone,
      pack,
      persist,
      registry: registry?.folder,
      after: o.after,
      say,
    });
    listens();
    const stop = async () => {
      supervisor.stop();
      await others.stop();
      await Promise.all([miniflare.dispose(), npu?.stop(), embedder?.stop()]);
      registry?.close();
    };
    return { url: url.href.replace(/\/$/, ''), pack, miniflare, npu, embedder, whole: others.ready, stop };
  } catch (error) {
    supervisor.stop();
    await Promise.allSettled([miniflare.dispose(), npu?.stop()]);
    registry?.close();
    if (String(error).includes('EADDRINUSE') || String(error).includes('Address already in use')) {
      throw new Error(`Port ${options.port} is taken. Set PORT to another one, e.g. PORT=8788 npm start.`);
    }
    throw error;
  }
}

/** The accelerator keeps a bucket of its own: two processes cannot share one on disk. */
async function openNpu(persist: string, pack: LocalPack, secret: string, vars: Record<string, string>): Promise<Npu> {
  const r2 = join(persist, 'npu-r2');
  await storePack(r2, pack, () => {});
  const { KV = '', CONTEXT = '', NPU_DEVICE = '' } = vars;
  return startNpu({ NPU_PERSIST: r2, MODEL_ID: pack.id, NPU_SECRET: secret, KV, CONTEXT, NPU_DEVICE });
}

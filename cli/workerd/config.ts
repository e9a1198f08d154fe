/**
 * workerd's configuration of each process. Written here instead of by Miniflare, whose loopback port does for anybody on the machine
 * what its Workers may ask of it (writing files among it), and whose own Worker before ours hears headers of clients. Here the
 * server's port leads to our Worker alone, and all else listens on Unix sockets (sockets.ts).
 */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Config, kVoid, type Service, type Worker, type Worker_Binding, type Worker_Module } from 'miniflare';
import { ROOT } from '../build.ts';
import type { LocalPack } from '../packs.ts';
import { adapterFiles, type OpenFiles, packFiles, type SiteFiles, siteFiles } from './files.ts';

/** Variables, all text. */
export type Vars = Record<string, string>;

/** Another process by its name and the address of its debug port; `classes`: which of its objects are called. */
export interface Elsewhere {
  name: string;
  address: string;
  classes: readonly string[];
}

/** A process with the stage of that number. */
export type StageElsewhere = Elsewhere & { stage: number };

/** The processes of models beside the first have one name, and each a socket of its own. */
export const MODELS = 'models';
const MODEL_SOCKET = 'model-';
export const modelSocket = (model: string): string => MODEL_SOCKET + createHash('sha256').update(model).digest('hex').slice(0, 16);

const SERVED = 'turnstone';
const STAGE_TOML = 'durable-objects/stage/wrangler.toml';
const STAGE_BUILD = '.build/stage';
const STAGE_FILES = 'stage-files';
const CLASSES = ['Replica', 'Session', 'Scheduler', 'Tenant', 'Batches', 'Socket'];
/** The service here that stands for another process. */
const remoteName = (process: string) => `at-${process}`;
/** Objects of a process are told from those of another by it; the first one's is also the folder's name on disk. */
const keyOf = (process: string, className: string) => `${process}-${className}`;

export interface ServerConfig {
  vars: Vars;
  pack: LocalPack;
  /** Where sessions and the queue are kept. */
  storage: string;
  /** host:port of the server, and where the launcher asks, if there is one. */
  address: string;
  control?: { address: string; secret: string };
  /** Replicas in other processes, by number. */
  elsewhere: readonly (Elsewhere & { replicas: readonly number[] })[];
  /** Stages of the model in processes of their own, by number; or that all are facets of the replica's object. */
  stages: readonly StageElsewhere[] | 'facets';
  npu?: string;
  embedder?: string;
  /** Where the launcher is asked for other models, and the folder of all sockets. */
  models?: { launcher: string; sockets: string };
}

/** The first process: routes, queue, sessions, replicas. */
export function serverConfig(o: ServerConfig): Config {
  const replicas = o.elsewhere.flatMap((p) =>
    p.replicas.map((r) => ({ name: `REPLICA_${r}`, durableObjectNamespace: { className: 'Replica', serviceName: remoteName(p.name) } })),
  );
  const own = CLASSES.map((className) => ({
    name: className.toUpperCase(),
    durableObjectNamespace: { className, serviceName: SERVED },
  }));
  const others = o.models
    ? [{ name: 'MODEL_REPLICA', durableObjectNamespace: { className: 'ModelReplica', serviceName: remoteName(MODELS) } }]
    : [];
  const processes = o.stages === 'facets' ? [] : o.stages;
  const stages = processes.map((p) => ({
    ...{ name: `STAGE_${p.stage}`, durableObjectNamespace: { className: 'Stage', serviceName: remoteName(p.name) } },
  }));
  const external = (name: string, address: string | undefined) =>
    address === undefined ? [] : [{ name, external: { address, http: {} } } as Service];
  const bindings = [
    ...texts(o.vars),
    { name: 'MODEL_ID', text: o.pack.id },
    service('ASSETS', 'site'),
    ...(o.npu === undefined ? [] : [service('NPU', 'npu')]),
    ...(o.embedder === undefined ? [] : [service('EMBEDDER', 'embedder')]),
    ...(o.models === undefined ? [] : [service('LAUNCHER', 'launcher')]),
    ...own,
    ...replicas,
    ...others,
    ...stages,
    ...(o.stages === 'facets' ? facets() : []),
  ];
  return {
    services: [
      ...(o.stages === 'facets' ? [{ name: STAGE_FILES, disk: { path: join(ROOT, STAGE_BUILD) } }] : []),
      { name: 'storage', disk: { path: o.storage, writable: true } },
      worker(SERVED, {
        ...built('worker', 'wrangler.toml'),
        bindings,
        durableObjectNamespaces: CLASSES.map((className) => ({
          className,
          uniqueKey: keyOf(SERVED, className),
          enableSql: true,
        })),
        durableObjectStorage: { localDisk: 'storage' },
      }),
      ...site([siteFiles(join(ROOT, 'dist/web')), packFiles(o.pack)], adapterFiles(o.pack)),
      ...(o.control
        ? [
            worker('control', {
              ...module('control'),
              bindings: [{ name: 'SECRET', text: o.control.secret }, ...own, ...replicas, ...others, ...stages],
            }),
          ]
        : []),
      ...external('npu', o.npu),
      ...external('embedder', o.embedder),
      ...external('launcher', o.models?.launcher),
      ...o.elsewhere.map(remote),
      ...(o.models ? [remote({ name: MODELS, address: `${o.models.sockets}/${MODEL_SOCKET}`, classes: ['ModelReplica'] })] : []),
      ...processes.map(remote),
      internet(callsOut(o.vars)),
    ],
    sockets: [
      { name: 'http', address: o.address, service: { name: SERVED }, http: {} },
      ...(o.control ? [{ name: 'control', address: o.control.address, service: { name: 'control' }, http: {} }] : []),
    ],
  };
}

export interface ReplicasConfig {
  vars: Vars;
  pack: LocalPack;
  /** The name of this process, and the first one. */
  name: string;
  first: Elsewhere;
  npu?: string;
}

/** A process with replicas only; the first one calls them. */
export function replicasConfig(o: ReplicasConfig): Config {
  const there = (className: string) => ({
    name: className.toUpperCase(),
    durableObjectNamespace: { className, serviceName: remoteName(o.first.name) },
  });
  return {
    services: [
      worker(SERVED, {
        ...built('worker', 'wrangler.toml'),
        bindings: [
          ...texts(o.vars),
          { name: 'MODEL_ID', text: o.pack.id },
          service('ASSETS', 'site'),
          there('Session'),
          there('Scheduler'),
          ...(o.npu === undefined ? [] : [service('NPU', 'npu')]),
        ],
        durableObjectNamespaces: [{ className: 'Replica', uniqueKey: keyOf(o.name, 'Replica'), enableSql: true }],
        durableObjectStorage: { inMemory: kVoid }, // replicas keep nothing
      }),
      ...site([packFiles(o.pack)], adapterFiles(o.pack)),
      ...(o.npu === undefined ? [] : [{ name: 'npu', external: { address: o.npu, http: {} } }]),
      remote(o.first),
      internet(callsOut(o.vars)),
    ],
    sockets: [],
  };
}

/** A process with a stage of the model; the first one calls it, and the launcher asks at `alive` whether it still answers. */
export function stageConfig(o: { vars: Vars; pack: LocalPack; name: string; alive: string }): Config {
  return {
    services: [
      worker(SERVED, {
        ...built('stage', STAGE_TOML),
        bindings: [...texts(o.vars), service('ASSETS', 'site')],
        durableObjectNamespaces: [{ className: 'Stage', uniqueKey: keyOf(o.name, 'Stage'), enableSql: true }],
        durableObjectStorage: { inMemory: kVoid }, // stages keep nothing
      }),
      ...site([packFiles(o.pack)], adapterFiles(o.pack)),
      internet(callsOut(o.vars)),
    ],
    sockets: [{ name: 'alive', address: o.alive, service: { name: SERVED }, http: {} }],
  };
}

/** The accelerator or the embedder: a Worker with a pack, on a socket. `folder`: where it was built, and where its wrangler.toml is. */
export function serviceConfig(o: { folder: 'accelerator' | 'embedder'; vars: Vars; pack: LocalPack; address: string }): Config {
  return {
    services: [
      worker(o.folder, { ...built(o.folder, `${o.folder}/wrangler.toml`), bindings: [...texts(o.vars), service('ASSETS', 'site')] }),
      ...site([packFiles(o.pack)]),
      internet(false),
    ],
    sockets: [{ name: 'http', address: o.address, service: { name: o.folder }, http: {} }],
  };
}

/** What a replica needs that starts its stages beside itself (durable-objects/replica/facets.ts). */
function facets(): Worker_Binding[] {
  const { modules, ...compatibility } = built('stage', STAGE_TOML);
  return [
    { name: 'STAGE_LOADER', workerLoader: {} },
    { name: 'STAGE_CODE', json: JSON.stringify({ modules: modules.map((m) => m.name), ...compatibility }) },
    service('STAGE_FILES', STAGE_FILES),
  ];
}

const texts = (vars: Vars): Worker_Binding[] => Object.entries(vars).map(([name, text]) => ({ name, text }));
const service = (name: string, to: string): Worker_Binding => ({ name, service: { name: to } });
const worker = (name: string, w: Worker): Service => ({ name, worker: { ...w, globalOutbound: { name: 'internet' } } });

/** Objects of another process; the key makes their ids the same there. */
const remote = ({ name, address, classes }: Elsewhere): Service =>
  worker(remoteName(name), {
    ...module('remote'),
    bindings: [
      { name: 'PORT', workerdDebugPort: kVoid },
      { name: 'ADDRESS', text: address },
    ],
    durableObjectNamespaces: classes.map((className) => ({ className, uniqueKey: keyOf(name, className.replace(/^Model/, '')) })),
    durableObjectStorage: { inMemory: kVoid },
  });

/** Nothing here calls out but to an accelerator elsewhere and a collector of traces. */
const callsOut = (vars: Vars): boolean => Boolean(vars.NPU_URL || vars.OTEL_EXPORTER_OTLP_ENDPOINT);
const internet = (open: boolean): Service => ({
  name: 'internet',
  network: open ? { allow: ['public', 'private'], deny: [], tlsOptions: { trustBrowserCas: true } } : { allow: [], deny: [] },
});

/** Assets: folders, and the Worker that serves them. */
function site(parts: SiteFiles[], open: OpenFiles[] = []): Service[] {
  const files = Object.assign({}, ...parts.map((p) => p.files)) as object;
  return [
    ...[...parts, ...open].map((p) => ({ name: `disk-${p.disk}`, disk: { path: p.folder, allowDotfiles: false } })),
    worker('site', {
      ...module('site'),
      bindings: [
        { name: 'FILES', json: JSON.stringify(files) },
        { name: 'OPEN', json: JSON.stringify(open.map(({ disk, below }) => ({ disk, below }))) },
        ...[...parts, ...open].map((p) => service(p.disk, `disk-${p.disk}`)),
      ],
    }),
  ];
}

/** A Worker of the runner's own (modules/), as `turnstone build` left it. */
function module(name: 'site' | 'remote' | 'control') {
  const esModule = readFileSync(join(ROOT, '.build/modules', `${name}.js`), 'utf8');
  return { modules: [{ name: `${name}.js`, esModule }], ...compatibility('wrangler.toml') };
}

/** A Worker as `turnstone build` left it, and as its wrangler.toml has it run. */
function built(folder: string, toml: string): { modules: Worker_Module[]; compatibilityDate: string; compatibilityFlags: string[] } {
  const from = join(ROOT, '.build', folder);
  const wasm = readdirSync(from).filter((f) => f.endsWith('.wasm'));
  const modules = [
    { name: 'index.js', esModule: readFileSync(join(from, 'index.js'), 'utf8') }, // first: the entry
    ...wasm.map((name) => ({ name, wasm: readFileSync(join(from, name)) })),
  ];
  return { modules, ...compatibility(toml) };
}

function compatibility(path: string): { compatibilityDate: string; compatibilityFlags: string[] } {
  const toml = readFileSync(join(ROOT, path), 'utf8');
  const date = /^compatibility_date = "([\d-]+)"$/m.exec(toml)?.[1];
  const flags = /^compatibility_flags = (\[.*\])$/m.exec(toml)?.[1];
  if (!date || !flags) throw new Error(`${path}: compatibility_date and compatibility_flags must be there, each on a line`);
  return { compatibilityDate: date, compatibilityFlags: JSON.parse(flags) as string[] };
}

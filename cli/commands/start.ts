import { availableParallelism, totalmem } from 'node:os';
import { samplingText } from '../../models/generation.ts';
import { folderPack } from '../../models/node/files.ts';
import { openPack } from '../../models/pack/load.ts';
import { keysIn } from '../../policy/keys.ts';
import {
  aliasesIn,
  faultsIn,
  misspelt,
  readChoice,
  readNumber,
  SETTING_NAMES,
  SETTINGS,
  type Setting,
  type SettingName,
} from '../../policy/settings.ts';
import { embeddingPack } from '../embedder.ts';
import { knownModels } from '../hub/known.ts';
import { Pulls } from '../hub/pulls.ts';
import { type NpuMode, startServer } from '../start.ts';

const DRAIN_MS = 30_000;
const GRACE_MS = 2_000;
const PARENT_MS = 500;
const HOW_TO_GET_A_REAL_ONE =
  'pebble is small (3 M parameters) and knows a few skills. A real model: npm start -- smollm2; others: npm run turnstone -- list';

/** Flags of `start`, by variable: they win over the environment. */
export type StartFlags = Partial<Record<SettingName, string>>;

/** PROCESSES as a number: `auto` is one for each core, as many as may be. */
export const processesOf = (value: string | undefined, cores: number): string | undefined =>
  value?.trim() === 'auto' ? String(Math.max(1, Math.min(SETTINGS.PROCESSES.hi, cores))) : value;

/** Serves until Ctrl-C. `wanted`: a path or a name, before MODEL. */
export async function startCommand(wanted: string | undefined, flags: StartFlags = {}): Promise<void> {
  const parent = process.ppid; // before anything is waited for
  process.umask(0o077); // conversations are the user's alone
  const env: NodeJS.ProcessEnv = { ...withoutSecrets(), ...flags };
  env.PROCESSES = processesOf(env.PROCESSES, availableParallelism());
  const began = performance.now();
  const faults = faultsIn(env);
  if (faults.length > 0) fail(faults.join('\nturnstone: '));
  const embedder = env.EMBEDDER === '0' ? undefined : { model: env.EMBED_MODEL || undefined, memoryMb: env.EMBED_MEMORY_MB };
  if (embedder?.model) embeddingPack(embedder.model);
  const others = attempt(() => knownModels(env.MODELS));
  const pulls = new Pulls({ endpoint: env.HF_ENDPOINT, token: env.HF_TOKEN, memoryBytes: readNumber('MEMORY_MB', env) * 2 ** 20 });
  const notes = misspelt(Object.keys(env)).map((m) => `${m.name} is no setting; did you mean ${m.meant}?`);
  for (const note of notes) console.error(`turnstone: ${note}`);
  let chatIsReady = () => {};
  const chatReady = new Promise<void>((resolve) => {
    chatIsReady = resolve;
  });
  const server = await startServer({
    port: readNumber('PORT', env),
    host: env.HOST || undefined,
    model: wanted ?? (env.MODEL || undefined),
    format: env.FORMAT || undefined,
    npu: env.NPU_URL ? undefined : npuMode(env.NPU),
    embedder,
    models: {
      known: others,
      allMb: readNumber('MODELS_MB', env) ?? halfOfMemory(),
      keepAliveMs: 1000 * readNumber('KEEP_ALIVE_S', env),
      pulls,
    },
    adapters: aliasesIn(env.ADAPTERS),
    processes: env.PROCESSES,
    stages: env.STAGES || undefined,
    stagesIn: readChoice('STAGES_IN', env) as 'processes' | 'facets',
    persist: env.STORAGE || undefined,
    after: chatReady,
    vars: workerVars(env),
    say: (line) => console.log(line),
  }).catch((error: unknown) => fail(error instanceof Error ? error.message : String(error)));

  let stopping = false;
  const stop = async (signal: NodeJS.Signals) => {
    if (stopping) process.exit(signal === 'SIGINT' ? 130 : 143); // asked twice: at once; what runs ends with this process
    stopping = true;
    const tell = (n: number) =>
      console.log(`Stopping: ${n} unfinished request${n > 1 ? 's' : ''} may end, for ${DRAIN_MS / 1000} s at most.`);
    const left = await server.drain(DRAIN_MS, tell).catch(() => 0);
    if (left > 0) console.log(`${left} did not end; their clients were told.`);
    await server.stop(GRACE_MS).finally(() => process.exit(0));
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => void stop(signal));
  // npm and its shell end on a signal, and may do so without passing it on
  if (env.npm_lifecycle_event) setInterval(() => process.ppid !== parent && !stopping && void stop('SIGTERM'), PARENT_MS).unref();
  void server.lost.then(async (error) => {
    if (stopping) return;
    stopping = true;
    await server.stop().catch(() => {});
    fail(error.message);
  });

  const ready = await fetch(`${server.url}/ready`, { headers: env.API_KEYS ? { authorization: `Bearer ${keysIn(env.API_KEYS)[0]}` } : {} });
  if (!ready.ok) {
    const body = (await ready.json().catch(() => undefined)) as { error?: { message?: string } } | undefined;
    await server.stop();
    fail(body?.error?.message ?? `the replica answered ${ready.status}`);
  }
  const { model, memory } = (await ready.json()) as { model: string; memory: Record<string, number> };
  const mb = (n: number) => `${(n / 1048576).toFixed(0)} MB`;
  const sampling = samplingText((await openPack(folderPack(server.pack.folder))).manifest.generation);
  const embeddings = server.embedder && attempt(() => embeddingPack(embedder?.model).name);
  const used = memory.js + memory.weights + memory.scratch + memory.kv;
  console.log(`
  Turnstone serves ${model} at ${server.url}   (ready in ${((performance.now() - began) / 1000).toFixed(1)} s)

  chat      ${server.url}/
  API       ${server.url}/v1${embeddings ? ` (embeddings: ${embeddings})` : ''}${server.npu ? `\n  prefill   ${server.url}/npu (what the accelerator does)` : ''}
  memory    ${mb(used)} of ${mb(memory.limit)}: weights ${mb(memory.weights)}, KV ${mb(memory.kv)}, scratch ${mb(memory.scratch)}, JavaScript ${mb(memory.js)}${sampling ? `\n  sampling  ${sampling}, where a request does not say` : ''}

  curl -N ${server.url}/v1/chat/completions -H 'content-type: application/json' \\
    -d '{"model": "${model}", "stream": true, "messages": [{"role": "user", "content": "Who are you?"}]}'

  ${model !== 'pebble' ? '' : `${HOW_TO_GET_A_REAL_ONE}\n  `}Ctrl-C stops it.${notes.map((note) => `\n  Note: ${note}`).join('')}`);
  chatIsReady(); // what others need is built now, and other processes are started, not before
  if (Number(env.PROCESSES) > 1)
    server.whole
      .then(() => console.log(`\n  ${env.PROCESSES} processes compute now, each on a core and in memory of its own`))
      .catch(() => {});
}

/** This environment, whose secrets no process that is started from here inherits. */
function withoutSecrets(): NodeJS.ProcessEnv {
  const env = { ...process.env };
  for (const name of SETTING_NAMES) if ((SETTINGS[name] as Setting).secret) delete process.env[name];
  return env;
}

/** What the Worker and its objects read. An accelerator's variables are for one that runs elsewhere, such as `turnstone gpu-host`. */
export function workerVars(env: NodeJS.ProcessEnv): Record<string, string | undefined> {
  const { NPU_URL, NPU_SECRET } = env;
  if (NPU_URL && !NPU_SECRET) fail('NPU_URL names an accelerator: set NPU_SECRET to its secret.');
  const names = SETTING_NAMES.filter((name) => !(SETTINGS[name] as Setting).launcher && (NPU_URL || !ACCELERATOR.has(name)));
  return {
    ...Object.fromEntries(names.map((name) => [name, env[name] === '' ? undefined : env[name]])),
    ...(NPU_URL && { NPU_ROUTE: npuMode(env.NPU) ?? 'local' }),
  };
}

const ACCELERATOR: ReadonlySet<SettingName> = new Set(['NPU_URL', 'NPU_SECRET', 'NPU_NUMERICS', 'NPU_WAIT_MS']);

const npuMode = (value: string | undefined) => (value === '0' ? undefined : ((value || 'auto') as NpuMode));

const halfOfMemory = (): number => Math.floor(totalmem() / 2 / 2 ** 20);

function attempt<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    fail((error as Error).message);
  }
}

function fail(message: string): never {
  console.error(`turnstone: ${message}`);
  process.exit(1);
}

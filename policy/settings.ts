/**
 * Every variable: what it may be, what it is when it is not set, and what is said of it. The types of all environments, the readers, the
 * checks before anything is served, `turnstone start --help` and the README's table all come from here.
 */

import { faultOfKeys } from './keys.ts';

interface Common {
  /** What it is for, in a few words. */
  help: string;
  /** Among the README's: the others are in --help and docs/settings.md only. */
  main?: boolean;
  /** Not for the Worker and its objects: the launcher's own. */
  launcher?: boolean;
  /** Taken out of the environment before anything is started from it. */
  secret?: boolean;
}

export interface NumberSetting extends Common {
  kind: 'number';
  lo: number;
  hi: number;
  whole: boolean;
  otherwise: number | undefined;
  /** How the value when unset is told. */
  shown?: string;
}

export interface ChoiceSetting extends Common {
  kind: 'choice';
  of: readonly string[];
  otherwise: string;
}

export interface TextSetting extends Common {
  kind: 'text';
  /** The value when unset, as it is told. */
  shown?: string;
  /** What is wrong with a value, or nothing. */
  wrong?: (value: string) => string | undefined;
  /** Blank is a value, and wrong; elsewhere it is as if it were not set. */
  strict?: boolean;
}

export type Setting = NumberSetting | ChoiceSetting | TextSetting;

const whole = <O extends number | undefined>(lo: number, hi: number, otherwise: O, help: string, more: Partial<NumberSetting> = {}) => ({
  ...{ kind: 'number' as const, whole: true, lo, hi, help, ...more },
  otherwise,
});
const number = <O extends number | undefined>(lo: number, hi: number, otherwise: O, help: string, more: Partial<NumberSetting> = {}) => ({
  ...{ kind: 'number' as const, whole: false, lo, hi, help, ...more },
  otherwise,
});
const choice = <const T extends string>(of: readonly T[], otherwise: NoInfer<T>, help: string, more: Partial<ChoiceSetting> = {}) => ({
  ...{ kind: 'choice' as const, of, help, ...more },
  otherwise,
});
const text = (help: string, more: Partial<TextSetting> = {}): TextSetting => ({ kind: 'text', help, ...more });

const oneOf =
  (...of: string[]) =>
  (value: string) =>
    of.includes(value) ? undefined : `must be one of ${of.join(', ')}`;
const origin = (value: string): boolean => /^https?:\/\/[^/?#@\s]+$/.test(value);
const longEnough = (value: string) => (value.trim().length < 8 ? 'must have 8 characters or more' : undefined);
const origins = (value: string) =>
  value.split(',').every((o) => o.trim() === '*' || origin(o.trim())) ? undefined : 'must be origins such as https://example.org, or *';

/** `name=model` pairs, comma-separated; undefined when it is none. */
export function aliasesIn(value: string | undefined): Map<string, string> | undefined {
  const pairs = (value ?? '').split(',').flatMap((pair) => (pair.trim() === '' ? [] : [pair.trim().split('=')]));
  if (!pairs.every((p) => p.length === 2 && p.every((part) => part.trim() !== ''))) return undefined;
  return new Map(pairs.map(([name, model]) => [name.trim(), model.trim()]));
}

const main = { main: true };
const own = { launcher: true };

export const SETTINGS = {
  PORT: whole(0, 65_535, 8787, 'port to listen on; 0 takes a free one', { ...main, ...own }),
  HOST: text('address to listen on; beyond loopback API_KEYS is required, or PUBLIC=1', { shown: '127.0.0.1', ...main, ...own }),
  MODEL: text('a pack, a GGUF file, a Hugging Face folder, or a name such as smollm2 or hf:org/repo:Q4_K_M', {
    shown: 'the shipped pebble',
    ...main,
    ...own,
  }),
  MODELS: text('more models, comma-separated: paths or names; those that were pulled are there anyway', { shown: 'none', ...main, ...own }),
  ALIASES: text('other names of models, comma-separated, such as gpt-4o-mini=smollm2', {
    ...{ shown: 'none', ...main },
    wrong: (v) => (aliasesIn(v) ? undefined : 'must be pairs such as gpt-4o-mini=smollm2, comma-separated'),
  }),
  ADAPTERS: text('LoRA adapters, comma-separated, such as orders=./adapter: folders of PEFT or GGUF; asked for as MODEL:orders', {
    ...{ shown: 'none', ...main, ...own },
    wrong: (v) => (aliasesIn(v) ? undefined : 'must be pairs such as orders=./adapter, comma-separated'),
  }),
  ADAPTERS_MB: number(0, 4096, 0, 'MiB for adapters in each replica, part of MEMORY_MB', {
    ...{ shown: 'what those in ADAPTERS take', ...main },
  }),
  MODELS_MB: whole(16, 1 << 20, undefined, 'what all models beside the first may hold together', {
    ...{ shown: "half of the machine's memory", ...main, ...own },
  }),
  KEEP_ALIVE_S: number(0, 366 * 86_400, 300, 'seconds after its last use that a model beside the first stays loaded', { ...main, ...own }),
  FORMAT: choice(
    ['auto', 'w4', 'w8', 'f32'],
    'auto',
    'the numbers that MODEL is converted to; auto keeps those that the file has, and what it costs is said at the start',
    {
      ...{ ...main, ...own },
    },
  ),
  KV: choice(
    ['i8', 'i8v4', 'f32'],
    'i8',
    'format of the KV cache; `i8v4`: values of 4 bits, for a longer context in the same memory',
    main,
  ),
  MEMORY_MB: whole(16, 4096, 128, 'what the isolate may hold', main),
  CONTEXT: whole(16, 1 << 20, undefined, 'longest sequence in tokens', { shown: "the model's own", ...main }),
  MAX_BATCH: whole(1, 256, undefined, 'sequences computed together', { shown: 'as the memory allows', ...main }),
  PROCESSES: whole(1, 16, 1, 'workerd processes that compute, each on a core and in memory of its own; auto: one for each core', {
    ...main,
    ...own,
  }),
  STAGES: whole(1, 16, undefined, 'isolates that the model is cut into, each a process with a core and MEMORY_MB of its own', {
    shown: 'as few as hold it',
    ...{ ...main, ...own },
  }),
  STAGES_IN: choice(
    ['processes', 'facets'],
    'processes',
    "where stages are: a process each; or all in the server's, an isolate each, on one core",
    own,
  ),
  REPLICAS: whole(1, 64, 1, 'replicas of the model in each process; they share the queue and divide the memory', main),
  CELLS: whole(
    1,
    4096,
    1,
    'queues that share the tenants of a model, each with REPLICAS of its own; deployed only: one object answers about 1,000 calls a second',
  ),
  REGION: text('where queues, replicas and sessions are made, a location hint; deployed only', {
    ...{ shown: 'near who asks first', wrong: oneOf('wnam', 'enam', 'sam', 'weur', 'eeur', 'apac', 'oc', 'afr', 'me') },
  }),
  JURISDICTION: text('where they must stay; deployed only, and set before anything is stored', {
    ...{ shown: 'anywhere', wrong: oneOf('eu', 'fedramp') },
  }),
  STORAGE: text('folder for sessions and the queue, for one server at a time', { shown: '.wrangler/state', ...main, ...own }),
  API_KEYS: text(
    'comma-separated keys, each "key" or "name:key", of 8 characters or more; without them the server answers to this machine only, and deployed to nobody',
    {
      ...main,
      secret: true,
      strict: true,
      shown: 'none',
      wrong: faultOfKeys,
    },
  ),
  PUBLIC: choice(['0', '1'], '0', '1: without API_KEYS everybody may', main),
  ADMIN_KEY: text('opens /admin', { secret: true, strict: true, shown: 'closed', wrong: longEnough, ...main }),
  MAX_QUEUE: whole(0, 100_000, 512, 'requests that wait', main),
  MAX_WAIT_S: number(0, 86_400, 60, 'a request predicted to wait longer, in seconds, is refused'),
  RATE_PER_MINUTE: number(0, 1e6, 0, 'requests a minute of one key', { shown: 'no limit', ...main }),
  RATE_BURST: whole(0, 1e6, 0, 'of these, at once', { shown: 'a tenth of RATE_PER_MINUTE' }),
  CONCURRENCY: whole(0, 1e6, 0, 'unfinished requests of one key', { shown: 'no limit', ...main }),
  LEASE_S: number(0.1, 3600, 5, 'seconds after which a silent replica with work counts as dead'),
  SESSION_TTL_S: number(0.1, 366 * 86_400, 86_400, 'seconds that a session is kept after its last use', { shown: 'a day', ...main }),
  SESSION_BYTES: number(0, 9 * 2 ** 30, 64 << 20, 'bytes of KV pages that a session keeps', { shown: '64 MiB' }),
  MAX_BODY_BYTES: whole(1024, 100 << 20, undefined, 'largest request body', { shown: 'what the context can hold, at most 4 MiB' }),
  LOG_REQUESTS: choice(['0', '1'], '0', '1: a line of JSON a request: key by name, route, model, status, time; never content'),
  OTEL_EXPORTER_OTLP_ENDPOINT: text(
    'a collector of OpenTelemetry traces, OTLP over HTTP in JSON; spans have times, sizes and names, never content',
    {
      ...{ shown: 'none' },
      wrong: (v) => (/^https?:\/\/[^?#@\s]+$/.test(v) ? undefined : 'must be an address such as http://127.0.0.1:4318'),
    },
  ),
  OTEL_EXPORTER_OTLP_HEADERS: text('what it is sent with, name=value pairs, comma-separated', {
    ...{ secret: true, shown: 'none' },
    wrong: (v) =>
      v.split(',').every((p) => /^\s*[\w-]+\s*=[^\r\n]*$/.test(p))
        ? undefined
        : 'must be pairs such as authorization=Bearer%20key, comma-separated',
  }),
  OTEL_TRACES_SAMPLER_ARG: number(0, 1, 1, 'share of requests that are traced; one that comes with a traceparent is as that says'),
  OTEL_SERVICE_NAME: text("the service's name in traces", { shown: 'turnstone' }),
  CORS_ORIGINS: text('comma-separated origins whose pages may call the API, or *', { shown: "the server's own", wrong: origins, ...main }),
  PUBLIC_PACKS: choice(['0', '1'], '0', '1: /packs needs no key'),
  NPU: choice(
    ['auto', 'npu', 'local', 'device-time', '0'],
    'auto',
    'where prefill runs; device-time: as if the simulated accelerator were real, its own time decides and it is waited for; 0 leaves it out',
    { ...main, ...own },
  ),
  NPU_DEVICE: choice(['maia-200', 'maia-100', 'edge-npu'], 'maia-200', 'the device that is simulated'),
  NPU_URL: text('an accelerator that runs elsewhere, such as turnstone gpu-host', {
    ...{ shown: 'the simulated one' },
    wrong: (v) => (origin(v.replace(/\/$/, '')) ? undefined : 'must be an origin such as http://127.0.0.1:8790'),
  }),
  NPU_SECRET: text('the secret of NPU_URL', { secret: true, shown: 'none' }),
  NPU_NUMERICS: text('what NPU_URL computes, such as webgpu-1', {
    ...{ shown: 'exact-1' },
    wrong: (v) => (/^[a-z0-9-]{1,32}$/.test(v) ? undefined : 'must be a numerics id such as webgpu-1'),
  }),
  NPU_WAIT_MS: whole(1, 600_000, undefined, 'the least that an accelerator is waited for', {
    shown: 'a second with NPU=npu; else no longer than costs a tenth of the local time',
  }),
  TOOL_CALLS: choice(
    ['auto', 'hermes', 'llama', 'mistral', 'mistral-args', 'granite', 'gemma', 'python', 'xml', 'json'],
    'auto',
    'how the model writes tool calls; auto: as its pack or its chat template says',
  ),
  SPECULATE: choice(['0', '1'], '1', '0 turns prompt-lookup speculation off'),
  EMBEDDER: choice(['0', '1'], '1', '0 leaves POST /v1/embeddings out', own),
  EMBED_MODEL: text("an embedding pack's folder", { shown: 'the shipped dunlin', ...main, ...own }),
  EMBED_MEMORY_MB: whole(16, 65_536, 128, "what the embedder's isolate may hold", own),
} satisfies Record<string, Setting>;

/** What no user sets: the launcher, `turnstone deploy` or a wrangler.toml says it to the Workers. */
export const DEPLOYED = {
  MODEL_ID: text('the first model, or the one of this Worker; its pack lies under that name'),
  FIRST_MODEL: text("where MODEL_ID is not the deployment's first model: that one's name"),
  LOCAL_ONLY: choice(['0', '1'], '0', '1: requests must name a loopback host, and need no key where there is none'),
  REPLICAS_HERE: whole(
    1,
    64,
    undefined,
    'replicas that this isolate holds, where they are not all: they share its weights and divide its pages',
  ),
  ID_SECRET: text("seals responses' ids; unset: one that the queue's object draws once and keeps", { secret: true }),
  NPU_ROUTE: choice(['auto', 'npu', 'local', 'device-time'], 'auto', 'what NPU says'),
  NPU_CHIPS: whole(1, 64, 1, 'chips of the simulated device'),
  EMBED_MODEL_ID: text("the embedder's model"),
  EMBED_SECRET: text('what callers of an embedder send that listens on a port of its own', { secret: true }),
} satisfies Record<string, Setting>;

export type SettingName = keyof typeof SETTINGS;
export const SETTING_NAMES = Object.keys(SETTINGS) as SettingName[];

const VARIABLES = { ...SETTINGS, ...DEPLOYED };
type VariableName = keyof typeof VARIABLES;

/** Variables as Workers have them, text; NPU and EMBEDDER are services there. */
export type Variables = { [N in Exclude<VariableName, 'NPU' | 'EMBEDDER'>]?: string };

type NumberName = { [N in VariableName]: (typeof VARIABLES)[N] extends { kind: 'number' } ? N : never }[VariableName];
type ChoiceName = Exclude<
  { [N in VariableName]: (typeof VARIABLES)[N] extends { kind: 'choice' } ? N : never }[VariableName],
  'NPU' | 'EMBEDDER'
>;
type TextName = Exclude<VariableName, NumberName | ChoiceName | 'NPU' | 'EMBEDDER'>;
type Value<N extends NumberName> = (typeof VARIABLES)[N]['otherwise'];

/** A number as it is set, or what it is otherwise. Throws naming the variable and its range. */
export function readNumber<N extends NumberName>(name: N, env: { [name in N]?: string | undefined }): Value<N> {
  return (parseSetting(name, env[name]) as number | undefined) ?? (VARIABLES[name].otherwise as Value<N>);
}

/** One of its choices as it is set, or what it is otherwise. Throws naming the variable and them. */
export function readChoice<N extends ChoiceName>(name: N, env: { [name in N]?: string | undefined }): (typeof VARIABLES)[N]['otherwise'] {
  return (parseSetting(name, env[name]) ?? VARIABLES[name].otherwise) as (typeof VARIABLES)[N]['otherwise'];
}

/** Whether a variable of 0 or 1 is 1. */
export const isOn = <N extends ChoiceName>(name: N, env: { [name in N]?: string | undefined }): boolean => readChoice(name, env) === '1';

/** A text as it is set. Throws naming the variable where it is wrong. */
export function readText<N extends TextName>(name: N, env: { [name in N]?: string | undefined }): string | undefined {
  return parseSetting(name, env[name]) as string | undefined;
}

/** What a value says; undefined where it is not set. Throws naming the variable. */
export function parseSetting(name: VariableName, value: string | undefined): number | string | undefined {
  const s: Setting = VARIABLES[name];
  if (value === undefined || (value.trim() === '' && !(s.kind === 'text' && s.strict))) return undefined;
  const wrong = (must: string) => new Error(s.secret ? `${name} ${must}` : `${name} is "${value.slice(0, 100)}", ${must}`);
  if (s.kind === 'number') {
    const n = Number(value);
    if (!(n >= s.lo && n <= s.hi) || (s.whole && !Number.isInteger(n))) {
      throw wrong(`must be ${s.whole ? 'an integer' : 'a number'} in ${s.lo}..${s.hi}`);
    }
    return n;
  }
  if (s.kind === 'choice') {
    if (!s.of.includes(value)) throw wrong(`must be ${s.of.slice(0, -1).join(', ')} or ${s.of.at(-1)}`);
    return value;
  }
  const why = s.wrong?.(value);
  if (why) throw wrong(why);
  return value;
}

/** What is wrong in a Worker's environment, a line each. Bindings are no text, and what is the launcher's is not the Worker's. */
export function faultsOfWorker(env: object): string[] {
  const given = Object.entries(env).filter(([name, value]) => {
    const s: Setting | undefined = Object.hasOwn(VARIABLES, name) ? VARIABLES[name as VariableName] : undefined;
    return s && !s.launcher && typeof value === 'string';
  });
  return faultsIn(Object.fromEntries(given));
}

/** What is wrong in an environment, a line each. */
export function faultsIn(env: Readonly<Record<string, string | undefined>>): string[] {
  return (Object.keys(VARIABLES) as VariableName[]).flatMap((name) => {
    try {
      parseSetting(name, env[name]);
      return [];
    } catch (error) {
      return [(error as Error).message];
    }
  });
}

/** Names that are no settings and look like one: `MODLE`, did you mean `MODEL`? */
export function misspelt(names: readonly string[]): { name: string; meant: SettingName }[] {
  return names.flatMap((name) => {
    if (Object.hasOwn(SETTINGS, name) || !/^[A-Z][A-Z0-9_]*$/.test(name)) return [];
    // a short name is near to many words: only its own letters in another order will do
    const near = (s: string) => (Math.min(s.length, name.length) < 5 ? sameLetters(name, s) : slips(name, s) <= (s.length < 9 ? 1 : 2));
    const meant = SETTING_NAMES.find(near);
    return meant ? [{ name, meant }] : [];
  });
}

const sameLetters = (a: string, b: string): boolean =>
  a.length === b.length && slips(a, b) === 1 && [...a].sort().join() === [...b].sort().join();

/** Letters left out, put in, exchanged, or swapped with a neighbour (optimal string alignment). */
function slips(a: string, b: string): number {
  const d = Array.from({ length: a.length + 1 }, (_, i) => Array.from({ length: b.length + 1 }, (_, j) => (i === 0 ? j : j === 0 ? i : 0)));
  for (let i = 1; i <= a.length; i++) {
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1;
      d[i][j] = Math.min(d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + same);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) d[i][j] = Math.min(d[i][j], d[i - 2][j - 2] + 1);
    }
  }
  return d[a.length][b.length];
}

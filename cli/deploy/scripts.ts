/**
 * Wrangler's configuration of a model, a script for each thing that is to have isolates of its own: routes, sessions with the queue,
 * replicas, the embedder and, where the model is in stages, each stage.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import type { StagesPlan } from '../../policy/stages.ts';
import { buildId, ROOT } from '../build.ts';

const WORKER_NAME = /^[a-z0-9][a-z0-9-]{0,49}$/;

/** Throws when no Worker, and none of its stages, can be named so. */
export function checkName(name: string): void {
  if (!WORKER_NAME.test(name)) throw new Error(`--name is "${name}", must be 1 to 50 of a-z, 0-9 and -, as a Worker's name is`);
}

export interface Script {
  name: string;
  /** What its isolates are for. */
  holds: 'a stage' | 'embeddings' | 'sessions, queue' | 'replicas' | 'routes, page';
  /** Its wrangler.toml. */
  path: string;
  /** One that binds nobody, for where the script is not there yet: a script can be bound only once it is there, and two that bind each other neither. */
  first?: string;
}

export interface Deployment {
  /** The pack's name in the bucket. */
  model: string;
  /** Of a model in stages. */
  plan?: StagesPlan;
  /** The pack of a sentence encoder in the bucket. Absent: there are no embeddings. */
  encoder?: string;
  /** Figures of requests go to Analytics Engine. */
  analytics?: boolean;
  /** Folder that the files go into, one folder a script. */
  out: string;
  /** Name of the routes' script; those of the others begin with it. */
  name?: string;
  /** Variables of routes, state and replicas, and of every script. */
  vars?: Readonly<Record<string, string>>;
  shared?: Readonly<Record<string, string>>;
}

/**
 * Writes the configuration of every script, in the order in which they are deployed, after each `first`: what is bound comes before
 * what binds it. The last one is the routes', which alone has an address.
 */
export function writeDeployment({
  model,
  plan,
  encoder,
  analytics,
  out,
  name = 'turnstone',
  vars = {},
  shared = {},
}: Deployment): Script[] {
  const elsewhere = plan?.stages.flatMap((s, i) => (s.replica ? [] : [i])) ?? [];
  const [state, replica, embedder] = [`${name}-state`, `${name}-replica`, `${name}-embedder`];
  const stageName = (i: number) => `${name}-stage-${i}`;
  const write = (script: string, source: string, set: Settings, file = 'wrangler.toml'): string => {
    const path = join(resolve(out), script, file);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, configured(join(ROOT, source), path, { name: script, ...set }));
    return path;
  };
  const all = { ...shared, ...vars, MODEL_ID: model };
  const stages: Record<string, string> = plan ? { STAGES: JSON.stringify(plan) } : {};
  const sessions = [bind('SESSION', 'Session', state), bind('SCHEDULER', 'Scheduler', state)];
  const replicas = bind('REPLICA', 'Replica', replica);
  const parts = elsewhere.map((i) => bind(`STAGE_${i}`, 'Stage', stageName(i)));
  // objects of one script may come into one isolate: it is planned for one of them, and the queue hears of the others (durable-objects/replica)
  const replicaVars = { ...all, ...stages, REPLICAS_HERE: '1' };
  const embeddings = (id: string): Script => {
    const vars = { EMBED_MODEL_ID: id };
    return { name: embedder, holds: 'embeddings', path: write(embedder, 'embedder/wrangler.toml', { vars, tables: [] }) };
  };
  return [
    ...elsewhere.map((i): Script => {
      const path = write(stageName(i), 'durable-objects/stage/wrangler.toml', { vars: shared, tables: [] });
      return { name: stageName(i), holds: 'a stage', path };
    }),
    ...(encoder === undefined ? [] : [embeddings(encoder)]),
    { name: state, holds: 'sessions, queue', path: write(state, 'worker/apart/state.toml', { vars: all, tables: [replicas] }) },
    {
      name: replica,
      holds: 'replicas',
      path: write(replica, 'worker/apart/replica.toml', { vars: replicaVars, tables: [...sessions, ...parts] }),
      first: write(replica, 'worker/apart/replica.toml', { vars: replicaVars, tables: [] }, 'first.toml'),
    },
    {
      name,
      holds: 'routes, page',
      path: write(name, 'worker/apart/routes.toml', {
        vars: { LOG_REQUESTS: '1', ...all },
        tables: [
          ...[...sessions, bind('TENANT', 'Tenant', state), replicas],
          ...(analytics ? [['[[analytics_engine_datasets]]', 'binding = "FIGURES"', 'dataset = "turnstone"', ''].join('\n')] : []),
          ...(encoder === undefined ? [] : [['[[services]]', 'binding = "EMBEDDER"', `service = "${embedder}"`, ''].join('\n')]),
        ],
      }),
    },
  ];
}

/** A class of another script. */
const bind = (name: string, kind: string, script: string): string =>
  ['[[durable_objects.bindings]]', `name = "${name}"`, `class_name = "${kind}"`, `script_name = "${script}"`, ''].join('\n');

interface Settings {
  vars: Readonly<Record<string, string>>;
  /** Lines of TOML behind the others. */
  tables: readonly string[];
}

/** A wrangler.toml of the repository as it is at `to`: its paths lead from there, and its name and variables are these. */
function configured(from: string, to: string, { name, vars, tables }: Settings & { name: string }): string {
  const moved = (path: string) => relative(dirname(to), resolve(dirname(from), path)).replaceAll('\\', '/');
  const text = readFileSync(from, 'utf8')
    .replace(/^#.*\n/gm, '')
    .replace(/^name = ".*"$/m, `name = ${quoted(name)}`)
    .replace(/^(main|directory) = "(.*)"$/gm, (_, key: string, path: string) => `${key} = ${quoted(moved(path))}`)
    .replace(/^\[assets\]\ndirectory = "\S*embedder-assets"\n.*\n/m, '') // its pack comes from the bucket
    .replace(/^\[vars\]\n(?:[A-Z_]+ = .*\n)*/m, '');
  const variables = Object.entries(vars).map(([key, value]) => `${key} = ${quoted(value)}`);
  return [
    `# Written by the command line (\`turnstone deploy\`, \`turnstone stages\`) from ${relative(ROOT, from)}.`,
    text.trim(),
    '',
    ...(variables.length > 0 ? ['[vars]', ...variables, ''] : []),
    ...tables,
    '[define]',
    `BUILD_ID = ${quoted(JSON.stringify(buildId()))}`,
    '',
  ].join('\n');
}

/** A basic string of TOML, which JSON's are too. */
const quoted = (text: string): string => JSON.stringify(text);

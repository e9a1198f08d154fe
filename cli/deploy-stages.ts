/** Wrangler's configuration of a model: the replica's Worker and, where it is in stages, one script for each that is elsewhere. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import type { StagesPlan } from '../policy/stages.ts';
import { buildId, ROOT } from './build.ts';

const WORKER_NAME = /^[a-z0-9][a-z0-9-]{0,49}$/;

/** Throws when no Worker, and none of its stages, can be named so. */
export function checkName(name: string): void {
  if (!WORKER_NAME.test(name)) throw new Error(`--name is "${name}", must be 1 to 50 of a-z, 0-9 and -, as a Worker's name is`);
}

export interface Script {
  name: string;
  /** Its wrangler.toml. */
  path: string;
}

export interface Deployment {
  /** The pack's name in the bucket. */
  model: string;
  /** Of a model in stages. */
  plan?: StagesPlan;
  /** Folder that the files go into, one folder a script. */
  out: string;
  /** Name of the replica's script; those of the stages begin with it. */
  name?: string;
  /** Variables of the replica's Worker, and of every script. */
  vars?: Readonly<Record<string, string>>;
  shared?: Readonly<Record<string, string>>;
}

/** Writes the configuration of every script, in the order in which they are deployed: the stages, then what binds them. */
export function writeDeployment({ model, plan, out, name = 'turnstone', vars = {}, shared = {} }: Deployment): Script[] {
  const elsewhere = plan?.stages.flatMap((s, i) => (s.replica ? [] : [i])) ?? [];
  const stageName = (i: number) => `${name}-stage-${i}`;
  const write = (script: string, source: string, set: Settings): Script => {
    const path = join(resolve(out), script, 'wrangler.toml');
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, configured(join(ROOT, source), path, { name: script, ...set }));
    return { name: script, path };
  };
  const bindings = elsewhere.flatMap((i) => [
    '[[durable_objects.bindings]]',
    ...[`name = "STAGE_${i}"`, 'class_name = "Stage"', `script_name = "${stageName(i)}"`, ''],
  ]);
  return [
    ...elsewhere.map((i) => write(stageName(i), 'durable-objects/stage/wrangler.toml', { vars: shared, tables: [] })),
    write(name, 'wrangler.toml', {
      vars: { ...shared, ...vars, MODEL_ID: model, ...(plan && { STAGES: JSON.stringify(plan) }) },
      tables: bindings,
    }),
  ];
}

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

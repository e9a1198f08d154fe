/** The scripts of a deployment, as wrangler has built them, together in one workerd: each has an isolate of its own, as on Cloudflare. */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Readable } from 'node:stream';
import { Log, LogLevel, Miniflare, type MiniflareOptions, type WorkerOptions } from 'miniflare';
import { unstable_readConfig } from 'wrangler';
import { deployCommand } from '../cli/commands/deploy.ts';
import { readRecord } from '../cli/deploy/record.ts';
import { type LocalPack, uploadPack } from '../cli/packs.ts';
import { runWrangler } from '../cli/wrangler.ts';
import { jsMemory } from './isolate.ts';

export interface Script {
  name: string;
  /** Its wrangler.toml. */
  path: string;
  /** Folder of what wrangler built from it. */
  built: string;
}

/** Writes and builds the scripts of a model into `out`, by the dry run of `turnstone deploy`. Bindings' order: the routes last. */
export async function buildApart(
  model: string | undefined,
  out: string,
  flags: { stages?: number; analytics?: boolean } = {},
  print: (line: string) => void = () => {},
  tried: (name: string, said: string) => void = () => {},
): Promise<Script[]> {
  const built = (name: string) => join(out, 'built', name);
  await deployCommand(model, { out, name: 'small', dryRun: true, ...flags }, print, async (args) => {
    const name = dirname(args.at(-1) as string)
      .split('/')
      .at(-1) as string;
    const said = await runWrangler([...args, '--outdir', built(name)]);
    tried(name, said);
    return said;
  });
  return (readRecord(out)?.scripts ?? []).map(({ name, path }) => ({ name, path, built: built(name) }));
}

/** What is read of wrangler's configuration. */
interface Config {
  compatibility_date: string;
  compatibility_flags: string[];
  vars: Record<string, string>;
  r2_buckets: { binding: string; bucket_name: string }[];
  services?: { binding: string; service: string }[];
  durable_objects: { bindings: { name: string; class_name: string; script_name?: string }[] };
}

/** A script as Miniflare takes it: code, and what its configuration binds. `change`: of its code, such as another build's name. */
export function workerOf({ name, path, built }: Script, vars: Record<string, string>, change = (code: string) => code): WorkerOptions {
  const c: Config = unstable_readConfig({ config: path });
  const files = readdirSync(built);
  const main = files.find((f) => f.endsWith('.js')) as string;
  const wasm = files.filter((f) => f.endsWith('.wasm'));
  return {
    name,
    modules: [
      { type: 'ESModule', path: main, contents: change(readFileSync(join(built, main), 'utf8')) },
      ...wasm.map((path) => ({ type: 'CompiledWasm' as const, path, contents: readFileSync(join(built, path)) })),
    ],
    compatibilityDate: c.compatibility_date,
    compatibilityFlags: c.compatibility_flags,
    bindings: { ...c.vars, ...vars },
    r2Buckets: Object.fromEntries(c.r2_buckets.map((b) => [b.binding, b.bucket_name])),
    serviceBindings: Object.fromEntries(c.services?.map((b) => [b.binding, b.service]) ?? []),
    durableObjects: Object.fromEntries(
      c.durable_objects.bindings.map((b) => [b.name, { className: b.class_name, scriptName: b.script_name, useSQLite: true }]),
    ),
  };
}

export interface Apart {
  url: string;
  miniflare: Miniflare;
  options: MiniflareOptions;
  /** MiB that V8 holds of a script's isolate; its wasm memory is beside it. */
  js(script: string): Promise<number>;
  /** And what of it is in use, after a collection. */
  inUse(script: string): Promise<number>;
  stop(): Promise<void>;
}

/** Starts them, the last one at the address, with the packs in their bucket. */
export async function startApart(workers: WorkerOptions[], packs: readonly LocalPack[], persist?: string): Promise<Apart> {
  const options: MiniflareOptions = {
    ...{ workers: [...workers].reverse(), inspectorPort: 0, cf: false, log: new Log(LogLevel.ERROR) },
    ...(persist && { defaultPersistRoot: persist }),
    handleRuntimeStdio: (stdout: Readable, stderr: Readable) => {
      stdout.resume(); // a line for each request
      stderr.pipe(process.stderr);
    },
  };
  const miniflare = new Miniflare(options);
  const url = (await miniflare.ready).origin;
  const bucket = await miniflare.getR2Bucket('PACKS');
  for (const pack of packs) await uploadPack(bucket, pack);
  return {
    ...{ url, miniflare, options },
    js: async (script) => jsMemory((await miniflare.getInspectorURL()).host, `core:user:${script}`),
    // every script has a part in it
    inUse: async (script) =>
      jsMemory((await miniflare.getInspectorURL()).host, `core:user:${script}`, () => fetch(`${url}/ready`).catch(() => {})),
    stop: () => miniflare.dispose(),
  };
}

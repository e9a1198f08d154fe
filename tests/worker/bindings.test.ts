/** What the wrangler.toml files bind is what the Workers' types say, each name with its kind; what a type demands is bound. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

const ROOT = join(import.meta.dirname, '../..');
const read = (file: string) => readFileSync(join(ROOT, file), 'utf8');

/** The platform's type of what a table of wrangler.toml binds. */
const KINDS: Record<string, string> = {
  r2_buckets: 'R2Bucket',
  'durable_objects.bindings': 'DurableObjectNamespace',
  services: 'Fetcher',
  assets: 'Fetcher',
  analytics_engine_datasets: 'AnalyticsEngineDataset',
};

/** Name and kind of all that a wrangler.toml binds. */
function bound(file: string): Map<string, string> {
  const all = new Map<string, string>();
  let kind: string | undefined;
  for (const line of read(file).split('\n')) {
    const table = /^\[\[?([\w.]+)\]\]?$/.exec(line)?.[1];
    if (table) kind = KINDS[table];
    const name = kind && /^(?:binding|name) = "(\w+)"$/.exec(line)?.[1];
    if (kind && name) all.set(name, kind);
  }
  return all;
}

/** Names of an interface with their types; `?` says that it may be left out. */
function declared(file: string): Map<string, { type: string; optional: boolean }> {
  const fields = read(file).matchAll(/^ {2}([A-Z_]+)(\??): (DurableObjectNamespace|R2Bucket|Fetcher|AnalyticsEngineDataset);$/gm);
  return new Map(Array.from(fields, ([, name, mark, type]) => [name, { type, optional: mark === '?' }]));
}

const REPLICA = ['durable-objects/env.ts', 'durable-objects/replica/port.ts'];
const STATE = ['durable-objects/session/env.ts'];
const ROUTES = ['worker/env.ts'];
const WORKERS = [
  { config: 'wrangler.toml', types: [...ROUTES, ...STATE, ...REPLICA] },
  { config: 'templates/worker/wrangler.toml', types: ['types/worker.d.ts'] },
  { config: 'worker/apart/routes.toml', types: ROUTES },
  { config: 'worker/apart/replica.toml', types: REPLICA },
  { config: 'durable-objects/stage/wrangler.toml', types: ['durable-objects/stage/load.ts'], own: ['STAGE'] },
  { config: 'accelerator/wrangler.toml', types: ['accelerator/index.ts'] },
  { config: 'embedder/wrangler.toml', types: ['embedder/index.ts'] },
];

describe('bindings', () => {
  it.each(WORKERS)('of $config are those of its types', ({ config, types, own = [] }) => {
    const says = new Map(types.flatMap((file) => [...declared(file)]));
    expect(says.size).toBeGreaterThan(0);
    const binds = bound(config);
    expect(binds.size).toBeGreaterThan(0);
    for (const [name, kind] of binds) {
      if (own.includes(name)) continue; // its own class, which only others call
      expect(says.get(name)?.type, `${name} in the types`).toBe(kind);
    }
    for (const [name, { optional }] of says) if (!optional) expect([...binds.keys()], config).toContain(name);
  });

  it('of the package are what the Worker takes', () => {
    const ours = new Map([...ROUTES, ...STATE, ...REPLICA].flatMap((file) => [...declared(file)]));
    for (const [name, { type }] of declared('types/worker.d.ts')) expect(ours.get(name)?.type, name).toBe(type);
  });
});

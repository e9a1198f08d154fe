/** The embedder's Worker in a process of its own: ONNX Runtime's memory and time are not the replicas'. Started by cli/embedder.ts. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { Log, LogLevel, Miniflare } from 'miniflare';
import { unstable_getMiniflareWorkerOptions as workerOptions } from 'wrangler';
import { ROOT } from './build.ts';
import { serveLauncher } from './signals.ts';

const { EMBED_PERSIST = '', EMBED_MODEL_ID = '', EMBED_SECRET = '', EMBED_MEMORY_MB = '', EMBED_INSPECT } = process.env;
// ONNX Runtime's glue has an import() of its own that is never reached; modules are named, so that nobody looks where it leads.
const BUILT = join(ROOT, '.build/embedder');
const { workerOptions: worker } = workerOptions(join(ROOT, 'embedder/wrangler.toml'));
const { assets: _, ...own } = worker; // the model is in the bucket
const miniflare = new Miniflare({
  ...own,
  name: 'embedder',
  modules: [
    { type: 'ESModule', path: join(BUILT, 'index.js') }, // first: the entry
    ...readdirSync(BUILT)
      .filter((f) => f.endsWith('.wasm'))
      .map((f) => ({ type: 'CompiledWasm' as const, path: join(BUILT, f) })),
  ],
  modulesRoot: BUILT,
  bindings: { ...worker.bindings, EMBED_MODEL_ID, EMBED_SECRET, EMBED_MEMORY_MB },
  host: '127.0.0.1',
  port: 0,
  cf: false,
  ...(EMBED_INSPECT && { inspectorPort: 0 }),
  r2Persist: EMBED_PERSIST,
  log: new Log(LogLevel.ERROR),
});
const tell = serveLauncher(() => miniflare.dispose());
const url = await miniflare.ready;
const inspector = EMBED_INSPECT ? (await miniflare.getInspectorURL()).host : undefined;
tell({ address: url.host, inspector });

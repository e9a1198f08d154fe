/** The embedder's Worker in a process of its own: ONNX Runtime's memory and time are not the replicas'. Started by cli/embedder.ts. */
import { join } from 'node:path';
import { Log, LogLevel, Miniflare } from 'miniflare';
import { unstable_getMiniflareWorkerOptions as workerOptions } from 'wrangler';
import { ROOT } from './build.ts';

const { EMBED_PERSIST = '', EMBED_MODEL_ID = '', EMBED_SECRET = '', EMBED_MEMORY_MB = '' } = process.env;
const { workerOptions: worker } = workerOptions(join(ROOT, 'embedder/wrangler.toml'));
const { assets: _, ...own } = worker; // the model is in the bucket
const miniflare = new Miniflare({
  ...own,
  modules: true,
  modulesRoot: join(ROOT, '.build/embedder'),
  scriptPath: join(ROOT, '.build/embedder/index.js'),
  modulesRules: [{ type: 'CompiledWasm', include: ['**/*.wasm'] }],
  bindings: { ...worker.bindings, EMBED_MODEL_ID, EMBED_SECRET, EMBED_MEMORY_MB },
  host: '127.0.0.1',
  port: 0,
  cf: false,
  r2Persist: EMBED_PERSIST,
  log: new Log(LogLevel.ERROR),
});
const url = await miniflare.ready;
process.send?.({ address: url.host });

const stop = () => void miniflare.dispose().finally(() => process.exit(0));
process.on('SIGTERM', stop);
process.on('SIGINT', () => {}); // the launcher decides
process.on('disconnect', stop); // the launcher is gone

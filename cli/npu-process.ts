/** The accelerator's Worker in a process of its own: a computation there must not block the replicas' thread. Started by cli/npu.ts. */
import { join } from 'node:path';
import { Log, LogLevel, Miniflare } from 'miniflare';
import { unstable_getMiniflareWorkerOptions as workerOptions } from 'wrangler';
import { ROOT } from './build.ts';
import { serveLauncher } from './signals.ts';

const { NPU_PERSIST = '', MODEL_ID = '', NPU_SECRET = '', NPU_DEVICE = '', KV = '', CONTEXT = '' } = process.env;
const { workerOptions: worker } = workerOptions(join(ROOT, 'npu/wrangler.toml'));
const miniflare = new Miniflare({
  ...worker,
  modules: true,
  modulesRoot: join(ROOT, '.build/npu'),
  scriptPath: join(ROOT, '.build/npu/index.js'),
  modulesRules: [{ type: 'CompiledWasm', include: ['**/*.wasm'] }],
  bindings: { ...worker.bindings, MODEL_ID, NPU_SECRET, KV, CONTEXT, ...(NPU_DEVICE && { NPU_DEVICE }) },
  host: '127.0.0.1',
  port: 0,
  cf: false,
  r2Persist: NPU_PERSIST,
  log: new Log(LogLevel.ERROR),
});
const tell = serveLauncher(() => miniflare.dispose());
const url = await miniflare.ready;
tell({ address: url.host });

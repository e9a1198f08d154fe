/** The accelerator's Worker: opens the model's pack for the simulated device and serves it to the replicas (accelerator/wrangler.toml). */
import { sha256 } from '@noble/hashes/sha2.js';
import relaxed from '../.build/wasm/turnstone-npu-relaxed.wasm';
import simd from '../.build/wasm/turnstone-npu-simd.wasm';
import { PAGE, pageBytes } from '../engine/layout.ts';
import { kvShape } from '../engine/runner.ts';
import { loadWeights, openPack } from '../models/pack/load.ts';
import { deployedPack, type PackBindings } from '../models/pack/source.ts';
import { readChoice, readNumber, type Variables } from '../policy/settings.ts';
import { createNpu } from '../simulator/backend.ts';
import { device } from '../simulator/device/index.ts';
import { Prefiller } from './prefiller.ts';
import { Recorder } from './recorder.ts';
import { createService, type ServiceOptions } from './service.ts';

export interface NpuEnv extends Variables {
  /** Packs: `<MODEL_ID>/model.json` and its shards; without the bucket, or when it lacks the model, the assets are asked. */
  PACKS?: R2Bucket;
  ASSETS?: Fetcher;
  MODEL_ID: string;
}

const CHUNK = 256;
const PAGES_BYTES = 256 << 20;

const open =
  (env: NpuEnv): ServiceOptions['open'] =>
  async () => {
    const source = await deployedPack(env as PackBindings, env.MODEL_ID);
    const { manifest, digest } = await openPack(source);
    const { config } = manifest;
    const recorder = new Recorder();
    const npu = createNpu(device(readChoice('NPU_DEVICE', env)), {
      ...{ chips: readNumber('NPU_CHIPS', env), modules: { relaxed, simd }, checkRaces: false },
      onLaunch: (launch) => recorder.add(launch),
    });
    const weights = await loadWeights(source, manifest, npu);
    const kv = readChoice('KV', env);
    const context = Math.min(config.context, readNumber('CONTEXT', env) ?? config.context);
    const perPage = pageBytes(kvShape(config, kv));
    const pages = Math.max(Math.ceil(context / PAGE), Math.min(8192, Math.floor(PAGES_BYTES / perPage)));
    const prefiller = new Prefiller({
      ...{ backend: npu, config, weights, kv, pack: digest, hash: sha256, chunk: CHUNK, context, pages },
    });
    return { prefiller, deviceUs: () => npu.deviceUs, recorder };
  };

/** One device an isolate. */
let service: ReturnType<typeof createService> | undefined;

export default {
  async fetch(request: Request, env: NpuEnv, ctx: ExecutionContext): Promise<Response> {
    if (!env.NPU_SECRET) return Response.json({ error: { message: 'NPU_SECRET is not set' } }, { status: 500 });
    service ??= createService({
      ...{
        device: device(readChoice('NPU_DEVICE', env)),
        chips: readNumber('NPU_CHIPS', env),
        secret: env.NPU_SECRET,
        open: open(env),
        hash: sha256,
      },
      now: () => Date.now(),
      breathe: () => new Promise((resolve) => setTimeout(resolve, 0)),
    });
    return service.fetch(request, (work) => ctx.waitUntil(work));
  },
};

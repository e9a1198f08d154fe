import relaxed from '../../.build/wasm/turnstone-relaxed.wasm';
import simd from '../../.build/wasm/turnstone-simd.wasm';
import { type Allocator, allocPart, type Backend, formatsOf, Stage } from '../../engine/index.ts';
import { allocBest } from '../../engine/logits.ts';
import { allocPools, allocRunner } from '../../engine/runner.ts';
import { countWasm, createWasm } from '../../kernels/wasm/index.ts';
import { ADAPTER_HEADER, adapterFile, readAdapter } from '../../models/pack/adapter.ts';
import { loadPart, openPack } from '../../models/pack/load.ts';
import { formatsIn, type Manifest } from '../../models/pack/manifest.ts';
import { deployedPack, type PackBindings, type PackSource, readWhole } from '../../models/pack/source.ts';
import { readNumber, type Variables } from '../../policy/settings.ts';
import { jsBytes } from '../replica/memory.ts';
import type { StageOrder } from './wire.ts';

/** What a stage's Worker is bound to, and its variables. */
export interface StageEnv extends Variables {
  /** Packs, as the replica has them. */
  PACKS?: R2Bucket;
  ASSETS?: Fetcher;
}

const MIB = 1 << 20;

/** What loads the stage that the order asks for. Rejects with what is wrong with it: another pack, no room; `load` with damaged shards. */
export async function readyStage(env: StageEnv, order: StageOrder): Promise<{ load(): Promise<Stage> }> {
  const source = await deployedPack(env as PackBindings, order.model);
  const { manifest, digest } = await openPack(source);
  if (digest !== order.pack)
    throw new Error(`its pack of ${order.model} is ${digest.slice(0, 12)}, the replica's ${order.pack.slice(0, 12)}`);
  const count = countWasm();
  allocStage(count, manifest, order);
  const need = count.used;
  const limit = readNumber('MEMORY_MB', env) * MIB;
  if (jsBytes(0) + need > limit) {
    throw new Error(`its part needs ${mb(need)} beside ${mb(jsBytes(0))} of JavaScript, the isolate may hold ${mb(limit)} (MEMORY_MB)`);
  }
  return { load: async () => openStage(source, manifest, createWasm({ modules: { relaxed, simd }, memoryBytes: need + 64 }), order) };
}

type Held = Pick<StageOrder, 'part' | 'kv' | 'size' | 'pages'>;

/** Allocates what a part takes, or counts it. */
export function allocStage(be: Allocator, { config, tensors }: Manifest, { part, kv, size, pages }: Held): void {
  const { weights } = allocPart(be, config, part, formatsIn(tensors));
  allocRunner(be, config, formatsOf(weights), size, weights.head?.N ?? 0);
  if (part.head) allocBest(be, size.maxRows, part.head[1] - part.head[0]);
  allocPools(be, config, kv, pages, size, part.layers);
}

/** Loads a part onto a backend that has room for it. */
export async function openStage(source: PackSource, manifest: Manifest, backend: Backend, o: Held): Promise<Stage> {
  const weights = await loadPart(source, manifest, backend, o.part);
  const { config } = manifest;
  const most = (o.size.adapters ?? 0) + ADAPTER_HEADER;
  const find = async (id: string) => readAdapter(config, id, await readWhole(source, adapterFile(id), most));
  return new Stage({ backend, config, weights, part: o.part, kv: o.kv, size: o.size, pages: o.pages, find });
}

const mb = (n: number): string => `${(n / MIB).toFixed(1)} MB`;

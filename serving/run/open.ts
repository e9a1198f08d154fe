/** A model outside of Workers: in a page, or on a host with a GPU. The engine, the pack and the answers are the replica's. */
import { sha256 } from '@noble/hashes/sha2.js';
import { allocWeights } from '../../engine/anatomy.ts';
import {
  type Allocator,
  type Backend,
  Engine,
  formatsOf,
  type KvFormat,
  kvShape,
  type Plan,
  type PlanInput,
  planMemory,
} from '../../engine/index.ts';
import { PAGE, pageBytes } from '../../engine/layout.ts';
import { countWasm, createWasm, type WasmModules } from '../../kernels/wasm/index.ts';
import { countWebGpu, createWebGpu, type WebGpuOptions } from '../../kernels/webgpu/index.ts';
import type { NewHasher } from '../../models/pack/hash.ts';
import { loadTokenizer, loadWeights, openPack } from '../../models/pack/load.ts';
import { formatsIn } from '../../models/pack/manifest.ts';
import type { PackSource } from '../../models/pack/source.ts';
import { fallbackStops, templateOf } from '../../models/pack/template.ts';
import { servingMetrics } from '../../openai/prometheus.ts';
import { AdapterShelf } from './adapters.ts';
import { explained } from './device-fault.ts';
import { EngineLoop } from './loop.ts';
import type { Runtime } from './runtime.ts';

/** A kind of backend: how to count what it will take, and how to make one. */
export interface Maker {
  count(): Allocator & { readonly used: number };
  /** Bytes one buffer may have, where there is a limit; the KV pages are one. */
  largest?: number;
  create(memoryBytes: number): Backend;
}

export const wasmMaker = (modules: WasmModules): Maker => ({
  count: countWasm,
  create: (memoryBytes) => createWasm({ modules, memoryBytes }),
});

export const webGpuMaker = (device: GPUDevice, options: WebGpuOptions): Maker => ({
  count: countWebGpu,
  largest: Math.min(device.limits.maxStorageBufferBindingSize, device.limits.maxBufferSize),
  create: () => explained(createWebGpu(device, options)),
});

export interface OpenOptions {
  source: PackSource;
  /** The model's name in the API. */
  id: string;
  maker: Maker;
  /** For weights, pages and scratch together. */
  memoryBytes: number;
  context?: number;
  /** Bytes for adapters, which are looked for beside the pack; none unless given. */
  adapterBytes?: number;
  /** Format of KV pages; default i8. */
  kv?: KvFormat;
  onProgress?: (loaded: number, total: number) => void;
  hasher?: NewHasher;
}

/** Loads a pack and makes an engine of it. Rejects with ModelFileError, MemoryPlanError or the device's error. */
export async function openModel(o: OpenOptions): Promise<Runtime> {
  const { manifest, digest } = await openPack(o.source);
  const { config, generation } = manifest;
  const count = o.maker.count();
  const counted = allocWeights(count, config, formatsIn(manifest.tensors));
  const weightBytes = count.used;
  const kv = o.kv ?? 'i8';
  const wish: PlanInput = {
    config,
    formats: formatsOf(counted.weights),
    kv,
    weightBytes,
    memoryBytes: o.memoryBytes,
    jsBytes: 0,
    measure: (build) => {
      const c = o.maker.count();
      const before = c.used;
      build(c);
      return c.used - before;
    },
    context: o.context,
    maxTokens: 256,
    adapterBytes: o.adapterBytes,
  };
  let plan: Plan = planMemory(wish);
  const most = Math.floor((o.maker.largest ?? Number.POSITIVE_INFINITY) / pageBytes(kvShape(config, kv)));
  if (plan.pages > most) plan = planMemory({ ...wish, pages: most, context: Math.min(plan.context, most * PAGE) });
  const backend = o.maker.create(weightBytes + plan.bytes.scratch + plan.bytes.kv + 64);
  try {
    const weights = await loadWeights(o.source, manifest, backend, { onProgress: o.onProgress, hasher: o.hasher });
    await backend.submit(); // a device that has no room says so here
    const tokenizer = await loadTokenizer(o.source, manifest);
    const text = (id: number | undefined) => (id === undefined ? undefined : new TextDecoder().decode(tokenizer.bytesOf(id)));
    const { stopIds, ...sampling } = generation;
    const served = {
      id: o.id,
      digest,
      fingerprint: `${digest.slice(0, 12)}-${backend.numerics}`,
      config,
      tokenizer,
      template: templateOf(manifest, tokenizer),
      stopIds: [...new Set([...tokenizer.stopIds, ...stopIds, ...fallbackStops(manifest, tokenizer)])],
      control: tokenizer.specialIds.map((id) => text(id) as string),
      sampling,
      backend,
      weights,
      plan,
      engines: new Map(),
    };
    const engine = new Engine({ backend, config, weights, plan, hash: sha256, pack: digest });
    const metrics = servingMetrics(o.id);
    const adapters = engine.adapters && new AdapterShelf(o.id, engine, o.source, metrics.registry);
    return { served, engine, loop: new EngineLoop(engine), metrics, adapters };
  } catch (error) {
    backend.dispose();
    throw error;
  }
}

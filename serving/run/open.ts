/** A pack becomes a model that is loaded, and that a runtime, on every host. What hosts differ in, they say: the backend, the memory, the layout. */
import { sha256 } from '@noble/hashes/sha2.js';
import { allocWeights } from '../../engine/anatomy.ts';
import {
  type Allocator,
  type Backend,
  Engine,
  formatsOf,
  kvShape,
  type ModelWeights,
  type Passes,
  type Plan,
  type PlanInput,
  planMemory,
} from '../../engine/index.ts';
import { PAGE, pageBytes } from '../../engine/layout.ts';
import { countWasm, createWasm, type WasmModules } from '../../kernels/wasm/index.ts';
import { countWebGpu, createWebGpu, type WebGpuOptions } from '../../kernels/webgpu/index.ts';
import type { NewHasher } from '../../models/pack/hash.ts';
import { loadTokenizer, loadWeights, openPack } from '../../models/pack/load.ts';
import { formatsIn, type Manifest } from '../../models/pack/manifest.ts';
import type { PackSource } from '../../models/pack/source.ts';
import { fallbackStops, templateOf } from '../../models/pack/template.ts';
import { servingMetrics } from '../../openai/prometheus.ts';
import { AdapterShelf } from './adapters.ts';
import { explained } from './device-fault.ts';
import { EngineLoop } from './loop.ts';
import type { Kept, Runtime, Served } from './runtime.ts';

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

/** Where a model's weights are: in this backend, or in stages. */
export interface Layout {
  plan: Plan;
  /** Of this backend. */
  memoryBytes: number;
  load(backend: Backend): Promise<ModelWeights | Passes>;
}

/** What of the plan a host decides. */
type Wishes = Partial<Pick<PlanInput, 'kv' | 'engines' | 'context' | 'maxTokens' | 'maxSequences' | 'adapterBytes'>>;

export interface OpenOptions extends Wishes {
  source: PackSource;
  /** The model's name in the API. */
  id: string;
  maker: Maker;
  /** For weights, pages and scratch together, and for what JavaScript takes where the host counts it. */
  memoryBytes: number;
  /** Of JavaScript, with a vocabulary of that size; none is counted unless given. */
  jsBytes?: (vocab: number) => number;
  /** The numerics that pages are named by, where they are not this backend's alone. */
  numerics?: string;
  /** How the model writes tool calls, where its pack is not believed. */
  toolCalls?: string;
  /** Another layout than all weights in this backend. */
  layout?: (manifest: Manifest, digest: string) => Layout;
  onProgress?: (loaded: number, total: number) => void;
  hasher?: NewHasher;
}

/** Loads a pack. Rejects with ModelFileError, MemoryPlanError or the device's error. */
export async function loadModel(o: OpenOptions): Promise<Served> {
  const { id, source } = o;
  const { manifest, digest } = await openPack(source);
  const { config, generation } = manifest;
  const { plan, memoryBytes, load } = o.layout ? o.layout(manifest, digest) : inOnePiece(manifest, o);
  const tokenizer = await loadTokenizer(source, manifest); // before memory is taken: reading a large vocabulary leaves tens of MB to be collected
  const made = o.maker.create(memoryBytes);
  const backend = o.numerics ? { ...made, numerics: o.numerics } : made;
  try {
    const weights = await load(backend);
    await backend.submit(); // a device that has no room says so here
    const { stopIds, ...sampling } = generation;
    return {
      id,
      digest,
      fingerprint: `${digest.slice(0, 12)}-${backend.numerics}`,
      config,
      tokenizer,
      template: templateOf(manifest, tokenizer, o.toolCalls),
      stopIds: [...new Set([...tokenizer.stopIds, ...stopIds, ...fallbackStops(manifest, tokenizer)])],
      control: tokenizer.specialIds.map((id) => new TextDecoder().decode(tokenizer.bytesOf(id))),
      sampling,
      backend,
      weights,
      plan,
      source,
      engines: new Map(),
    };
  } catch (error) {
    made.dispose();
    throw error;
  }
}

/** All weights in this backend, and pages in what they leave. */
function inOnePiece(manifest: Manifest, o: OpenOptions): Layout {
  const { config, tensors } = manifest;
  const { maker, memoryBytes, kv = 'i8' } = o;
  const jsBytes = o.jsBytes?.(config.vocab) ?? 0;
  const count = maker.count();
  const counted = allocWeights(count, config, formatsIn(tensors));
  const weightBytes = count.used;
  const wish: PlanInput = {
    ...{ config, formats: formatsOf(counted.weights), kv, weightBytes, memoryBytes, jsBytes },
    ...{ engines: o.engines, context: o.context, maxTokens: o.maxTokens, maxSequences: o.maxSequences, adapterBytes: o.adapterBytes },
    measure: (build) => {
      const c = maker.count();
      const before = c.used;
      build(c);
      return c.used - before;
    },
  };
  let plan = planMemory(wish);
  const most = Math.floor((maker.largest ?? Number.POSITIVE_INFINITY) / pageBytes(kvShape(config, kv)));
  if (plan.pages > most) plan = planMemory({ ...wish, pages: most, context: Math.min(plan.context, most * PAGE) });
  const load = (backend: Backend) => loadWeights(o.source, manifest, backend, { onProgress: o.onProgress, hasher: o.hasher });
  return { plan, memoryBytes: weightBytes + plan.bytes.scratch + plan.bytes.kv + 64, load };
}

/** An engine on a loaded model. `rowCost`: what another row of a step costs, where it is not measured. */
export function startEngine({ id, backend, config, weights, plan, digest }: Served, rowCost?: number): Kept {
  return { engine: new Engine({ backend, config, weights, plan, hash: sha256, pack: digest, rowCost }), metrics: servingMetrics(id) };
}

/** What requests meet: the loop of the engine, and its adapters where the host has some. */
export function runtimeOf(served: Served, { engine, metrics }: Kept, hasAdapters = engine.adapters !== undefined): Runtime {
  const adapters = hasAdapters ? new AdapterShelf(served.id, engine, served.source, metrics.registry) : undefined;
  return { served, engine, loop: new EngineLoop(engine), metrics, adapters };
}

/** A pack as a runtime of its own. Rejects as `loadModel` does. */
export async function openModel(o: OpenOptions): Promise<Runtime> {
  const served = await loadModel({ maxTokens: 256, ...o });
  return runtimeOf(served, startEngine(served));
}

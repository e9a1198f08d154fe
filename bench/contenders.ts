/** One face for all engines that are compared: a prompt's prefill, and decode steps after it. One thread each. */

import { build } from '../cli/build.ts';
import { wasmModules } from '../cli/wasm.ts';
import { allocWeights } from '../engine/anatomy.ts';
import { countWasm, createWasm } from '../kernels/wasm/index.ts';
import { folderPack, nodeHasher } from '../models/node/files.ts';
import { loadWeights, openPack } from '../models/pack/load.ts';
import { formatsIn } from '../models/pack/manifest.ts';
import { start } from './clock.ts';
import { Runner, roomyPlan } from './engine/runner.ts';
import { LlamaPeer } from './peers/llama.ts';
import { WllamaPeer, type WllamaVersion } from './peers/wllama.ts';
import type { BenchWorker } from './workerd/host.ts';

export interface Contender {
  name: string;
  /** Takes minutes where others take seconds: measured once. */
  slow?: boolean;
  /** ms until the first token of a prompt that was not seen before. */
  prefill(ids: readonly number[]): Promise<number>;
  /** ms of `steps` decode steps after a prompt, whose prefill is not counted. */
  decode(prompt: readonly number[], steps: number): Promise<number>;
  close(): Promise<void>;
}

/** A contender that decodes several sequences together. */
export interface Batcher extends Contender {
  /** ms and tokens of all in `steps` decode steps after the prompts. */
  batch(prompts: readonly (readonly number[])[], steps: number): Promise<{ ms: number; tokens: number }>;
}

/** Turnstone in the bench's Worker, with the model that it has loaded. */
export function inWorkerd(worker: BenchWorker): Batcher {
  return {
    name: 'turnstone (workerd)',
    async batch(prompts, steps) {
      await worker.prefill({ prompts: prompts.map((p) => [...p]), maxTokens: steps + 8 });
      const { ms, value } = await worker.decode(steps);
      await worker.drop();
      return { ms, tokens: value.tokens };
    },
    async prefill(ids) {
      const { ms } = await worker.prefill({ prompts: [[...ids]], maxTokens: 2 });
      await worker.drop();
      return ms;
    },
    async decode(prompt, steps) {
      await worker.prefill({ prompts: [[...prompt]], maxTokens: steps + 8 });
      const { ms, value } = await worker.decode(steps);
      await worker.drop();
      if (value.tokens !== steps) throw new Error(`${value.tokens} tokens in ${steps} steps`);
      return ms;
    },
    close: async () => {},
  };
}

/** Turnstone in this process. */
export async function inNode(
  packFolder: string,
  o: { context: number; sequences: number },
): Promise<Batcher & { runner: Runner; variant: string }> {
  await build(undefined, ['wasm']);
  const source = folderPack(packFolder);
  const { manifest, digest } = await openPack(source);
  const count = countWasm();
  const counted = allocWeights(count, manifest.config, formatsIn(manifest.tensors));
  const plan = roomyPlan(manifest.config, counted.weights, o);
  const backend = createWasm({ modules: await wasmModules(), memoryBytes: count.used + plan.bytes.kv + (64 << 20) });
  const weights = await loadWeights(source, manifest, backend, { hasher: nodeHasher });
  const runner = new Runner({ backend, config: manifest.config, weights, plan, digest });
  return {
    name: 'turnstone (node)',
    runner,
    variant: backend.variant,
    async batch(prompts, steps) {
      await runner.prefill(prompts, steps + 8);
      const elapsed = start();
      const tokens = await runner.decode(steps);
      const ms = elapsed();
      runner.drop();
      return { ms, tokens };
    },
    async prefill(ids) {
      const elapsed = start();
      await runner.prefill([ids], 2);
      const ms = elapsed();
      runner.drop();
      return ms;
    },
    async decode(prompt, steps) {
      await runner.prefill([prompt], steps + 8);
      const elapsed = start();
      await runner.decode(steps);
      const ms = elapsed();
      runner.drop();
      return ms;
    },
    close: async () => backend.dispose(),
  };
}

export async function llamaCpp(gguf: string, context: number): Promise<Contender & { info: string }> {
  const peer = await LlamaPeer.open(gguf, { context });
  return {
    name: 'llama.cpp (native)',
    info: peer.systemInfo,
    prefill: (ids) => peer.prefill(ids),
    decode: (prompt, steps) => peer.decode(prompt, steps),
    close: () => peer.close(),
  };
}

export async function wllama(gguf: string, version: WllamaVersion, context: number): Promise<Contender> {
  const peer = await WllamaPeer.open(gguf, version, context);
  return {
    name: `wllama ${version}`,
    slow: version === '3.8.1', // a fifth of 2.3.1's speed
    prefill: (ids) => peer.prefill(ids),
    decode: (prompt, steps) => peer.decode(prompt, steps),
    close: () => peer.close(),
  };
}

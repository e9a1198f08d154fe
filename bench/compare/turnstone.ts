/** Turnstone's side of the comparison: a model file in, next-token log-probabilities and greedy tokens out. */

import { sha256 } from '@noble/hashes/sha2.js';
import { build } from '../../cli/build.ts';
import { wasmModules } from '../../cli/wasm.ts';
import { allocWeights } from '../../engine/anatomy.ts';
import { Engine, GREEDY, type KvFormat, type Sampling } from '../../engine/index.ts';
import { countWasm, createWasm } from '../../kernels/wasm/index.ts';
import { chooseFormat, loadModel } from '../../models/model.ts';
import { nodeHasher, openModel } from '../../models/node/files.ts';
import { formatsIn } from '../../models/pack/manifest.ts';
import { roomyPlan } from '../engine/runner.ts';

export interface Scored {
  id: number;
  logprob: number;
  /** The best tokens and their log-probabilities, descending. */
  top: readonly { id: number; logprob: number }[];
}

export class Turnstone {
  private readonly engine: Engine;
  private count = 0;

  private constructor(engine: Engine) {
    this.engine = engine;
  }

  /** A GGUF file or Hugging Face folder, in the format nearest to its own unless given. `sequences` can be computed together. */
  static async open(path: string, o: { kv: KvFormat; context: number; format?: 'f32'; sequences?: number }): Promise<Turnstone> {
    await build(undefined, ['wasm']);
    const model = await openModel(path);
    try {
      const options = { format: o.format ?? 'auto' } as const;
      const formatOf = formatsIn(model.tensors.map((t) => ({ name: t.name, format: chooseFormat(model, t, options) })));
      const count = countWasm();
      const counted = allocWeights(count, model.config, formatOf);
      const plan = roomyPlan(model.config, counted.weights, { context: o.context, sequences: o.sequences ?? 1, kv: o.kv });
      const memoryBytes = count.used + plan.bytes.kv + (64 << 20) + model.config.vocab * 64;
      const backend = createWasm({ modules: await wasmModules(), memoryBytes });
      const { weights, digest } = await loadModel(model, backend, { ...options, hasher: nodeHasher });
      const { config } = model;
      return new Turnstone(new Engine({ backend, config, weights, plan, hash: sha256, pack: digest, rowCost: Number.POSITIVE_INFINITY }));
    } finally {
      await model.close();
    }
  }

  /** `n` greedy tokens after each of the prompts, each with its 20 best; stop tokens do not end it. */
  async generate(prompts: readonly (readonly number[])[], n: number): Promise<Scored[][]> {
    const sampling: Sampling = { ...GREEDY, logprobs: 20 };
    const first = this.count;
    for (const prompt of prompts) {
      this.engine.add({ id: `${this.count++}`, prompt, maxTokens: n, stopIds: [], sampling, salt: '' });
    }
    const out: Scored[][] = prompts.map(() => []);
    while (this.engine.busy) {
      for (const e of await this.engine.step()) {
        if (e.error !== undefined) throw e.error;
        for (const t of e.tokens) out[Number(e.request) - first].push({ id: t.id, logprob: t.logprob ?? Number.NaN, top: t.top ?? [] });
      }
    }
    return out;
  }
}

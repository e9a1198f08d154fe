import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { sha256 } from '@noble/hashes/sha2.js';
import { describe, expect, it } from 'vitest';
import { ROOT } from '../../cli/build.ts';
import { type Backend, Engine, formatsOf, GREEDY, planMemory } from '../../engine/index.ts';
import { createReference } from '../../kernels/reference/index.ts';
import { createWasm } from '../../kernels/wasm/index.ts';
import { loadModel } from '../../models/model.ts';
import { nodeHasher, openModel } from '../../models/node/files.ts';
import { createTokenizer } from '../../models/tokenizer/tokenizer.ts';
import { wasmModules } from '../kernels/modules.ts';

interface Fixture {
  prompts: { prompt: string; ids: number[]; top: [id: number, logit: number][]; row?: number[] }[];
}

/** What `transformers` computed from the same folder in float32 (training/export.py records it). */
const fixture = JSON.parse(readFileSync(join(ROOT, 'tests/fixtures/pebble-logits.json'), 'utf8')) as Fixture;

/** The 20 likeliest tokens after each prompt, the model computed in f32. */
async function likeliest(backend: Backend, prompts: Fixture['prompts']): Promise<(readonly { id: number; logprob: number }[])[]> {
  const model = await openModel(join(ROOT, 'models/pebble/hf'));
  const tokenizer = createTokenizer(model.tokenizer);
  const { weights, digest } = await loadModel(model, backend, { format: 'f32', hasher: nodeHasher });
  await model.close();
  const { config } = model;
  const plan = planMemory({
    ...{ config, formats: formatsOf(weights), kv: 'f32', weightBytes: 0, memoryBytes: 1 << 30, jsBytes: 0, measure: () => 0 },
    ...{ context: 512, pages: 64, maxSequences: 4 },
  });
  const engine = new Engine({ backend, config, weights, plan, hash: sha256, pack: digest });
  for (const [i, p] of prompts.entries()) {
    expect(tokenizer.encode(p.prompt, { special: true, bos: false })).toEqual(p.ids);
    engine.add({
      ...{ id: `${i}`, prompt: p.ids, maxTokens: 1, stopIds: [], salt: '' },
      sampling: { ...GREEDY, logprobs: 20 },
    });
  }
  const got = new Map<string, readonly { id: number; logprob: number }[]>();
  while (engine.busy) for (const e of await engine.step()) got.set(e.request, e.tokens[0].top ?? []);
  return prompts.map((_, i) => got.get(`${i}`) ?? []);
}

describe('the shipped safetensors folder in f32', () => {
  const wasm = likeliest(createWasm({ modules: wasmModules(), memoryBytes: 512 << 20 }), fixture.prompts);

  it('gives the logits of transformers to 1e-4', async () => {
    expect(fixture.prompts).toHaveLength(3);
    for (const [i, top] of (await wasm).entries()) {
      const p = fixture.prompts[i];
      expect(top).toHaveLength(20);
      const logit = new Map(p.top);
      // log-probabilities are logits but for a constant
      const shift = (logit.get(top[0].id) as number) - top[0].logprob;
      for (const { id, logprob } of top) expect(Math.abs(logprob + shift - (logit.get(id) as number))).toBeLessThan(1e-4);
      expect(top.map((t) => t.id).slice(0, 5)).toEqual(p.top.map(([id]) => id).slice(0, 5));
    }
  });

  it('the same bits through the reference', async () => {
    const [short] = fixture.prompts;
    expect(await likeliest(createReference(), [short])).toEqual((await wasm).slice(0, 1));
  });
});

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { sha256 } from '@noble/hashes/sha2.js';
import { describe, expect, it } from 'vitest';
import { ROOT } from '../../cli/build.ts';
import { Engine, formatsOf, GREEDY, planMemory } from '../../engine/index.ts';
import { createReference } from '../../kernels/reference/index.ts';
import { loadModel } from '../../models/model.ts';
import { nodeHasher, openModel } from '../../models/node/files.ts';
import { createTokenizer } from '../../models/tokenizer/tokenizer.ts';

interface Fixture {
  prompts: { prompt: string; ids: number[]; top: [id: number, logit: number][]; row?: number[] }[];
}

/** What `transformers` computed from the same folder in float32 (training/export.py records it). */
const fixture = JSON.parse(readFileSync(join(ROOT, 'tests/fixtures/pebble-logits.json'), 'utf8')) as Fixture;

describe('the shipped safetensors folder', () => {
  it('gives the logits of transformers to 1e-4, through the reference in f32', async () => {
    const model = await openModel(join(ROOT, 'models/pebble/hf'));
    const tokenizer = createTokenizer(model.tokenizer);
    const backend = createReference();
    const { weights, digest } = await loadModel(model, backend, { format: 'f32', hasher: nodeHasher });
    await model.close();
    const { config } = model;
    const plan = planMemory({
      ...{ config, formats: formatsOf(weights), kv: 'f32', weightBytes: 0, memoryBytes: 1 << 30, jsBytes: 0, measure: () => 0 },
      ...{ context: 512, pages: 64, maxSequences: 4 },
    });
    const engine = new Engine({ backend, config, weights, plan, hash: sha256, pack: digest });
    for (const [i, p] of fixture.prompts.entries()) {
      expect(tokenizer.encode(p.prompt, { special: true, bos: false })).toEqual(p.ids);
      engine.add({
        ...{ id: `${i}`, prompt: p.ids, maxTokens: 1, stopIds: [], salt: '' },
        sampling: { ...GREEDY, logprobs: 20 },
      });
    }
    const got = new Map<string, readonly { id: number; logprob: number }[]>();
    while (engine.busy) for (const e of await engine.step()) got.set(e.request, e.tokens[0].top ?? []);
    for (const [i, p] of fixture.prompts.entries()) {
      const top = got.get(`${i}`) ?? [];
      expect(top).toHaveLength(20);
      const logit = new Map(p.top);
      // log-probabilities are logits but for a constant
      const shift = (logit.get(top[0].id) as number) - top[0].logprob;
      for (const { id, logprob } of top) expect(Math.abs(logprob + shift - (logit.get(id) as number))).toBeLessThan(1e-4);
      expect(top.map((t) => t.id).slice(0, 5)).toEqual(p.top.map(([id]) => id).slice(0, 5));
    }
  });
});

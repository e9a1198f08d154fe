/** Calibration sees what the engine computes: one forward pass, tapped. */
import { expect, it } from 'vitest';
import { Runner, type Tap } from '../../engine/index.ts';
import { createReference } from '../../kernels/reference/index.ts';
import { openGguf } from '../../models/gguf/open.ts';
import { loadModel, type ModelFiles } from '../../models/model.ts';
import { layerRunner } from '../../models/quantize/layers.ts';
import { memorySource } from '../../models/source.ts';
import type { ModelTensor } from '../../models/tensors.ts';
import { small, smallGguf } from './small-model.ts';

const seen = (into: Map<string, Float32Array[]>, name: string, X: Float32Array) => into.set(name, [...(into.get(name) ?? []), X]);

/** Inputs of every matrix from one pass through the whole model in f32. */
async function wholePass(model: ModelFiles, sequences: number[][]): Promise<Map<string, Float32Array[]>> {
  const backend = createReference();
  const { weights } = await loadModel(model, backend, { format: 'f32' });
  const size = { maxTokens: 40, maxSequences: 1, maxRows: 40, maxBlocks: 3, context: 40 };
  const runner = new Runner({ backend, config: model.config, weights, size, kv: 'f32', pages: 3 });
  const out = new Map<string, Float32Array[]>();
  for (const ids of sequences) {
    const reads: Promise<unknown>[] = [];
    const tap: Tap = (matrix, layer, input, rows) =>
      void reads.push(
        backend.read(input.data, 0, rows * input.K * 4).then((b) => seen(out, `${layer}.${matrix}`, new Float32Array(b.slice().buffer))),
      );
    runner.run([{ seq: { ids, pages: [0, 1, 2] }, start: 0, count: ids.length, logits: ids.length, draft: [] }], undefined, tap);
    await Promise.all(reads);
  }
  return out;
}

it.each([
  ['llama', small],
  ['qwen3, tied', { ...small, family: 'qwen3', qkNorm: true, tied: true } as const],
])('%s: the inputs of every matrix, layer by layer, are those of the whole forward pass, to the bit', async (_, config) => {
  const model = await openGguf(memorySource(smallGguf(config), 'small.gguf'));
  const sequences = [37, 40].map((n, s) => Array.from({ length: n }, (_, i) => (i * 31 + s * 7) % config.vocab));
  const want = await wholePass(model, sequences);

  const tensor = (name: string) => model.tensors.find((t) => t.name === name) as ModelTensor;
  const run = await layerRunner(createReference(), model, sequences, tensor, { format: 'f32' });
  const got = new Map<string, Float32Array[]>();
  for (let l = 0; l < config.layers; l++) {
    await run.load(l);
    await run.layer(l, (matrix, X) => seen(got, `${l}.${matrix}`, X));
    await run.layer(l);
  }
  await run.head((matrix, X) => seen(got, `${config.layers}.${matrix}`, X));

  expect([...got.keys()].sort()).toEqual([...want.keys()].sort());
  expect(want.size).toBe(4 * config.layers + 1);
  for (const [name, inputs] of want) expect(got.get(name), name).toEqual(inputs);
});

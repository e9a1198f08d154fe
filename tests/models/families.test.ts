/** What families do to their files: scalars folded into tensors and fields, kinds of layers. Their logits beside llama.cpp's: bench/compare. */
import { expect, it } from 'vitest';
import { openGguf } from '../../models/gguf/open.ts';
import { openHf } from '../../models/hf/open.ts';
import { memorySource } from '../../models/source.ts';
import type { Value } from './gguf-writer.ts';
import { writeGguf } from './gguf-writer.ts';
import { ggufMetadata, ggufTensors, hfFolder, hfTensors, memoryFolder, small, valuesOf } from './small-model.ts';

const f32 = (value: number): Value => ({ type: 'f32', value });
const openFile = (c: typeof small, extra: Record<string, Value>) =>
  openGguf(memorySource(writeGguf({ ...ggufMetadata(c), ...extra }, ggufTensors(c)), 'small.gguf'));

function openFolder(c: typeof small, fields: Record<string, unknown>) {
  const files = hfFolder(c);
  const config = JSON.parse(new TextDecoder().decode(files.get('config.json'))) as object;
  files.set('config.json', new TextEncoder().encode(JSON.stringify({ ...config, ...fields })));
  return openHf(memoryFolder(files));
}

it('Granite: the residual scalar goes into the embedding and eps, the logits’ into the last norm', async () => {
  const c = { ...small, family: 'granite' };
  const gguf = await openFile(c, {
    'granite.embedding_scale': f32(12),
    'granite.attention.scale': f32(0.0625),
    'granite.residual_scale': f32(0.25),
    'granite.logit_scale': f32(4),
  });
  expect(gguf.config).toEqual({ ...c, embedScale: 48, attentionScale: 0.0625, normEps: small.normEps * 16 });
  const norm = gguf.tensors.find((t) => t.name === 'norm');
  const stored = hfTensors(c).get('model.norm.weight')?.data as Float32Array;
  expect(norm && (await valuesOf(norm))).toEqual(stored.map((w) => w / 4));
  const multipliers = { embedding_multiplier: 12, attention_multiplier: 0.0625, residual_multiplier: 0.25, logits_scaling: 4 };
  const hf = await openFolder(c, multipliers);
  expect(hf.config).toEqual(gguf.config);
  for (const [i, t] of hf.tensors.entries()) expect(await valuesOf(t), t.name).toEqual(await valuesOf(gguf.tensors[i]));
  await expect(openFolder(c, { ...multipliers, residual_multiplier: 0 })).rejects.toThrow(
    /residual_multiplier is 0, must be a number in 0.000001/,
  );
});

it('Granite 4 of transformers: layers of Mamba and mixtures are refused by name', async () => {
  const c = { ...small, family: 'granitemoehybrid' };
  await expect(openFolder(c, { layer_types: ['attention', 'mamba'] })).rejects.toThrow(
    /layer_types is "mamba", must be attention in every layer/,
  );
  await expect(openFolder(c, { num_local_experts: 8 })).rejects.toThrow(/num_local_experts is 8, must be 0/);
  // as far as the tensors, whose names are another's
  await expect(openFolder(c, { layer_types: ['attention', 'attention'] })).rejects.toThrow(/shared_mlp.input_linear.weight": is missing/);
  await expect(openFile({ ...small, family: 'granitehybrid' }, {})).rejects.toThrow(
    /is "granitehybrid": some of its layers are state spaces \(Mamba\); what runs here: llama/,
  );
});

it('SmolLM3: every fourth layer has no RoPE, or those that a file lists', async () => {
  const c = { ...small, family: 'smollm3', layers: 5 };
  const kinds = ['full', 'full', 'full', 'nope', 'full'];
  const gguf = await openFile(c, {});
  expect(gguf.config).toEqual({ ...c, layerKinds: kinds });
  const hf = await openFolder(c, {});
  expect(hf.config).toEqual(gguf.config);
  for (const [i, t] of hf.tensors.entries()) expect(await valuesOf(t), t.name).toEqual(await valuesOf(gguf.tensors[i]));
  expect((await openFolder(c, { no_rope_layers: [1, 0, 1, 1, 0] })).config.layerKinds).toEqual(['full', 'nope', 'full', 'full', 'nope']);
});

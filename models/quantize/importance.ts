import { layerTensor } from '../../engine/anatomy.ts';
import type { Backend } from '../../engine/backend.ts';
import type { FormatOptions, Importance, ModelFiles } from '../model.ts';
import type { ModelTensor } from '../tensors.ts';
import { layerRunner } from './layers.ts';

/**
 * Runs sequences of token ids through a model in its own numbers, layer by layer, and measures what its matrices read. A tied embedding has no
 * entry: what is looked up in it is as much a use as the logits. Needs a backend as `calibrate` does.
 */
export async function importanceOf(
  backend: Backend,
  model: ModelFiles,
  sequences: readonly (readonly number[])[],
  options: FormatOptions & { onLayer?: (layer: number) => void } = {},
): Promise<Importance> {
  const out = new Map<string, Float64Array>();
  const tensor = (name: string) => model.tensors.find((t) => t.name === name) as ModelTensor;
  const run = await layerRunner(backend, model, sequences, tensor, options);
  const tokens = sequences.reduce((n, s) => n + s.length, 0);
  const add = (name: string, X: Float32Array) => {
    const { K } = tensor(name);
    let sums = out.get(name);
    if (!sums) out.set(name, (sums = new Float64Array(K)));
    for (let i = 0; i < X.length; i++) sums[i % K] += (X[i] * X[i]) / tokens;
  };
  const { layers, tied } = model.config;
  for (let l = 0; l < layers; l++) {
    options.onLayer?.(l);
    await run.load(l);
    await run.layer(l, (kind, X) => kind !== 'head' && add(layerTensor(l, kind), X));
    await run.layer(l);
  }
  if (!tied) await run.head((_, X) => add('head', X));
  return out;
}

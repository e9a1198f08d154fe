import { layerTensor } from '../../engine/anatomy.ts';
import type { Backend, Weight } from '../../engine/backend.ts';
import { BLOCK, PLAIN, packWeight } from '../../engine/formats.ts';
import { chooseFormat, type FormatOptions, type ModelFiles } from '../model.ts';
import type { ModelTensor } from '../tensors.ts';
import type { Quantizer } from './convert.ts';
import { gptq, Hessian } from './gptq.ts';
import { layerRunner, readTensor } from './layers.ts';
import { dequantize, isRounded, type Quantized, quantizeRtn } from './rtn.ts';

/** How far a tensor's outputs on the calibration text are off, as shares of their mean square. */
export interface CalibrationReport {
  name: string;
  nearest: number;
  calibrated: number;
}

export interface CalibrationOptions extends FormatOptions {
  onTensor?: (report: CalibrationReport) => void;
  /** Sees every matrix's inputs X[rows, K] as well. */
  collect?: (name: string, X: Float32Array) => void;
}

/**
 * Quantizes a model by GPTQ on sequences of token ids, layer by layer, each on the outputs of the quantized ones before it. A tied embedding
 * comes first and stays near itself instead of making up for the head's error: what is looked up in it is as much a use as the logits. Needs a
 * backend whose f32 activations are plain rows (reference, wasm); holds one layer there, in f32. Gives the quantizer for `writePack`.
 */
export async function calibrate(
  backend: Backend,
  model: ModelFiles,
  sequences: readonly (readonly number[])[],
  options: CalibrationOptions = {},
): Promise<Quantizer> {
  const done = new Map<string, Quantized>();
  const tensor = (name: string) => model.tensors.find((t) => t.name === name) as ModelTensor;
  const quantizer: Quantizer = (x, t, from, format) => {
    const q = done.get(t.name);
    if (!q) return quantizeRtn(format, x);
    const at = from * t.K;
    return { q: q.q.subarray(at, at + x.length), d: q.d.subarray(at / BLOCK, (at + x.length) / BLOCK) };
  };
  if (model.config.tied) {
    const t = tensor('embed');
    const format = chooseFormat(model, t, options);
    if (isRounded(format)) done.set('embed', gptq(format, await readTensor(t), Hessian.even(t.K)));
  }
  const run = await layerRunner(backend, model, sequences, tensor, { ...options, quantizer });

  async function quantize(name: string, h: Hessian, target: Weight | undefined): Promise<void> {
    const t = tensor(name);
    const format = chooseFormat(model, t, options);
    if (!isRounded(format)) return;
    const w = await readTensor(t);
    const q = done.get(name) ?? gptq(format, w, h);
    done.set(name, q);
    const v = dequantize(format, q);
    if (options.onTensor) {
      const nearest = h.outputError(w, dequantize(format, quantizeRtn(format, w)));
      options.onTensor({ name, nearest, calibrated: h.outputError(w, v) });
    }
    if (target) backend.write(target.data, packWeight(PLAIN, t.N, t.K, v));
  }

  for (let l = 0; l < model.config.layers; l++) {
    await run.load(l);
    const h = run.hessians();
    await run.layer(l, (kind, X) => {
      if (kind === 'head') return;
      h.get(kind)?.add(X);
      options.collect?.(layerTensor(l, kind), X);
    });
    for (const [kind, hessian] of h) await quantize(layerTensor(l, kind), hessian, run.matrices[kind]);
    await run.layer(l); // again, so that the next layer sees what the quantized one gives
  }
  const head = new Hessian(model.config.hidden);
  const name = model.config.tied ? 'embed' : 'head';
  await run.head((_, X) => {
    head.add(X);
    options.collect?.(name, X);
  });
  await quantize(name, head, undefined);

  return quantizer;
}

/** The columns of the table: the shipped model's weights in each format, on a wasm backend. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from '../../cli/build.ts';
import type { ModelWeights } from '../../engine/anatomy.ts';
import type { Backend, WeightFormat } from '../../engine/index.ts';
import { createWasm } from '../../kernels/wasm/index.ts';
import { loadModel, type ModelFiles } from '../../models/model.ts';
import { openModel } from '../../models/node/files.ts';
import { calibrate } from '../../models/quantize/calibrate.ts';
import type { Quantizer } from '../../models/quantize/convert.ts';
import { createTokenizer } from '../../models/tokenizer/tokenizer.ts';

/** Weights before quantization-aware training, and after it. */
const BASE = join(ROOT, 'models/pebble/base');
const QAT = join(ROOT, 'models/pebble/hf');
/** Documents of the generators that neither training nor the test set has. */
const CALIBRATION = join(BASE, 'calibration.txt');
const [SEQUENCE, SEQUENCES] = [256, 96];

export const COLUMNS = ['f32', 'w8', 'w4-rtn', 'w4-calibrated', 'w4-qat'] as const;
export type Column = (typeof COLUMNS)[number];

export interface Loaded {
  model: ModelFiles & { close(): Promise<void> };
  backend: Backend;
  weights: ModelWeights;
}

/** Loads a column; `source` replaces the shipped folders (GGUF, Hugging Face folder) for all columns alike. */
export async function load(column: Column, source?: string): Promise<Loaded> {
  const folder = source ?? (column === 'w4-qat' ? QAT : BASE);
  if (!existsSync(folder)) throw new Error(`${folder} is missing: git checkout models/pebble`);
  const model = await openModel(folder);
  const format: WeightFormat = column === 'f32' || column === 'w8' ? column : 'w4';
  const quantizer = column === 'w4-calibrated' ? await calibrated(model) : undefined;
  const backend = wasm(256 << 20);
  const { weights } = await loadModel(model, backend, { format, quantizer });
  return { model, backend, weights };
}

/** GPTQ on the calibration text. */
async function calibrated(model: ModelFiles): Promise<Quantizer> {
  if (!existsSync(CALIBRATION)) throw new Error(`${CALIBRATION} is missing: git checkout models/pebble`);
  const ids = createTokenizer(model.tokenizer).encode(readFileSync(CALIBRATION, 'utf8'), { special: true, bos: false });
  const n = Math.min(SEQUENCES, Math.floor(ids.length / SEQUENCE));
  const sequences = Array.from({ length: n }, (_, i) => [...ids.slice(i * SEQUENCE, (i + 1) * SEQUENCE)]);
  return calibrate(wasm(256 << 20), model, sequences, { format: 'w4' });
}

function wasm(memoryBytes: number): Backend {
  const simd = new WebAssembly.Module(readFileSync(join(ROOT, '.build/wasm/turnstone-simd.wasm')));
  return createWasm({ modules: { simd }, memoryBytes });
}

/** One real model in the formats that are compared: llama.cpp's figures and Turnstone's, on the same token ids. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from '../../cli/build.ts';
import { allocWeights, formatsOf } from '../../engine/index.ts';
import { allocRunner, kvShape } from '../../engine/runner.ts';
import { countWasm, createWasm } from '../../kernels/wasm/index.ts';
import { chooseFormat, type FormatOptions, loadModel } from '../../models/model.ts';
import { openModel } from '../../models/node/files.ts';
import { formatsIn } from '../../models/pack/manifest.ts';
import { type Runnable, sizeOf, surprise } from '../../models/quantize/surprises.ts';
import { createTokenizer } from '../../models/tokenizer/tokenizer.ts';
import { LlamaPeer } from '../peers/llama.ts';

/** Tokens of a piece of the text. Pieces share nothing. */
export const PIECE = 512;
/** The beginning of The Captain of the Pole-Star (Arthur Conan Doyle, 1883; public domain). */
const PASSAGE = join(ROOT, 'bench/quality/passage.txt');

/** The first `n` pieces of the passage as the model's own tokens, each after the bos token where the model wants one. */
export async function passage(path: string, n: number): Promise<number[][]> {
  const model = await openModel(path);
  try {
    const tokenizer = createTokenizer(model.tokenizer);
    const first = tokenizer.encode('');
    const ids = tokenizer.encode(readFileSync(PASSAGE, 'utf8'), { bos: false });
    const each = PIECE - first.length;
    const most = Math.floor(ids.length / each);
    if (n > most) throw new Error(`the passage has ${most} pieces of ${PIECE} tokens, ${n} were asked for`);
    return Array.from({ length: n }, (_, i) => [...first, ...ids.slice(i * each, (i + 1) * each)]);
  } finally {
    await model.close();
  }
}

/** Loads a model file for sequences of PIECE tokens, and runs `use` on it. */
export async function withModel<T>(path: string, options: FormatOptions, use: (m: Runnable) => Promise<T>): Promise<T> {
  const model = await openModel(path);
  try {
    const { config, tensors } = model;
    const formatOf = formatsIn(tensors.map((t) => ({ name: t.name, format: chooseFormat(model, t, options) })));
    const count = countWasm();
    const { weights: counted } = allocWeights(count, config, formatOf);
    for (const format of ['f32', 'i8'] as const) {
      const size = sizeOf(PIECE); // each call of surprises makes its own runner
      allocRunner(count, config, formatsOf(counted), size);
      count.kvPool(kvShape(config, format), size.maxBlocks);
    }
    const module = (name: string) => new WebAssembly.Module(readFileSync(join(ROOT, '.build/wasm', `turnstone-${name}.wasm`)));
    const backend = createWasm({ modules: { simd: module('simd') }, memoryBytes: count.used });
    const { weights } = await loadModel(model, backend, options);
    return await use({ config, backend, weights });
  } finally {
    await model.close();
  }
}

/** llama.cpp on the file: one thread, f16 keys and values. */
export async function llamaSurprises(path: string, sequences: readonly number[][], progress: (done: number) => void): Promise<number[]> {
  const peer = await LlamaPeer.open(path, { context: PIECE, kv: 'F16' });
  try {
    const out: number[] = [];
    for (const [n, s] of sequences.entries()) {
      let i = 0;
      for await (const row of peer.everyLogits(s)) if (++i < s.length) out.push(surprise(row, s[i]));
      progress(n + 1);
    }
    return out;
  } finally {
    await peer.close();
  }
}

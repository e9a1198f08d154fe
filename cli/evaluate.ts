/** What packing costs in words: perplexity of a text on a model's numbers as its file has them, and as they are packed. */
import { allocWeights, formatsOf } from '../engine/index.ts';
import { allocRunner, kvShape } from '../engine/runner.ts';
import { countWasm, type WasmBackend } from '../kernels/wasm/index.ts';
import { type ConvertOptions, chooseFormat, loadModel, type ModelFiles } from '../models/model.ts';
import { formatsIn } from '../models/pack/manifest.ts';
import { perplexityOf, sizeOf, surprises } from '../models/quantize/surprises.ts';
import { createTokenizer } from '../models/tokenizer/tokenizer.ts';

/** Tokens of a piece of the text, and pieces at most. Pieces share nothing. */
const [PIECE, PIECES] = [512, 4];

export type NewBackend = (memoryBytes: number) => Promise<WasmBackend>;

/** Pieces of a text as a model's tokens. Throws when the text is too short to say anything. */
export function piecesOf(model: Pick<ModelFiles, 'tokenizer' | 'config'>, text: string): number[][] {
  const tokenizer = createTokenizer(model.tokenizer);
  const first = tokenizer.encode('');
  const step = Math.min(PIECE, model.config.context) - first.length;
  // no token is longer than 16 characters on average
  const ids = tokenizer.encode(text.slice(0, PIECE * PIECES * 16), { bos: false });
  const pieces = Array.from({ length: Math.min(PIECES, Math.ceil(ids.length / step)) }, (_, i) => [
    ...first,
    ...ids.slice(i * step, (i + 1) * step),
  ]).filter((p) => p.length > first.length + 15);
  if (pieces.length === 0) throw new Error('the text to evaluate has fewer than 16 tokens');
  return pieces;
}

/** Perplexity of the pieces with the model in these formats and int8 KV, as it is served. */
export async function perplexity(
  model: ModelFiles,
  options: ConvertOptions,
  pieces: readonly number[][],
  create: NewBackend,
): Promise<number> {
  const { config } = model;
  const count = countWasm();
  const formatOf = formatsIn(model.tensors.map((t) => ({ name: t.name, format: chooseFormat(model, t, options) })));
  const { weights: counted } = allocWeights(count, config, formatOf);
  const size = sizeOf(Math.max(...pieces.map((p) => p.length)));
  allocRunner(count, config, formatsOf(counted), size);
  count.kvPool(kvShape(config, 'i8'), size.maxBlocks);
  const backend = await create(count.used);
  const { weights } = await loadModel(model, backend, options);
  return perplexityOf(await surprises({ config, backend, weights }, 'i8', pieces));
}

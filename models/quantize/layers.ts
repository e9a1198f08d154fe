import { allocWeights, LAYER_MATRICES, type LayerMatrix, type LayerTensorName, layerTensor, tensorList } from '../../engine/anatomy.ts';
import type { Backend, Buf, Weight } from '../../engine/backend.ts';
import { PLAIN, packWeight } from '../../engine/formats.ts';
import { PAGE } from '../../engine/layout.ts';
import type { Tap } from '../../engine/model.ts';
import { Runner } from '../../engine/runner.ts';
import { ModelFileError } from '../error.ts';
import { chooseFormat, type FormatOptions, type ModelFiles } from '../model.ts';
import type { ModelTensor } from '../tensors.ts';
import { decodeRows, packedPieces, type Quantizer } from './convert.ts';
import { Hessian } from './gptq.ts';

/** A whole tensor as f32 [N, K]. */
export async function readTensor(t: ModelTensor): Promise<Float32Array> {
  const out = new Float32Array(t.N * t.K);
  let row = 0;
  for (const p of t.parts) {
    out.set(decodeRows(p, await p.read(0, p.rows), p.rows), row * t.K);
    row += p.rows;
  }
  return out;
}

/** Sees the inputs X [rows, K] of a matrix of the layer that runs, or of the head. */
export type InputTap = (matrix: LayerMatrix | 'head', X: Float32Array) => void;

/** Runs one layer at a time over all sequences, keeping their residual streams on this side and one layer's weights on the backend, in f32. */
export async function layerRunner(
  be: Backend,
  model: ModelFiles,
  sequences: readonly (readonly number[])[],
  tensor: (name: string) => ModelTensor,
  options: FormatOptions & { quantizer?: Quantizer },
) {
  const { config } = model;
  if (config.layerKinds?.includes('conv'))
    throw new ModelFileError(model.name, 'has layers that convolve, which calibration does not know: pack it without --calibrate');
  const T = Math.max(...sequences.map((s) => s.length));
  if (!(T >= 1 && T <= config.context)) throw new Error(`calibration sequences must have 1..${config.context} tokens`);

  const one = { ...config, layers: 1, tied: true };
  const held = allocWeights(be, one, ({ kind }) => (kind === 'embed' ? chooseFormat(model, tensor('embed'), options) : PLAIN));
  // nothing is multiplied by the head; its format says that what it would read is f32
  const weights = { ...held.weights, head: { ...held.weights.head, format: PLAIN } };
  const maxBlocks = Math.ceil(T / PAGE);
  const size = { maxTokens: T, maxSequences: 1, maxRows: T, maxBlocks, context: T };
  const runner = new Runner({ backend: be, config, weights, size, kv: 'f32', pages: maxBlocks, head: false });
  const pages = Array.from({ length: maxBlocks }, (_, i) => i);
  const streams: Uint8Array[] = [];

  let at = 0;
  for await (const p of packedPieces(tensor('embed'), weights.embed.format, undefined, options.quantizer)) {
    be.write(weights.embed.data, p, at);
    at += p.length;
  }
  be.write(weights.norm, new Uint8Array((await readTensor(tensor('norm'))).buffer));

  /** Runs layers [from, to) over sequence i; with `tap`, shows what their matrices read. */
  async function run(i: number, from: number, to: number, tap?: InputTap): Promise<void> {
    const reads: Promise<void>[] = [];
    const read: Tap = (matrix, _, input, rows) => {
      reads.push(be.read(input.data, 0, rows * input.K * 4).then((bytes) => tap?.(matrix, new Float32Array(bytes.slice().buffer))));
    };
    const count = sequences[i].length;
    if (from > 0) runner.putStream(streams[i]);
    const logits = to > from ? 0 : count;
    runner.run([{ seq: { ids: sequences[i], pages }, start: 0, count, logits, draft: [] }], [from, to], tap && read);
    await Promise.all(reads);
  }

  return {
    matrices: weights.layers[0] as Readonly<Partial<Record<LayerMatrix, Weight>>>,
    /** One for each matrix of a layer. */
    hessians: (): Map<LayerMatrix, Hessian> =>
      new Map(LAYER_MATRICES.flatMap((m) => (weights.layers[0][m] ? [[m, new Hessian(weights.layers[0][m].K)]] : []))),
    /** Puts layer l's weights, unquantized, into the one layer that the backend holds. */
    async load(l: number): Promise<void> {
      for (const { name, kind, layer } of tensorList(one)) {
        if (layer < 0) continue;
        const t = tensor(layerTensor(l, kind as LayerTensorName));
        const values = await readTensor(t);
        const bytes = t.vector ? new Uint8Array(values.buffer) : packWeight(PLAIN, t.N, t.K, values);
        be.write(held.buffers.get(name) as Buf, bytes);
      }
      runner.first = l;
    },
    /** Runs layer l over every sequence; with `tap`, shows the inputs of its matrices and leaves the streams as they were. */
    async layer(l: number, tap?: InputTap): Promise<void> {
      for (const [i, s] of sequences.entries()) {
        await run(i, l, l + 1, tap);
        if (!tap) streams[i] = await runner.stream(s.length);
      }
    },
    /** Shows what the head reads. */
    async head(tap: InputTap): Promise<void> {
      for (const i of sequences.keys()) await run(i, config.layers, config.layers, tap);
    },
  };
}

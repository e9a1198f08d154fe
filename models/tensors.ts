import { isVector, type TensorKind, type TensorShape, tensorList } from '../engine/anatomy.ts';
import type { ModelConfig } from '../engine/config.ts';
import { ModelFileError } from './error.ts';
import { decoders } from './gguf/blocks.ts';

/** Rows as a file stores them: a tensor, or one of those that are concatenated into it (q, k and v into qkv). */
export interface Part {
  /** Its name in the file, for errors. */
  name: string;
  /** ggml's name of the type: F32, F16, BF16, Q4_0 … */
  type: string;
  rows: number;
  /** Elements a row; 1 in a vector. */
  K: number;
  /** Bytes of rows [from, to), in the engine's order of rows. */
  read(from: number, to: number): Promise<Uint8Array>;
}

/** A tensor under its name in engine/anatomy.ts, made of the rows of its parts in order. A vector [N] is N rows of one element. */
export interface ModelTensor {
  name: string;
  kind: TensorKind;
  /** Layer it belongs to, −1 for the model's own. */
  layer: number;
  vector: boolean;
  N: number;
  K: number;
  parts: readonly Part[];
}

/** Gives the parts of a tensor. */
export type FindParts = (t: TensorShape) => readonly Part[];

/** Every tensor the configuration asks for, in loading order, each with the shape it must have. Throws ModelFileError naming the tensor. */
export function modelTensors(config: ModelConfig, find: FindParts): ModelTensor[] {
  return tensorList(config).map((want) => checked(want, find(want)));
}

function checked(want: TensorShape, parts: readonly Part[]): ModelTensor {
  const [N, K = 1] = want.shape;
  const wanted = parts.length === want.parts.length ? want.parts : [N]; // or joined already
  for (const [i, rows] of wanted.entries()) {
    const where = `tensor "${parts[i].name}"`;
    if (parts[i].K !== K) throw new ModelFileError(where, `has rows of ${parts[i].K} elements, the configuration asks for ${K}`);
    if (parts[i].rows !== rows) throw new ModelFileError(where, `has ${parts[i].rows} rows, the configuration asks for ${rows}`);
  }
  return { name: want.name, kind: want.kind, layer: want.layer, vector: isVector(want.shape), N, K, parts };
}

/** Throws when a file has a tensor that the model would ignore, such as a bias it cannot apply: the result would be silently wrong. */
export function checkUsed(all: Iterable<string>, used: ReadonlySet<string>, ignorable: (name: string) => boolean): void {
  for (const name of all) {
    if (!used.has(name) && !ignorable(name))
      throw new ModelFileError(`tensor "${name}"`, 'has no place in this kind of model, which would ignore it');
  }
}

/** A part with another number in place of each, in f32. */
export function mapValues(part: Part, f: (x: number) => number): Part {
  return {
    ...part,
    type: 'F32',
    async read(from, to) {
      const x = new Float32Array((to - from) * part.K);
      decoders.get(part.type)?.(await part.read(from, to), x, x.length);
      return new Uint8Array(x.map(f).buffer);
    },
  };
}

/**
 * Wraps rows stored for interleaved RoPE (pairs 2i, 2i + 1 of a head of d rows side by side, as llama-family GGUF files have them)
 * so that they come in rotate-half order (pairs i, i + d/2): row h·d + s·d/2 + i is the file's row h·d + 2i + s.
 */
export function rotateHalfRows(part: Part, headDim: number): Part {
  return {
    ...part,
    async read(from, to) {
      const first = Math.floor(from / headDim) * headDim;
      const stored = await part.read(first, Math.ceil(to / headDim) * headDim);
      const rowBytes = stored.length / (Math.ceil(to / headDim) * headDim - first);
      const out = new Uint8Array((to - from) * rowBytes);
      for (let r = from; r < to; r++) {
        const head = Math.floor(r / headDim) * headDim;
        const s = Math.floor(((r - head) * 2) / headDim);
        const i = r - head - (s * headDim) / 2;
        const at = (head + 2 * i + s - first) * rowBytes;
        out.set(stored.subarray(at, at + rowBytes), (r - from) * rowBytes);
      }
      return out;
    },
  };
}

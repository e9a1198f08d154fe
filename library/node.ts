/** `turnstone/engine` in Node: a model from a file or folder, computed in this process. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ROOT } from '../cli/build.ts';
import { localPack } from '../cli/packs.ts';
import { detectRelaxed } from '../kernels/wasm/index.ts';
import { folderPack, nodeHasher } from '../models/node/files.ts';
import { openModel as openRuntime, wasmMaker } from '../serving/run/open.ts';
import { Model } from './model.ts';

export { type Asked, type Fields, type Message, Model, RequestError } from './model.ts';

export interface OpenOptions {
  /** For weights, KV pages and scratch together; default 512. What the model leaves becomes context. */
  memoryMB?: number;
  /** Tokens; default: what fits, up to the model's own. */
  context?: number;
  /** What is done before it can answer: packing a file for the first time. */
  say?: (line: string) => void;
  /** Bytes of weights loaded, of all. */
  onProgress?: (loaded: number, total: number) => void;
}

/**
 * Opens a pack folder, a GGUF file or a Hugging Face folder; without a path, the model that the package brings. A GGUF file or a
 * Hugging Face folder is packed once and kept in the user's cache. Rejects with what to do when it cannot be.
 */
export async function openModel(path?: string | URL, o: OpenOptions = {}): Promise<Model> {
  const { memoryMB = 512 } = o;
  if (!(memoryMB >= 16 && memoryMB <= 4096)) throw new RangeError(`memoryMB is ${memoryMB}, must be from 16 to 4096`);
  const { id, folder } = await localPack(path instanceof URL ? fileURLToPath(path) : path, o.say ?? (() => {}));
  return new Model(
    await openRuntime({
      ...{ source: folderPack(folder), id, hasher: nodeHasher },
      maker: wasmMaker({ simd: await kernels('simd'), relaxed: detectRelaxed() ? await kernels('relaxed') : undefined }),
      ...{ memoryBytes: memoryMB * 1e6, context: o.context, onProgress: o.onProgress },
    }),
  );
}

const kernels = async (variant: 'simd' | 'relaxed'): Promise<WebAssembly.Module> =>
  WebAssembly.compile(await readFile(join(ROOT, `.build/wasm/turnstone-${variant}.wasm`)));

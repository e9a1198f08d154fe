/** `turnstone/engine` in Node: a model from a file or folder, computed in this process. types/engine.d.ts is what is published of it. */
import { fileURLToPath } from 'node:url';
import { localPack } from '../cli/packs.ts';
import { wasmModules } from '../cli/wasm.ts';
import { folderPack, nodeHasher } from '../models/node/files.ts';
import { wasmMaker } from '../serving/run/open.ts';
import type { OpenOptions } from '../types/engine.d.ts';
import { type Model, openWith } from './model.ts';

export { Model, RequestError } from './model.ts';

/** A GGUF file or a Hugging Face folder is packed once and kept in the user's cache. */
export const openModel = (path?: string | URL, o: OpenOptions = {}): Promise<Model> =>
  openWith(async () => {
    const { id, folder } = await localPack(path instanceof URL ? fileURLToPath(path) : path, o.say ?? (() => {}));
    return { source: folderPack(folder), id, hasher: nodeHasher, maker: wasmMaker(await wasmModules()) };
  }, o);

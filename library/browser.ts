/** `turnstone/engine` in a browser: a model from a pack's URL, computed in the page or worker that opens it. */
import { detectRelaxed } from '../kernels/wasm/index.ts';
import { urlPack } from '../models/pack/source.ts';
import { openModel as openRuntime, wasmMaker } from '../serving/run/open.ts';
import { Model } from './model.ts';

export { type Asked, type Fields, type Message, Model, RequestError } from './model.ts';

export interface OpenOptions {
  /** For weights, KV pages and scratch together; default 512. What the model leaves becomes context. */
  memoryMB?: number;
  /** Tokens; default: what fits, up to the model's own. */
  context?: number;
  /** Bytes of weights loaded, of all. */
  onProgress?: (loaded: number, total: number) => void;
  /** Sent with the requests for the pack's files. */
  headers?: Record<string, string>;
  /** Where the kernels are served, when the bundler does not put them beside this file: `turnstone/wasm/turnstone-simd.wasm`, `-relaxed.wasm`. */
  kernels?: { simd: string | URL; relaxed?: string | URL };
}

/**
 * Opens a pack that a web server has: a folder that `turnstone pack` wrote, or a server's own `/packs/<model>/`. It computes on the
 * thread that opens it, a step at a time: a page stays usable, a worker is better. Rejects when the files are not what the manifest says.
 */
export async function openModel(url: string | URL, o: OpenOptions = {}): Promise<Model> {
  const { memoryMB = 512 } = o;
  if (!(memoryMB >= 16 && memoryMB <= 4096)) throw new RangeError(`memoryMB is ${memoryMB}, must be from 16 to 4096`);
  const base = new URL(url, globalThis.location?.href).href.replace(/\/*$/, '/');
  const { simd, relaxed } = o.kernels ?? {
    simd: new URL('../.build/wasm/turnstone-simd.wasm', import.meta.url),
    relaxed: new URL('../.build/wasm/turnstone-relaxed.wasm', import.meta.url),
  };
  return new Model(
    await openRuntime({
      source: urlPack(base, (u, init) => fetch(u, init), o.headers),
      id: decodeURIComponent(base.split('/').at(-2) ?? 'model'),
      maker: wasmMaker({ simd: await compiled(simd), relaxed: relaxed && detectRelaxed() ? await compiled(relaxed) : undefined }),
      ...{ memoryBytes: memoryMB * 1e6, context: o.context, onProgress: o.onProgress },
    }),
  );
}

async function compiled(url: string | URL): Promise<WebAssembly.Module> {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url} answered ${response.status}; give the option "kernels" with where they are served`);
  return WebAssembly.compile(await response.arrayBuffer());
}

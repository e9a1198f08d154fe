/** `turnstone/engine` in a browser: a model from a pack's URL, computed in the page or worker that opens it. types/engine.d.ts is what is published of it. */
import { detectRelaxed } from '../kernels/wasm/index.ts';
import { urlPack } from '../models/pack/source.ts';
import { wasmMaker } from '../serving/run/open.ts';
import type { OpenOptions } from '../types/engine.d.ts';
import { type Model, openWith } from './model.ts';

export { Model, RequestError } from './model.ts';

/** It computes on the thread that opens it, a step at a time: a page stays usable, a worker is better. */
export const openModel = (url: string | URL, o: OpenOptions = {}): Promise<Model> =>
  openWith(async () => {
    const base = new URL(url, globalThis.location?.href).href.replace(/\/*$/, '/');
    const { simd, relaxed } = o.kernels ?? {
      simd: new URL('../.build/wasm/turnstone-simd.wasm', import.meta.url),
      relaxed: new URL('../.build/wasm/turnstone-relaxed.wasm', import.meta.url),
    };
    return {
      source: urlPack(base, (u, init) => fetch(u, init), o.headers),
      id: decodeURIComponent(base.split('/').at(-2) ?? 'model'),
      maker: wasmMaker({ simd: await compiled(simd), relaxed: relaxed && detectRelaxed() ? await compiled(relaxed) : undefined }),
    };
  }, o);

async function compiled(url: string | URL): Promise<WebAssembly.Module> {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url} answered ${response.status}; give the option "kernels" with where they are served`);
  return WebAssembly.compile(await response.arrayBuffer());
}

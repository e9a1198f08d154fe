/** The engine in this worker: opened on the GPU or else on WebAssembly, opened again after the device was lost. */

import { DeviceLostError, openDevice, type WebGpuBackend } from '../../../kernels/webgpu/index.ts';
import { ModelFileError } from '../../../models/error.ts';
import { readManifest } from '../../../models/pack/manifest.ts';
import { type PackSource, urlPack } from '../../../models/pack/source.ts';
import { coreApp, onHost } from '../../../serving/core.ts';
import { inProcess } from '../../../serving/in-process.ts';
import { faultOf } from '../../../serving/run/device-fault.ts';
import { type Maker, openModel, wasmMaker, webGpuMaker } from '../../../serving/run/open.ts';
import type { Runtime } from '../../../serving/run/runtime.ts';
import { warmUp } from '../../../serving/run/warm-up.ts';
import type { DeviceState } from './messages.ts';
import { shaders } from './shaders.ts';
import { dropPack, fetchPack, keptManifest, keptPack, packFolder } from './store.ts';

const MEMORY = 1 << 30; // bytes for weights, pages and scratch

export interface HostOptions {
  /** Where the pack lies. */
  url: string;
  id: string;
  key: string;
  /** Compiled when there is no GPU. */
  wasm: () => Promise<{ simd: WebAssembly.Module; relaxed?: WebAssembly.Module }>;
  /** `wasm` leaves the GPU alone. */
  prefer?: 'wasm';
  say(state: DeviceState): void;
}

export class Host {
  readonly #o: HostOptions;
  #opening?: Promise<Runtime>;
  /** Why the GPU is left alone from now on: it can be asked for, but not run this model. */
  #unfit?: string;

  readonly #app: ReturnType<typeof onHost>;

  constructor(o: HostOptions) {
    this.#o = o;
    this.#app = onHost(coreApp(), inProcess({ model: o.id, runtime: () => this.open(), vars: { PUBLIC: '1' } })); // none but the page reaches it
  }

  /** The engine, loaded on first use and again after a failure. */
  open(): Promise<Runtime> {
    if (!this.#opening) {
      const opening = this.#open();
      this.#opening = opening;
      opening.catch((error: unknown) => {
        this.#opening = undefined;
        this.#o.say({ phase: 'failed', message: error instanceof Error ? error.message : String(error) });
      });
    }
    return this.#opening;
  }

  /** Answers as the server would. A GPU that has failed is not asked again: lost, another is opened; unfit, wasm takes over. */
  async fetch(request: Request): Promise<Response> {
    const rt = await this.open();
    const fault = (rt.served.backend as Partial<WebGpuBackend>).fault?.();
    if (fault) {
      this.#failed(fault);
      await this.open();
    }
    return this.#app.fetch(request);
  }

  #failed(fault: Error): void {
    this.#opening = undefined;
    if (!(fault instanceof DeviceLostError)) this.#unfit = fault.message;
  }

  async #open(): Promise<Runtime> {
    try {
      return await this.#load();
    } catch (error) {
      const fault = faultOf(error);
      if (!fault || fault instanceof DeviceLostError) throw fault ?? error;
      this.#unfit = fault.message;
      return this.#load();
    }
  }

  async #load(): Promise<Runtime> {
    const { url, id, key, say } = this.#o;
    say({ phase: 'loading', loaded: 0, total: 0 });
    const remote = urlPack(url, (u, init) => fetch(u, init), key ? { authorization: `Bearer ${key}` } : {});
    const { maker, engine, gone } = await this.#maker();
    const source = await this.#source(remote);
    const load = () => openModel({ source: source.pack, id, maker, memoryBytes: MEMORY });
    let rt: Runtime;
    try {
      await source.fetch((loaded, total) => say({ phase: 'loading', loaded, total }));
      rt = await load();
    } catch (error) {
      if (!(error instanceof ModelFileError) || !source.drop) throw error;
      say({ phase: 'loading', loaded: 0, total: 0, message: `A kept file was damaged and is fetched again: ${error.message}` });
      await source.drop();
      await source.fetch((loaded, total) => say({ phase: 'loading', loaded, total }));
      rt = await load();
    }
    if (gone) {
      say({ phase: 'loading', loaded: 0, total: 0, message: 'Compiling the kernels for this GPU…' });
      await warmUp(rt.engine).catch((error: unknown) => {
        rt.served.backend.dispose();
        throw error;
      });
    }
    const opening = this.#opening;
    void gone?.then((message) => {
      if (this.#opening !== opening) return;
      this.#opening = undefined; // the next question loads it again, from what is kept
      say({ phase: 'failed', message: `${message} The next question starts it again.` });
    });
    say({ phase: 'ready', engine });
    return rt;
  }

  async #maker(): Promise<{ maker: Maker; engine: string; gone?: Promise<string> }> {
    if (this.#unfit)
      return { maker: wasmMaker(await this.#o.wasm()), engine: `WebAssembly. ${this.#unfit.replace(/[.]?$/, '.')} So the GPU is not used` };
    const adapter = this.#o.prefer === 'wasm' ? null : await openDevice(navigator.gpu).catch(() => null);
    if (!adapter) return { maker: wasmMaker(await this.#o.wasm()), engine: 'WebAssembly (this browser gives no GPU)' };
    const { device, features, name } = adapter;
    const gone = device.lost.then(({ message }) => `The GPU was lost${message ? `: ${message.trim()}` : '.'}`);
    return { maker: webGpuMaker(device, { shaders, features }), engine: `WebGPU on ${name}`, gone };
  }

  /** The pack by way of the kept files, or straight from the server where nothing can be kept. */
  async #source(
    remote: PackSource,
  ): Promise<{ pack: PackSource; fetch(p: (l: number, t: number) => void): Promise<void>; drop?(): Promise<void> }> {
    const folder = await packFolder(this.#o.id);
    if (!folder) return { pack: remote, fetch: async () => {} };
    const bytes = await keptManifest(remote, folder);
    const manifest = readManifest(bytes);
    return {
      pack: keptPack(manifest, bytes, folder),
      fetch: (progress) => fetchPack(remote, manifest, folder, progress),
      drop: () => dropPack(manifest, folder),
    };
  }
}

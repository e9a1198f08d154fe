/** llama.cpp compiled to wasm (npm @wllama/wllama), one thread, in headless Chromium. */
import { PeerPage } from './browser.ts';

export type WllamaVersion = '2.3.1' | '3.8.1';

/** What the page keeps between calls. */
interface Two {
  loadModel(blobs: Blob[], o: object): Promise<void>;
  decode(tokens: number[], o: object): Promise<unknown>;
  samplingInit(o: object): Promise<void>;
  samplingSample(): Promise<{ token: number }>;
  kvClear(): Promise<void>;
  kvRemove(keep: number, discard: number): Promise<void>;
}
interface Three {
  loadModel(blobs: Blob[], o: object): Promise<void>;
  createCompletion(o: object): Promise<{ timings?: { prompt_n: number; prompt_ms: number; predicted_n: number; predicted_ms: number } }>;
}
/** The page's global object, where it keeps the model between calls. */
interface Held<T> {
  wllama: T;
}

const PATHS: Record<WllamaVersion, { module: string; wasm: Record<string, string> }> = {
  '2.3.1': {
    module: '/node_modules/@wllama/wllama/esm/index.js',
    wasm: { 'single-thread/wllama.wasm': '/node_modules/@wllama/wllama/esm/single-thread/wllama.wasm' },
  },
  '3.8.1': { module: '/node_modules/wllama3/esm/index.js', wasm: { default: '/node_modules/wllama3/esm/wasm/wllama.wasm' } },
};

export class WllamaPeer {
  readonly version: WllamaVersion;
  readonly host: PeerPage;
  private held: readonly number[] = [];

  private constructor(version: WllamaVersion, host: PeerPage) {
    this.version = version;
    this.host = host;
  }

  static async open(gguf: string, version: WllamaVersion, context: number): Promise<WllamaPeer> {
    const host = await PeerPage.open([gguf]);
    const { module, wasm } = PATHS[version];
    await host.page.evaluate(
      async ({ module, wasm, context }) => {
        const { Wllama } = (await import(module)) as { Wllama: new (paths: object, o: object) => Two & Three };
        const w = new Wllama(wasm, { suppressNativeLog: true });
        const blob = await (await fetch('/file/0')).blob();
        await w.loadModel([blob], { n_ctx: context, n_batch: 512, n_threads: 1, n_gpu_layers: 0, warmup: false });
        (globalThis as unknown as Held<unknown>).wllama = w;
      },
      { module, wasm, context },
    );
    return new WllamaPeer(version, host);
  }

  /** Time of a prompt's prefill, ms. 3.x takes text alone and tells its own times: they are scaled to the prompt's length. */
  async prefill(ids: readonly number[]): Promise<number> {
    this.held = [];
    if (this.version === '3.8.1') {
      const t = await this.complete(ids, 1);
      return (t.prompt_ms / t.prompt_n) * ids.length;
    }
    return this.host.time(() =>
      this.host.page.evaluate(
        async (tokens) => {
          const w = (globalThis as unknown as Held<Two>).wllama;
          await w.kvClear();
          await w.samplingInit({ temp: 0 });
          await w.decode(tokens, {});
          await w.samplingSample();
        },
        [...ids],
      ),
    );
  }

  /** Time of `steps` decode steps after `prompt`, ms. */
  async decode(prompt: readonly number[], steps: number): Promise<number> {
    if (this.version === '3.8.1') {
      const t = await this.complete(prompt, steps);
      return (t.predicted_ms / t.predicted_n) * steps;
    }
    const there = this.held.length === prompt.length && this.held.every((t, i) => t === prompt[i]);
    this.held = prompt;
    await this.host.page.evaluate(
      async ({ tokens, steps, there }) => {
        const w = (globalThis as unknown as Held<Two>).wllama;
        if (there) await w.kvRemove(tokens.length, steps);
        else {
          await w.kvClear();
          await w.decode(tokens, {});
        }
        await w.samplingInit({ temp: 0 });
      },
      { tokens: [...prompt], steps, there },
    );
    return this.host.time(() =>
      this.host.page.evaluate(
        async ({ last, steps }) => {
          const w = (globalThis as unknown as Held<Two>).wllama;
          let token = last;
          for (let i = 0; i < steps; i++) {
            await w.decode([token], {});
            token = (await w.samplingSample()).token;
          }
        },
        { last: prompt[prompt.length - 1], steps },
      ),
    );
  }

  /** Words of two letters are one token each in the random vocabulary, with their space two. */
  private async complete(ids: readonly number[], steps: number) {
    const letters = 'abcdefghijklmnopqrstuvwxyz';
    const text = ids
      .slice(0, Math.ceil(ids.length / 2))
      .map((id) => ` ${letters[id % 26]}${letters[(id >> 5) % 26]}`)
      .join('');
    const timings = await this.host.page.evaluate(
      async ({ text, steps }) => {
        const w = (globalThis as unknown as Held<Three>).wllama;
        const answer = await w.createCompletion({ prompt: text, max_tokens: steps, temperature: 0, ignore_eos: true, cache_prompt: false });
        return answer.timings;
      },
      { text, steps },
    );
    if (!timings) throw new Error('wllama 3 gave no timings');
    return timings;
  }

  close = (): Promise<void> => this.host.close();
}

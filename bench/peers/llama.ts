/** Native llama.cpp, one thread, through node-llama-cpp's prebuilt binaries: the addon's own calls, no JavaScript between tokens but a loop. */
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { start } from '../clock.ts';
import { PEERS } from './install.ts';

/** The little of node-llama-cpp that is used; its package is not installed where types are checked. */
interface Addon {
  initBatch(size: number): void;
  addToBatch(sequence: number, first: number, tokens: Uint32Array, logits: Uint32Array): Uint32Array;
  decodeBatch(): Promise<void>;
  sampleToken(index: number, sampler: unknown): Promise<number>;
  sampleToken(
    index: number,
    sampler: unknown,
    probabilities: boolean,
    confidence: boolean,
    logits: true,
  ): Promise<[number, unknown, unknown, number[]]>;
  removeTokenCellsFromSequence(sequence: number, from: number, to: number): boolean;
}
interface Context {
  _ctx: Addon;
  getSequence(): unknown;
  dispose(): Promise<void>;
}
interface Model {
  _model: unknown;
  createContext(o: object): Promise<Context>;
  tokenize(text: string, special: boolean): number[];
  dispose(): Promise<void>;
}
interface Llama {
  systemInfo: string;
  _bindings: { AddonSampler: new (model: unknown) => { applyConfig(o: object): void } };
  loadModel(o: object): Promise<Model>;
  dispose(): Promise<void>;
}
interface Module {
  getLlama(o: object): Promise<Llama>;
  LlamaLogLevel: { error: unknown };
}

const BATCH = 512;

export interface LlamaOptions {
  context: number;
  /** GGML's names; llama.cpp's default is F16. */
  kv?: 'F32' | 'F16' | 'Q8_0';
  /** 1 unless given. */
  threads?: number;
  /** Flash attention rounds to f16 inside; off, f32 stays f32. llama.cpp decides unless given. */
  flash?: boolean;
}

export class LlamaPeer {
  readonly systemInfo: string;
  private readonly llama: Llama;
  private readonly model: Model;
  private readonly addon: Addon;
  private readonly sampler: unknown;
  /** Kept from the garbage collector, which would free them. */
  private readonly context: Context;
  private readonly sequence: unknown;
  private held: number[] = [];

  private constructor(llama: Llama, model: Model, context: Context) {
    this.llama = llama;
    this.systemInfo = llama.systemInfo;
    this.model = model;
    this.context = context;
    this.sequence = context.getSequence();
    this.addon = context._ctx;
    const sampler = new llama._bindings.AddonSampler(model._model);
    sampler.applyConfig({ temperature: 0 });
    this.sampler = sampler;
  }

  static async open(path: string, o: LlamaOptions): Promise<LlamaPeer> {
    const entry = join(PEERS, 'node_modules/node-llama-cpp/dist/index.js');
    const { getLlama, LlamaLogLevel } = (await import(pathToFileURL(entry).href)) as Module;
    const llama = await getLlama({ gpu: false, build: 'never', skipDownload: true, progressLogs: false, logLevel: LlamaLogLevel.error });
    const model = await llama.loadModel({ modelPath: path, gpuLayers: 0 });
    const kv = o.kv ? { experimentalKvCacheKeyType: o.kv, experimentalKvCacheValueType: o.kv } : {};
    const flash = o.flash === undefined ? {} : { flashAttention: o.flash };
    const context = await model.createContext({
      contextSize: o.context,
      batchSize: BATCH,
      sequences: 1,
      threads: o.threads ?? 1,
      ...kv,
      ...flash,
    });
    return new LlamaPeer(llama, model, context);
  }

  tokenize = (text: string): number[] => [...this.model.tokenize(text, true)];

  /** Computes `ids` after what is kept of them in the cache; returns where the last one's logits are. */
  private async run(ids: readonly number[], keep: number): Promise<number> {
    if (keep < this.held.length) this.addon.removeTokenCellsFromSequence(0, keep, -1);
    let index = 0;
    for (let at = keep; at < ids.length; at += BATCH) {
      const part = ids.slice(at, at + BATCH);
      const last = at + part.length === ids.length;
      this.addon.initBatch(part.length);
      const out = this.addon.addToBatch(0, at, Uint32Array.from(part), Uint32Array.from(last ? [part.length - 1] : []));
      await this.addon.decodeBatch();
      if (last) index = out[0];
    }
    this.held = [...ids];
    return index;
  }

  /** Time of a prompt's prefill and its first token, ms. */
  async prefill(ids: readonly number[]): Promise<number> {
    const elapsed = start();
    await this.addon.sampleToken(await this.run(ids, 0), this.sampler);
    return elapsed();
  }

  /** Time of `steps` decode steps after `prompt`, which stays in the cache, ms. */
  async decode(prompt: readonly number[], steps: number): Promise<number> {
    const keep = this.common(prompt);
    let token = await this.addon.sampleToken(await this.run(prompt, Math.min(keep, prompt.length - 1)), this.sampler);
    const elapsed = start();
    for (let i = 0; i < steps; i++) {
      this.addon.initBatch(1);
      const [index] = this.addon.addToBatch(0, prompt.length + i, Uint32Array.of(token), Uint32Array.of(0));
      await this.addon.decodeBatch();
      token = await this.addon.sampleToken(index, this.sampler);
      this.held.push(token);
    }
    return elapsed();
  }

  /** Tokens after `ids`, drawn by llama.cpp's own sampler, without end. */
  async *draw(ids: readonly number[], config: { temperature: number; topP: number; seed: number }): AsyncGenerator<number> {
    const sampler = new this.llama._bindings.AddonSampler(this.model._model);
    sampler.applyConfig({ ...config, topK: 0, minP: 0 });
    let index = await this.run(ids, 0);
    for (let at = ids.length; ; at++) {
      const token = await this.addon.sampleToken(index, sampler);
      yield token;
      this.addon.initBatch(1);
      [index] = this.addon.addToBatch(0, at, Uint32Array.of(token), Uint32Array.of(0));
      await this.addon.decodeBatch();
      this.held.push(token);
    }
  }

  /** Logits after the last of `ids`, [V]. */
  async logits(ids: readonly number[]): Promise<Float32Array> {
    return this.logitsAt(await this.run(ids, Math.min(this.common(ids), ids.length - 1)));
  }

  /** Logits after every one of `ids`, at most as many as fit one batch, [V] each. */
  async *everyLogits(ids: readonly number[]): AsyncGenerator<Float32Array> {
    if (ids.length > BATCH) throw new Error(`${ids.length} tokens are more than a batch of ${BATCH}`);
    if (this.held.length > 0) this.addon.removeTokenCellsFromSequence(0, 0, -1);
    this.addon.initBatch(ids.length);
    const out = this.addon.addToBatch(0, 0, Uint32Array.from(ids), Uint32Array.from(ids.keys()));
    await this.addon.decodeBatch();
    this.held = [...ids];
    for (const index of out) yield await this.logitsAt(index);
  }

  private async logitsAt(index: number): Promise<Float32Array> {
    const [, , , pairs] = await this.addon.sampleToken(index, this.sampler, false, false, true);
    const out = new Float32Array(pairs.length / 2);
    for (let i = 0; i < pairs.length; i += 2) out[pairs[i]] = pairs[i + 1];
    return out;
  }

  private common(ids: readonly number[]): number {
    let n = 0;
    while (n < ids.length && n < this.held.length && ids[n] === this.held[n]) n++;
    return n;
  }

  async close(): Promise<void> {
    if (this.sequence) await this.context.dispose();
    await this.model.dispose();
    await this.llama.dispose();
  }
}

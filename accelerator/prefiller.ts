/** Prefill on a backend, whole pages only: what the service runs. No queue and no wire here. */
import type { ModelWeights } from '../engine/anatomy.ts';
import type { Backend, KvFormat } from '../engine/backend.ts';
import type { ModelConfig } from '../engine/config.ts';
import { PAGE } from '../engine/layout.ts';
import { type Hash, PageNames } from '../engine/pages.ts';
import { Runner } from '../engine/runner.ts';

export interface PrefillerOptions {
  readonly backend: Backend;
  readonly config: ModelConfig;
  readonly weights: ModelWeights;
  readonly kv: KvFormat;
  readonly pack: string;
  readonly hash: Hash;
  /** Tokens a forward pass takes at most: how long the device can be busy before it can be cancelled. */
  readonly chunk: number;
  readonly context: number;
  readonly pages: number;
}

/** Ancestor pages that the caller has and this side lacks. */
export class MissingPages extends Error {
  override name = 'MissingPages';
  readonly names: readonly string[];

  constructor(names: readonly string[]) {
    super(`${names.length} ancestor pages are not here`);
    this.names = names;
  }
}

export interface DonePage {
  readonly name: string;
  readonly bytes: Uint8Array;
  /** It was held already, not computed now. */
  readonly cached: boolean;
}

export class Prefiller {
  readonly pageBytes: number;
  readonly pack: string;
  readonly kvFormat: KvFormat;
  readonly numerics: string;
  private readonly o: PrefillerOptions;
  private readonly names: PageNames;
  private readonly runner: Runner;

  constructor(o: PrefillerOptions) {
    this.o = o;
    const { backend, config, weights, kv, pages, context } = o;
    this.pack = o.pack;
    this.kvFormat = kv;
    this.numerics = backend.numerics;
    this.names = new PageNames(o.hash, { pack: o.pack, kv, numerics: backend.numerics });
    const size = { maxTokens: o.chunk, maxSequences: 1, maxRows: 1, maxBlocks: Math.ceil(context / PAGE), context };
    this.runner = new Runner({ backend, config, weights, size, kv, pages, head: false });
    this.pageBytes = this.runner.kv.pageBytes;
  }

  /** Throws RangeError, naming what is wrong, when the ids cannot be a prompt of this model. */
  check(ids: readonly number[], have: number): void {
    if (ids.length > this.o.context) throw new RangeError(`${ids.length} tokens are more than the context of ${this.o.context}`);
    if (Math.ceil(ids.length / PAGE) > this.o.pages)
      throw new RangeError(`${ids.length} tokens need more than the ${this.o.pages} pages there are`);
    if (have * PAGE > ids.length) throw new RangeError(`have is ${have} pages, the prompt has ${Math.floor(ids.length / PAGE)} whole ones`);
    const wrong = ids.find((id) => !(id < this.o.config.vocab));
    if (wrong !== undefined) throw new RangeError(`token id ${wrong} is outside the vocabulary of ${this.o.config.vocab}`);
  }

  chain(ids: readonly number[], salt: string): string[] {
    return this.names.chain(ids, salt);
  }

  has(name: string): boolean {
    return this.runner.pool.has(name);
  }

  /** Puts a page whose digest was checked under its name. False when no page is free. */
  put(name: string, bytes: Uint8Array): boolean {
    return this.runner.importPage(name, bytes);
  }

  /**
   * Computes the whole pages of `ids` behind the first `have` and yields each as it is complete, in order. Pages held
   * here are not computed again. Between chunks the caller gets its turn; returning early frees everything.
   * Throws MissingPages before any work when one of the first `have` is not here.
   */
  async *run(ids: readonly number[], have: number, salt: string): AsyncGenerator<DonePage> {
    this.check(ids, have);
    const { runner } = this;
    const { pool } = runner;
    const names = this.chain(ids, salt);
    const missing = names.slice(0, have).filter((n) => !pool.has(n));
    if (missing.length > 0) throw new MissingPages(missing);
    const pages: number[] = [];
    try {
      for (const name of names) {
        const p = pool.take(name);
        if (p === undefined) break;
        pages.push(p);
      }
      for (let i = have; i < pages.length; i++) yield { name: names[i], bytes: await runner.readPage(pages[i]), cached: true };
      while (pages.length < names.length) {
        const first = pages.length;
        const n = Math.min(Math.floor(this.o.chunk / PAGE), names.length - first);
        for (let i = 0; i < n; i++) {
          const p = pool.alloc();
          if (p === undefined) throw new Error('no KV page of the device is free');
          pages.push(p);
        }
        runner.run([{ seq: { ids, pages }, start: first * PAGE, count: n * PAGE, logits: 0, draft: [] }]);
        await this.o.backend.submit();
        for (let i = first; i < first + n; i++) {
          const bytes = await runner.readPage(pages[i]);
          pool.publish(pages[i], names[i]);
          yield { name: names[i], bytes, cached: false };
        }
      }
    } finally {
      pool.releaseAll(pages);
    }
  }
}

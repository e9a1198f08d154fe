/** Prefill on a backend, whole pages only: what the service runs. No queue and no wire here. */
import type { Backend, Batch, Buf, KvFormat } from '../engine/backend.ts';
import type { ModelConfig } from '../engine/config.ts';
import { PAGE } from '../engine/layout.ts';
import { allocScratch, type Formats, forward, type ModelWeights } from '../engine/model.ts';
import { type Hash, PageNames, PagePool } from '../engine/pages.ts';
import { ropeTable } from '../engine/rope.ts';

export interface PrefillerOptions {
  readonly backend: Backend;
  readonly config: ModelConfig;
  readonly weights: ModelWeights;
  readonly formats: Formats;
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
  private readonly pool: PagePool;
  private readonly kv;
  private readonly scratch;
  private readonly table: Buf;
  private readonly bufs: { ids: Buf; pos: Buf; slot: Buf; seqOf: Buf; blocks: Buf; rows: Buf };

  constructor(o: PrefillerOptions) {
    this.o = o;
    const { backend: b, config: c } = o;
    this.pack = o.pack;
    this.kvFormat = o.kv;
    this.numerics = b.numerics;
    this.names = new PageNames(o.hash, { pack: o.pack, kv: o.kv, numerics: b.numerics });
    this.pool = new PagePool(o.pages);
    this.kv = b.kvPool({ format: o.kv, layers: c.layers, kvHeads: c.kvHeads, headDim: c.headDim }, o.pages);
    this.pageBytes = this.kv.pageBytes;
    this.scratch = allocScratch(b, c, o.formats, o.chunk, 1);
    this.table = b.alloc(o.context * c.headDim * 4, 'rope');
    b.write(this.table, new Uint8Array(ropeTable(c, o.context).buffer));
    const u32 = (n: number, label: string): Buf => b.alloc(n * 4, label);
    this.bufs = {
      ...{ ids: u32(o.chunk, 'ids'), pos: u32(o.chunk, 'pos'), slot: u32(o.chunk, 'slot'), seqOf: u32(o.chunk, 'seqOf') },
      ...{ blocks: u32(Math.ceil(o.context / PAGE), 'blocks'), rows: u32(1, 'rows') },
    };
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
    return this.pool.has(name);
  }

  /** Puts a page whose digest was checked under its name. False when no page is free. */
  put(name: string, bytes: Uint8Array): boolean {
    if (this.pool.has(name)) return true;
    const p = this.pool.alloc();
    if (p === undefined) return false;
    this.o.backend.write(this.kv.data, bytes, p * this.pageBytes);
    this.pool.publish(p, name);
    this.pool.release(p);
    return true;
  }

  /**
   * Computes the whole pages of `ids` behind the first `have` and yields each as it is complete, in order. Pages held
   * here are not computed again. Between chunks the caller gets its turn; returning early frees everything.
   * Throws MissingPages before any work when one of the first `have` is not here.
   */
  async *run(ids: readonly number[], have: number, salt: string): AsyncGenerator<DonePage> {
    this.check(ids, have);
    const names = this.chain(ids, salt);
    const missing = names.slice(0, have).filter((n) => !this.pool.has(n));
    if (missing.length > 0) throw new MissingPages(missing);
    const pages: number[] = [];
    try {
      for (const name of names) {
        const p = this.pool.take(name);
        if (p === undefined) break;
        pages.push(p);
      }
      for (let i = have; i < pages.length; i++) yield { name: names[i], bytes: await this.bytesOf(pages[i]), cached: true };
      while (pages.length < names.length) {
        const first = pages.length;
        const n = Math.min(Math.floor(this.o.chunk / PAGE), names.length - first);
        for (let i = 0; i < n; i++) {
          const p = this.pool.alloc();
          if (p === undefined) throw new Error('no KV page of the device is free');
          pages.push(p);
        }
        await this.forward(ids, pages, first * PAGE, n * PAGE);
        for (let i = first; i < first + n; i++) {
          const bytes = await this.bytesOf(pages[i]);
          this.pool.publish(pages[i], names[i]);
          yield { name: names[i], bytes, cached: false };
        }
      }
    } finally {
      this.pool.releaseAll(pages);
    }
  }

  private bytesOf(page: number): Promise<Uint8Array> {
    return this.o.backend.read(this.kv.data, page * this.pageBytes, this.pageBytes);
  }

  private async forward(ids: readonly number[], pages: readonly number[], from: number, T: number): Promise<void> {
    const { backend: b, config, weights } = this.o;
    const write = (buf: Buf, n: number, at: (i: number) => number): void =>
      b.write(buf, new Uint8Array(Uint32Array.from({ length: n }, (_, i) => at(i)).buffer));
    write(this.bufs.ids, T, (t) => ids[from + t]);
    write(this.bufs.pos, T, (t) => from + t);
    write(this.bufs.slot, T, (t) => pages[(from + t) >> 4] * PAGE + ((from + t) & 15));
    write(this.bufs.seqOf, T, () => 0);
    write(this.bufs.blocks, pages.length, (i) => pages[i]);
    const batch: Batch = { ...this.bufs, T, S: 1, R: 0, maxBlocks: pages.length };
    forward(b, config, weights, this.table, this.kv, this.scratch, batch);
    await b.submit();
  }
}

import { Adapters, allocAdapters } from './adapters.ts';
import { countKinds, layersOf, type PartWeights, type Range, type Rope, ropesOf, slidesOf } from './anatomy.ts';
import type { Allocator, Backend, Buf, KvFormat, KvPool, KvShape } from './backend.ts';
import { BatchBuffers, type BatchSlice } from './batch.ts';
import type { ModelConfig } from './config.ts';
import { allocScratch, embed, type Formats, formatsOf, forward, head, type Model, type Scratch, type Tap, through } from './model.ts';
import { Paged } from './paged.ts';
import { PagePool } from './pages.ts';
import { ropeRows } from './rope.ts';
import type { Row } from './sampler.ts';
import { joinParts, splitParts, Windows } from './windows.ts';

/** What a runner can take at once. */
export interface RunnerSize {
  maxTokens: number; // T: tokens a step
  maxSequences: number; // S
  maxRows: number; // R: rows of logits
  maxBlocks: number; // pages a sequence
  context: number; // tokens a sequence
  /** Pages of which layers that slide keep their part; all unless given. */
  windowPages?: number;
  /** Bytes for adapters; none unless given. */
  adapters?: number;
}

export interface RunnerOptions {
  backend: Backend;
  config: ModelConfig;
  /** Of all layers, or of those from `first` on that are here. */
  weights: PartWeights;
  size: RunnerSize;
  kv: KvFormat;
  pages: number;
  /** Number of the first layer that is here, 0 unless given. */
  first?: number;
  /** Whether logits are made; without, the pass ends with the last norm. */
  head?: boolean;
}

/** Rows of the RoPE tables that are written at once at least. */
const FIRST_ROWS = 128;

/** The shape of a model's KV pool, or of that of its layers [from, to). */
export function kvShape(c: ModelConfig, format: KvFormat, [from, to]: Range = [0, c.layers]): KvShape {
  const { attend, convolve } = countKinds(c, from, to);
  const convs = convolve > 0 && { convs: { layers: convolve, width: c.hidden } };
  return { format, layers: attend, kvHeads: c.kvHeads, headDim: c.headDim, ...convs };
}

/** The shapes of the two pools where layers that slide have one of their own; behind these layers' come no convolutions. */
export function poolShapes(c: ModelConfig, format: KvFormat, range: Range = [0, c.layers]): { kept: KvShape; slid: KvShape } {
  const all = kvShape(c, format, range);
  const sliding = slidesOf(c, range).filter(Boolean).length;
  const { convs, ...heads } = all;
  return { kept: { ...all, layers: all.layers - sliding }, slid: { ...heads, layers: sliding } };
}

/** Allocates the pages of layers [from, to): one pool, or two of which the second has the parts of layers that slide. */
export function allocPools(
  be: Allocator,
  c: ModelConfig,
  format: KvFormat,
  pages: number,
  size: Pick<RunnerSize, 'windowPages'>,
  range?: Range,
) {
  const { windowPages } = size;
  if (windowPages === undefined) return { kept: be.kvPool(kvShape(c, format, range), pages) };
  const { kept, slid } = poolShapes(c, format, range);
  return { kept: be.kvPool(kept, pages), slid: be.kvPool(slid, windowPages) };
}

/** Where the parts of pages that a window leaves are told, where they are. */
export const windowsOf = (c: ModelConfig, pages: number, { windowPages }: Pick<RunnerSize, 'windowPages'>): Windows | undefined =>
  windowPages === undefined || c.window === undefined ? undefined : new Windows(pages, windowPages, c.window);

/** Allocates everything of a runner but weights and pages; the same code counts for the plan and runs for real. */
export function allocRunner(be: Allocator, c: ModelConfig, formats: Formats, size: RunnerSize, vocab = c.vocab) {
  const { maxTokens: T, maxRows: R, maxSequences: S, maxBlocks } = size;
  const turns = formats.qkv.length > 0; // where layers attend
  return {
    scratch: allocScratch(be, c, formats, T, R, vocab),
    batch: new BatchBuffers(be, { T, S, R, maxBlocks, windows: size.windowPages !== undefined }),
    adapters: allocAdapters(be, size.adapters ?? 0),
    tables: turns ? ropesOf(c).map(() => be.alloc(size.context * c.headDim * 4, 'rope')) : [],
  };
}

/** The best k tokens of each row decide, most likely: k, and what logits are multiplied by, a row. */
export interface Best {
  k: number;
  invTemp: Float32Array;
}

/**
 * What a pass elsewhere ends with: what was asked of each row, and `whole` for one that this does not decide (all its logits [V], computed
 * again); or logits that `put` writes where they belong.
 */
export type Landing = { rows: readonly Row[]; whole(r: number): Promise<Float32Array> } | { put(): void };

/** What an engine runs its steps on: a model in one piece (Runner), or in stages (StagedRunner). */
export interface Passes extends Paged {
  /** How many places a token goes through one after the other: so many steps must be under way for all of them to compute. 1: a step ends before the next begins. */
  readonly depth: number;
  /** Cores that these places have together, where that is known. */
  readonly cores?: number;
  /** Tokens a step at the most. */
  readonly most: number;
  /** Logits [R, V] of the last run, on the engine's backend. */
  readonly logits: Buf;
  /**
   * The pass of a step; `best` says that no more than the best tokens of each row are asked for. Where it is a promise, the next may begin
   * before it settles, and comes after it in each place. It may reject with PagesLost.
   */
  begin(slices: readonly BatchSlice[], best?: Best): undefined | Promise<Landing>;
  /** Copies pages before the next run: pairs of from, to; `places`: of where the parts of layers that slide are. */
  copy(pairs: Uint32Array, places?: Uint32Array): void;
  /** Absent where none can be loaded. */
  readonly adapters?: Adapters;
}

/** A model on a backend, or a part of it: weights, activations, pages, tables and the batch. Runs slices of sequences through them. */
export class Runner extends Paged implements Passes {
  /** All parts of a page. */
  readonly kv: Pick<KvPool, 'shape' | 'pageBytes' | 'pages'>;
  readonly pools: { readonly kept: KvPool; readonly slid?: KvPool };
  readonly pool: PagePool;
  readonly scratch: Scratch;
  readonly batch: BatchBuffers;
  readonly adapters?: Adapters;
  readonly depth = 1;
  readonly most: number;
  /** Positions whose rows of the tables are written. */
  positions = 0;
  private readonly be: Backend;
  private readonly size: RunnerSize;
  private readonly model: Model & { first: number };
  private readonly ropes: readonly Rope[];
  private readonly slides: readonly boolean[];

  constructor(o: RunnerOptions) {
    super();
    const { backend: be, config, weights, size } = o;
    if (o.kv !== 'f32' && weights.layers.some((l) => !l.balanced))
      throw new Error('int8 pages: balanceKeys was not called when the weights were loaded');
    this.be = be;
    this.size = size;
    this.most = size.maxTokens;
    this.ropes = ropesOf(config);
    const vocab = o.head === false ? 0 : (weights.head?.N ?? 0);
    const formats = formatsOf(weights);
    const { scratch, batch, tables, adapters } = allocRunner(be, config, formats, size, vocab);
    this.scratch = scratch;
    this.batch = batch;
    this.adapters = adapters && new Adapters(config, { be, data: adapters });
    this.pool = new PagePool(o.pages, windowsOf(config, o.pages, size));
    const first = o.first ?? 0;
    if (!be.shortConv && formats.convIn.length > 0)
      throw new Error(`${be.name} has no gated short convolution: models whose layers have one (LFM2) do not run on it`);
    const range = [first, first + weights.layers.length] as const;
    this.pools = allocPools(be, config, o.kv, o.pages, size, range);
    const { kept, slid } = this.pools;
    this.slides = slidesOf(config, range);
    this.kv = slid ? { shape: kvShape(config, o.kv, range), pageBytes: kept.pageBytes + slid.pageBytes, pages: o.pages } : kept;
    this.model = { config, layers: layersOf(config), weights, first, tables, kv: kept, slid };
  }

  /** Logits [R, V] of the last run, in the slices' order. */
  get logits(): Buf {
    if (!this.scratch.logits) throw new Error('this runner has no head');
    return this.scratch.logits;
  }

  /** Says that the weights that are here have become those of other layers. */
  set first(layer: number) {
    this.model.first = layer;
  }

  /**
   * Records the forward pass of `slices` through layers [from, to), all unless given: from tokens where from = 0, otherwise from the residual
   * stream as it is (`putStream`). Their keys and values go into their pages. Nothing is awaited; `submit` or `read` of the backend end it.
   */
  run(slices: readonly BatchSlice[], layers: readonly [from: number, to: number] = [0, this.model.config.layers], tap?: Tap): void {
    this.extendTables(slices);
    this.batch.fill(this.be, slices, this.pool.windows);
    forward(this.be, this.model, this.scratch, this.batch, layers[0], layers[1], tap);
  }

  begin(slices: readonly BatchSlice[]): undefined {
    this.run(slices);
  }

  /** Records the lookup of token ids, at most maxTokens, counted from the first row that is here; they become the residual stream. */
  embed(ids: Uint32Array): void {
    this.be.write(this.batch.ids, new Uint8Array(ids.buffer, ids.byteOffset, ids.byteLength));
    embed(this.be, this.model, this.scratch, this.batch.ids, ids.length);
  }

  /** Records `slices` through layers [from, to) alone: from and to the residual stream. */
  through(slices: readonly BatchSlice[], layers: readonly [from: number, to: number]): void {
    this.extendTables(slices);
    this.batch.fill(this.be, slices, this.pool.windows);
    through(this.be, this.model, this.scratch, this.batch, layers[0], layers[1]);
  }

  /** Records the logits of the residual stream's first R rows, at most maxRows. */
  head(R: number): void {
    head(this.be, this.model, this.scratch, R);
  }

  copy(pairs: Uint32Array, places?: Uint32Array): void {
    const { kept, slid } = this.pools;
    this.be.copyPages(kept, pairs);
    if (slid && places) this.be.copyPages(slid, places);
  }

  /** The residual stream [T, D] of the last run. */
  stream(T: number): Promise<Uint8Array> {
    return this.be.read(this.scratch.x, 0, T * this.model.config.hidden * 4);
  }

  /** Puts a residual stream [T, D], from where another runner ended. */
  putStream(x: Uint8Array): void {
    this.be.write(this.scratch.x, x);
  }

  get keptBytes(): number {
    return this.pools.kept.pageBytes;
  }

  /** `place`: where the part of layers that slide is, −1 where it is gone. */
  async readPage(page: number, place = this.pool.windows?.of(page) ?? -1): Promise<Uint8Array> {
    const read = (pool: KvPool, at: number) => this.be.read(pool.data, at * pool.pageBytes, pool.pageBytes);
    const { kept, slid } = this.pools;
    if (!slid || place < 0) return read(kept, page);
    const parts = [await read(kept, page), await read(slid, place)] as const;
    return joinParts(this.kv.shape, this.slides, ...parts);
  }

  writePage(page: number, bytes: Uint8Array, place = this.pool.windows?.of(page) ?? -1): void {
    const write = (pool: KvPool, at: number, part: Uint8Array) => this.be.write(pool.data, part, at * pool.pageBytes);
    const { kept, slid } = this.pools;
    if (slid && place >= 0) {
      const parts = splitParts(this.kv.shape, this.slides, bytes, kept.pageBytes);
      write(kept, page, parts.kept);
      write(slid, place, parts.slid);
    } else write(kept, page, bytes);
  }

  /** Writes the tables up to the last position of a step; at the start there is better to do. */
  private extendTables(slices: readonly BatchSlice[]): void {
    const end = slices.reduce((n, s) => Math.max(n, s.start + s.count), 0);
    const from = this.positions;
    if (end <= from) return;
    const { headDim } = this.model.config;
    const to = Math.min(this.size.context, Math.max(end, 2 * from, FIRST_ROWS));
    this.model.tables.forEach((table, i) => {
      const rows = ropeRows(this.ropes[i], headDim, from, to);
      this.be.write(table, new Uint8Array(rows.buffer), from * headDim * 4);
    });
    this.positions = to;
  }
}

import { AdapterMemoryError, type AdapterNumbers, type Adapters, adapterBytes, checkPieces } from './adapters.ts';
import type { Part } from './anatomy.ts';
import type { Adapter, Backend } from './backend.ts';
import { concat } from './bytes.ts';
import type { ModelConfig } from './config.ts';
import { PAGE } from './layout.ts';
import { allocBest, blockBytes, bytesOf, readRow, rowBytes } from './logits.ts';
import { type Best, Runner, type RunnerOptions, type RunnerSize } from './runner.ts';

/** Tokens that a stage is sent at once at the most: kernels take four at a time, and each call reads all weights. */
export const STAGE_TOKENS = 32;

/** Tokens of one sequence that are under way in stages together, for which layers that slide keep pages; where more stages have less, they wait. */
export const MOST_IN_STAGES = 10 * STAGE_TOKENS;

/** What a stage must be able to take of steps of a size. */
export const stageSize = (step: RunnerSize): RunnerSize => ({
  ...step,
  maxTokens: Math.min(step.maxTokens, STAGE_TOKENS),
  maxSequences: Math.min(step.maxSequences, STAGE_TOKENS),
  maxRows: Math.min(step.maxRows, STAGE_TOKENS),
});

/** A sequence's share of a step as a stage needs it: positions [start, start + count) and the numbers of all its pages. */
export interface StageSlice {
  readonly start: number;
  readonly count: number;
  readonly pages: readonly number[];
  /** Where layers that slide have each of them, where these keep only a part of the pages. */
  readonly places?: readonly number[];
  /** The id of its adapter, where it has one. Slices with the same follow each other, those without come first. */
  readonly adapter?: string;
}

/** Pages that are copied: pairs of from and to, of the pages' numbers and of the places where layers that slide have them. */
export interface PageCopies {
  readonly pages: Uint32Array;
  readonly places: Uint32Array;
}

/** What finds an adapter by its id; a stage loads the layers that it has of it, when a step wants it. */
export type AdapterFinder = (id: string) => Promise<AdapterNumbers>;

/**
 * A part of a model, here or in another isolate. It knows no sequence and no page's name: pages have one number in all parts, and the bytes
 * that a part has of one are those of its layers. All activations are f32 as they are. Rejects with PagesLost when it, or what it held, is gone.
 */
export interface StagePort {
  readonly part: Part;
  /** Makes it ready, again where it was lost. */
  open(): Promise<void>;
  /** Rows [n, D] of the embedding; ids are counted from the part's first row. */
  embed(ids: Uint32Array): Promise<Uint8Array>;
  /** The residual stream x [T, D] after the part's layers. `copies` are made first. */
  through(slices: readonly StageSlice[], x: Uint8Array, copies: PageCopies): Promise<Uint8Array>;
  /**
   * Logits [R, rows of the part's head] of x [R, D]; or of each row the best as topk has them, then, where more than one is wanted, of each row max and
   * sum of every SUM_BLOCK ids, and then, where the part `embedsBest`, the embedding [R, D] of each row's best. Ids are counted from the part's first row.
   */
  head(x: Uint8Array, best?: Best): Promise<Uint8Array>;
  /** What the part has of a page: its layers. `place`: where those that slide have it, −1 where they have lost it. */
  readPage(page: number, place: number): Promise<Uint8Array>;
  writePage(page: number, bytes: Uint8Array, place: number): Promise<void>;
}

/** Whether a part of the head answers the embedding of the best tokens too, one of which is likely the next that is asked for: it has the same rows of both. */
export const embedsBest = ({ embed, head }: Part): boolean => !!embed && !!head && embed[0] === head[0] && embed[1] === head[1];

/** Gives an array's memory back at once, where the runtime can: what an isolate holds counts what no collector has found yet. Nobody may use it afterwards. */
export function release(bytes: Uint8Array): void {
  if (bytes.byteLength === bytes.buffer.byteLength) (bytes.buffer as { transfer?(bytes: number): unknown }).transfer?.(0);
}

/** A part of a model on a backend of this isolate. */
export class Stage implements StagePort {
  readonly part: Part;
  /** Bytes of its part of a page. */
  readonly pageBytes: number;
  private readonly be: Backend;
  private readonly config: ModelConfig;
  private readonly runner: Runner;
  private readonly best?: ReturnType<typeof allocBest>;
  private readonly find?: AdapterFinder;
  /** Adapters that are loaded, or have nothing for the layers here. */
  private readonly adapters = new Map<string, Adapter>();
  private last: Promise<unknown> = Promise.resolve();

  constructor(o: Omit<RunnerOptions, 'first' | 'head'> & { part: Part; find?: AdapterFinder }) {
    this.part = o.part;
    this.be = o.backend;
    this.config = o.config;
    this.find = o.find;
    this.runner = new Runner({ ...o, first: o.part.layers[0] });
    this.pageBytes = this.runner.kv.pageBytes;
    if (o.part.head) this.best = allocBest(o.backend, o.size.maxRows, o.part.head[1] - o.part.head[0]);
  }

  async open(): Promise<void> {}

  embed(ids: Uint32Array): Promise<Uint8Array> {
    return this.alone(() => {
      this.runner.embed(ids);
      return this.runner.stream(ids.length);
    });
  }

  through(slices: readonly StageSlice[], x: Uint8Array, copies: PageCopies): Promise<Uint8Array> {
    return this.alone(async () => {
      if (copies.pages.length > 0) this.runner.copy(copies.pages, copies.places); // whatever becomes of the step
      this.check(slices, x);
      const wanted = new Set(slices.flatMap(({ adapter }) => adapter ?? []));
      if (wanted.size > 0) await this.hold(wanted);
      this.runner.putStream(x);
      const batch = slices.map(({ start, count, pages, places, adapter }) => ({
        seq: { ids: [], pages, places, adapter: adapter === undefined ? undefined : this.adapters.get(adapter) },
        ...{ start, count, logits: 0, draft: [] },
      }));
      this.runner.through(batch, this.part.layers);
      return this.runner.stream(x.byteLength / (this.config.hidden * 4));
    });
  }

  head(x: Uint8Array, best?: Best): Promise<Uint8Array> {
    return this.alone(async () => {
      const R = x.byteLength / (this.config.hidden * 4);
      this.runner.putStream(x);
      this.runner.head(R);
      const [from, to] = this.part.head ?? [0, 0];
      if (best && this.best) {
        const { k, invTemp } = best;
        if (invTemp.length !== R) throw new RangeError(`${R} rows have ${invTemp.length} temperatures`);
        this.be.write(this.best.invTemp, bytesOf(invTemp));
        const { out } = this.best;
        const blocks = k > 1 ? this.best.blocks : undefined; // the best token alone needs no sum
        this.be.topk({ K: k, data: out, blocks }, this.runner.logits, this.best.invTemp, R, to - from);
        const top = await this.be.read(out, 0, R * rowBytes(k));
        const sums = blocks ? [await this.be.read(blocks, 0, R * blockBytes(to - from))] : [];
        return concat([top, ...sums, ...(embedsBest(this.part) ? [await this.embedding(top, R, k)] : [])]);
      }
      return this.be.read(this.runner.logits, 0, R * (to - from) * 4);
    });
  }

  /** Of the best token of each row that topk answered; of any where a row has none. */
  private embedding(top: Uint8Array, R: number, k: number): Promise<Uint8Array> {
    const rows = (this.part.head?.[1] ?? 0) - (this.part.head?.[0] ?? 0);
    this.runner.embed(Uint32Array.from({ length: R }, (_, r) => Math.min(readRow(top, r, k).ids[0], rows - 1)));
    return this.runner.stream(R);
  }

  readPage(page: number, place: number): Promise<Uint8Array> {
    return this.alone(() => this.runner.readPage(page, place));
  }

  writePage(page: number, bytes: Uint8Array, place: number): Promise<void> {
    return this.alone(async () => this.runner.writePage(page, bytes, place));
  }

  /** Loads those that are not here; others make room, the ones that were wanted longest ago first. */
  private async hold(wanted: ReadonlySet<string>): Promise<void> {
    const { adapters } = this.runner;
    if (!adapters || !this.find) throw new RangeError('no adapter can be loaded here');
    const { find } = this;
    const all = async () => {
      for (const id of wanted) {
        const known = this.adapters.get(id) ?? (await this.load(id, await find(id), adapters, wanted));
        this.adapters.delete(id);
        this.adapters.set(id, known);
      }
    };
    try {
      await all();
    } catch (error) {
      if (!(error instanceof AdapterMemoryError)) throw error;
      for (const id of this.adapters.keys()) adapters.free(id); // there is room, but scattered
      this.adapters.clear();
      await all();
    }
  }

  private async load(id: string, { pieces, read }: AdapterNumbers, adapters: Adapters, wanted: ReadonlySet<string>): Promise<Adapter> {
    checkPieces(this.config, pieces);
    const [from, to] = this.part.layers;
    const here = pieces.flatMap((p, i) => (p.layer >= from && p.layer < to ? [{ p, i }] : []));
    if (here.length === 0) return { id, layers: Array.from({ length: this.config.layers }, () => ({})) };
    const own = here.map(({ p }) => p);
    for (const other of this.adapters.keys()) {
      if (adapters.fits(adapterBytes(own))) break;
      if (wanted.has(other)) continue;
      this.adapters.delete(other);
      adapters.free(other);
    }
    return adapters.load(id, own, (i) => read(here[i].i));
  }

  /** What comes from elsewhere is bounded before it is used. Throws RangeError. */
  private check(slices: readonly StageSlice[], x: Uint8Array): void {
    const tokens = slices.reduce((n, s) => n + s.count, 0);
    if (x.byteLength !== tokens * this.config.hidden * 4) throw new RangeError(`${tokens} tokens do not have ${x.byteLength} bytes`);
    const { kept, slid } = this.runner.pools;
    const within = (numbers: readonly number[], end: number, most: number) =>
      numbers.length >= end && numbers.every((p) => p >= 0 && p < most);
    for (const { start, count, pages, places = [] } of slices) {
      const end = Math.ceil((start + count) / PAGE);
      const there = within(pages, end, kept.pages) && (!slid || within(places, end, slid.pages));
      if (start < 0 || count <= 0 || !there) throw new RangeError('a slice has no such pages');
    }
  }

  /** One call after the other: all use the same activations. */
  private alone<T>(work: () => Promise<T>): Promise<T> {
    const done = this.last.then(work);
    this.last = done.catch(() => {});
    return done;
  }
}

import { Adapters } from './adapters.ts';
import type { Range } from './anatomy.ts';
import { type Backend, type Buf, type KvFormat, type KvPool, type KvShape, SUM_BLOCK } from './backend.ts';
import { type BatchSlice, byAdapter } from './batch.ts';
import type { ModelConfig } from './config.ts';
import { attentionBytes, pageBytes } from './layout.ts';
import { mergeRows, readPart } from './logits.ts';
import { Paged, PagesLost } from './paged.ts';
import { PagePool } from './pages.ts';
import { type Best, kvShape, type Landing, type Passes, poolShapes, windowsOf } from './runner.ts';
import { embedsBest, type PageCopies, release, STAGE_TOKENS, type StagePort } from './stage.ts';

export interface StagedOptions {
  /** Of the engine: the logits of a step come here. */
  backend: Backend;
  config: ModelConfig;
  /** In the order of their layers; together they are the model. */
  stages: readonly StagePort[];
  kv: KvFormat;
  /** The same in every stage. */
  pages: number;
  windowPages?: number;
  maxRows: number;
  /** Bytes for adapters, which every stage has; none unless given. */
  adapters?: number;
  /** Cores that the stages have together, where that is known; at least 1. */
  cores?: number;
}

/**
 * Rows of the embedding that are kept at hand: most tokens of a text have come before, or were the best of their row, and a stage that computes would have to be
 * waited for.
 */
const KNOWN_ROWS = 512;

/**
 * A model whose parts are in several isolates, as one. Holds the page table, and no weights. The tokens of a step go through the stages one after
 * the other; several steps are under way, so that all stages compute at once, and which tokens ride together changes no bit. Every stage takes
 * the steps in their order, so that keys and values are there before a later token of the sequence looks for them.
 */
export class StagedRunner extends Paged implements Passes {
  readonly pool: PagePool;
  readonly kv: Pick<KvPool, 'shape' | 'pageBytes'>;
  readonly keptBytes: number;
  readonly logits: Buf;
  /** Which there are, and the room that they take; each stage loads its layers of one when a step wants it. */
  readonly adapters?: Adapters;
  private readonly be: Backend;
  private readonly config: ModelConfig;
  private readonly stages: readonly StagePort[];
  /** Those with layers, of the embedding and of the head. */
  private readonly layers: readonly StagePort[];
  private readonly embeds: readonly StagePort[];
  private readonly heads: readonly StagePort[];
  /** Of each: a stage is asked one call of a kind at a time, in the order of the steps, so that it may let go of what it answered last. */
  private readonly lanes: Record<'layers' | 'embeds' | 'heads', readonly Lane[]>;
  /** The last rows of the embedding that were asked for. */
  private readonly known = new Map<number, Uint8Array>();
  private copies: PageCopies = NO_COPIES;
  /** Copies that did not reach a stage, since the step that had them failed before. */
  private readonly owed: PageCopies[];
  /** Pages on their way to the stages. */
  private readonly writes = new Set<Promise<unknown>>();
  /** Settles when all stages are there. */
  private opening?: Promise<unknown>;
  /** A stage, or what it held, is gone, and the next run must tell. */
  private lost = false;
  /** How often that has been so: a step that began before does not go on in what came in its place. */
  private losses = 0;

  constructor(o: StagedOptions) {
    super();
    const { backend, config, stages } = o;
    this.be = backend;
    this.config = config;
    this.stages = stages;
    this.cores = o.cores;
    this.layers = stages.filter(({ part: { layers } }) => layers[1] > layers[0]);
    this.embeds = stages.filter(({ part }) => part.embed);
    this.heads = stages.filter(({ part }) => part.head);
    const lanes = (of: readonly StagePort[]) => of.map(() => new Lane());
    this.lanes = { layers: lanes(this.layers), embeds: lanes(this.embeds), heads: lanes(this.heads) };
    this.owed = this.layers.map(() => NO_COPIES);
    covers(
      'layers',
      this.layers.map((s) => s.part.layers),
      config.layers,
    );
    covers(
      'rows of the embedding',
      this.embeds.map((s) => s.part.embed ?? [0, 0]),
      config.vocab,
    );
    covers(
      'rows of the head',
      this.heads.map((s) => s.part.head ?? [0, 0]),
      config.vocab,
    );
    for (const { part } of this.heads) {
      const [from] = part.head ?? [0];
      if (from % SUM_BLOCK !== 0) throw new RangeError(`a head is cut at row ${from}, must be at a multiple of ${SUM_BLOCK}`);
    }
    this.adapters = o.adapters ? new Adapters(config, { bytes: o.adapters }) : undefined;
    this.pool = new PagePool(o.pages, windowsOf(config, o.pages, o));
    const shape = kvShape(config, o.kv);
    this.kv = { shape, pageBytes: pageBytes(shape) };
    this.keptBytes = this.pool.windows ? pageBytes(poolShapes(config, o.kv).kept) : this.kv.pageBytes;
    this.logits = backend.alloc(o.maxRows * config.vocab * 4, 'logits');
  }

  readonly most = STAGE_TOKENS;
  readonly cores?: number;

  get depth(): number {
    return this.layers.length;
  }

  async begin(slices: readonly BatchSlice[], best?: Best): Promise<Landing> {
    try {
      return await this.pass(slices, best);
    } catch (error) {
      if (error instanceof PagesLost) this.lost = false; // told
      throw error;
    }
  }

  private async pass(slices: readonly BatchSlice[], best?: Best): Promise<Landing> {
    const { copies } = this;
    this.copies = NO_COPIES;
    if (this.lost) throw new PagesLost('a stage was lost');
    const { losses } = this;
    const there = () => {
      if (this.losses !== losses) throw new PagesLost('a stage was lost');
    };
    const writes = [...this.writes];
    const order = byAdapter(slices); // as a stage lays them out
    const laid = order.map((s) => slices[s]);
    const rows = this.embed(laid.flatMap(tokensOf));
    rows.catch(() => {}); // heard below
    const { windows } = this.pool;
    const held = laid.map(({ seq, start, count }) => ({
      start,
      count,
      pages: [...seq.pages],
      ...(windows && { places: seq.pages.map((p) => Math.max(0, windows.of(p))) }),
      ...(seq.adapter && { adapter: seq.adapter.id }),
    }));
    const through = async (stage: StagePort, s: number, x: Uint8Array) => {
      there();
      const all = joined(this.owed[s], copies);
      this.owed[s] = NO_COPIES;
      return (await this.all([stage.through(held, x, all)]))[0];
    };
    let x: Uint8Array = NONE;
    for (const [s, stage] of this.layers.entries()) {
      const before = x;
      try {
        x = await this.lanes.layers[s].run(async () => {
          if (s > 0) return through(stage, s, before);
          const [first] = await Promise.all([rows, this.open(), ...writes]);
          const out = await through(stage, s, first);
          release(first);
          return out;
        });
      } catch (error) {
        if (this.losses === losses)
          for (let later = s + 1; later < this.owed.length; later++) this.owed[later] = joined(this.owed[later], copies);
        throw error;
      }
      if (s > 0) release(before);
    }
    const wantedOfLaid = laid.map(wantedOf());
    const wanted = slices.flatMap((_, s) => wantedOfLaid[order.indexOf(s)]);
    const landing = wanted.length > 0 ? await this.head(x, wanted, there, best) : { put: () => {} };
    release(x);
    return landing;
  }

  copy(pages: Uint32Array, places = NONE_COPIED): void {
    this.copies = joined(this.copies, { pages, places });
  }

  /** The parts of a page, joined: the bytes that it has in one piece. */
  async readPage(page: number): Promise<Uint8Array> {
    const place = this.pool.windows?.of(page) ?? -1;
    const whole = !this.pool.windows || place >= 0;
    await Promise.allSettled(this.writes);
    await this.open();
    const parts = await this.all(this.layers.map((s) => s.readPage(page, place)));
    const out = new Uint8Array(whole ? this.kv.pageBytes : this.keptBytes);
    for (const [i, part] of parts.entries()) {
      const { shape, at } = this.partOf(this.layers[i], whole);
      const bytes = pageBytes(shape);
      if (part.byteLength !== bytes) throw new PagesLost(`a part of a page has ${part.byteLength} bytes, must have ${bytes}`);
      const own = attentionBytes(shape);
      out.set(part.subarray(0, own), at.attend);
      out.set(part.subarray(own), at.convolve);
    }
    return out;
  }

  writePage(page: number, bytes: Uint8Array): void {
    const place = this.pool.windows?.of(page) ?? -1;
    const whole = !this.pool.windows || place >= 0;
    const part = (s: StagePort) => {
      const { shape, at } = this.partOf(s, whole);
      const [own, all] = [attentionBytes(shape), pageBytes(shape)];
      const out = new Uint8Array(all);
      out.set(bytes.subarray(at.attend, at.attend + own));
      out.set(bytes.subarray(at.convolve, at.convolve + all - own), own);
      return out;
    };
    const write = this.open()
      .then(() => this.all(this.layers.map((s) => s.writePage(page, part(s), place))))
      .catch(() => this.lose()) // whatever it was: the page is not what its name says
      .finally(() => this.writes.delete(write));
    this.writes.add(write);
  }

  /** A stage's part of a page, with or without layers that slide, and where in the page its layers are: those that attend, and those that convolve. */
  private partOf({ part: { layers } }: StagePort, whole: boolean): { shape: KvShape; at: { attend: number; convolve: number } } {
    const { config, kv } = this;
    const { format } = kv.shape;
    const shapeOf = (range: Range) => (whole ? kvShape(config, format, range) : poolShapes(config, format, range).kept);
    const before = shapeOf([0, layers[0]]);
    const attend = attentionBytes(before);
    return {
      shape: shapeOf(layers),
      at: { attend, convolve: attentionBytes(shapeOf([0, config.layers])) + pageBytes(before) - attend },
    };
  }

  /** Rows of the embedding [T, D], from wherever they are. */
  private async embed(ids: readonly number[]): Promise<Uint8Array> {
    const bytes = this.config.hidden * 4;
    const rows = new Map(ids.map((id) => [id, this.known.get(id)]));
    const lacking = [...rows.keys()].filter((id) => rows.get(id) === undefined);
    if (lacking.length > 0) await this.open();
    const asked = this.embeds.map(async (stage, e) => {
      const [from, to] = stage.part.embed ?? [0, 0];
      const here = lacking.filter((id) => id >= from && id < to);
      if (here.length === 0) return;
      const got = await this.lanes.embeds[e].run(() => stage.embed(Uint32Array.from(here, (id) => id - from)));
      here.forEach((id, i) => {
        rows.set(id, got.slice(i * bytes, (i + 1) * bytes));
      });
      release(got);
    });
    await this.all(asked);
    const x = new Uint8Array(ids.length * bytes);
    ids.forEach((id, t) => {
      x.set(rows.get(id) as Uint8Array, t * bytes);
    });
    this.remember(rows);
    return x;
  }

  private remember(rows: Iterable<readonly [id: number, row: Uint8Array | undefined]>): void {
    for (const [id, row] of rows) {
      this.known.delete(id);
      if (row) this.known.set(id, row);
    }
    for (const id of this.known.keys()) {
      if (this.known.size <= KNOWN_ROWS) return;
      this.known.delete(id);
    }
  }

  /** The logits of rows `wanted` of x, or the best of them, from all parts of the head at once. */
  private async head(x: Uint8Array, wanted: readonly number[], there: () => void, best?: Best): Promise<Landing> {
    const { hidden: D, vocab: V } = this.config;
    const rows = new Uint8Array(wanted.length * D * 4);
    wanted.forEach((t, r) => {
      rows.set(x.subarray(t * D * 4, (t + 1) * D * 4), r * D * 4);
    });
    const ask = (x: Uint8Array, best?: Best) => {
      const one = async (stage: StagePort) => {
        there();
        return stage.head(x, best);
      };
      return this.all(this.heads.map((stage, h) => this.lanes.heads[h].run(() => one(stage))));
    };
    const parts = await ask(rows, best);
    const range = (h: number) => this.heads[h].part.head ?? [0, 0];
    if (best) {
      const { k } = best;
      const row = (r: number) => {
        const each = parts.map((part, h) => {
          const [from, to] = range(h);
          return { ...readPart(part, r, { R: wanted.length, k, rows: to - from }), from };
        });
        const merged = mergeRows(each, k);
        const [first] = merged.ids;
        const h = this.heads.findIndex((_, h) => first >= range(h)[0] && first < range(h)[1]);
        if (h >= 0 && embedsBest(this.heads[h].part)) {
          const part = parts[h]; // its end
          const at = part.byteLength - (wanted.length - r) * D * 4;
          this.remember([[first, part.slice(at, at + D * 4)]]);
        }
        return merged;
      };
      const whole = async (r: number) => {
        const logits = new Float32Array(V);
        const all = await ask(rows.slice(r * D * 4, (r + 1) * D * 4));
        all.forEach((part, h) => {
          logits.set(new Float32Array(part.buffer, part.byteOffset, part.byteLength / 4), range(h)[0]);
          release(part);
        });
        return logits;
      };
      return { rows: wanted.map((_, r) => row(r)), whole };
    }
    release(rows);
    const put = () =>
      parts.forEach((logits, h) => {
        const [from, to] = range(h);
        const bytes = (to - from) * 4;
        for (let r = 0; r < wanted.length; r++) {
          this.be.write(this.logits, logits.subarray(r * bytes, (r + 1) * bytes), (r * V + from) * 4);
        }
        release(logits);
      });
    return { put };
  }

  /** Waits until all stages are there. Rejects with PagesLost saying which is not. */
  async open(): Promise<void> {
    this.opening ??= Promise.all(this.stages.map((s) => s.open()));
    try {
      await this.opening;
    } catch (error) {
      this.opening = undefined;
      throw error;
    }
  }

  private lose(): void {
    this.lost = true;
    this.losses++;
    this.owed.fill(NO_COPIES);
    this.opening = undefined;
  }

  /** Settles when all have, so that nothing of it is under way afterwards. A lost stage comes before any other fault. */
  private async all<T>(work: readonly Promise<T>[]): Promise<T[]> {
    const { losses } = this;
    const settled = await Promise.allSettled(work);
    const faults = settled.flatMap((s) => (s.status === 'rejected' ? [s.reason as unknown] : []));
    const fatal = faults.find((f) => f instanceof PagesLost);
    if (fatal && this.losses === losses) this.lose(); // else that is told already
    if (faults.length > 0) throw fatal ?? faults[0];
    return settled.map((s) => (s as PromiseFulfilledResult<T>).value);
  }
}

const NONE = new Uint8Array();
const NONE_COPIED = new Uint32Array();
const NO_COPIES: PageCopies = { pages: NONE_COPIED, places: NONE_COPIED };

const joined = (a: PageCopies, b: PageCopies): PageCopies => ({
  pages: Uint32Array.of(...a.pages, ...b.pages),
  places: Uint32Array.of(...a.places, ...b.places),
});

/** Token ids of a slice. */
const tokensOf = ({ seq, start, count, draft }: BatchSlice): number[] =>
  Array.from({ length: count }, (_, i) => (start + i < seq.ids.length ? seq.ids[start + i] : draft[start + i - seq.ids.length]));

/** Which of a step's tokens want logits. */
const wantedOf = () => {
  let end = 0;
  return ({ count, logits }: BatchSlice): number[] => {
    end += count;
    return Array.from({ length: logits }, (_, i) => end - logits + i);
  };
};

/** One call after the other, in the order in which they were asked for. */
class Lane {
  private last: Promise<unknown> = Promise.resolve();

  run<T>(work: () => Promise<T>): Promise<T> {
    const done = this.last.then(work);
    this.last = done.catch(() => {});
    return done;
  }
}

/** Throws unless ranges follow each other from 0 to `end`. */
function covers(what: string, ranges: readonly (readonly [number, number])[], end: number): void {
  let at = 0;
  for (const [from, to] of ranges) {
    if (from !== at) throw new RangeError(`${what} of the stages go on at ${from}, must at ${at}`);
    at = to;
  }
  if (at !== end) throw new RangeError(`${what} of the stages end at ${at}, the model's at ${end}`);
}

import type { Part } from './anatomy.ts';
import type { Backend } from './backend.ts';
import type { ModelConfig } from './config.ts';
import { PAGE } from './layout.ts';
import { allocBest, bytesOf, rowBytes } from './logits.ts';
import { type Best, Runner, type RunnerOptions, type RunnerSize } from './runner.ts';

/** Tokens that a stage is sent at once at the most: kernels take four at a time, and each call reads all weights. */
export const STAGE_TOKENS = 32;

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
}

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
  /** The residual stream x [T, D] after the part's layers. `copies`: pairs of pages that are copied first, from and to. */
  through(slices: readonly StageSlice[], x: Uint8Array, copies: Uint32Array): Promise<Uint8Array>;
  /** Logits [R, rows of the part's head] of x [R, D], or of each row the best and their statistics as topk has them; ids are counted from the part's first row. */
  head(x: Uint8Array, best?: Best): Promise<Uint8Array>;
  /** What the part has of a page: its layers. */
  readPage(page: number): Promise<Uint8Array>;
  writePage(page: number, bytes: Uint8Array): Promise<void>;
}

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
  private last: Promise<unknown> = Promise.resolve();

  constructor(o: Omit<RunnerOptions, 'first' | 'head'> & { part: Part }) {
    this.part = o.part;
    this.be = o.backend;
    this.config = o.config;
    this.runner = new Runner({ ...o, first: o.part.layers[0] });
    this.pageBytes = this.runner.kv.pageBytes;
    if (o.part.head) this.best = allocBest(o.backend, o.size.maxRows);
  }

  async open(): Promise<void> {}

  embed(ids: Uint32Array): Promise<Uint8Array> {
    return this.alone(() => {
      this.runner.embed(ids);
      return this.runner.stream(ids.length);
    });
  }

  through(slices: readonly StageSlice[], x: Uint8Array, copies: Uint32Array): Promise<Uint8Array> {
    return this.alone(() => {
      if (copies.length > 0) this.runner.copy(copies); // whatever becomes of the step
      this.check(slices, x);
      this.runner.putStream(x);
      const batch = slices.map(({ start, count, pages }) => ({ seq: { ids: [], pages }, start, count, logits: 0, draft: [] }));
      this.runner.through(batch, this.part.layers);
      return this.runner.stream(x.byteLength / (this.config.hidden * 4));
    });
  }

  head(x: Uint8Array, best?: Best): Promise<Uint8Array> {
    return this.alone(() => {
      const R = x.byteLength / (this.config.hidden * 4);
      this.runner.putStream(x);
      this.runner.head(R);
      const [from, to] = this.part.head ?? [0, 0];
      if (best && this.best) {
        const { k, invTemp } = best;
        if (invTemp.length !== R) throw new RangeError(`${R} rows have ${invTemp.length} temperatures`);
        this.be.write(this.best.invTemp, bytesOf(invTemp));
        this.be.topk({ K: k, data: this.best.out }, this.runner.logits, this.best.invTemp, R, to - from);
        return this.be.read(this.best.out, 0, R * rowBytes(k));
      }
      return this.be.read(this.runner.logits, 0, R * (to - from) * 4);
    });
  }

  readPage(page: number): Promise<Uint8Array> {
    return this.alone(() => this.runner.readPage(page));
  }

  writePage(page: number, bytes: Uint8Array): Promise<void> {
    return this.alone(async () => this.runner.writePage(page, bytes));
  }

  /** What comes from elsewhere is bounded before it is used. Throws RangeError. */
  private check(slices: readonly StageSlice[], x: Uint8Array): void {
    const tokens = slices.reduce((n, s) => n + s.count, 0);
    if (x.byteLength !== tokens * this.config.hidden * 4) throw new RangeError(`${tokens} tokens do not have ${x.byteLength} bytes`);
    for (const { start, count, pages } of slices) {
      const enough = start >= 0 && count > 0 && pages.length >= Math.ceil((start + count) / PAGE);
      if (!enough || !pages.every((p) => p >= 0 && p < this.runner.kv.pages)) throw new RangeError('a slice has no such pages');
    }
  }

  /** One call after the other: all use the same activations. */
  private alone<T>(work: () => Promise<T>): Promise<T> {
    const done = this.last.then(work);
    this.last = done.catch(() => {});
    return done;
  }
}

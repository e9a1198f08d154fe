import type { Backend, Buf, KvFormat, KvPool, KvShape } from './backend.ts';
import type { BatchSlice } from './batch.ts';
import type { ModelConfig } from './config.ts';
import { attentionBytes, pageBytes } from './layout.ts';
import { Paged, PagesLost } from './paged.ts';
import { PagePool } from './pages.ts';
import { kvShape, type Passes } from './runner.ts';
import { release, STAGE_TOKENS, type StagePort, type StageSlice } from './stage.ts';

export interface StagedOptions {
  /** Of the engine: the logits of a step come here. */
  backend: Backend;
  config: ModelConfig;
  /** In the order of their layers; together they are the model. */
  stages: readonly StagePort[];
  kv: KvFormat;
  /** The same in every stage. */
  pages: number;
  maxRows: number;
}

const LEAST_DECODE = 4;
const LEAST_PREFILL = 16;

/** Tokens [from, to) of a step, with their rows of logits. */
interface Group {
  slices: StageSlice[];
  from: number;
  to: number;
  /** Which of its tokens want logits, and where their rows begin. */
  rows: number[];
  row: number;
}

/**
 * A model whose parts are in several isolates, as one. Holds the page table, and no weights. A step is cut into groups of tokens that follow
 * each other through the stages, so that all of them compute at once; which tokens ride together changes no bit. Every stage takes the groups in
 * their order, so that keys and values are there before a later token of the sequence looks for them.
 */
export class StagedRunner extends Paged implements Passes {
  readonly pool: PagePool;
  readonly kv: Pick<KvPool, 'shape' | 'pageBytes'>;
  readonly logits: Buf;
  private readonly be: Backend;
  private readonly config: ModelConfig;
  private readonly stages: readonly StagePort[];
  /** Those with layers, of the embedding and of the head. */
  private readonly layers: readonly StagePort[];
  private readonly embeds: readonly StagePort[];
  private readonly heads: readonly StagePort[];
  /** Of the heads: each stage is asked one call of a kind at a time, so that it may let go of what it answered last. */
  private readonly lanes: readonly Lane[];
  private copies: number[] = [];
  /** Pages on their way to the stages. */
  private readonly writes = new Set<Promise<unknown>>();
  /** Settles when all stages are there. */
  private opening?: Promise<unknown>;
  /** A stage, or what it held, is gone, and the next run must tell. */
  private lost = false;

  constructor(o: StagedOptions) {
    super();
    const { backend, config, stages } = o;
    this.be = backend;
    this.config = config;
    this.stages = stages;
    this.layers = stages.filter(({ part: { layers } }) => layers[1] > layers[0]);
    this.embeds = stages.filter(({ part }) => part.embed);
    this.heads = stages.filter(({ part }) => part.head);
    this.lanes = this.heads.map(() => new Lane());
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
    this.pool = new PagePool(o.pages);
    const shape = kvShape(config, o.kv);
    this.kv = { shape, pageBytes: pageBytes(shape) };
    this.logits = backend.alloc(o.maxRows * config.vocab * 4, 'logits');
  }

  get depth(): number {
    return this.layers.length;
  }

  async run(slices: readonly BatchSlice[]): Promise<void> {
    await Promise.allSettled(this.writes);
    if (this.lost) {
      this.lost = false;
      throw new PagesLost('a stage was lost');
    }
    await this.open();
    const { hidden: D } = this.config;
    const copies = Uint32Array.from(this.copies.splice(0));
    const x = await this.embed(Uint32Array.from(slices.flatMap(tokensOf)));
    const lanes = this.layers.map(() => new Lane());
    const passes = this.groups(slices).map(async (group, i) => {
      let part = x.subarray(group.from * D * 4, group.to * D * 4);
      for (const [s, stage] of this.layers.entries()) {
        const before = part;
        part = await lanes[s].run(() => stage.through(group.slices, before, i === 0 ? copies : NONE));
        if (s > 0) release(before);
      }
      if (group.rows.length > 0) await this.head(part, group);
      release(part);
    });
    await this.all(passes).catch((error) => {
      this.lost = false; // told
      throw error;
    });
    release(x);
  }

  copy(pairs: Uint32Array): void {
    this.copies.push(...pairs);
  }

  /** The parts of a page, joined: the bytes that it has in one piece. */
  async readPage(page: number): Promise<Uint8Array> {
    await Promise.allSettled(this.writes);
    await this.open();
    const parts = await this.all(this.layers.map((s) => s.readPage(page)));
    const out = new Uint8Array(this.kv.pageBytes);
    for (const [i, part] of parts.entries()) {
      const { shape, at } = this.partOf(this.layers[i]);
      const bytes = pageBytes(shape);
      if (part.byteLength !== bytes) throw new PagesLost(`a part of a page has ${part.byteLength} bytes, must have ${bytes}`);
      const own = attentionBytes(shape);
      out.set(part.subarray(0, own), at.attend);
      out.set(part.subarray(own), at.convolve);
    }
    return out;
  }

  writePage(page: number, bytes: Uint8Array): void {
    const part = (s: StagePort) => {
      const { shape, at } = this.partOf(s);
      const [own, all] = [attentionBytes(shape), pageBytes(shape)];
      const out = new Uint8Array(all);
      out.set(bytes.subarray(at.attend, at.attend + own));
      out.set(bytes.subarray(at.convolve, at.convolve + all - own), own);
      return out;
    };
    const write = this.open()
      .then(() => this.all(this.layers.map((s) => s.writePage(page, part(s)))))
      .catch(() => this.lose()) // whatever it was: the page is not what its name says
      .finally(() => this.writes.delete(write));
    this.writes.add(write);
  }

  /** A stage's part of a page, and where in the page its layers are: those that attend, and those that convolve. */
  private partOf({ part: { layers } }: StagePort): { shape: KvShape; at: { attend: number; convolve: number } } {
    const { config, kv } = this;
    const before = kvShape(config, kv.shape.format, [0, layers[0]]);
    const attend = attentionBytes(before);
    return {
      shape: kvShape(config, kv.shape.format, layers),
      at: { attend, convolve: attentionBytes(kv.shape) + pageBytes(before) - attend },
    };
  }

  /** Rows of the embedding [T, D], from wherever they are. */
  private async embed(ids: Uint32Array): Promise<Uint8Array> {
    const row = this.config.hidden * 4;
    const parts = this.embeds.flatMap((stage) => {
      const [from, to] = stage.part.embed ?? [0, 0];
      const here = [...ids.keys()].filter((t) => ids[t] >= from && ids[t] < to);
      return pieces(here, STAGE_TOKENS).map((at) => ({ at, rows: stage.embed(Uint32Array.from(at, (t) => ids[t] - from)) }));
    });
    const got = await this.all(parts.map((p) => p.rows));
    if (got.length === 1) return got[0];
    const x = new Uint8Array(ids.length * row);
    parts.forEach(({ at }, p) => {
      at.forEach((t, i) => {
        x.set(got[p].subarray(i * row, (i + 1) * row), t * row);
      });
      release(got[p]);
    });
    return x;
  }

  /** The logits of a group's rows, from all parts of the head at once. */
  private async head(x: Uint8Array, { rows, row }: Group): Promise<void> {
    const { hidden: D, vocab: V } = this.config;
    const wanted = new Uint8Array(rows.length * D * 4);
    rows.forEach((t, r) => {
      wanted.set(x.subarray(t * D * 4, (t + 1) * D * 4), r * D * 4);
    });
    const parts = await this.all(this.heads.map((stage, h) => this.lanes[h].run(() => stage.head(wanted))));
    release(wanted);
    parts.forEach((logits, h) => {
      const [from, to] = this.heads[h].part.head ?? [0, 0];
      const bytes = (to - from) * 4;
      for (let r = 0; r < rows.length; r++) {
        this.be.write(this.logits, logits.subarray(r * bytes, (r + 1) * bytes), ((row + r) * V + from) * 4);
      }
      release(logits);
    });
  }

  /** Cuts a step into groups of tokens that are as large as each other. */
  private groups(slices: readonly BatchSlice[]): Group[] {
    const tokens = slices.reduce((n, s) => n + s.count, 0);
    const least = slices.some((s) => s.logits < s.count) ? LEAST_PREFILL : LEAST_DECODE;
    const pieces = Math.max(1, Math.ceil(tokens / STAGE_TOKENS), Math.min(this.depth, Math.floor(tokens / least)));
    const size = Math.ceil(tokens / pieces / 4) * 4;
    const groups: Group[] = [];
    let t = 0;
    let row = 0;
    for (const { seq, start, count, logits } of slices) {
      for (let i = 0; i < count; ) {
        let group = groups.at(-1);
        if (!group || group.to - group.from === size) groups.push((group = { slices: [], from: t, to: t, rows: [], row }));
        const n = Math.min(count - i, size - (group.to - group.from));
        group.slices.push({ start: start + i, count: n, pages: [...seq.pages] });
        for (let k = Math.max(i, count - logits); k < i + n; k++, row++) group.rows.push(t + k - i - group.from);
        group.to += n;
        t += n;
        i += n;
      }
    }
    return groups;
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
    this.opening = undefined;
  }

  /** Settles when all have, so that nothing of a step is under way when the next begins. A lost stage comes before any other fault. */
  private async all<T>(work: readonly Promise<T>[]): Promise<T[]> {
    const settled = await Promise.allSettled(work);
    const faults = settled.flatMap((s) => (s.status === 'rejected' ? [s.reason as unknown] : []));
    const fatal = faults.find((f) => f instanceof PagesLost);
    if (fatal) this.lose();
    if (faults.length > 0) throw fatal ?? faults[0];
    return settled.map((s) => (s as PromiseFulfilledResult<T>).value);
  }
}

const NONE = new Uint32Array();

/** A list in pieces of at most n. */
const pieces = <T>(list: readonly T[], n: number): T[][] =>
  Array.from({ length: Math.ceil(list.length / n) }, (_, i) => list.slice(i * n, (i + 1) * n));

/** Token ids of a slice. */
const tokensOf = ({ seq, start, count, draft }: BatchSlice): number[] =>
  Array.from({ length: count }, (_, i) => (start + i < seq.ids.length ? seq.ids[start + i] : draft[start + i - seq.ids.length]));

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

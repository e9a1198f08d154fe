/**
 * Where a model is cut that is larger than an isolate: the fewest isolates that hold it, and in these the cuts that leave the busiest of
 * them the least to compute. What a part takes in memory and in time is passed in (cli/stages.ts asks the engine's own allocations).
 *
 * A row is a token's row of the head and, with it, of the embedding: in a tied model the same numbers, else both are held together.
 */
import type { Stage, StageBytes, StagePart, StagesPlan } from './stages.ts';

/** Tokens of a KV page. */
const PAGE = 16;
/** Isolates of one model at the most: a queue knows 64 replicas, and what needs more is no model for isolates. */
export const MOST_STAGES = 16;
/** Tokens of context for which an isolate more is taken, where nothing else is asked. */
export const USEFUL_CONTEXT = 2048;
/** What the busiest stage may compute beyond the least possible, for fewer cuts of the head or a longer context. */
const SLACK = 1.05;
const CONTEXT_SLACK = 1.1;

/** Bytes that a part of the model takes in an isolate. */
export interface PartBytes {
  weights: number;
  scratch: number;
}

/** Memory for a context of a length. */
export interface Costs {
  /** Of layers [from, to), to > from. `page`: their part of one KV page; `slid`: of it, that of layers that slide. */
  layers(from: number, to: number): PartBytes & { page: number; slid: number };
  /** Of `n` rows of head and embedding, more than none; grows with n. */
  rows(n: number): PartBytes;
  /** Of every stage, whatever it holds. */
  stage: { js: number; scratch: number };
  /** Of the replica's isolate, without a part of the model. */
  replica: { js: number; scratch: number };
}

/** What a token takes to compute, in a unit of its own: only ratios count. */
export interface Times {
  /** Of each layer. */
  layers: readonly number[];
  /** Of a row of the head. */
  row: number;
}

export interface CutsInput {
  vocab: number;
  /** Rows that are kept together: a head is cut at multiples of it alone. */
  group: number;
  /** What an isolate may hold, bytes. */
  limit: number;
  /** Isolates, the fewest that do unless given. */
  stages?: number;
  /** Longest context of the model, and what is wished of it: then an isolate more is taken for it. */
  context: number;
  wished?: number;
  maxTokens: number;
  maxSequences: number;
  costs(context: number): Costs;
  times: Times;
  /** Pages for sequences together: no more are planned. */
  mostPages(context: number): number;
  /** Of so many pages, those of which layers that slide keep their part; undefined: all. */
  windowPages(context: number, pages: number): number | undefined;
}

export class CutsError extends Error {
  override name = 'CutsError';
}

/** Plans the stages. Throws CutsError with the arithmetic when they cannot be. */
export function planCuts(input: CutsInput): StagesPlan {
  const longest = Math.min(input.context, input.wished ?? input.context);
  const needed = Math.min(longest, input.wished ?? USEFUL_CONTEXT);
  const contexts = [needed];
  for (let context = longest; context > needed; context = Math.ceil(context / 2)) contexts.splice(-1, 0, context);
  const cutters = contexts.map((context) => new Cutter(input, context));
  const least = cutters[cutters.length - 1];
  for (const count of input.stages === undefined ? range(2, MOST_STAGES) : [input.stages]) {
    const time = least.best(count);
    if (time === undefined) continue;
    for (const cutter of cutters) {
      const cuts = cutter.within(count, time * (cutter === least ? SLACK : CONTEXT_SLACK));
      if (cuts) return cutter.plan(cuts);
    }
  }
  throw new CutsError(refusal(input, needed));
}

/** What one isolate of a cut holds: layers [from, to), and rows at most. */
interface Cut {
  from: number;
  to: number;
  rows: number;
}

/** Cuts that leave room for pages of a context. */
class Cutter {
  private readonly input: CutsInput;
  private readonly context: number;
  private readonly costs: Costs;
  private readonly pages: number;
  private readonly layers: number;
  /** Time of the layers before each. */
  private readonly before = [0];
  /** Rows that fit beside layers [from, to), in the replica's isolate and in another; −1: the layers do not fit. */
  private readonly room: readonly [Map<number, number>, Map<number, number>] = [new Map(), new Map()];

  constructor(input: CutsInput, context: number) {
    this.input = input;
    this.context = context;
    this.costs = input.costs(context);
    this.pages = Math.ceil(context / PAGE);
    this.layers = input.times.layers.length;
    for (const t of input.times.layers) this.before.push(this.before[this.before.length - 1] + t);
  }

  /** The least time that the busiest of `count` isolates can have, or undefined when the model does not fit them. */
  best(count: number): number | undefined {
    const all = this.before[this.layers] + this.input.vocab * this.input.times.row;
    let [lo, hi] = [0, all * 2];
    if (!this.within(count, hi)) return undefined;
    for (let i = 0; i < 24; i++) {
      const middle = (lo + hi) / 2;
      if (this.within(count, middle)) hi = middle;
      else lo = middle;
    }
    return hi;
  }

  /**
   * Cuts into `count` isolates none of which takes longer than `time`, with rows in as few of them as can be; undefined: there are none.
   * Over isolates in order: the most rows that the first k can hold when their layers end at each layer, h of them with rows.
   */
  within(count: number, time: number): Cut[] | undefined {
    const { vocab } = this.input;
    const width = this.layers + 1;
    const at = (h: number, k: number, layer: number) => (h * (count + 1) + k) * width + layer;
    const most = new Float64Array(at(count + 1, 0, 0)).fill(-1);
    /** Where the layers of the last of them begin; −1 − that: it has rows. */
    const came = new Int32Array(most.length);
    most[0] = 0;
    for (let k = 0; k < count; k++) {
      for (let from = 0; from < width; from++) {
        for (let to = from; to < width; to++) {
          const rows = this.rows(k === 0, from, to, time);
          if (rows < 0) break; // with more layers even less
          const alone = to > from || k === 0; // the replica's isolate may be without a part
          for (let h = 0; h <= k; h++) {
            const had = most[at(h, k, from)];
            if (had < 0) continue;
            const [without, withRows] = [at(h, k + 1, to), at(h + 1, k + 1, to)];
            if (alone && had > most[without]) {
              most[without] = had;
              came[without] = from;
            }
            if (rows > 0 && had + rows > most[withRows]) {
              most[withRows] = had + rows;
              came[withRows] = -1 - from;
            }
          }
        }
      }
    }
    const groups = Math.ceil(vocab / this.input.group);
    let held = range(1, Math.min(count, groups)).find((h) => most[at(h, count, this.layers)] >= vocab);
    if (held === undefined) return undefined;
    const cuts: Cut[] = [];
    for (let [k, to] = [count, this.layers]; k > 0; k--) {
      const step = came[at(held, k, to)];
      const from = step < 0 ? -1 - step : step;
      cuts.unshift({ from, to, rows: step < 0 ? this.rows(k === 1, from, to, time) : 0 });
      if (step < 0) held--;
      to = from;
    }
    return cuts;
  }

  /** Rows that an isolate with layers [from, to) can have and still take no longer than `time`; −1 when it cannot have these layers. */
  private rows(first: boolean, from: number, to: number, time: number): number {
    const { group, times } = this.input;
    const { row } = times;
    const left = time - (this.before[to] - this.before[from]);
    if (left < 0) return -1;
    const fit = this.beside(first, from, to);
    return fit < 0 || row === 0 ? fit : Math.min(fit, Math.floor(left / row / group + 1e-9) * group);
  }

  /** Rows that fit beside layers [from, to); −1 when these do not. */
  private beside(first: boolean, from: number, to: number): number {
    const known = this.room[first ? 0 : 1];
    const key = from * (this.layers + 1) + to;
    let rows = known.get(key);
    if (rows === undefined) {
      const free = this.input.limit - sum(this.bytes(first, from, to, 0, this.pages));
      // whoever has rows is a stage, the replica's isolate too
      const more = first && from === to ? this.costs.stage.scratch : 0;
      rows = free < 0 ? -1 : this.rowsIn(free - more);
      known.set(key, rows);
    }
    return rows;
  }

  /** Rows that fit into so many bytes: whole groups, or all. */
  private rowsIn(free: number): number {
    const { vocab, group } = this.input;
    const fits = (n: number) => total(this.costs.rows(n)) <= free;
    return fits(vocab) ? vocab : group * largest(Math.floor(vocab / group), (n) => fits(n * group));
  }

  private bytes(first: boolean, from: number, to: number, rows: number, pages: number): StageBytes {
    const none = { weights: 0, scratch: 0, page: 0, slid: 0 };
    const seen = this.input.windowPages(this.context, pages) ?? pages;
    const l = to > from ? this.costs.layers(from, to) : none;
    const r = rows > 0 ? this.costs.rows(rows) : none;
    const own = first ? this.costs.replica : this.costs.stage;
    const shared = first && (to > from || rows > 0) ? this.costs.stage.scratch : 0;
    return {
      limit: this.input.limit,
      js: own.js,
      weights: l.weights + r.weights,
      scratch: own.scratch + shared + l.scratch + r.scratch,
      kv: pages * (l.page - l.slid) + seen * l.slid,
    };
  }

  /** The plan of cuts: rows dealt out in order, and as many pages as fit in every stage. */
  plan(cuts: readonly Cut[]): StagesPlan {
    const { vocab, group, maxTokens, maxSequences, mostPages, limit } = this.input;
    const bounds = dealt(
      Math.ceil(vocab / group),
      cuts.map(({ rows }) => Math.ceil(rows / group)),
    ).map((bound) => Math.min(vocab, bound * group));
    const parts = cuts.map(({ from, to, rows }, i): StagePart => {
      const held = [bounds[i], bounds[i + 1]] as const;
      return { layers: [from, to], ...(rows > 0 && { embed: held, head: held }) };
    });
    const rowsOf = (p: StagePart) => (p.head ? p.head[1] - p.head[0] : 0);
    const bytesOf = (p: StagePart, i: number, pages: number) => this.bytes(i === 0, ...p.layers, rowsOf(p), pages);
    const pages = largest(mostPages(this.context), (n) => parts.every((p, i) => sum(bytesOf(p, i, n)) <= limit));
    const seen = this.input.windowPages(this.context, pages);
    const stages = parts.map((p, i): Stage => ({ ...p, ...(i === 0 && { replica: true }), bytes: bytesOf(p, i, pages) }));
    const empty = !parts[0].head && parts[0].layers[0] === parts[0].layers[1];
    return {
      stages: empty ? stages.slice(1) : stages,
      replica: stages[0].bytes,
      pages,
      ...(seen !== undefined && { windowPages: seen }),
      ...{ context: this.context, maxTokens, maxSequences },
    };
  }
}

/** Where each part begins when `groups` are dealt to parts that have room: one to each, the others in proportion, so that all keep memory free. */
function dealt(groups: number, room: readonly number[]): number[] {
  const held = room.filter((n) => n > 0).length;
  const more = room.reduce((n, x) => n + Math.max(0, x - 1), 0);
  let [ones, spare] = [0, 0];
  return [
    0,
    ...room.map((n) => {
      ones += n > 0 ? 1 : 0;
      spare += Math.max(0, n - 1);
      return ones + (more > 0 ? Math.floor(((groups - held) * spare) / more) : 0);
    }),
  ];
}

/** The largest number up to `most` that fits; 0 when none does. */
function largest(most: number, fits: (n: number) => boolean): number {
  if (fits(most)) return most;
  let [lo, hi] = [0, most];
  while (hi - lo > 1) {
    const middle = (lo + hi) >> 1;
    if (fits(middle)) lo = middle;
    else hi = middle;
  }
  return lo;
}

const range = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, i) => from + i);
/** What an isolate holds in all. */
export const sum = (b: StageBytes): number => b.js + b.weights + b.scratch + b.kv;
const total = (b: PartBytes): number => b.weights + b.scratch;

const MB = (n: number): string => `${(n / 1048576).toFixed(1)} MB`;

/** Why a model cannot be cut. */
function refusal(input: CutsInput, context: number): string {
  const { limit, vocab, times } = input;
  const costs = input.costs(context);
  const pages = Math.ceil(context / PAGE);
  const L = times.layers.length;
  const { js, scratch } = costs.stage;
  const own = costs.replica.js + costs.replica.scratch;
  const isolate = `an isolate has ${MB(limit)}`;
  const advice = 'Use a smaller model or format, a shorter CONTEXT, or set MEMORY_MB where the host allows more.';
  if (own > limit)
    return `the model does not fit in stages: the replica's isolate alone needs JavaScript ${MB(costs.replica.js)} + logits ${MB(costs.replica.scratch)} = ${MB(own)}, but ${isolate}. ${advice}`;
  const layers = range(0, L - 1).map((l) => ({ l, ...costs.layers(l, l + 1) }));
  const seen = input.windowPages(context, pages) ?? pages;
  const kvOf = (x: (typeof layers)[number]) => pages * (x.page - x.slid) + seen * x.slid;
  const bytes = (x: (typeof layers)[number]) => js + scratch + total(x) + kvOf(x);
  const largest = layers.reduce((a, b) => (bytes(b) > bytes(a) ? b : a));
  if (bytes(largest) > limit)
    return (
      `the model does not fit in stages: layer ${largest.l} alone needs weights ${MB(largest.weights)} + KV of ${context} tokens ${MB(kvOf(largest))} + ` +
      `scratch ${MB(scratch + largest.scratch)} + JavaScript ${MB(js)} = ${MB(bytes(largest))}, but ${isolate}. ${advice}`
    );
  const all = layers.reduce((n, x) => n + x.weights, 0) + costs.rows(vocab).weights;
  const kv = layers.reduce((n, x) => n + kvOf(x), 0);
  const count = input.stages ?? MOST_STAGES;
  const each = limit - js - scratch - Math.min(...layers.map((x) => x.scratch));
  const room = Math.max(0, limit - own) + (count - 1) * each;
  return (
    `the model does not fit ${input.stages === undefined ? `${count} isolates, the most there are,` : `STAGES=${count}`} of ${MB(limit)}: ` +
    `weights ${MB(all)} + KV of ${context} tokens ${MB(kv)} = ${MB(all + kv)}; beside JavaScript and scratch they have room for ${MB(room)}, ` +
    `in pieces of whole layers. ${input.stages === undefined ? advice : 'Leave STAGES out, or give a larger one.'}`
  );
}

/** The plan in lines, for the start and for `inspect`: a header, then a line a stage. */
export function describeStages(p: StagesPlan): string[][] {
  const cell = ({ layers: [from, to] }: StagePart) => (to > from ? `${from}–${to - 1}` : '–');
  const rows = ({ head }: StagePart) => (head ? `${head[0]}–${head[1] - 1}` : '–');
  const line = (name: string, layers: string, head: string, b: StageBytes) => [
    ...[name, layers, head, MB(b.weights), MB(b.kv), MB(b.scratch), MB(b.js), `${MB(sum(b))} of ${MB(b.limit)}`],
  ];
  const own = p.stages.some((s) => s.replica) ? [] : [line('replica', '–', '–', p.replica)];
  return [
    ['stage', 'layers', 'rows of embedding and head', 'weights', 'KV', 'scratch', 'JavaScript', 'in all'],
    ...own,
    ...p.stages.map((s, i) => line(s.replica ? `${i} (replica)` : String(i), cell(s), rows(s), s.bytes)),
  ];
}

import type { BatchSlice } from './batch.ts';
import { Groups, TOGETHER } from './groups.ts';
import { PAGE } from './layout.ts';
import type { PageNames, PagePool } from './pages.ts';
import { Sequence } from './sequence.ts';
import { Shares } from './shares.ts';

/** A sequence's share of a step: `count` tokens from `start` on, of which the last `logits` want logits. */
export interface Slice extends BatchSlice {
  seq: Sequence;
  start: number;
  count: number;
  logits: number;
  /** Rows of logits that tell of the prompt: all but the last, from which a token is drawn, or all. */
  scores: number;
  /** Drafted tokens after the sequence's own (speculation), part of `count`. */
  draft: readonly number[];
}

export interface Limits {
  maxTokens: number; // T: tokens a step
  maxSequences: number; // S
  maxRows: number; // R: rows of logits
  depth: number; // steps that must be under way together for all places to compute
  cores?: number; // of these places together; one each unless given
}

/** Tokens to try after a sequence's own, `room` at most, in a step that has `rows` rows without them and decodes so many sequences. */
export type Draft = (seq: Sequence, room: number, rows: number, decodes: number) => readonly number[];

/** Tokens of prefill in a step, however many decodes ride in it: nobody's long answers keep another's from beginning. */
const LEAST_PREFILL = PAGE;

/** Groups for each core at the most: while one waits for parts of its head, or for its turn in a place, another computes. */
const A_CORE = 2;

/**
 * Decides who rides in the next step: decodes first, then prefill chunks within the token budget, then newcomers while pages last; of
 * these, those of the owner who got least so far, then in order of arrival. When pages run out, the youngest of the owner who got most
 * gives its own back and is computed again later; the oldest always runs.
 *
 * Where several steps are under way, decoding sequences alternate in groups, and chunks of a prompt follow each other. What is under way keeps
 * its pages: who would need them waits until all steps have ended, and comes first then.
 */
export class Scheduler {
  readonly waiting: Sequence[] = [];
  readonly running: Sequence[] = [];
  private readonly pool: PagePool;
  private readonly names: PageNames;
  private readonly limits: Limits;
  /**
   * Pages that must be copied, in order, before the slices just scheduled run: `seq` begins its page `to` with what `from` holds; `places`:
   * where the parts of layers that slide are.
   */
  copies: { seq: Sequence; from: number; to: number; places?: readonly [from: number, to: number] }[] = [];
  preemptions = 0;
  /** Waits for pages of a sequence that is under way. */
  private blocked?: Sequence;
  private steps = 0;
  private readonly shares = new Shares();
  private readonly groups = new Groups();

  constructor(pool: PagePool, names: PageNames, limits: Limits) {
    this.pool = pool;
    this.names = names;
    this.limits = limits;
  }

  add(seq: Sequence): void {
    this.waiting.push(seq);
    this.shares.enter(seq.owner);
  }

  /** Takes a sequence out and frees its pages. */
  remove(seq: Sequence): void {
    for (const list of [this.waiting, this.running]) {
      const i = list.indexOf(seq);
      if (i < 0) continue;
      list.splice(i, 1);
      this.shares.leave(seq.owner);
    }
    this.freePages(seq);
  }

  /** The next step, with what is under way at most `budget` tokens. Empty: there is nothing that does not wait for a step under way. */
  schedule(budget: number, draft: Draft): Slice[] {
    this.copies = [];
    const flying = this.running.reduce((n, s) => n + s.flying, 0);
    const { blocked } = this;
    if (blocked && flying > 0) return [];
    this.blocked = undefined;
    for (const seq of this.running) this.slide(seq);
    this.admit();
    const slices: Slice[] = [];
    let rows = this.limits.maxRows;
    const first = (list: readonly Sequence[]) =>
      blocked && list.includes(blocked) ? [blocked, ...list.filter((s) => s !== blocked)] : list;
    const ready = this.running.filter((s) => s.error === undefined && !s.aborted);
    const decodes = first(ready.filter((s) => s.pending === 1)).slice(0, this.group());
    const prefills = first(this.shares.sorted(ready.filter((s) => s.pending > 1)));
    let tokens = this.room(budget - flying, decodes.length, prefills);

    let spare = Math.min(rows, tokens) - decodes.length; // for drafts
    let drafted = 0;
    for (const seq of decodes) {
      if (tokens === 0 || rows === 0) break;
      if (!this.running.includes(seq)) continue; // preempted by an older one
      const wanted = prefills.length === 0 && spare > 0 ? draft(seq, spare, decodes.length + drafted, decodes.length) : [];
      const got = this.grow(seq, seq.ids.length + wanted.length);
      if (!got) continue;
      const count = 1 + wanted.length;
      slices.push({ seq, start: seq.next, count, logits: count, scores: 0, draft: wanted });
      tokens -= count;
      rows -= count;
      spare -= wanted.length;
      drafted += wanted.length;
    }
    for (const seq of prefills) {
      if (tokens === 0) break;
      if (!this.running.includes(seq)) continue;
      const told = Math.max(0, seq.scored - seq.next); // before it had to give way
      const count = Math.min(seq.pending, tokens, seq.unscored > 0 ? told + rows : tokens);
      const last = count === seq.pending;
      if (count === 0 || (last && rows === 0)) continue;
      if (!this.grow(seq, seq.next + count)) continue;
      const scores = seq.unscored > 0 ? Math.max(0, count - told - (last ? 1 : 0)) : 0;
      const logits = scores + (last ? 1 : 0);
      slices.push({ seq, start: seq.next, count, logits, scores, draft: [] });
      tokens -= count;
      rows -= logits;
    }
    const riding = slices.filter((s) => this.running.includes(s.seq));
    this.steps++;
    for (const { seq, count } of riding) {
      seq.step = this.steps;
      this.shares.charge(seq.owner, count);
    }
    return riding;
  }

  /** Sequences that decode in the next step at the most: all, or a group; none while all groups are under way. */
  private group(): number {
    if (this.limits.depth === 1) return Number.POSITIVE_INFINITY;
    const decoding = this.running.filter((s) => !s.prefills);
    const { depth, cores = depth } = this.limits;
    const most = cores === 1 ? 1 : Math.min(A_CORE * cores, depth + A_CORE);
    const size = this.groups.size(decoding.length, most);
    const under = new Set(decoding.filter((s) => s.flying > 0).map((s) => s.step)).size;
    return under < Math.ceil(decoding.length / size) ? size : 0;
  }

  /** So long took steps that were nothing but decoding, with so many rows of logits each. */
  measured(ms: number, rows: readonly number[]): void {
    this.groups.measure(ms, rows);
  }

  /** Tokens of a step that has `decodes` decodes: these are never cut by the budget, and of prompts something is always under way. */
  private room(left: number, decodes: number, prefills: readonly Sequence[]): number {
    const { depth, maxTokens } = this.limits;
    if (prefills.length === 0) return Math.min(Math.max(left, decodes), maxTokens);
    const under = this.running.reduce((n, s) => n + (s.prefills ? s.flying : 0), 0);
    if (depth === 1 || under === 0) left = Math.max(left, decodes + LEAST_PREFILL);
    else if (left < decodes + LEAST_PREFILL) left = decodes; // the next step takes more
    if (depth > 1) {
      // a short prompt is cut so that all places have some of it
      const each = (prefills.reduce((n, s) => n + s.pending, under) / depth + TOGETHER - 1) & -TOGETHER;
      left = Math.min(left, decodes + Math.max(each, LEAST_PREFILL));
    }
    return Math.min(left, maxTokens);
  }

  /** Moves waiting sequences in while there is room for their whole prompt, finding pages that are already here. */
  private admit(): void {
    const inFlight = new Set<string>(); // first page that each prefill is going to compute
    for (const s of this.running) if (s.prefills) for (const n of s.names.slice(s.published)) inFlight.add(n);

    for (const seq of [...this.shares.sorted(this.waiting)]) {
      if (this.running.length >= this.limits.maxSequences) return;
      try {
        if (!this.place(seq, inFlight)) return;
      } catch (error) {
        seq.fail(error);
        this.remove(seq);
      }
    }
  }

  /** Moves a sequence in, or leaves it waiting; false when there is no room for it: nobody overtakes. */
  private place(seq: Sequence, inFlight: Set<string>): boolean {
    if (seq.names.length === 0) seq.names.push(...this.names.chain(seq.ids, seq.salt));
    const usable = Math.floor(seq.shareable / PAGE);
    const found = this.pool.prefix(seq.names, usable);
    if (found < usable && inFlight.has(seq.names[found])) return true; // another computes the next page right now: wait and share it
    const need = Sequence.pagesFor(seq.ids.length + 1) - found;
    const idleFound = seq.names.slice(0, found).filter((n) => this.pool.isIdle(n)).length;
    if (this.pool.available - idleFound < need && this.running.length > 0) return false;
    if (this.running.length > 0 && !this.roomInWindows(seq.names.slice(0, found), need)) return false;
    for (let k = 0; k < found; k++) seq.pages.push(this.pool.take(seq.names[k]) as number);
    seq.left = Math.max(0, found - (this.pool.windows?.reach ?? found));
    for (const page of seq.pages.slice(seq.left)) this.pool.see(page);
    seq.computed = found * PAGE;
    seq.published = found;
    if (!seq.reported) seq.cachedTokens = Math.min(seq.computed, seq.promptLength); // whole pages
    this.begin(seq);
    this.waiting.splice(this.waiting.indexOf(seq), 1);
    this.insert(seq);
    if (seq.pending > 1) for (const n of seq.names.slice(found)) inFlight.add(n);
    return true;
  }

  /** Starts a sequence's next page with the tokens that it shares with a page that is here, in a copy of its own. */
  private begin(seq: Sequence): void {
    const at = seq.computed;
    const parent = seq.names[seq.published - 1] ?? this.names.root(seq.salt);
    const shared = this.pool.beginning(parent, seq.ids, at, Math.min(PAGE, seq.shareable - at));
    if (!shared) return;
    const { windows } = this.pool;
    const place = windows?.of(shared.page) ?? -1; // alloc may take it
    const page = this.pool.alloc();
    if (page === undefined) return;
    seq.pages.push(page);
    seq.computed = at + shared.tokens;
    this.copies.push({ seq, from: shared.page, to: page, ...(windows && { places: [place, windows.of(page)] as const }) });
  }

  /** Lets go of the parts of pages that the windows of a sequence have left. */
  private slide(seq: Sequence): void {
    const { windows } = this.pool;
    if (!windows) return;
    const first = windows.first(seq.computed);
    while (seq.left < first) this.pool.leave(seq.pages[seq.left++]);
  }

  /** Whether there are places for the windows of a prompt that has found these pages and needs so many more. */
  private roomInWindows(found: readonly string[], need: number): boolean {
    const { windows } = this.pool;
    if (!windows) return true;
    const idle = found.slice(-windows.reach).filter((name) => this.pool.isIdle(name, true)).length;
    const most = windows.reach + Math.ceil(this.limits.maxTokens / PAGE) + 1;
    return windows.available - idle >= Math.min(need, most);
  }

  /** Running stays in order of arrival, also for those that come back after a preemption. */
  private insert(seq: Sequence): void {
    let i = this.running.length;
    while (i > 0 && this.running[i - 1].order > seq.order) i--;
    this.running.splice(i, 0, seq);
  }

  /** Makes room for the first `tokens` tokens, preempting others; false when `seq` itself had to give way, or must wait for one under way. */
  private grow(seq: Sequence, tokens: number): boolean {
    while (seq.pages.length < Sequence.pagesFor(tokens)) {
      const page = this.pool.alloc();
      if (page !== undefined) {
        seq.pages.push(page);
        continue;
      }
      const victim = this.victim();
      if (victim.flying > 0) {
        this.blocked = seq;
        return false;
      }
      this.preempt(victim);
      if (victim === seq) return false;
    }
    return true;
  }

  /** Never the oldest, unless it is alone. */
  private victim(): Sequence {
    const [oldest, ...others] = this.running;
    return this.shares.sorted(others).at(-1) ?? oldest;
  }

  /** Everybody computes from the beginning again. */
  preemptAll(): void {
    for (const seq of [...this.running]) this.preempt(seq);
  }

  private preempt(seq: Sequence): void {
    this.preemptions++;
    this.running.splice(this.running.indexOf(seq), 1);
    this.freePages(seq);
    let i = 0;
    while (i < this.waiting.length && this.waiting[i].order < seq.order) i++;
    this.waiting.splice(i, 0, seq);
  }

  private freePages(seq: Sequence): void {
    for (const page of seq.pages.slice(seq.left).reverse()) this.pool.leave(page);
    seq.left = 0;
    this.pool.releaseAll(seq.pages);
    seq.pages.length = 0;
    seq.names.length = 0;
    seq.computed = 0;
    seq.published = 0;
  }
}

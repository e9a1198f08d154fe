import type { Adapters } from './adapters.ts';
import type { ModelWeights } from './anatomy.ts';
import type { Backend } from './backend.ts';
import type { ModelConfig } from './config.ts';
import { PAGE, PAGE_VERSION } from './layout.ts';
import { allocLogits, bestOnly, END, LogitsStage, type Told } from './logits.ts';
import { PagesLost } from './paged.ts';
import { type Hash, PageNames, type PagePool } from './pages.ts';
import type { Plan } from './plan.ts';
import { Publisher } from './publish.ts';
import { type Landing, type Passes, Runner } from './runner.ts';
import { Scheduler, type Slice } from './scheduler.ts';
import { Sequence } from './sequence.ts';
import { allowed, draftTokens, learn, Speculation } from './speculate.ts';
import type { GenerateRequest, StepEvent } from './types.ts';

export interface EngineOptions {
  backend: Backend;
  config: ModelConfig;
  /** The model in one piece, or whatever runs its passes. */
  weights: ModelWeights | Passes;
  plan: Plan;
  hash: Hash;
  /** Digest of the pack: part of every page's name. */
  pack: string;
  /** What one more row adds to a decode step, in steps: how eagerly to speculate. 0 < x; Infinity turns it off. Unset: as `measured` tells. */
  rowCost?: number;
}

export interface EngineStats {
  running: number;
  waiting: number;
  pages: { total: number; referenced: number; cached: number };
  preemptions: number;
  prefix: { queried: number; hit: number }; // prompt tokens
  tokens: { prompt: number; generated: number };
  draft: { proposed: number; accepted: number };
  /** `rows` of logits: those of sequences and their drafts. `prefill`: prompts were in it. */
  lastStep: { tokens: number; sequences: number; rows: number; prefill: boolean };
  /** Most sequences that rode in one step. */
  largestBatch: number;
}

/** A step that is under way. */
interface Flight {
  slices: readonly Slice[];
  /** Where the pass is elsewhere. */
  pass?: Promise<Landing>;
}

/** Steps under way beyond one a stage: on their way, and waiting where they are needed next. */
const SPARE_STEPS = 2;
/** Of a slice in the middle of its prompt, or one that failed. */
const NOTHING: Told = { tokens: [], prompt: [] };
/** Times in a row that a step's pages may be lost before everybody is told. */
const MOST_LOSSES = 3;

/**
 * Token ids in, token ids out: continuous batching over paged KV. One `step()` schedules, runs and samples; call it
 * while `busy`, and let other work in between. Where a model is in stages, several steps are under way, and each `step()` ends the oldest.
 */
export class Engine {
  readonly config: ModelConfig;
  readonly plan: Plan;
  readonly backend: Backend;
  readonly names: PageNames;
  private readonly runner: Passes;
  private readonly publisher: Publisher;
  private readonly scheduler: Scheduler;
  private readonly stage: LogitsStage;
  private readonly speculation: Speculation;
  private readonly speculates: boolean;
  private readonly sequences = new Set<Sequence>();
  /** Of requests that were not aborted: an id is free again at once. */
  private readonly byId = new Map<string, Sequence>();
  /** Adapters that go when nobody has them any more. */
  private readonly leaving = new Set<string>();
  private stepping = false;
  /** The oldest step under way is waited for: others may begin meanwhile. */
  private waits = false;
  /** Steps under way, the oldest first. */
  private flights: Flight[] = [];
  private arrivals = 0;
  private losses = 0; // of pages, since a step was settled
  private readonly counters = {
    queried: 0,
    hit: 0,
    prompt: 0,
    generated: 0,
    proposed: 0,
    accepted: 0,
    stepTokens: 0,
    stepSequences: 0,
    stepRows: 0,
    stepPrefill: false,
    largest: 0,
  };

  constructor(o: EngineOptions) {
    this.config = o.config;
    this.plan = o.plan;
    this.backend = o.backend;
    this.speculation = new Speculation(o.rowCost);
    this.speculates = o.rowCost !== Number.POSITIVE_INFINITY;
    const { config, plan, backend, weights } = o;
    this.runner = 'pool' in weights ? weights : new Runner({ backend, config, weights, size: plan, kv: plan.kv, pages: plan.pages });
    this.names = new PageNames(o.hash, { pack: o.pack, kv: plan.kv, numerics: backend.numerics }, PAGE_VERSION, this.pool);
    this.publisher = new Publisher(this.pool, this.names);
    const { depth, most, cores } = this.runner;
    const limits = { maxSequences: plan.maxSequences, maxRows: plan.maxRows, maxTokens: Math.min(plan.maxTokens, most), depth, cores };
    this.scheduler = new Scheduler(this.pool, this.names, limits);
    this.stage = new LogitsStage(backend, allocLogits(backend, plan.maxRows, config.vocab), this.runner.logits, config.vocab);
  }

  get pool(): PagePool {
    return this.runner.pool;
  }

  /** Adapters that requests may name; absent where none can be loaded. */
  get adapters(): Adapters | undefined {
    return this.runner.adapters;
  }

  /** Lets go of an adapter: at once, or when the last sequence that has it ends. */
  dropAdapter(id: string): void {
    this.leaving.add(id);
    this.freeAdapters();
  }

  /** Whether an adapter is here; one that was about to go stays. */
  keepAdapter(id: string): boolean {
    this.leaving.delete(id);
    return this.adapters?.get(id) !== undefined;
  }

  private freeAdapters(): void {
    if (this.leaving.size === 0) return;
    const used = new Set([...this.sequences].map(({ adapter }) => adapter?.id));
    for (const id of this.leaving) {
      if (used.has(id)) continue;
      this.leaving.delete(id);
      this.adapters?.free(id);
    }
  }

  get kv(): Passes['kv'] {
    return this.runner.kv;
  }

  /** Bytes of a page that has lost the part of layers that slide. */
  get keptBytes(): number {
    return this.runner.keptBytes;
  }

  /** How many steps are under way at the most: one, or so many that every stage has one to go on with. */
  get together(): number {
    const { depth } = this.runner;
    return depth === 1 ? 1 : depth + SPARE_STEPS;
  }

  /** Longest prompt that can be answered with at least one token. */
  get maxPrompt(): number {
    return Math.min(this.plan.context, this.plan.pages * PAGE) - 1;
  }

  get busy(): boolean {
    return this.sequences.size > 0;
  }

  /** Whether one sequence has everything to itself. */
  get alone(): boolean {
    return this.sequences.size === 1;
  }

  /** Whether it has a sequence of that owner. */
  runs(owner: string): boolean {
    for (const seq of this.sequences) if (seq.request.owner === owner) return true;
    return false;
  }

  /** Queues a request. Throws RangeError, before any page is allocated, when it can never run. */
  add(request: GenerateRequest): void {
    const n = request.prompt.length + (request.generated?.length ?? 0);
    if (this.byId.has(request.id)) throw new RangeError(`request ${request.id} is already here`);
    if (request.prompt.length === 0) throw new RangeError('the prompt is empty');
    if (n > this.maxPrompt) throw new RangeError(`the prompt has ${n} tokens, at most ${this.maxPrompt} fit`);
    for (const ids of [request.prompt, request.generated ?? [], request.stopIds, request.sampling.logitBias.map(([id]) => id)]) {
      for (const id of ids) {
        if (!(id >= 0 && id < this.config.vocab)) throw new RangeError(`token id ${id} is outside the vocabulary of ${this.config.vocab}`);
      }
    }
    const scores = request.promptLogprobs !== undefined;
    if (scores && request.generated) throw new RangeError('the prompt of a generation that goes on is not scored');
    if (!scores && !(request.maxTokens > (request.generated?.length ?? 0))) throw new RangeError('maxTokens leaves nothing to generate');
    const adapter = request.adapter === undefined ? undefined : this.adapters?.get(request.adapter);
    if (request.adapter !== undefined && !adapter) throw new RangeError(`adapter ${request.adapter} is not loaded`);
    const seq = new Sequence(request, this.arrivals++, adapter);
    this.sequences.add(seq);
    this.byId.set(request.id, seq);
    this.scheduler.add(seq);
  }

  /** Takes a request out; its id is free at once, its pages too, or after its steps that are under way. */
  abort(id: string): void {
    const seq = this.byId.get(id);
    if (seq) this.takeOut(seq);
  }

  private takeOut(seq: Sequence): void {
    this.forget(seq);
    if (seq.flying > 0) seq.aborted = true;
    else this.drop(seq);
  }

  /** Its id is free. */
  private forget(seq: Sequence): void {
    if (this.byId.get(seq.request.id) === seq) this.byId.delete(seq.request.id);
  }

  /** Takes everything out, for a new owner; cached pages stay. What is under way in stages ends with the next steps. */
  reset(): void {
    this.stepping = false;
    this.losses = 0;
    this.landed(this.flights.filter((f) => !f.pass));
    for (const seq of [...this.sequences]) this.takeOut(seq);
  }

  /**
   * One forward pass over at most `budget` tokens (decodes always ride), or the oldest of several that have so many together. What was
   * generated, and what ended. Whatever is thrown for one sequence is that one's event; the others' tokens are the same as without it.
   */
  async step(budget = this.plan.maxTokens): Promise<StepEvent[]> {
    if (this.stepping) throw new Error('step() is already running');
    this.stepping = true;
    try {
      this.launch(budget);
      const [flight = { slices: [] }] = this.flights;
      const told = await this.run(flight);
      if (flight.slices.length > 0 && !this.landed([flight])) return []; // somebody else's by now
      const events = this.settle(flight.slices, told);
      this.losses = 0;
      return events;
    } catch (error) {
      const fault = (await this.ground(this.flights)) ?? error;
      if (!(fault instanceof PagesLost) || ++this.losses > MOST_LOSSES) throw fault;
      this.scheduler.preemptAll();
      this.pool.clear();
      return [];
    } finally {
      this.stepping = false;
      for (const seq of [...this.sequences]) if (seq.aborted && seq.flying === 0) this.drop(seq);
    }
  }

  /** So long took steps that were nothing but decoding, with so many rows of logits each (`lastStep`): drafts are as long as that pays, and groups as many. */
  measured(ms: number, rows: readonly number[]): void {
    this.scheduler.measured(ms, rows);
    if (this.flights.length === 0) this.speculation.measure(ms, rows); // else steps share their time
  }

  /** Whether somebody has the prompt behind it, and waits for each next token. */
  get decodes(): boolean {
    return this.scheduler.running.some((s) => !s.prefills);
  }

  /** Begins what has something to do since, who arrived above all, while `step()` waits for the oldest step under way; else the next `step()` does. */
  begins(budget: number): void {
    if (this.waits) this.launch(budget);
  }

  /** Begins steps while there is something to do that waits for none under way. */
  private launch(budget: number): void {
    while (this.flights.length < this.together) {
      const slices = this.copied(this.scheduler.schedule(budget, (seq, room, rows, decodes) => this.draft(seq, room, rows, decodes)));
      if (slices.length === 0) return;
      for (const { seq, count } of slices) seq.flying += count;
      this.flights.push({ slices, ...(this.runner.depth > 1 && { pass: this.begin(slices) as Flight['pass'] }) });
    }
  }

  private begin(slices: readonly Slice[]): ReturnType<Passes['begin']> {
    return this.runner.begin(slices, bestOnly(slices, this.config.vocab));
  }

  /** Books that flights are no longer under way; false when they were not. */
  private landed(flights: readonly Flight[]): boolean {
    const known = flights.filter((f) => this.flights.includes(f));
    this.flights = this.flights.filter((f) => !known.includes(f));
    for (const { slices } of known) for (const { seq, count } of slices) seq.flying -= count;
    return known.length > 0;
  }

  /** Waits for steps under way, of which nothing is kept: they are computed again. What was lost with them, if anything was. */
  private async ground(flights: readonly Flight[]): Promise<PagesLost | undefined> {
    const ended = await Promise.allSettled(flights.map((f) => f.pass));
    this.landed(flights);
    return ended.flatMap((e) => (e.status === 'rejected' && e.reason instanceof PagesLost ? [e.reason] : []))[0];
  }

  private draft(seq: Sequence, room: number, rows: number, decodes: number): readonly number[] {
    if (!this.speculates) return [];
    try {
      return allowed(seq, draftTokens(seq, room, this.speculation, rows, decodes));
    } catch (error) {
      seq.fail(error);
      return [];
    }
  }

  /** Copies what was scheduled to be. When that fails, the sequences that wanted it compute their pages themselves, from the next step on. */
  private copied(slices: Slice[]): Slice[] {
    const { copies } = this.scheduler;
    if (copies.length === 0) return slices;
    try {
      const places = copies.flatMap((c) => c.places ?? []);
      this.runner.copy(Uint32Array.from(copies.flatMap(({ from, to }) => [from, to])), Uint32Array.from(places));
      return slices;
    } catch {
      for (const { seq } of copies) seq.computed = seq.published * PAGE;
      return slices.filter(({ seq }) => !copies.some((c) => c.seq === seq));
    }
  }

  /**
   * What each slice came to; nothing for one in the middle of its prompt. When something throws, the halves are run again until a slice is
   * alone with it, and its sequence fails: the bits of the others do not depend on whom they ride with.
   */
  private async run({ slices, pass }: Flight): Promise<Told[]> {
    if (slices.length === 0) return [];
    try {
      const done = pass ?? this.begin(slices);
      this.waits = pass !== undefined;
      const landing = done && (await done);
      this.waits = false;
      if (landing && 'rows' in landing) return await this.stage.sampleBest(slices, landing);
      landing?.put();
      if (slices.some((s) => s.logits > 0)) return await this.stage.sample(slices);
      await this.backend.submit();
      return slices.map(() => NOTHING);
    } catch (error) {
      this.waits = false;
      if (error instanceof PagesLost) throw error;
      const lost = pass && (await this.ground(this.flights.slice(1))); // what is under way may go on from what failed
      if (lost) throw lost;
      if (slices.length === 1) {
        slices[0].seq.fail(error);
        return [NOTHING];
      }
      const half = slices.length >> 1;
      return [...(await this.run({ slices: slices.slice(0, half) })), ...(await this.run({ slices: slices.slice(half) }))];
    }
  }

  /** Books a step: what is computed, pages that became whole, tokens, ends, and what failed. */
  private settle(slices: readonly Slice[], told: readonly Told[]): StepEvent[] {
    const events: StepEvent[] = [];
    const rows = slices.reduce((n, s) => n + s.logits, 0);
    const decodes = slices.filter((s) => s.count === 1 + s.draft.length).length;
    if (decodes > 0) this.speculation.earn(decodes);
    slices.forEach(({ seq, count, logits, scores, draft }, i) => {
      if (seq.aborted || seq.error !== undefined) return;
      try {
        const { tokens: got, prompt } = told[i];
        seq.scored += scores;
        if (logits === scores) {
          seq.computed += count;
          this.publisher.whole(seq);
          if (scores > 0) events.push({ request: seq.request.id, tokens: [], prompt });
          return;
        }
        if (draft.length > 0) {
          learn(seq, draft.length, got.length - 1);
          this.speculation.settle(draft.length, got.length - 1, rows, decodes);
          this.counters.proposed += draft.length;
          this.counters.accepted += got.length - 1;
        }
        const event = this.deliver(seq, seq.computed + count - draft.length, got);
        events.push(scores > 0 ? { ...event, prompt } : event);
      } catch (error) {
        seq.fail(error);
      }
    });
    for (const seq of [...this.sequences]) {
      if (seq.error === undefined || seq.flying > 0) continue;
      if (!seq.aborted) events.push({ request: seq.request.id, tokens: [], error: seq.error });
      this.drop(seq);
    }
    if (slices.length === 0) return events;
    this.counters.stepTokens = slices.reduce((n, s) => n + s.count, 0);
    this.counters.stepSequences = slices.length;
    this.counters.stepRows = rows;
    this.counters.stepPrefill = decodes < slices.length;
    this.counters.largest = Math.max(this.counters.largest, slices.length);
    return events;
  }

  /** Appends tokens until one ends the sequence. `computed` counts the tokens before the first of them. */
  private deliver(seq: Sequence, computed: number, got: StepEvent['tokens']): StepEvent {
    const { stopIds, maxTokens, constraint } = seq.request;
    const tokens: StepEvent['tokens'][number][] = [];
    let finish: StepEvent['finish'];
    seq.computed = computed;
    for (const token of got) {
      if (seq.generated >= maxTokens) {
        finish = 'length'; // nothing was asked for but the prompt's own
        break;
      }
      if (token.id === END || stopIds.includes(token.id)) {
        finish = 'stop';
        break;
      }
      if (tokens.length > 0) seq.computed++; // an accepted draft: its KV is there
      seq.append(token.id);
      try {
        constraint?.accept(token.id);
      } catch (error) {
        seq.fail(error);
      }
      tokens.push(token);
      if (seq.generated >= maxTokens || seq.ids.length >= this.maxPrompt + 1) {
        finish = 'length';
        break;
      }
    }
    this.publisher.whole(seq);
    this.counters.generated += tokens.length;
    const event: StepEvent = { request: seq.request.id, tokens, finish };
    if (!seq.reported) {
      seq.reported = true;
      event.cachedTokens = seq.cachedTokens;
      this.counters.queried += seq.promptLength;
      this.counters.hit += seq.cachedTokens;
      this.counters.prompt += seq.promptLength;
    }
    if (finish) this.drop(seq);
    return event;
  }

  private drop(seq: Sequence): void {
    try {
      this.publisher.rest(seq);
    } catch {
      // its last tokens are not kept for others, who compute them again
    } finally {
      this.scheduler.remove(seq);
      this.sequences.delete(seq);
      this.forget(seq);
      this.freeAdapters();
    }
  }

  /** The bytes of a cached page, or undefined when it is not here. */
  exportPage(name: string): Promise<Uint8Array | undefined> {
    return this.runner.exportPage(name);
  }

  /** Puts a page computed elsewhere under its name, as cached. The caller has checked the payload's digest. False when no page is free. */
  importPage(name: string, bytes: Uint8Array): boolean {
    return this.runner.importPage(name, bytes);
  }

  /** Prompt tokens of a request whose KV is there, found or computed; undefined when it is not here. */
  computed(id: string): number | undefined {
    const seq = this.byId.get(id);
    return seq && Math.min(seq.computed, seq.promptLength);
  }

  get lastStep(): EngineStats['lastStep'] {
    const { stepTokens: tokens, stepSequences: sequences, stepRows: rows, stepPrefill: prefill } = this.counters;
    return { tokens, sequences, rows, prefill };
  }

  stats(): EngineStats {
    const c = this.counters;
    return {
      running: this.scheduler.running.length,
      waiting: this.scheduler.waiting.length,
      pages: { total: this.pool.size, referenced: this.pool.referenced, cached: this.pool.cached },
      preemptions: this.scheduler.preemptions,
      prefix: { queried: c.queried, hit: c.hit },
      tokens: { prompt: c.prompt, generated: c.generated },
      draft: { proposed: c.proposed, accepted: c.accepted },
      lastStep: this.lastStep,
      largestBatch: c.largest,
    };
  }
}

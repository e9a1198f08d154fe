import { DurableObject } from 'cloudflare:workers';
import { replicasOf } from '../../policy/cells.ts';
import type { Ended } from '../../policy/ledger.ts';
import type { Queue } from '../../policy/queue.ts';
import type { Variables } from '../../policy/settings.ts';
import { type AdmitRequest, checkRequest, type Heartbeat, MAX_SEQUENCES, type Progress } from '../../policy/ticket.ts';
import type { AdmitAnswer, SchedulerStats } from '../../serving/scheduler.ts';
import { openTrace } from '../../serving/trace/trace.ts';
import { policyConfig } from './config.ts';
import { Keeper } from './keeper.ts';
import { cellNamed } from './port.ts';

/** An answer is held back for so long at most, so that no call hangs on a caller that is gone. */
const HOLD_MS = 20_000;
/** A timer later than that is put off, some times in a row, for longer than replicas take to say something. */
const LATE_MS = 100;
const EXCUSE_MS = 1_500;
const EXCUSES = 5;
/** Requests that come so soon after another event are settled in one transaction, a turn of the event loop later. */
const TOGETHER_MS = 5;
const MAX_BATCH = 4096;
/** A client of a server that stops asks again after so many seconds. */
const CLOSED_S = 5;

/**
 * The queue of all replicas of one model. The policy decides (policy/), this object keeps the books and the callers that
 * wait. One `admit` a request and one `heartbeat` a replica and second: never a call a token. Requests are in memory alone:
 * after an eviction replicas tell of what they run within a second, and who waits asks again with its age. What no one could
 * tell is stored, at most once in ten seconds and when the last request has ended.
 */
export class Scheduler extends DurableObject<Variables> {
  private readonly keeper: Keeper;
  /** Callers held, by request id. */
  readonly #held = new Map<string, { answer: (a: AdmitAnswer) => void; timer: ReturnType<typeof setTimeout> }>();
  #settled = 0; // when, ms
  #together?: Promise<void>;
  /** While callers are held, which keep this object in memory: when something ends by time alone. */
  #timer: ReturnType<typeof setTimeout> | null = null;
  #dueAt = Number.POSITIVE_INFINITY;
  /** How many timers in a row were late. */
  #excused = 0;
  /** With nobody held: whose time an event has found to be over, and when. */
  #found = { due: 0, at: 0 };

  constructor(ctx: DurableObjectState, env: Variables) {
    super(ctx, env);
    const now = Date.now();
    this.keeper = new Keeper(ctx, policyConfig(env), replicasOf(cellNamed(ctx.id.name), env), now);
    this.#settle(now);
  }

  get #queue(): Queue {
    return this.keeper.queue;
  }

  /** Asks for a place; answers when there is one, or after some seconds with `wait`. The same id is the same request. */
  async admit(request: AdmitRequest, trace?: string): Promise<AdmitAnswer> {
    const now = Date.now();
    const span = openTrace(this.env, 'queue', trace)?.span('admit', 'server', now);
    if (!span) return this.#admit(request, now);
    span.set({ 'turnstone.waiting': this.#queue.ledger.waiting.size });
    try {
      const answer = await this.#admit(request, now);
      const { kind } = answer;
      span.set({
        'turnstone.answer': kind,
        ...(kind === 'run' && { 'turnstone.replica': answer.replica, 'turnstone.matched': answer.matched }),
      });
      if (kind === 'refused') span.set({ 'turnstone.reason': answer.reason });
      return answer;
    } finally {
      span.end(Date.now());
      this.ctx.waitUntil(span.trace.send());
    }
  }

  async #admit(request: AdmitRequest, now: number): Promise<AdmitAnswer> {
    const r = checkRequest(request);
    this.#catchUp(now);
    const arrival = this.#sound(now, () => this.#queue.arrive(r, now, (id, why) => this.#answer(id, { kind: 'refused', ...why })));
    if (arrival.kind === 'running') return { ...arrival.lease, kind: 'run' };
    if (arrival.kind === 'refused') {
      this.#settle(now);
      return arrival;
    }
    // asked again while an earlier call is held: the newer one gets the answer
    this.#answer(r.id, { kind: 'wait' });
    const answer = new Promise<AdmitAnswer>((resolve) => {
      this.#held.set(r.id, { answer: resolve, timer: setTimeout(() => this.#letGo(r.id), HOLD_MS) });
    });
    if (now - this.#settled > TOGETHER_MS) this.#settle(now);
    else await (this.#together ??= scheduler.wait(0).then(() => this.#settle(Date.now())));
    return answer;
  }

  /** The caller gave up: a waiting request leaves at once; a running one is aborted by its replica at its next heartbeat. */
  cancel(id: string): boolean {
    const now = Date.now();
    this.#catchUp(now);
    const known = this.#sound(now, () => this.#queue.cancel(id));
    this.#answer(id, { kind: 'wait' });
    this.#settle(now);
    return known;
  }

  /** For whoever erases a tenant: its requests end, and its account is forgotten. Answers how many there were. */
  erase(tenant: string): { waiting: number; running: number } {
    const now = Date.now();
    const { waiting, running } = this.#sound(now, () => this.#queue.erase(tenant));
    for (const id of waiting) this.#answer(id, { kind: 'refused', reason: 'erased', retryAfter: CLOSED_S });
    this.#settle(now, true);
    return { waiting: waiting.length, running };
  }

  /** Requests that ended; for a caller that never reached its replica, or saw it fail (`failed`). Answers how many were counted. */
  release(list: Progress[]): number {
    const now = Date.now();
    this.#catchUp(now);
    let counted = 0;
    for (const p of list.slice(0, MAX_BATCH).map(bounded)) if (this.#sound(now, () => this.#queue.release(p, now))) counted++;
    this.#settle(now);
    return counted;
  }

  /** A replica with work says so about once a second, and at once when a request ends. `abort`: what it must stop. */
  heartbeat(replica: string, beat: Heartbeat): { abort: string[]; draining: boolean } {
    const now = Date.now();
    if (!this.#queue.ledger.replicas.has(replica)) throw new Error(`heartbeat: there is no replica "${replica}"; check REPLICAS`);
    const checked = boundedBeat(beat);
    this.#catchUp(now);
    const { abort, draining } = this.#sound(now, () => this.#queue.heartbeat(replica, checked, now));
    this.#settle(now);
    return { abort, draining };
  }

  /** Somebody saw the replica gone. What it ran is lost, or waits for its owner to ask again (`orphaned`). */
  died(replica: string): Ended {
    const now = Date.now();
    const ended = this.#sound(now, () => this.#queue.die(replica, now));
    this.#settle(now);
    return ended;
  }

  /** For deploys: a draining replica finishes what it runs and gets nothing new. Answers how much it still runs. */
  drain(replica: string, draining: boolean): number {
    this.#queue.drain(replica, draining);
    this.#settle(Date.now(), true);
    return this.#queue.ledger.replicas.get(replica)?.running ?? 0;
  }

  /**
   * For whoever stops the server: from now on nothing new is admitted, what waits and runs goes on. Answers how many requests there
   * still are. `now`: none may wait any longer.
   */
  close(now: boolean): number {
    const Q = this.#queue;
    Q.closed = true;
    if (now) {
      for (const t of [...Q.ledger.waiting]) {
        if (t.restart) continue; // its session asks again when there is a server
        this.#answer(t.id, { kind: 'refused', reason: 'draining', retryAfter: CLOSED_S });
        Q.cancel(t.id);
      }
      this.#settle(Date.now());
    }
    return Q.ledger.tickets.size;
  }

  /** For whoever runs the replicas' processes: one has ended or has not started (`absent`), or answers now. Neither is remembered over a restart of the queue. */
  absent(replica: string, absent: boolean): void {
    const now = Date.now();
    this.#sound(now, () => (absent ? void this.#queue.leave(replica, now) : this.#queue.join(replica)));
    this.#settle(now);
  }

  /** Where a request stands: what its owner asks before starting it again. `untold`: this queue has just begun, and its replica may run it and not have said so. */
  lease(id: string): { state: 'unknown' | 'untold' | 'waiting' | 'running'; epoch: number; replica: string } {
    const now = Date.now();
    this.#catchUp(now);
    const t = this.#queue.ledger.tickets.get(id);
    if (t) return { state: t.state, epoch: t.epoch, replica: t.replica };
    return { state: this.#queue.untold(now) ? 'untold' : 'unknown', epoch: 0, replica: '' };
  }

  stats(): SchedulerStats {
    this.#catchUp(Date.now());
    const L = this.#queue.ledger;
    return {
      closed: this.#queue.closed,
      waiting: L.waiting.size,
      stored: this.keeper.stores,
      rowsWritten: this.keeper.rows.written,
      epoch: L.epoch,
      rate: L.service.rate.value * 1000,
      replicas: [...L.replicas.values()].map((r) => ({
        id: r.id,
        running: r.running,
        slots: r.slots,
        kvUsed: r.kvUsed,
        kvTokens: r.kvTokens,
        backlog: r.backlog,
        draining: r.draining,
        absent: r.absent,
      })),
      tenants: [...L.tenants.all.values()].map((t) => ({
        name: t.name,
        counter: t.counter,
        waiting: t.waiting,
        running: t.running,
        brief: t.brief,
      })),
    };
  }

  /** Key of the seals in responses' ids: the same for all isolates, and for ever. */
  secret(): string {
    return this.keeper.secret;
  }

  /** Of a version before, whose queue armed it. */
  override alarm(): void {}

  /** Something's time is over, or soon will be. */
  #tick(): void {
    const now = Date.now();
    const late = now - this.#dueAt;
    this.#dueAt = Number.POSITIVE_INFINITY;
    // who was held up himself cannot say that others were silent: what they said may be waiting to be heard
    this.#excused = late > LATE_MS && this.#excused < EXCUSES ? this.#excused + 1 : 0;
    if (this.#excused > 0) this.#arm(now + EXCUSE_MS);
    else this.#expire(now);
  }

  #expire(now: number): void {
    this.#sound(now, () => this.#queue.expire(now));
    this.#settle(now);
  }

  /**
   * Before each event. While nobody is held, nobody waits for a time to be over, and no timer runs: the next who comes finds it so. Replicas that
   * were silent until then have a little longer, as what they said may be behind this event.
   */
  #catchUp(now: number): void {
    if (this.#held.size > 0) return;
    const due = this.#queue.nextDeadline();
    if (due === undefined || due > now) return;
    if (due !== this.#found.due) this.#found = { due, at: now };
    if (now - this.#found.at >= EXCUSE_MS) this.#expire(now);
  }

  /** Ends every event: starts what can start, stores what is to be stored (`must`: at once), arms the timer. */
  #settle(now: number, must = false): void {
    this.#settled = now;
    this.#together = undefined;
    const leases = this.#sound(now, () => this.#queue.dispatch(now, Math.random));
    this.keeper.settle(now, must);
    for (const lease of leases) this.#answer(lease.id, { kind: 'run', ...lease });
    const due = this.#held.size > 0 ? this.#queue.nextDeadline() : undefined;
    if (due === undefined) {
      clearTimeout(this.#timer);
      this.#dueAt = Number.POSITIVE_INFINITY;
      return;
    }
    // one that comes too early finds nothing to do and arms the next: heartbeats need not move it
    if (due < this.#dueAt) this.#arm(Math.max(due, now));
  }

  #arm(at: number): void {
    this.#dueAt = at;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#tick(), at - Date.now());
  }

  /** An event of the queue. One that throws has found it unsound: it begins anew, and who waits asks again. */
  #sound<T>(now: number, event: () => T): T {
    try {
      return event();
    } catch (error) {
      if (this.#queue.sound()) throw error; // it was the event's fault
      console.error('the queue begins anew:', error);
      this.keeper.renew(policyConfig(this.env), replicasOf(cellNamed(this.ctx.id.name), this.env), now);
      for (const id of [...this.#held.keys()]) this.#answer(id, { kind: 'wait' });
      return event();
    }
  }

  #answer(id: string, a: AdmitAnswer): void {
    const held = this.#held.get(id);
    if (!held) return;
    this.#held.delete(id);
    clearTimeout(held.timer);
    held.answer(a);
  }

  #letGo(id: string): void {
    const now = Date.now();
    this.#queue.detach(id, now);
    this.#answer(id, { kind: 'wait' });
    this.#settle(now);
  }
}

const count = (name: string, v: number, hi: number): number => {
  if (!Number.isInteger(v) || v < 0 || v > hi) throw new Error(`${name} is ${v}, must be an integer in 0..${hi}`);
  return v;
};

function bounded(p: Progress): Progress {
  count('output', p.output, 1 << 24);
  if (p.promptTokens !== undefined) count('promptTokens', p.promptTokens, 1 << 22);
  if (p.cachedTokens !== undefined) count('cachedTokens', p.cachedTokens, 1 << 22);
  if (p.computed !== undefined) count('computed', p.computed, 1 << 22);
  if (p.slots !== undefined) count('slots', p.slots, MAX_SEQUENCES);
  if (p.tenant !== undefined && (typeof p.tenant !== 'string' || p.tenant.length === 0 || p.tenant.length > 128)) {
    throw new Error('tenant must be a string of 1..128 characters');
  }
  return p;
}

function boundedBeat(b: Heartbeat): Heartbeat {
  if (typeof b.incarnation !== 'string' || b.incarnation.length === 0 || b.incarnation.length > 64) {
    throw new Error('heartbeat: incarnation must be a string of 1..64 characters');
  }
  if (b.running.length > MAX_BATCH || b.done.length > MAX_BATCH) throw new Error(`heartbeat: more than ${MAX_BATCH} requests`);
  count('slots', b.slots, 4096);
  count('kvTokens', b.kvTokens, 1 << 30);
  if (b.lateMs !== undefined) count('lateMs', b.lateMs, 1 << 30);
  b.running.forEach(bounded);
  b.done.forEach(bounded);
  return b;
}

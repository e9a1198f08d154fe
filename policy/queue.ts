import { expectedCost, expectedWait, fullBucket, queueFull, slotsWanted, take, tooSlow, withinLimits } from './admission.ts';
import { failed, succeeded } from './breaker.ts';
import { MAX_LINKS } from './chains.ts';
import { LANES, type Lane, type PolicyConfig } from './config.ts';
import { type Ended, Ledger, nobody } from './ledger.ts';
import { type Candidate, place } from './placement.ts';
import { hasRoom, newReplica, type Replica } from './replicas.ts';
import { completed, worked } from './service.ts';
import type { AdmitRequest, Heartbeat, Lease, Progress, Refusal, Ticket } from './ticket.ts';

/** Requests passed over in one dispatch, at most. */
const MAX_HELD = 16;
/** A replica that came late by so much may come later still. */
const LATE_TIMES = 4;

export type Arrival = { kind: 'queued' } | { kind: 'running'; lease: Lease } | ({ kind: 'refused' } & Refusal);

/**
 * The queue before all replicas of one model: admission, fairness, placement, leases. Pure: time and randomness are passed
 * in, and storage is the caller's, who keeps what the ledger marks as changed.
 */
export class Queue {
  readonly ledger: Ledger;
  readonly config: PolicyConfig;
  /** The server is stopping: nothing new is admitted. Not remembered. */
  closed = false;

  constructor(config: PolicyConfig, replicas: readonly string[]) {
    this.config = config;
    this.ledger = new Ledger(config, replicas);
  }

  /**
   * A request arrives, or its caller asks again (same id). Queued is not started: `dispatch` starts. A full queue costs the
   * tenant with the longest queue its newest request, if that is longer than the newcomer's; `displaced` is told of it.
   */
  arrive(r: AdmitRequest, now: number, displaced: (id: string, why: Refusal) => void): Arrival {
    const L = this.ledger;
    const known = L.tickets.get(r.id);
    if (known) return this.#attach(known);
    const refused = this.#refuse(r, now);
    if (refused) return { kind: 'refused', ...refused };
    if (L.waiting.size >= this.config.maxQueue) {
      const why = queueFull(expectedCost(r, this.config, L.service), L.service);
      const victim = this.#victim(r);
      if (!victim) return { kind: 'refused', ...why };
      L.leaveQueue(victim);
      L.forget(victim);
      displaced(victim.id, why);
    }
    if (r.waitedMs === undefined) take(L.tenants.all.get(r.tenant)!, r.sequences ?? 1, this.config);
    L.enter({
      ...r,
      chain: r.chain.slice(-MAX_LINKS),
      state: 'waiting',
      arrived: now - (r.waitedMs ?? 0),
      attached: true,
      detachedAt: 0,
      replica: '',
      epoch: 0,
      dispatched: 0,
      confirmed: false,
      backlog: 0,
      slots: 0,
      output: 0,
      charged: 0,
    });
    return { kind: 'queued' };
  }

  /**
   * Starts what can start, fairest first. `random` gives numbers in [0, 1). A request whose best replica still has a long
   * prefill to do waits here, where what comes later and is owed more can pass it, and not there. One of many sequences starts
   * in the slots that are free and its tenant's: it need not wait for all of them, nor others for it.
   */
  dispatch(now: number, random: () => number): Lease[] {
    const { ledger: L } = this;
    const leases = this.#dispatchLanes(now);
    const held = new Set<Ticket>();
    const cap = this.#tenantCap(now);
    while (L.waiting.size > held.size && held.size < MAX_HELD && this.#anyRoom(now)) {
      const t = this.#next(now, (t) => !t.lane && !held.has(t) && L.tenants.all.get(t.tenant)!.running < cap);
      const replica = t && this.#choose(t, now, random);
      if (!replica) break;
      const slots = Math.min(t.slots, cap - L.tenants.all.get(t.tenant)!.running, Math.max(1, replica.slots - replica.running));
      if (replica.backlog >= this.config.backlogTokens) held.add(t);
      else leases.push(L.start(t, replica, slots, now));
    }
    return leases;
  }

  #dispatchLanes(now: number): Lease[] {
    const { ledger: L } = this;
    const leases: Lease[] = [];
    for (const lane of LANES) {
      for (let free = this.config.lanes[lane].atOnce - L.inLane(lane).size; free > 0; free--) {
        const t = this.#nextIn(lane);
        if (!t) break;
        leases.push(L.startInLane(t, lane, now));
      }
    }
    return leases;
  }

  /** The caller gave up. False: nobody knows the request. A replica that runs it is told in the answer to its next heartbeat. */
  cancel(id: string): boolean {
    const L = this.ledger;
    L.suspects.delete(id);
    const t = L.tickets.get(id);
    if (!t) return false;
    if (t.state === 'waiting') L.leaveQueue(t);
    else L.stop(t);
    L.forget(t);
    return true;
  }

  /** Nothing is known of the tenant any more: what waits leaves, what runs is aborted by its replica, its account is gone. Answers who waited, and how many ran. */
  erase(tenant: string): { waiting: string[]; running: number } {
    const L = this.ledger;
    const own = [...L.tickets.values()].filter((t) => t.tenant === tenant);
    const waiting = own.filter((t) => t.state === 'waiting').map((t) => t.id);
    for (const t of own) this.cancel(t.id);
    for (const t of [...L.suspects.values()]) if (t.tenant === tenant) L.suspects.delete(t.id);
    if (L.tenants.all.delete(tenant)) L.tenants.dirty.add(tenant);
    return { waiting, running: own.length - waiting.length };
  }

  /** The caller's connection to the scheduler is gone, not its wish: the place is kept for `attachMs`. */
  detach(id: string, now: number): void {
    const t = this.ledger.tickets.get(id);
    if (t?.state !== 'waiting' || !t.attached) return;
    t.attached = false;
    t.detachedAt = now;
  }

  /** A request ended. False: its epoch is stale or it is unknown, and nothing was counted. */
  release(p: Progress, now: number): boolean {
    const L = this.ledger;
    const t = L.running(p.id, p.epoch);
    L.suspects.delete(p.id);
    if (!t) return false;
    const replica = L.replicas.get(t.replica);
    L.progress(t, p, now);
    L.stop(t);
    L.forget(t);
    if (!replica) return true; // it ran in a lane
    worked(L.service, 0, now, L.waiting.size);
    if (!p.failed) completed(L.service, t.output / (t.sequences ?? 1), now - t.dispatched);
    replica.breaker = p.failed ? failed(replica.breaker, now) : succeeded();
    return true;
  }

  /** A replica speaks. Answers which of its requests it must abort: cancelled, or started elsewhere since. */
  heartbeat(id: string, h: Heartbeat, now: number): { abort: string[]; draining: boolean; ended: Ended } {
    const L = this.ledger;
    const r = L.replicas.get(id) ?? newReplica(id, this.config);
    L.replicas.set(id, r);
    L.dirtyReplicas.add(id);
    const ended = nobody();
    this.#loseUnnamed(r, h, now, ended);
    if (r.incarnation !== h.incarnation) r.warm = false;
    r.incarnation = h.incarnation;
    r.slots = h.slots;
    r.kvTokens = h.kvTokens;
    r.chains.capacity = h.kvTokens;
    r.breaker = succeeded();
    for (const p of h.done) this.release(p, now);
    const abort: string[] = [];
    for (const p of h.running) {
      const t = L.running(p.id, p.epoch) ?? L.revive(p.id, p.epoch, r, now) ?? L.adopt(p, r, now);
      if (t?.replica !== id) {
        if (p.epoch > L.base || L.tickets.has(p.id)) abort.push(p.id);
        continue;
      }
      t.confirmed = true;
      L.progress(t, p, now);
    }
    if (r.running > 0) r.deadline = now + this.#lease(r, h);
    return { abort, draining: r.draining, ended };
  }

  /** How long a replica that has spoken may be silent: longer until its first step is done (kernels are compiled), and where its steps are long. */
  #lease(r: Replica, h: Heartbeat): number {
    const { leaseMs, startMs } = this.config;
    r.warm ||= h.running.some((p) => p.output > 0 || (p.computed ?? 0) > 0);
    return Math.max(leaseMs, r.warm ? Math.min(LATE_TIMES * (h.lateMs ?? 0), startMs) : startMs);
  }

  /** Someone saw the replica gone, or its lease ran out: what it ran is lost or waits again, what it held is forgotten. */
  die(id: string, now: number): Ended {
    const L = this.ledger;
    const ended = nobody();
    const r = L.replicas.get(id);
    if (!r) return ended;
    for (const t of L.on(id)) {
      L.lose(t, now, ended);
      if (!t.restart) L.suspect(t);
    }
    r.incarnation = '';
    L.forgetChains(r);
    r.breaker = failed({ ...r.breaker, failures: 1_000_000 }, now); // open at once
    L.dirtyReplicas.add(id);
    return ended;
  }

  /** Ends what ran out of time. Call it at `nextDeadline`. */
  expire(now: number): Ended {
    const L = this.ledger;
    const ended = nobody();
    for (const r of L.replicas.values()) {
      if (r.deadline === 0 || now < r.deadline) continue;
      const died = this.die(r.id, now);
      ended.lost.push(...died.lost);
      ended.orphaned.push(...died.orphaned);
    }
    for (const t of [...L.waiting]) {
      if (t.attached || now - t.detachedAt < this.config.attachMs) continue;
      L.leaveQueue(t);
      L.forget(t);
      ended.dropped.push(t.id);
    }
    for (const t of LANES.flatMap((lane) => [...L.inLane(lane)])) {
      if (now - t.dispatched < this.config.laneMs) continue;
      L.stop(t);
      L.forget(t);
      ended.lost.push(t.id);
    }
    L.tenants.prune(now, this.config.headroomMs);
    return ended;
  }

  /** A draining replica finishes what it runs and gets nothing new. */
  drain(id: string, draining: boolean): void {
    const r = this.ledger.replicas.get(id);
    if (!r) return;
    r.draining = draining;
    this.ledger.dirtyReplicas.add(id);
  }

  /** Its process has ended, or has not started yet: what it ran is lost or waits again, and nothing new goes there until it joins. */
  leave(id: string, now: number): Ended {
    const ended = this.die(id, now);
    const r = this.ledger.replicas.get(id);
    if (r) r.absent = true;
    return ended;
  }

  /** Its process answers: whatever was held against it is over. */
  join(id: string): void {
    const r = this.ledger.replicas.get(id);
    if (!r) return;
    r.absent = false;
    r.breaker = succeeded();
    this.ledger.dirtyReplicas.add(id);
  }

  /** When `expire` or `dispatch` next has something to do by time alone; undefined: never. */
  nextDeadline(): number | undefined {
    const L = this.ledger;
    let at = Number.POSITIVE_INFINITY;
    for (const r of L.replicas.values()) {
      if (r.deadline > 0) at = Math.min(at, r.deadline);
      if (L.waiting.size > 0 && r.breaker.openUntil > 0) at = Math.min(at, r.breaker.openUntil);
    }
    for (const lane of LANES) for (const t of L.inLane(lane)) at = Math.min(at, t.dispatched + this.config.laneMs);
    for (const t of L.waiting) if (!t.attached) at = Math.min(at, t.detachedAt + this.config.attachMs);
    return at === Number.POSITIVE_INFINITY ? undefined : at;
  }

  /** So long after it began the queue may not have been told what runs under leases from before: replicas speak once a second. */
  untold(now: number): boolean {
    return now - this.ledger.began < this.config.leaseMs;
  }

  /** Whether the books agree with the tickets. */
  sound(): boolean {
    try {
      this.ledger.audit();
      return true;
    } catch {
      return false;
    }
  }

  /** No caller is connected any more: what waits keeps its place for a while. */
  detachAll(now: number): void {
    for (const t of this.ledger.waiting) this.detach(t.id, now);
  }

  #attach(t: Ticket): Arrival {
    if (t.state === 'running')
      return { kind: 'running', lease: { id: t.id, replica: t.replica, epoch: t.epoch, matched: 0, slots: t.slots } };
    t.attached = true;
    return { kind: 'queued' };
  }

  #refuse(r: AdmitRequest, now: number): Refusal | undefined {
    const { ledger: L, config: c } = this;
    const tenant = L.tenants.get(r.tenant, now, fullBucket(c));
    tenant.seen = now;
    if (this.closed || (L.replicas.size > 0 && [...L.replicas.values()].every((x) => x.draining)))
      return { reason: 'draining', retryAfter: 5 };
    const limited = withinLimits(tenant, c, L.service, now, r.waitedMs !== undefined);
    if (limited || r.lane || r.waitedMs !== undefined || L.waiting.size === 0) return limited;
    let all = 0;
    let own = expectedCost(r, c, L.service); // its own is served while others' turns are
    for (const t of L.waiting) {
      if (t.lane) continue;
      const cost = expectedCost(t, c, L.service);
      all += cost;
      if (t.tenant === r.tenant) own += cost;
    }
    const sharing = L.tenants.active() + (tenant.waiting === 0 ? 1 : 0);
    return tooSlow(expectedWait(all, own, sharing, L.service), c);
  }

  /** Newest request of the tenant with the longest queue, when that is longer than the newcomer's would be. */
  #victim(newcomer: AdmitRequest): Ticket | undefined {
    const { tenants, waiting } = this.ledger;
    let longest = '';
    let n = (tenants.all.get(newcomer.tenant)?.waiting ?? 0) + slotsWanted(newcomer, this.config);
    for (const t of tenants.waiting()) {
      if (t.waiting <= n) continue;
      n = t.waiting;
      longest = t.name;
    }
    let victim: Ticket | undefined;
    for (const t of waiting) {
      // one that ran before (epoch > 0), or had its place in a queue before this one, was admitted and is not put out again
      if (t.tenant === longest && t.epoch === 0 && t.waitedMs === undefined && (!victim || t.arrived >= victim.arrived)) victim = t;
    }
    return victim;
  }

  /**
   * Of the tenant with the lowest virtual counter the request of the lowest priority number, less its age, then the oldest.
   * A priority orders its tenant's own requests only: nobody can pass others by asking for it. Only what `may` go is looked at.
   */
  #next(now: number, may: (t: Ticket) => boolean): Ticket | undefined {
    let best: Ticket | undefined;
    let bestLevel = 0;
    let bestCounter = 0;
    for (const t of this.ledger.waiting) {
      if (!t.attached || !may(t)) continue;
      const { counter } = this.ledger.tenants.all.get(t.tenant)!;
      const level = t.priority - Math.floor(Math.max(0, now - t.arrived) / this.config.agingMs);
      if (best) {
        if (t.tenant !== best.tenant ? counter > bestCounter : level > bestLevel) continue;
        const even = t.tenant !== best.tenant ? counter === bestCounter : level === bestLevel;
        if (even && t.arrived >= best.arrived) continue;
      }
      best = t;
      bestLevel = level;
      bestCounter = counter;
    }
    return best;
  }

  /** Tenants take turns in a lane: what one did elsewhere does not count. The oldest of whoever had none for longest. */
  #nextIn(lane: Lane): Ticket | undefined {
    let best: Ticket | undefined;
    let last = 0;
    for (const t of this.ledger.waiting) {
      if (t.lane !== lane || !t.attached) continue;
      const turn = this.ledger.tenants.all.get(t.tenant)!.turns[lane] ?? 0;
      if (best && (turn > last || (turn === last && t.arrived >= best.arrived))) continue;
      best = t;
      last = turn;
    }
    return best;
  }

  /** Slots one tenant may fill: as many as it may have at once, of all less a reserve while others are to be expected. */
  #tenantCap(now: number): number {
    const { tenants, replicas } = this.ledger;
    let shared = this.config.shared;
    let seen = 0;
    if (!shared) for (const t of tenants.all.values()) if (now - t.seen < this.config.headroomMs && ++seen > 1) shared = true;
    let slots = 0;
    for (const r of replicas.values()) if (!r.draining && !r.absent) slots += r.slots;
    const own = this.config.concurrency > 0 ? this.config.concurrency : Number.POSITIVE_INFINITY;
    if (!shared || slots < 2) return own;
    return Math.min(own, slots - Math.max(1, Math.floor(slots * this.config.headroom)));
  }

  /** Spares looking through the queue when nothing can start. */
  #anyRoom(now: number): boolean {
    for (const r of this.ledger.replicas.values()) if (r.backlog < this.config.backlogTokens && hasRoom(r, 0, now)) return true;
    return false;
  }

  #choose(t: Ticket, now: number, random: () => number): Replica | undefined {
    const free: Candidate[] = [];
    for (const r of this.ledger.replicas.values()) {
      if (!hasRoom(r, t.promptTokens, now)) continue;
      free.push({ id: r.id, matched: r.chains.match(t.chain), backlog: r.backlog, running: r.running });
    }
    if (free.length === 0) return undefined;
    if (t.held) return this.ledger.replicas.get(free.reduce((best, c) => (c.matched > best.matched ? c : best)).id);
    return this.ledger.replicas.get(place(this.config.placement, t.promptTokens, free, this.ledger.epoch, random()).id);
  }

  /** What the replica should run but does not name is gone: after a restart at once, else once it had time to begin. */
  #loseUnnamed(r: Replica, h: Heartbeat, now: number, ended: Ended): void {
    const restarted = r.incarnation !== '' && r.incarnation !== h.incarnation;
    const named = new Set([...h.running, ...h.done].map((p) => `${p.epoch} ${p.id}`));
    for (const t of this.ledger.on(r.id)) {
      if (named.has(`${t.epoch} ${t.id}`)) continue;
      if (t.confirmed || now - t.dispatched > this.config.startMs) this.ledger.lose(t, now, ended);
    }
    if (restarted) this.ledger.forgetChains(r);
  }
}

import { fullBucket, slotsWanted } from './admission.ts';
import { sent } from './breaker.ts';
import type { Link } from './chains.ts';
import { LANES, type Lane, type PolicyConfig } from './config.ts';
import { newReplica, type Replica } from './replicas.ts';
import { newService, type Service, started, worked } from './service.ts';
import { Tenants } from './tenants.ts';
import type { Lease, Progress, Ticket } from './ticket.ts';

/** Requests that ended without their caller's doing. */
export interface Ended {
  /** Ran on a replica that died and will not be started again. */
  lost: string[];
  /** Ran on a replica that died; each keeps its place and waits for its owner to ask again. */
  orphaned: string[];
  /** Waited with nobody asking any more. */
  dropped: string[];
}

const MAX_SUSPECTS = 4_096;

export const nobody = (): Ended => ({ lost: [], orphaned: [], dropped: [] });

/**
 * The books: who waits, who runs where, what it cost whom. Every count of a tenant or a replica changes here and nowhere
 * else, so that they can be checked against the tickets (`audit`).
 */
export class Ledger {
  readonly config: PolicyConfig;
  readonly tickets = new Map<string, Ticket>();
  readonly waiting = new Set<Ticket>();
  readonly tenants = new Tenants();
  readonly replicas = new Map<string, Replica>();
  service: Service = newService();
  /** The newest lease's. */
  epoch = 0;
  /** Leases up to this one were given out before a restart, by a queue whose tickets are forgotten: what runs under them is booked as its replica tells of it. */
  base = 0;
  /** When this queue began, ms. */
  began = 0;
  /** Lost with a replica that was silent for too long, without an owner who starts them again. It may only have been slow, and run them still. */
  readonly suspects = new Map<string, Ticket>();
  /** Running tickets by where they run. */
  readonly #on = new Map<string, Set<Ticket>>();
  readonly #lanes: Record<Lane, Set<Ticket>> = { tokenize: new Set(), embed: new Set(), simulate: new Set() };
  /** What is to be stored, changed since the caller last emptied it: replicas by id, and the chains that each was given, in order; null: it holds nothing any more. */
  readonly dirtyReplicas = new Set<string>();
  readonly placed: [replica: string, chain: readonly Link[] | null][] = [];

  constructor(config: PolicyConfig, replicas: readonly string[]) {
    this.config = config;
    for (const id of replicas) this.replicas.set(id, newReplica(id, config));
  }

  get busy(): boolean {
    for (const r of this.replicas.values()) if (r.running > 0) return true;
    return false;
  }

  enter(t: Ticket): void {
    this.tickets.set(t.id, t);
    this.joinQueue(t);
  }

  leaveQueue(t: Ticket): void {
    this.waiting.delete(t);
    this.tenants.leave(this.tenants.all.get(t.tenant)!, t.slots);
  }

  /** The ticket leaves the queue and runs under a new lease, in so many slots. */
  start(t: Ticket, r: Replica, slots: number, now: number): Lease {
    const matched = Math.min(t.promptTokens, r.chains.match(t.chain));
    started(this.service, now, !this.busy);
    this.#run(t, now);
    t.slots = slots;
    t.replica = r.id;
    t.backlog = t.promptTokens - matched;
    this.tenants.all.get(t.tenant)!.running += slots;
    this.#chargePrompt(t, t.promptTokens - matched);
    if (r.running === 0) r.deadline = now + this.config.startMs;
    r.running += slots;
    r.kvUsed += t.promptTokens + t.output;
    r.backlog += t.backlog;
    r.chains.add(t.chain);
    if (t.chain.length > 0) this.placed.push([r.id, t.chain]);
    r.breaker = sent(r.breaker, now);
    this.dirtyReplicas.add(r.id);
    this.#runsOn(t);
    return { id: t.id, replica: r.id, epoch: t.epoch, matched, slots };
  }

  /** The ticket leaves the queue and runs in its lane, at no replica. */
  startInLane(t: Ticket, lane: Lane, now: number): Lease {
    this.#run(t, now);
    const tenant = this.tenants.all.get(t.tenant)!;
    tenant.brief++;
    tenant.turns[lane] = t.epoch;
    this.#lanes[lane].add(t);
    this.tenants.charge(tenant, t.promptTokens * this.config.lanes[lane].weight);
    return { id: t.id, replica: '', epoch: t.epoch, matched: 0, slots: t.slots };
  }

  #run(t: Ticket, now: number): void {
    this.leaveQueue(t);
    t.state = 'running';
    t.epoch = ++this.epoch;
    t.dispatched = now;
    t.confirmed = false;
  }

  #runsOn(t: Ticket): void {
    const there = this.#on.get(t.replica);
    if (there) there.add(t);
    else this.#on.set(t.replica, new Set([t]));
  }

  /** Tickets that run in a lane. */
  inLane(lane: Lane): ReadonlySet<Ticket> {
    return this.#lanes[lane];
  }

  /** The replica holds no pages of anybody any more. */
  forgetChains(r: Replica): void {
    r.chains.clear();
    this.placed.push([r.id, null]);
  }

  /** What its replica said about a running ticket. */
  progress(t: Ticket, p: Progress, now: number): void {
    if (t.lane) return;
    const r = this.replicas.get(t.replica)!;
    const tenant = this.tenants.all.get(t.tenant)!;
    const fresh = Math.max(0, p.output - t.output);
    const before = t.charged;
    if (p.promptTokens !== undefined) {
      r.kvUsed += p.promptTokens - t.promptTokens;
      t.promptTokens = p.promptTokens;
      this.#chargePrompt(t, Math.max(0, p.promptTokens - (p.cachedTokens ?? 0)));
    }
    if (p.output > 0 || p.computed !== undefined || p.promptTokens !== undefined) {
      const left = p.output > 0 ? 0 : Math.max(0, t.promptTokens - (p.computed ?? p.cachedTokens ?? 0));
      r.backlog += left - t.backlog;
      t.backlog = left;
    }
    const firstWork = t.output === 0 && p.output > 0 ? t.charged : Math.max(0, t.charged - before);
    this.tenants.charge(tenant, fresh * this.config.outputWeight);
    r.kvUsed += fresh;
    t.output += fresh;
    worked(this.service, fresh * this.config.outputWeight + (t.output > 0 ? firstWork : 0), now, this.waiting.size);
    this.dirtyReplicas.add(r.id);
  }

  /** Sets what its prompt costs its tenant, in place of what it was charged before. */
  #chargePrompt(t: Ticket, uncached: number): void {
    const units = uncached * this.config.promptWeight;
    this.tenants.charge(this.tenants.all.get(t.tenant)!, units - t.charged);
    t.charged = units;
  }

  joinQueue(t: Ticket): void {
    t.slots = slotsWanted(t, this.config);
    this.tenants.enter(this.tenants.all.get(t.tenant)!, t.slots);
    this.waiting.add(t);
  }

  /** Takes a running ticket off its replica and its tenant. */
  stop(t: Ticket): void {
    const tenant = this.tenants.all.get(t.tenant)!;
    this.tenants.dirty.add(tenant.name);
    if (t.lane) {
      tenant.brief--;
      this.#lanes[t.lane].delete(t);
      return;
    }
    this.#on.get(t.replica)?.delete(t);
    tenant.running -= t.slots;
    const r = this.replicas.get(t.replica)!;
    r.running -= t.slots;
    r.kvUsed -= t.promptTokens + t.output;
    r.backlog -= t.backlog;
    t.backlog = 0;
    if (r.running === 0) r.deadline = 0;
    this.dirtyReplicas.add(r.id);
  }

  /** Its replica is gone: it waits again for its owner, or is lost. */
  lose(t: Ticket, now: number, ended: Ended): void {
    this.stop(t);
    if (!t.restart) {
      this.forget(t);
      ended.lost.push(t.id);
      return;
    }
    t.state = 'waiting';
    t.replica = '';
    t.attached = false;
    t.detachedAt = now;
    this.joinQueue(t);
    ended.orphaned.push(t.id);
  }

  /** It was lost by its replica's silence alone. */
  suspect(t: Ticket): void {
    this.suspects.set(t.id, t);
    const [oldest] = this.suspects.keys();
    if (this.suspects.size > MAX_SUSPECTS) this.suspects.delete(oldest);
  }

  /** The replica runs it still: it is booked as it was, so that nobody's answer ends for a heartbeat that was late. */
  revive(id: string, epoch: number, r: Replica, now: number): Ticket | undefined {
    const t = this.suspects.get(id);
    if (t?.epoch !== epoch || t.replica !== r.id || this.tickets.has(id)) return undefined;
    this.suspects.delete(id);
    this.#book(t, r, now);
    return t;
  }

  /** It was given out before a restart, and its replica runs it: it is booked from what that says. Undefined when it is not told whose it is, or is placed anew. */
  adopt(p: Progress, r: Replica, now: number): Ticket | undefined {
    if (p.epoch > this.base || p.tenant === undefined || this.tickets.has(p.id)) return undefined;
    const { id, tenant, epoch, output, promptTokens = 0, cachedTokens = 0, slots = 1, owned = false } = p;
    const t: Ticket = {
      ...{ id, tenant, priority: 0, promptTokens, chain: [], restart: owned, sequences: slots, slots },
      ...{ state: 'running', arrived: now, attached: true, detachedAt: 0, replica: r.id, epoch, dispatched: now, confirmed: true },
      ...{ backlog: 0, output, charged: Math.max(0, promptTokens - cachedTokens) * this.config.promptWeight },
    };
    this.#book(t, r, now);
    return t;
  }

  #book(t: Ticket, r: Replica, now: number): void {
    this.tickets.set(t.id, t);
    this.#runsOn(t);
    this.tenants.get(t.tenant, now, fullBucket(this.config)).running += t.slots;
    r.running += t.slots;
    r.kvUsed += t.promptTokens + t.output;
    this.dirtyReplicas.add(r.id);
  }

  forget(t: Ticket): void {
    this.tickets.delete(t.id);
  }

  /** The running ticket of this id and epoch. */
  running(id: string, epoch: number): Ticket | undefined {
    const t = this.tickets.get(id);
    return t?.state === 'running' && t.epoch === epoch ? t : undefined;
  }

  on(replica: string): Ticket[] {
    return [...(this.#on.get(replica) ?? [])];
  }

  /** Every count against the tickets it stands for; throws on the first that is wrong. */
  audit(): void {
    const wrong = (what: string, is: number, should: number) => {
      if (is !== should) throw new Error(`ledger: ${what} is ${is}, the tickets say ${should}`);
    };
    const all = [...this.tickets.values()];
    const sum = (list: Ticket[], f: (t: Ticket) => number) => list.reduce((n, t) => n + f(t), 0);
    const slots = (list: Ticket[]) => sum(list, (t) => t.slots);
    for (const t of all) {
      const known = this.tenants.all.has(t.tenant) && (t.state === 'waiting' || t.lane || this.replicas.has(t.replica));
      if (!known) throw new Error(`ledger: ticket ${t.id} is of nobody or runs nowhere`);
    }
    wrong('waiting', this.waiting.size, all.filter((t) => t.state === 'waiting').length);
    for (const r of this.replicas.values()) {
      const mine = all.filter((t) => t.state === 'running' && !t.lane && t.replica === r.id);
      wrong(`tickets on replica ${r.id}`, this.on(r.id).length, mine.length);
      wrong(`running of replica ${r.id}`, r.running, slots(mine));
      wrong(
        `kvUsed of replica ${r.id}`,
        r.kvUsed,
        sum(mine, (t) => t.promptTokens + t.output),
      );
      wrong(
        `backlog of replica ${r.id}`,
        r.backlog,
        sum(mine, (t) => t.backlog),
      );
      if (r.running > 0 !== r.deadline > 0) throw new Error(`ledger: replica ${r.id} runs ${r.running} with deadline ${r.deadline}`);
    }
    for (const lane of LANES) {
      const there = all.filter((t) => t.state === 'running' && t.lane === lane);
      wrong(`tickets in lane ${lane}`, this.#lanes[lane].size, there.length);
    }
    wrong('tenants that wait', this.tenants.active(), [...this.tenants.all.values()].filter((t) => t.waiting > 0).length);
    for (const t of this.tenants.all.values()) {
      const mine = all.filter((x) => x.tenant === t.name);
      const running = mine.filter((x) => x.state === 'running');
      wrong(`waiting of tenant ${t.name}`, t.waiting, slots(mine.filter((x) => x.state === 'waiting')));
      wrong(`running of tenant ${t.name}`, t.running, slots(running.filter((x) => !x.lane)));
      wrong(`running in lanes of tenant ${t.name}`, t.brief, running.filter((x) => x.lane).length);
      if (!(t.counter >= 0)) throw new Error(`ledger: counter of tenant ${t.name} is ${t.counter}`);
    }
  }
}

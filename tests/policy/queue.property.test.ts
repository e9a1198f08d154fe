import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Keeper } from '../../durable-objects/scheduler/keeper.ts';
import { POLICY, type PolicyConfig } from '../../policy/config.ts';
import type { Ended } from '../../policy/ledger.ts';
import type { Queue } from '../../policy/queue.ts';
import { save } from '../../policy/state.ts';
import type { Lease, Progress } from '../../policy/ticket.ts';
import { Tables } from './tables.ts';

/** A plain comparison: called some millions of times. */
function same(is: unknown, should: unknown, what = ''): void {
  if (is !== should) throw new Error(`${what}: is ${String(is)}, should be ${String(should)}`);
}

/** `untold`: given out before the queue began anew, which has not heard of it. */
type Fate = 'waiting' | 'running' | 'untold' | 'orphaned' | 'finished' | 'cancelled' | 'refused' | 'lost' | 'dropped';

let worlds = 0;

/** A world around the queue: replicas that really run things (also after they were declared dead), callers, a clock. */
class World {
  now = 1_000;
  /** What the scheduler's object keeps its queue in, with the object's storage. */
  keeper: Keeper;
  readonly storage = { sql: new Tables(), sync: () => new Promise<void>(() => {}) };
  readonly fates = new Map<string, Fate>();
  readonly restartable = new Map<string, boolean>();
  /** Of requests in a lane: whoever called holds the lease, no replica does. */
  readonly errands = new Map<string, Progress>();
  /** What each replica process believes it runs; a zombie keeps running after the queue gave it up. */
  readonly runs: Map<string, Map<string, Progress>> = new Map();
  readonly incarnation = new Map<string, number>();
  /** Callers that wait for an answer: theirs must not be dropped. */
  readonly asking = new Set<string>();
  finishes = new Map<string, number>();
  lastEpoch = 0;
  /** Given up, and booked again. */
  revived = 0;
  /** Put out of a full queue for another's sake. */
  displaced = 0;
  /** Booked by a queue that began anew, as their replicas told of them. */
  told = 0;
  next = 0;
  readonly config: PolicyConfig;
  readonly ids = ['a', 'b', 'c'];
  readonly random: () => number;

  constructor(random: () => number) {
    this.random = random;
    this.config = {
      ...POLICY,
      slots: 3,
      kvTokens: 2_000,
      laneMs: 5_000,
      maxQueue: 9,
      maxWaitMs: 20_000,
      leaseMs: 2_000,
      startMs: 4_000,
      attachMs: 3_000,
    };
    this.keeper = this.begin();
    for (const id of this.ids) this.runs.set(id, new Map());
  }

  /** An object that begins on that storage, in an isolate that knows nothing of it. */
  begin(): Keeper {
    const id = `world ${worlds++}`;
    return new Keeper({ id: { toString: () => id }, storage: this.storage } as never, this.config, this.ids, this.now);
  }

  get q(): Queue {
    return this.keeper.queue;
  }

  pick<T>(list: readonly T[]): T | undefined {
    return list[Math.floor(this.random() * list.length)];
  }

  arrive(): void {
    const id = `r${this.next++}`;
    const restart = this.random() < 0.5;
    this.restartable.set(id, restart);
    this.ask(id, restart, true);
  }

  ask(id: string, restart: boolean, fresh: boolean): void {
    const tenant = `t${this.tenantOf(id)}`;
    const tokens = 1 + Math.floor(this.random() * 900);
    const chain = [
      { hash: `${tenant}`, tokens: Math.min(20, tokens) },
      { hash: `${tenant}/${id.length}`, tokens },
    ];
    const n = Number(id.slice(1));
    const lane = restart ? undefined : ([undefined, undefined, 'tokenize', 'embed'] as const)[n % 4];
    const sequences = lane ? 1 : 1 + (n % 5);
    const a = this.q.arrive(
      {
        ...{ id, tenant, priority: Math.floor(this.random() * 3) - 1, promptTokens: tokens, chain, restart, lane, sequences },
        ...(!fresh && { waitedMs: Math.floor(this.random() * 1_000) }),
      },
      this.now,
      (victim) => {
        same(this.fates.get(victim), 'waiting');
        this.fates.set(victim, 'refused');
        this.displaced++;
      },
    );
    if (a.kind === 'refused') {
      same(Number.isInteger(a.retryAfter) && a.retryAfter >= 1, true);
      if (fresh) this.fates.set(id, 'refused');
      else same(this.fates.get(id), 'untold'); // its session asks again later
    } else if (a.kind === 'queued') {
      this.fates.set(id, 'waiting');
      this.asking.add(id);
    } else {
      // asked again while it runs: the same lease, no second run
      same(this.fates.get(id), 'running');
      same(this.q.ledger.tickets.get(id)?.epoch, a.lease.epoch);
    }
    this.dispatch();
  }

  tenantOf(id: string): number {
    return Number(id.slice(1)) % 4;
  }

  dispatch(): void {
    for (const lease of this.q.dispatch(this.now, this.random)) this.start(lease);
  }

  start(lease: Lease): void {
    same(this.fates.get(lease.id), 'waiting');
    same(lease.epoch > this.lastEpoch, true);
    this.lastEpoch = lease.epoch;
    this.fates.set(lease.id, 'running');
    const t = this.q.ledger.tickets.get(lease.id)!;
    same(lease.slots >= 1 && lease.slots <= (t.sequences ?? 1) && lease.slots <= 3, true, 'slots');
    if (t.lane) {
      if (this.random() < 0.9) this.errands.set(lease.id, { id: lease.id, epoch: lease.epoch, output: 0 });
      return;
    }
    // one call in ten never reaches the replica: its Worker died
    const owner = { tenant: t.tenant, slots: lease.slots, owned: t.restart };
    if (this.random() < 0.9) this.runs.get(lease.replica)!.set(lease.id, { id: lease.id, epoch: lease.epoch, output: 0, ...owner });
  }

  ended(e: Ended): void {
    for (const id of e.lost) {
      same(this.fates.get(id), 'running');
      same(this.restartable.get(id), false);
      this.fates.set(id, 'lost');
    }
    for (const id of e.orphaned) {
      same(this.fates.get(id), 'running');
      this.fates.set(id, 'orphaned');
      this.asking.delete(id);
    }
    for (const id of e.dropped) {
      same(this.asking.has(id), false, `${id} asks`);
      same(['waiting', 'orphaned'].includes(this.fates.get(id)!), true);
      this.fates.set(id, 'dropped');
    }
  }

  cancel(): void {
    const id = this.pick([...this.fates.keys()]);
    if (!id) return;
    const known = this.q.cancel(id);
    same(known, ['waiting', 'running', 'orphaned'].includes(this.fates.get(id)!));
    if (known) this.fates.set(id, 'cancelled');
  }

  generate(): void {
    for (const runs of this.runs.values()) {
      for (const p of runs.values()) {
        p.output += Math.floor(this.random() * 20);
        p.promptTokens = 10 + this.tenantOf(p.id);
        p.cachedTokens = 5;
      }
    }
  }

  finish(): void {
    const runs = this.random() < 0.3 ? this.errands : this.runs.get(this.pick(this.ids)!)!;
    const p = this.pick([...runs.values()]);
    if (!p) return;
    runs.delete(p.id);
    const stale = this.q.ledger.tickets.get(p.id)?.epoch !== p.epoch || this.fates.get(p.id) !== 'running';
    const counted = this.q.release(p, this.now);
    same(counted, !stale);
    if (!counted && this.fates.get(p.id) === 'untold') this.fates.set(p.id, 'finished');
    if (!counted) return;
    this.fates.set(p.id, 'finished');
    this.finishes.set(p.id, (this.finishes.get(p.id) ?? 0) + 1);
  }

  beat(id = this.pick(this.ids)!): void {
    const runs = this.runs.get(id)!;
    const incarnation = String(this.incarnation.get(id) ?? 0);
    const done: Progress[] = [];
    for (const p of [...runs.values()]) if (this.random() < 0.2) done.push(p);
    const answers = done.filter((p) => this.q.ledger.running(p.id, p.epoch));
    for (const p of done) runs.delete(p.id);
    const h = { incarnation, slots: 3, kvTokens: 2_000, running: [...runs.values()], done };
    const { abort, ended } = this.q.heartbeat(id, h, this.now);
    this.ended(ended);
    for (const p of answers) {
      this.fates.set(p.id, 'finished');
      this.finishes.set(p.id, (this.finishes.get(p.id) ?? 0) + 1);
    }
    for (const p of done) if (this.fates.get(p.id) === 'untold') this.fates.set(p.id, 'finished');
    for (const gone of abort) runs.delete(gone);
    // one that was given up for its replica's silence, and which that runs still, is back in the books
    for (const p of runs.values()) {
      const fate = this.fates.get(p.id) ?? 'lost';
      if (fate === 'running' || !this.q.ledger.running(p.id, p.epoch)) continue;
      // under a lease from before the queue began anew, one that was cancelled or given up just then may be told of, too
      same(fate === 'lost' || p.epoch <= this.q.ledger.base, true, `${p.id} ${fate}`);
      this.fates.set(p.id, 'running');
      if (fate === 'lost') this.revived++;
      if (fate === 'untold') this.told++;
    }
    // what is left runs under the lease the queue knows, so no request runs twice
    for (const p of runs.values()) same(this.q.ledger.running(p.id, p.epoch)?.replica, id);
  }

  kill(): void {
    const id = this.pick(this.ids)!;
    // a session's is asked for again
    for (const p of this.runs.get(id)!.values()) if (this.fates.get(p.id) === 'untold' && !p.owned) this.fates.set(p.id, 'lost');
    this.runs.set(id, new Map());
    this.incarnation.set(id, (this.incarnation.get(id) ?? 0) + 1);
    if (this.random() < 0.5) this.ended(this.q.die(id, this.now));
  }

  /** The scheduler's object is evicted: only what was stored comes back, and no request. */
  restart(): void {
    const whole = this.random() < 0.5;
    if (whole) this.keeper.settle(this.now, true);
    const before = save(this.q);
    this.now++;
    this.keeper = this.begin();
    const { meta, tenants, replicas, chains } = save(this.q);
    same(meta!.epoch > before.meta!.epoch, true, 'epoch');
    if (whole)
      same(JSON.stringify([tenants, replicas, chains]), JSON.stringify([before.tenants, before.replicas, before.chains]), 'stored');
    same(this.q.ledger.tickets.size, 0, 'tickets');
    this.asking.clear();
    const run = new Set([...this.runs.values()].flatMap((runs) => [...runs.keys()]));
    const again: string[] = [];
    for (const [id, fate] of this.fates) {
      if (fate === 'running') this.fates.set(id, this.restartable.get(id) || run.has(id) ? 'untold' : 'lost');
      if (fate === 'orphaned') this.fates.set(id, 'untold');
      if (fate === 'waiting' && this.random() < 0.8) again.push(id);
      else if (fate === 'waiting') this.fates.set(id, 'dropped');
    }
    for (const id of again) this.ask(id, this.restartable.get(id)!, false);
  }

  reask(): void {
    for (const [id, fate] of this.fates) {
      const gone = fate === 'orphaned' || (fate === 'untold' && this.restartable.get(id) && !this.q.untold(this.now));
      if (gone && this.random() < 0.5) this.ask(id, true, false);
    }
  }

  pass(): void {
    this.now += Math.floor(this.random() * 1_500);
    this.ended(this.q.expire(this.now));
    this.dispatch();
  }

  check(): void {
    this.q.ledger.audit();
    const known: Record<string, number> = { waiting: 0, running: 0 };
    for (const [id, fate] of this.fates) {
      const t = this.q.ledger.tickets.get(id);
      if (fate === 'waiting' || fate === 'orphaned') same(t?.state, 'waiting', `${id} ${fate}`);
      else if (fate === 'running') same(t?.state, 'running', `${id} ${fate}`);
      else same(t, undefined, `${id} ${fate}`);
      if (t) known[t.state]!++;
    }
    same(known.waiting! + known.running!, this.q.ledger.tickets.size);
    for (const n of this.finishes.values()) same(n, 1);
  }

  step(op: number): void {
    const ops = [
      this.arrive,
      this.arrive,
      this.arrive,
      this.generate,
      this.finish,
      this.finish,
      this.beat,
      this.beat,
      this.pass,
      this.reask,
    ];
    if (op < 95) ops[op % ops.length]!.call(this);
    else if (op < 97) this.cancel();
    else if (op < 98) this.kill();
    else if (op < 99) this.restart();
    else this.q.drain(this.pick(this.ids)!, this.random() < 0.3);
    this.keeper.settle(this.now, false);
  }
}

function mulberry(seed: number): () => number {
  let a = seed;
  return () => {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

test('10,000 random operations: after each, no request is lost, none runs twice, every counter agrees with the tickets', () => {
  const world = new World(mulberry(7));
  const seen = new Set<Fate>();
  for (let i = 0; i < 10_000; i++) {
    world.step(Math.floor(world.random() * 100));
    world.check();
    for (const fate of world.fates.values()) seen.add(fate);
    // ended requests stay in the books of the test for a while only
    if (world.fates.size > 400) {
      for (const [id, fate] of world.fates) {
        if (!['waiting', 'running', 'untold', 'orphaned'].includes(fate)) {
          world.fates.delete(id);
          world.finishes.delete(id);
        }
      }
    }
  }
  expect(world.next).toBeGreaterThan(2_000);
  expect(world.lastEpoch).toBeGreaterThan(1_000);
  expect(world.revived).toBeGreaterThan(10);
  expect(world.told).toBeGreaterThan(50);
  // an event each, few of them written
  expect(world.storage.sql.writes).toBeLessThan(2_000);
  expect(world.displaced).toBeGreaterThan(10);
  expect([...seen].sort()).toEqual(['cancelled', 'dropped', 'finished', 'lost', 'orphaned', 'refused', 'running', 'untold', 'waiting']);
});

test('short random histories from any seed, shrunk by fast-check', () => {
  fc.assert(
    fc.property(fc.integer(), fc.array(fc.integer({ min: 0, max: 99 }), { maxLength: 120 }), (seed, ops) => {
      const world = new World(mulberry(seed));
      for (const op of ops) {
        world.step(op);
        world.check();
      }
    }),
    { numRuns: 150 },
  );
});

test('everything ends: when replicas live and callers ask again, every request finishes exactly once', () => {
  const world = new World(mulberry(3));
  for (let i = 0; i < 600; i++) world.step(Math.floor(world.random() * 100));
  for (const id of world.ids) world.q.drain(id, false);
  for (let i = 0; i < 400; i++) {
    world.reask();
    for (const id of world.ids) world.beat(id);
    world.finish();
    world.pass();
    world.check();
  }
  expect([...world.fates.values()].filter((f) => ['waiting', 'running', 'untold', 'orphaned'].includes(f))).toEqual([]);
});

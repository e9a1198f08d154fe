/** The queue's object, in Node: what it answers, keeps and arms, with a clock that the test moves. Inside workerd, with its real storage: tests/workerd/scheduler.test.ts. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { policyConfig } from '../../durable-objects/scheduler/config.ts';
import { Scheduler } from '../../durable-objects/scheduler/index.ts';
import { schedulerOf } from '../../durable-objects/scheduler/port.ts';
import { POLICY } from '../../policy/config.ts';
import type { Queue } from '../../policy/queue.ts';
import type { Heartbeat, Progress } from '../../policy/ticket.ts';
import { Tables } from './tables.ts';

vi.mock('cloudflare:workers', () => ({
  DurableObject: class {
    readonly ctx: unknown;
    readonly env: unknown;
    constructor(ctx: unknown, env: unknown) {
      this.ctx = ctx;
      this.env = env;
    }
  },
}));

let made = 0;
function storage(tables = new Tables()) {
  const synced: (() => void)[] = [];
  const s = {
    sql: tables,
    synced,
    sync: async () => {},
  };
  return s;
}
function scheduler(o: { vars?: Record<string, string>; kept?: ReturnType<typeof storage>; name?: string } = {}) {
  const kept = o.kept ?? storage();
  const name = o.name ?? `object ${made++}`;
  const ctx = { id: { name, toString: () => name }, storage: kept, waitUntil: () => {} };
  const env = { REPLICAS: '2', LEASE_S: '1', MAX_QUEUE: '8', ...o.vars };
  return { s: new Scheduler(ctx as never, env as never), kept, name };
}
const ask = (id: string, more = {}) => ({ id, tenant: 't', priority: 0, promptTokens: 100, chain: [], restart: false, ...more });
const beat = (running: Progress[] = [], more: Partial<Heartbeat> = {}): Heartbeat => ({
  ...{ incarnation: 'i', slots: 1, kvTokens: 10_000, running, done: [] },
  ...more,
});
/** Both replicas have one slot, and run `a` and `b`. */
async function full(o: Parameters<typeof scheduler>[0] = {}) {
  const made = scheduler(o);
  for (const r of ['0', '1']) made.s.heartbeat(r, beat());
  const leases = await Promise.all(['a', 'b'].map((id) => admit(made.s, ask(id))));
  const [a, b] = leases.map((l) => {
    if (l.kind !== 'run') throw new Error('not admitted');
    return l;
  });
  return { ...made, a: a!, b: b! };
}
/** Asks, and lets pass what it takes to be settled. */
async function admit(s: Scheduler, r: ReturnType<typeof ask>) {
  const answer = s.admit(r);
  await vi.advanceTimersByTimeAsync(6);
  return answer;
}
/** What the promise has become by now. */
async function now<T>(p: Promise<T>): Promise<T | 'pending'> {
  await vi.advanceTimersByTimeAsync(0);
  return Promise.race([p, Promise.resolve('pending' as const)]);
}

vi.setConfig({ testTimeout: 10_000 });
const BEGAN = 1_700_000_000_000;
beforeEach(() => {
  vi.useFakeTimers({ now: BEGAN });
  vi.stubGlobal('scheduler', { wait: (ms: number) => new Promise((done) => setTimeout(done, ms)) });
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

describe('a caller', () => {
  it('is held for 20 seconds, then asks again; its place is kept', async () => {
    const { s, a } = await full();
    const held = s.admit(ask('c'));
    await vi.advanceTimersByTimeAsync(1);
    for (let t = 0; t < 19; t++) {
      await vi.advanceTimersByTimeAsync(1_000);
      for (const [r, id] of [[a.replica, 'a']] as const) s.heartbeat(r, beat([{ id, epoch: a.epoch, output: t }]));
    }
    expect(await now(held)).toBe('pending');
    await vi.advanceTimersByTimeAsync(1_000);
    expect(await now(held)).toEqual({ kind: 'wait' });
    expect(s.stats().waiting).toBe(1);
  });

  it('asked again while an earlier call is held: the newer one gets the answer', async () => {
    const { s, a } = await full();
    const [first, second] = [s.admit(ask('c')), s.admit(ask('c'))];
    expect(await now(first)).toEqual({ kind: 'wait' });
    expect(await now(second)).toBe('pending');
    expect(s.release([{ id: 'a', epoch: a.epoch, output: 3 }])).toBe(1);
    expect(await now(second)).toMatchObject({ kind: 'run', id: 'c', replica: a.replica, epoch: expect.any(Number) });
    expect(s.stats().waiting).toBe(0);
  });

  it('that gives up is let go at once, and the queue says whether it knew it', async () => {
    const { s } = await full();
    const held = s.admit(ask('c'));
    await vi.advanceTimersByTimeAsync(6);
    expect(s.cancel('c')).toBe(true);
    expect(await now(held)).toEqual({ kind: 'wait' });
    expect(s.cancel('c')).toBe(false);
    expect(s.cancel('nobody')).toBe(false);
  });

  it('many who come at once are settled together, a turn later', async () => {
    const { s, kept } = scheduler();
    await vi.advanceTimersByTimeAsync(10);
    const first = s.admit(ask('one'));
    const before = kept.sql.writes;
    const rest = Array.from({ length: 5 }, (_, i) => s.admit(ask(`more ${i}`)));
    expect(kept.sql.writes).toBe(before);
    await vi.advanceTimersByTimeAsync(1);
    for (const answer of [first, ...rest]) expect(await now(answer)).toMatchObject({ kind: 'run' });
    expect(kept.sql.writes).toBe(before); // nor then: what runs is not stored
  });
});

describe('what came over the wire', () => {
  it.each<[string, object]>([
    ['output', { output: -1 }],
    ['output', { output: 2 ** 24 + 1 }],
    ['output', { output: 0.5 }],
    ['promptTokens', { promptTokens: 2 ** 22 + 1 }],
    ['promptTokens', { promptTokens: -1 }],
    ['cachedTokens', { cachedTokens: 2 ** 22 + 1 }],
    ['cachedTokens', { cachedTokens: Number.NaN }],
    ['computed', { computed: 2 ** 22 + 1 }],
    ['computed', { computed: -1 }],
  ])('has its %s within bounds: %j is refused, in a release and in a heartbeat', async (name, wrong) => {
    const { s, a } = await full();
    const p = { id: 'a', epoch: a.epoch, output: 1, ...wrong };
    for (const call of [
      () => s.release([p]),
      () => s.heartbeat(a.replica, beat([p])),
      () => s.heartbeat(a.replica, beat([], { done: [p] })),
    ]) {
      expect(call).toThrow(new RegExp(`^${name} is .*, must be an integer in 0\\.\\.`));
    }
    expect(s.lease('a').state).toBe('running');
  });

  it.each<[RegExp, object]>([
    [/incarnation must be a string of 1\.\.64/, { incarnation: '' }],
    [/incarnation must be a string of 1\.\.64/, { incarnation: 'x'.repeat(65) }],
    [/incarnation must be a string of 1\.\.64/, { incarnation: 5 }],
    [/slots is 4097, must be an integer in 0\.\.4096/, { slots: 4097 }],
    [/kvTokens is 1073741825, must be an integer in 0\.\.1073741824/, { kvTokens: 2 ** 30 + 1 }],
    [/lateMs is 1073741825/, { lateMs: 2 ** 30 + 1 }],
    [/lateMs is -1/, { lateMs: -1 }],
    [/more than 4096 requests/, { running: Array.from({ length: 4097 }, (_, i) => ({ id: `${i}`, epoch: 1, output: 0 })) }],
    [/more than 4096 requests/, { done: Array.from({ length: 4097 }, (_, i) => ({ id: `${i}`, epoch: 1, output: 0 })) }],
  ])('is no heartbeat: %s', (why, wrong) => {
    const { s } = scheduler();
    expect(() => s.heartbeat('0', beat([], wrong))).toThrow(why);
  });

  it('may reach every bound', async () => {
    const { s, a } = await full();
    const most = { output: 2 ** 24, promptTokens: 2 ** 22, cachedTokens: 2 ** 22, computed: 2 ** 22 };
    const others = Array.from({ length: 4095 }, (_, i) => ({ id: `${i}`, epoch: 1, output: 0 }));
    const said = beat([{ id: 'a', epoch: a.epoch, ...most }, ...others], {
      incarnation: 'x'.repeat(64),
      slots: 4096,
      kvTokens: 2 ** 30,
      lateMs: 2 ** 30,
      done: others.slice(0, 1),
    });
    expect(s.heartbeat(a.replica, said).draining).toBe(false);
    expect(s.stats().replicas.find((r) => r.id === a.replica)).toMatchObject({ slots: 4096, kvTokens: 2 ** 30 });
  });

  it('of a replica that there is not says what to look at', () => {
    expect(() => scheduler().s.heartbeat('7', beat())).toThrow('there is no replica "7"; check REPLICAS');
  });

  it('more than 4096 releases at once: the first are counted', async () => {
    const { s, a } = await full();
    const list = Array.from({ length: 4096 }, () => ({ id: 'nobody', epoch: 1, output: 0 }));
    expect(s.release([...list, { id: 'a', epoch: a.epoch, output: 1 }])).toBe(0);
    expect(s.release([...list.slice(1), { id: 'a', epoch: a.epoch, output: 1 }])).toBe(1);
  });
});

describe('operators', () => {
  it('see what there is', async () => {
    const { s, a } = await full();
    void s.admit(ask('c', { tenant: 'u' }));
    await vi.advanceTimersByTimeAsync(6);
    s.heartbeat(
      a.replica,
      beat([{ id: 'a', epoch: a.epoch, output: 4, promptTokens: 90, cachedTokens: 10, computed: 50 }], { kvTokens: 5_000 }),
    );
    const stats = s.stats();
    expect(stats).toMatchObject({ closed: false, waiting: 1, stored: true, epoch: expect.any(Number) });
    expect(stats.rowsWritten).toBeGreaterThan(0);
    expect(stats.replicas.map(({ id, running, slots, draining, absent }) => ({ id, running, slots, draining, absent }))).toEqual(
      ['0', '1'].map((id) => ({ id, running: 1, slots: 1, draining: false, absent: false })),
    );
    const seen = stats.replicas.find((r) => r.id === a.replica)!;
    expect(seen.kvTokens).toBe(5_000);
    expect(seen.kvUsed).toBeGreaterThan(0);
    expect(stats.tenants.map(({ name, waiting, running }) => [name, waiting, running])).toEqual([
      ['t', 0, 2],
      ['u', 1, 0],
    ]);
  });

  it('drain a replica: it gets nothing new, and they hear how much it still runs', async () => {
    const { s, a, b } = await full();
    expect(s.drain(a.replica, true)).toBe(1);
    expect(s.heartbeat(a.replica, beat([{ id: 'a', epoch: a.epoch, output: 1 }])).draining).toBe(true);
    expect(s.release([{ id: 'a', epoch: a.epoch, output: 1 }])).toBe(1);
    expect(s.drain(a.replica, true)).toBe(0);
    const held = s.admit(ask('c'));
    expect(await now(held)).toBe('pending');
    s.release([{ id: 'b', epoch: b.epoch, output: 1 }]);
    expect(await now(held)).toMatchObject({ kind: 'run', replica: b.replica });
    expect(s.drain('7', true)).toBe(0);
  });

  it('stop the server: nothing new comes in, who waits goes on; then none may wait but whose session asks again', async () => {
    const { s } = await full();
    const [plain, kept] = [s.admit(ask('plain')), s.admit(ask('kept', { restart: true }))];
    await vi.advanceTimersByTimeAsync(6);
    expect(s.close(false)).toBe(4);
    expect(await admit(s, ask('late'))).toMatchObject({ kind: 'refused', reason: 'draining' });
    expect([await now(plain), await now(kept)]).toEqual(['pending', 'pending']);
    expect(s.close(true)).toBe(3);
    expect(await now(plain)).toEqual({ kind: 'refused', reason: 'draining', retryAfter: 5 });
    expect(await now(kept)).toBe('pending');
    expect(s.stats()).toMatchObject({ closed: true, waiting: 1 });
  });

  it('erase a tenant: who waits is told, what runs is stopped by its replica', async () => {
    const { s, a } = await full();
    const held = s.admit(ask('c'));
    await vi.advanceTimersByTimeAsync(6);
    expect(s.erase('t')).toEqual({ waiting: 1, running: 2 });
    expect(await now(held)).toEqual({ kind: 'refused', reason: 'erased', retryAfter: 5 });
    expect(s.heartbeat(a.replica, beat([{ id: 'a', epoch: a.epoch, output: 1 }])).abort).toEqual(['a']);
    expect(s.erase('t')).toEqual({ waiting: 0, running: 0 });
  });

  it('say that a process is gone: what it ran is lost or waits for its owner; until it is back it gets nothing', async () => {
    const { s } = scheduler();
    for (const r of ['0', '1']) s.heartbeat(r, beat());
    const a = await admit(s, ask('a', { restart: true }));
    const b = await admit(s, ask('b'));
    if (a.kind !== 'run' || b.kind !== 'run') throw new Error('not admitted');
    s.absent(a.replica, true);
    expect(s.lease('a')).toMatchObject({ state: 'waiting' });
    expect(s.stats().replicas.find((r) => r.id === a.replica)).toMatchObject({ absent: true, running: 0 });
    const again = s.admit(ask('a', { restart: true }));
    expect(await now(again)).toBe('pending'); // the other one is full
    s.absent(a.replica, false);
    expect(await now(again)).toMatchObject({ kind: 'run', replica: a.replica });
    expect(s.died(b.replica)).toMatchObject({ lost: ['b'] });
    vi.setSystemTime(Date.now() + 1_000); // so long a queue that begins may not have been told
    expect(s.lease('b')).toEqual({ state: 'unknown', epoch: 0, replica: '' });
  });
});

describe('time', () => {
  const leaseOf = (s: Scheduler, id: string) => s.lease(id).state;

  it('is over at once for who is silent while somebody waits for it; a timer that comes late itself is put off, five times at most', async () => {
    const { s, a } = await full();
    s.heartbeat(a.replica, beat([{ id: 'a', epoch: a.epoch, output: 1 }]));
    const held = s.admit(ask('c'));
    await vi.advanceTimersByTimeAsync(1_100); // the lease is a second
    expect(leaseOf(s, 'a')).toBe('unknown');
    expect(await now(held)).toBe('pending'); // its replica is left alone for a second, and the other may still be loading
    const late = await full();
    late.s.heartbeat(late.a.replica, beat([{ id: 'a', epoch: late.a.epoch, output: 1 }]));
    void late.s.admit(ask('c'));
    await vi.advanceTimersByTimeAsync(6);
    for (let i = 0; i < 5; i++) {
      vi.setSystemTime(Date.now() + 1_700); // and no timer came
      await vi.advanceTimersByTimeAsync(1_500);
      expect(leaseOf(late.s, 'a'), `put off ${i + 1} times`).toBe('running');
    }
    vi.setSystemTime(Date.now() + 1_700);
    await vi.advanceTimersByTimeAsync(1_500);
    expect(leaseOf(late.s, 'a')).not.toBe('running');
  });

  it('is over for who is silent when somebody comes, and has said nothing a second and a half after that; no timer runs for it', async () => {
    const { s, a } = await full();
    s.heartbeat(a.replica, beat([{ id: 'a', epoch: a.epoch, output: 1 }]));
    expect(vi.getTimerCount()).toBe(0);
    vi.setSystemTime(Date.now() + 60_000);
    expect(leaseOf(s, 'a')).toBe('running'); // what its replica said may be behind this call
    vi.setSystemTime(Date.now() + 1_499);
    expect(leaseOf(s, 'a')).toBe('running');
    vi.setSystemTime(Date.now() + 1);
    expect(leaseOf(s, 'a')).toBe('unknown');
    expect(leaseOf(s, 'b'), 'its replica had a minute to load').toBe('unknown');
  });

  it('is not over for who speaks meanwhile', async () => {
    const { s, a } = await full();
    const said = () => s.heartbeat(a.replica, beat([{ id: 'a', epoch: a.epoch, output: 1 }]));
    said();
    vi.setSystemTime(Date.now() + 10_000);
    expect(leaseOf(s, 'a')).toBe('running');
    said();
    vi.setSystemTime(Date.now() + 1_600);
    expect(leaseOf(s, 'a')).toBe('running');
    said();
    expect(leaseOf(s, 'a')).toBe('running');
  });
});

describe('what is kept', () => {
  it('are accounts and the secret, no request: the next object is told by replicas what they run, and who waited asks again', async () => {
    const { s, kept, a, b } = await full({ vars: { RATE_PER_MINUTE: '6000' } });
    const held = s.admit(ask('c', { restart: true }));
    await vi.advanceTimersByTimeAsync(6);
    const secret = s.secret();
    expect(secret).toMatch(/^[0-9a-f]{64}$/);
    s.drain('1', false); // is not to be forgotten: all is written
    const before = s.stats();
    const next = scheduler({ kept }).s;
    expect(next.secret()).toBe(secret);
    const after = next.stats();
    expect(after).toMatchObject({ waiting: 0, stored: true });
    expect(after.epoch).toBeGreaterThan(before.epoch);
    expect(after.tenants.map((t) => [t.name, t.counter])).toEqual(before.tenants.map((t) => [t.name, t.counter]));
    expect(await now(held)).toBe('pending'); // its object is gone
    expect([next.lease('a').state, next.lease('c').state]).toEqual(['untold', 'untold']);
    for (const [id, { replica, epoch }] of Object.entries({ a, b }))
      expect(next.heartbeat(replica, beat([{ id, epoch, output: 1, tenant: 't', slots: 1 }])).abort).toEqual([]);
    expect(next.lease('a')).toEqual({ state: 'running', epoch: a.epoch, replica: a.replica });
    expect(await admit(next, ask('a'))).toMatchObject({ kind: 'run', epoch: a.epoch });
    const again = next.admit(ask('c', { restart: true, waitedMs: 10 } as object));
    expect(await now(again)).toBe('pending');
    expect(next.release([{ id: 'a', epoch: a.epoch, output: 1 }])).toBe(1);
    expect(await now(again)).toMatchObject({ kind: 'run', replica: a.replica });
    await vi.advanceTimersByTimeAsync(1_000); // the lease
    expect(next.lease('nobody').state).toBe('unknown');
    expect(scheduler().s.secret()).not.toBe(secret);
  });

  it('is written when the last request has ended, and once in ten seconds before: a row each', async () => {
    const { s, kept } = scheduler();
    for (const r of ['0', '1']) s.heartbeat(r, beat([], { slots: 4 }));
    const begun = async (id: string) => {
      const lease = await admit(s, ask(id, { chain: [{ hash: id, tokens: 90 }] }));
      if (lease.kind !== 'run') throw new Error('not admitted');
      return lease;
    };
    const end = ({ id, epoch }: { id: string; epoch: number }) => s.release([{ id, epoch, output: 2, promptTokens: 100 }]);
    end(await begun('first')); // the whole: its row, and one of the chains of its replica
    const from = kept.sql.writes;
    for (let i = 0; i < 10; i++) end(await begun(`alone ${i}`));
    expect(kept.sql.writes - from).toBe(10);
    let last = await begun('busy');
    const until = Date.now() + 60_000;
    let chats = 0;
    while (Date.now() < until) {
      await vi.advanceTimersByTimeAsync(100);
      const next = await begun(`busy ${chats++}`);
      end(last);
      last = next;
    }
    expect(chats).toBeGreaterThan(500);
    expect(kept.sql.writes - from).toBeLessThanOrEqual(10 + 6);
    end(last);
    const stats = s.stats();
    expect(scheduler({ kept }).s.stats()).toMatchObject({ tenants: stats.tenants, waiting: 0 });
  });

  it('is followed by every write: after any number of them the next object has the same, chains and all', async () => {
    const { s, kept } = scheduler();
    for (const r of ['0', '1']) s.heartbeat(r, beat([], { slots: 4 }));
    for (let i = 0; i < 600; i++) {
      await vi.advanceTimersByTimeAsync(7);
      const lease = await admit(s, ask(`r${i}`, { tenant: `tänant ${i % 3}`, chain: [{ hash: `h${i % 5}`, tokens: 90 }] }));
      if (lease.kind !== 'run') throw new Error('not admitted');
      s.release([{ id: `r${i}`, epoch: lease.epoch, output: 2, promptTokens: 100 }]);
      if (i % 100 !== 99) continue;
      const next = scheduler({ kept }).s;
      expect(next.stats().tenants).toEqual(s.stats().tenants);
      const [here, there] = [s, next].map((x) => (x as unknown as { keeper: { queue: Queue } }).keeper.queue.ledger.replicas);
      for (const id of ['0', '1']) expect(there!.get(id)!.chains.save(), `after ${i + 1}`).toEqual(here!.get(id)!.chains.save());
    }
    expect(kept.sql.count('events')).toBeLessThanOrEqual(256);
    expect(kept.sql.count('state')).toBe(2); // all but chains, and those of the replica that got all
    expect(
      scheduler({ kept })
        .s.stats()
        .replicas.map((r) => r.running),
    ).toEqual([0, 0]);
  });

  it('may be larger than a row', async () => {
    const { s, kept } = scheduler({ vars: { RATE_PER_MINUTE: '1' } });
    const name = (i: number) => `${'é'.repeat(100)}${i}`; // six characters each in a row
    for (let i = 0; i < 3_000; i++) void s.admit(ask(`r${i}`, { tenant: name(i) }));
    await vi.advanceTimersByTimeAsync(6);
    s.drain('0', false);
    expect(kept.sql.count('state')).toBeGreaterThan(2);
    const next = scheduler({ kept }).s;
    expect(next.stats().tenants.map((t) => t.name)).toEqual(s.stats().tenants.map((t) => t.name));
    expect(next.stats().tenants.length).toBeGreaterThan(2_000);
  });

  it('damaged, is erased and begun anew above all epochs before', async () => {
    const error = vi.spyOn(console, 'error').mockImplementation(() => {});
    const { s, kept, a } = await full();
    const secret = s.secret();
    s.drain('0', true);
    kept.sql.damage('state');
    await vi.advanceTimersByTimeAsync(1_000);
    const next = scheduler({ kept }).s;
    expect(error).toHaveBeenCalledWith(expect.stringContaining('damaged'), expect.anything());
    expect(next.lease('a').state).toBe('untold');
    expect(next.stats().epoch).toBeGreaterThan(a.epoch);
    expect(next.secret()).toBe(secret);
  });
});

describe('its place', () => {
  it('is named by model and cell, near and within what is set', () => {
    const namespace = (within?: string): object => ({
      jurisdiction: (j: string) => namespace(j),
      idFromName: (name: string) => name,
      get: (name: string, near?: object) => [name, near, within],
    });
    const at = (model?: string, cell?: number, vars: object = {}) =>
      schedulerOf({ SCHEDULER: namespace() as never, MODEL_ID: 'a', ...vars }, model, cell);
    expect([at(), at('a'), at('a:x'), at(undefined, 0)]).toEqual(Array(4).fill(['scheduler', undefined, undefined]));
    expect([at('b'), at('b:y')]).toEqual(Array(2).fill(['scheduler/b', undefined, undefined]));
    expect([at('a', 3), at('b', 1)].map((x) => (x as unknown as string[])[0])).toEqual(['scheduler~3', 'scheduler/b~1']);
    expect(at('a', 0, { REGION: 'weur', JURISDICTION: 'eu' })).toEqual(['scheduler', { locationHint: 'weur' }, 'eu']);
  });

  it('says which replicas it has', () => {
    const ids = (name: string, vars: object = {}) =>
      scheduler({ name, vars: { CELLS: '3', ...vars } })
        .s.stats()
        .replicas.map((r) => r.id);
    expect([ids('scheduler/named'), ids('scheduler/named~2'), ids('scheduler/named~1', { REPLICAS: '1' })]).toEqual([
      ['0', '1'],
      ['4', '5'],
      ['1'],
    ]);
  });

  it('has its rules from the settings', () => {
    expect(policyConfig({})).toEqual({ ...POLICY, shared: false });
    const vars = { MAX_QUEUE: '3', MAX_WAIT_S: '4', RATE_PER_MINUTE: '5', RATE_BURST: '6', CONCURRENCY: '7', LEASE_S: '8', MAX_BATCH: '9' };
    expect(policyConfig(vars)).toEqual({
      ...{ ...POLICY, maxQueue: 3, maxWaitMs: 4_000, ratePerMinute: 5, burst: 6, concurrency: 7, leaseMs: 8_000, slots: 9, shared: false },
    });
    const shared = (API_KEYS?: string) => policyConfig({ API_KEYS }).shared;
    expect([undefined, '', 'one', 'one,', ' , one ', 'ann:1,ann:2', 'ann:1 , ann:2'].map(shared)).toEqual(Array(7).fill(false));
    expect(['one,two', 'ann:1,bob:2', 'ann:1,2', ':1,:2'].map(shared)).toEqual(Array(4).fill(true));
  });
});

it('tells a trace how a request fared, under its caller, and nobody who is not asked for', async () => {
  const posts: { url: string; body: { resourceSpans: { scopeSpans: { spans: Record<string, unknown>[] }[] }[] } }[] = [];
  vi.stubGlobal('fetch', async (url: string, init: { body: string }) => {
    posts.push({ url, body: JSON.parse(init.body) });
    return new Response();
  });
  const { s } = scheduler({ vars: { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://collector', MAX_QUEUE: '0' } });
  const from = `00-${'ab'.repeat(16)}-${'cd'.repeat(8)}-`;
  s.heartbeat('0', beat());
  await s.admit(ask('plain'));
  await s.admit(ask('unsampled'), `${from}00`);
  expect(posts).toEqual([]);
  const refused = await s.admit(ask('a'), `${from}01`);
  expect(refused).toMatchObject({ kind: 'refused', reason: 'queue_full' });
  await vi.advanceTimersByTimeAsync(0);
  expect(posts.map((p) => p.url)).toEqual(['http://collector/v1/traces']);
  const spanOf = (i: number) => posts[i]!.body.resourceSpans[0]!.scopeSpans[0]!.spans[0]!;
  expect(spanOf(0)).toMatchObject({
    ...{ traceId: 'ab'.repeat(16), parentSpanId: 'cd'.repeat(8), name: 'admit', kind: 2 },
    attributes: [
      { key: 'turnstone.waiting', value: { intValue: '0' } },
      { key: 'turnstone.answer', value: { stringValue: 'refused' } },
      { key: 'turnstone.reason', value: { stringValue: 'queue_full' } },
    ],
  });
  const run = scheduler({ vars: { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://collector' } }).s;
  run.heartbeat('0', beat());
  const lease = run.admit(ask('b'), `${from}01`);
  await vi.advanceTimersByTimeAsync(6);
  const { replica } = (await lease) as { replica: string };
  await vi.advanceTimersByTimeAsync(0);
  expect(spanOf(1).attributes).toEqual([
    { key: 'turnstone.waiting', value: { intValue: '0' } },
    { key: 'turnstone.answer', value: { stringValue: 'run' } },
    { key: 'turnstone.replica', value: { stringValue: replica } },
    { key: 'turnstone.matched', value: { intValue: '0' } },
  ]);
});

describe('storage that fails', () => {
  function failing() {
    const kept = storage();
    let broken = false;
    const exec = kept.sql.exec.bind(kept.sql);
    let tried = 0;
    kept.sql.exec = ((sql: string, ...given: unknown[]) => {
      if (broken && /^(INSERT|DELETE|DROP)/.test(sql)) {
        tried++;
        throw new Error('disk full');
      }
      return exec(sql, ...given);
    }) as typeof kept.sql.exec;
    return { kept, fail: (yes: boolean) => void (broken = yes), tried: () => tried };
  }

  it('is left alone for 30 seconds, then for twice as long each time, up to 300; nobody waits for it', async () => {
    const error = vi.spyOn(console, 'error').mockImplementation(() => {});
    const { kept, fail, tried } = failing();
    const { s } = scheduler({ kept });
    s.heartbeat('0', beat([], { slots: 100 }));
    fail(true);
    let n = 0;
    const event = async () => {
      const lease = await admit(s, ask(`r${n++}`));
      if (lease.kind !== 'run') throw new Error('not admitted');
      s.release([{ id: lease.id, epoch: lease.epoch, output: 1 }]);
    };
    await event();
    for (const rest of [30, 60, 120, 240, 300, 300]) {
      expect(error.mock.calls.at(-1)).toEqual([
        `the queue is not stored for ${rest} s: disk full. It goes on in memory; is the disk full?`,
      ]);
      expect(s.stats().stored).toBe(false);
      const before = tried();
      await vi.advanceTimersByTimeAsync(rest * 1000 - 100);
      await event();
      expect(tried(), `within ${rest} s`).toBe(before);
      await vi.advanceTimersByTimeAsync(100);
      await event();
      expect(tried()).toBeGreaterThan(before);
    }
    fail(false);
    await vi.advanceTimersByTimeAsync(300_000);
    await event();
    expect(s.stats().stored).toBe(true);
    const next = scheduler({ kept }).s;
    expect(next.stats().tenants).toEqual(s.stats().tenants);
    fail(true);
    await event();
    expect(error.mock.calls.at(-1)![0]).toContain('not stored for 30 s'); // from the beginning again
  });
});

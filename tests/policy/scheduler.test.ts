/** The queue's object, in Node: what it answers, keeps and arms, with a clock that the test moves. Inside workerd, with its real storage: tests/workerd/scheduler.test.ts. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Scheduler } from '../../durable-objects/scheduler/index.ts';
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
  const alarms: number[] = [];
  const synced: (() => void)[] = [];
  const s = {
    sql: tables,
    alarms,
    synced,
    setAlarm: async (at: number) => void alarms.push(at),
    sync: async () => {},
  };
  return s;
}
function scheduler(o: { vars?: Record<string, string>; kept?: ReturnType<typeof storage>; name?: string } = {}) {
  const kept = o.kept ?? storage();
  const name = o.name ?? `object ${made++}`;
  const ctx = { id: { toString: () => name }, storage: kept };
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
    expect(kept.sql.writes - before).toBe(1); // one event in the journal
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
    expect(s.lease('b')).toEqual({ state: 'unknown', epoch: 0, replica: '' });
  });
});

describe('the alarm', () => {
  it('ends leases of who is silent; one that comes late itself is put off, five times at most', async () => {
    const { s, kept, a } = await full();
    s.heartbeat(a.replica, beat([{ id: 'a', epoch: a.epoch, output: 1 }]));
    expect(kept.alarms.length).toBeGreaterThan(0);
    for (let i = 0; i < 5; i++) {
      vi.setSystemTime((kept.alarms.at(-1) as number) + 101);
      s.alarm();
      expect(kept.alarms.at(-1), `put off ${i + 1} times`).toBe(Date.now() + 1_500);
      expect(s.lease('a').state).toBe('running');
    }
    vi.setSystemTime((kept.alarms.at(-1) as number) + 101);
    s.alarm();
    expect(s.lease('a').state).toBe('unknown');
  });

  it('in time ends them at once', async () => {
    const { s, kept, a } = await full();
    s.heartbeat(a.replica, beat([{ id: 'a', epoch: a.epoch, output: 1 }]));
    for (let i = 0; i < 20 && s.lease('a').state === 'running'; i++) {
      vi.setSystemTime((kept.alarms.at(-1) as number) + 100); // as late as it may be
      s.alarm();
    }
    expect(s.lease('a').state).toBe('unknown');
    expect(s.lease('b').state, 'its replica may still be loading').toBe('running');
    expect(Date.now() - BEGAN).toBeLessThan(30_000);
  });

  it('is moved only forward: a heartbeat writes none', async () => {
    const { s, kept, a } = await full();
    const before = kept.alarms.length;
    for (let i = 0; i < 5; i++) {
      await vi.advanceTimersByTimeAsync(100);
      s.heartbeat(a.replica, beat([{ id: 'a', epoch: a.epoch, output: i }]));
    }
    expect(kept.alarms.length - before).toBeLessThanOrEqual(1);
  });
});

describe('what is kept', () => {
  it('is the queue as it was, for the next object; the secret for ever', async () => {
    const { s, kept, a } = await full();
    const held = s.admit(ask('c', { restart: true }));
    await vi.advanceTimersByTimeAsync(6);
    const secret = s.secret();
    expect(secret).toMatch(/^[0-9a-f]{64}$/);
    const next = scheduler({ kept }).s;
    expect(next.secret()).toBe(secret);
    expect(next.stats()).toMatchObject({ waiting: 1, epoch: s.stats().epoch, stored: true });
    expect(next.lease('a')).toEqual({ state: 'running', epoch: a.epoch, replica: a.replica });
    expect(await admit(next, ask('a'))).toMatchObject({ kind: 'run', epoch: a.epoch });
    expect(await now(held)).toBe('pending'); // its object is gone
    expect(scheduler().s.secret()).not.toBe(secret);
  });

  it('is followed by every event: after any number of them the next object has the same', async () => {
    const { s, kept } = scheduler();
    for (const r of ['0', '1']) s.heartbeat(r, beat([], { slots: 4 }));
    for (let i = 0; i < 150; i++) {
      await vi.advanceTimersByTimeAsync(7);
      const lease = await admit(s, ask(`r${i}`, { tenant: `t${i % 3}` }));
      if (lease.kind !== 'run') throw new Error('not admitted');
      if (i % 50 === 49) {
        const next = scheduler({ kept }).s;
        expect(next.lease(`r${i}`), `after ${i + 1} requests`).toEqual(s.lease(`r${i}`));
        expect(next.stats().tenants).toEqual(s.stats().tenants);
      }
      s.release([{ id: `r${i}`, epoch: lease.epoch, output: 2, promptTokens: 100 }]);
    }
    expect(kept.sql.count('journal')).toBeLessThanOrEqual(64);
    expect(kept.sql.count('tickets')).toBeLessThanOrEqual(64);
    expect(
      scheduler({ kept })
        .s.stats()
        .replicas.map((r) => r.running),
    ).toEqual([0, 0]);
  });

  it('damaged, is erased and begun anew above all epochs before', async () => {
    const error = vi.spyOn(console, 'error').mockImplementation(() => {});
    const { s, kept, a } = await full();
    const secret = s.secret();
    kept.sql.damage('tickets');
    kept.sql.damage('journal');
    await vi.advanceTimersByTimeAsync(1_000);
    const next = scheduler({ kept }).s;
    expect(error).toHaveBeenCalledWith(expect.stringContaining('damaged'), expect.anything());
    expect(next.lease('a').state).toBe('unknown');
    expect(next.stats().epoch).toBeGreaterThan(a.epoch);
    expect(next.secret()).toBe(secret);
  });
});

/** The edges of the queue's rules: what holds just below a bound and no longer just above it, in numbers and in time. */
import { describe, expect, test } from 'vitest';
import { expectedCost, expectedWait, fullBucket, queueFull, slotsWanted, take, tooSlow, withinLimits } from '../../policy/admission.ts';
import { BREAKER, breakerShown, breakerState, closedBreaker, failed, sent } from '../../policy/breaker.ts';
import { ChainCache, type Link } from '../../policy/chains.ts';
import { LANES, POLICY, type PolicyConfig } from '../../policy/config.ts';
import { ewma, observe } from '../../policy/ewma.ts';
import { bucketSize, bucketWait, refill } from '../../policy/limits.ts';
import { Queue } from '../../policy/queue.ts';
import { hasRoom, newReplica } from '../../policy/replicas.ts';
import { completed, newService, started, timeFor, worked } from '../../policy/service.ts';
import { load, save } from '../../policy/state.ts';
import { type Tenant, Tenants } from '../../policy/tenants.ts';
import {
  type AdmitRequest,
  checkRequest,
  type Heartbeat,
  type Lease,
  MAX_PROMPT,
  MAX_SEQUENCES,
  MAX_WAITED_MS,
  type Ticket,
} from '../../policy/ticket.ts';

const nothing = () => {};
const half = () => 0.5;
const ask = (id: string, more: Partial<AdmitRequest> = {}): AdmitRequest => ({
  ...{ id, tenant: 't', priority: 0, promptTokens: 100, chain: [], restart: false },
  ...more,
});
const rules = (more: Partial<PolicyConfig> = {}): PolicyConfig => ({ ...POLICY, ...more });
const ids = (list: { id: string }[]) => list.map((l) => l.id);

describe('a request that came over the wire', () => {
  const links = (n: number): Link[] => Array.from({ length: n }, () => ({ hash: 'h', tokens: 1 }));
  test.each<[string, unknown[], unknown[]]>([
    ['id', ['x', 'x'.repeat(128)], ['', 'x'.repeat(129), 7, undefined]],
    ['tenant', ['x', 'x'.repeat(128)], ['', 'x'.repeat(129), null]],
    ['waitedMs', [0, MAX_WAITED_MS, undefined], [-1, MAX_WAITED_MS + 1, 0.5, Number.NaN, '1']],
    ['priority', [-1000, 0, 1000], [-1001, 1001, 0.5, Number.NaN, '1']],
    ['promptTokens', [0, MAX_PROMPT], [-1, MAX_PROMPT + 1, 0.5, Number.POSITIVE_INFINITY]],
    ['sequences', [undefined, 1, MAX_SEQUENCES], [0, MAX_SEQUENCES + 1, 1.5]],
    ['lane', [undefined, ...LANES], ['other', '']],
    [
      'chain',
      [links(0), links(4096)],
      [links(4097), 'x', undefined, [{ hash: '', tokens: 1 }], [{ hash: 'x'.repeat(129), tokens: 1 }], [null]],
    ],
    [
      'chain',
      [[{ hash: 'h', tokens: 0 }], [{ hash: 'h', tokens: MAX_PROMPT }]],
      [[{ hash: 'h', tokens: -1 }], [{ hash: 'h', tokens: MAX_PROMPT + 1 }], [{ hash: 'h', tokens: 1.5 }]],
    ],
  ])('has its %s within bounds', (field, good, bad) => {
    for (const v of good) expect(checkRequest({ ...ask('a'), [field]: v })).toMatchObject({ id: expect.any(String) });
    for (const v of bad)
      expect(() => checkRequest({ ...ask('a'), [field]: v } as AdmitRequest), JSON.stringify(v)).toThrow(`admit: ${field}`);
  });
});

describe('what a request costs and how long it waits', () => {
  const s = newService();
  started(s, 0, true);
  for (const at of [1_000, 2_000, 3_000]) worked(s, 2_000, at, 1); // 2 weighted tokens a ms
  s.output.value = 50;

  test('its prompt and the output that is usual, for each sequence; in a lane its text', () => {
    const c = rules({ promptWeight: 2, outputWeight: 3 });
    expect(expectedCost(ask('a'), c, s)).toBe(2 * 100 + 3 * 50);
    expect(expectedCost(ask('a', { sequences: 4 }), c, s)).toBe(2 * 100 + 3 * 50 * 4);
    expect(expectedCost(ask('a', { lane: 'embed' }), c, s)).toBeCloseTo(100 * c.lanes.embed.weight);
  });

  test('at most what all wait for, at most its own queue times those who share', () => {
    expect(expectedWait(1_000, 100, 3, s)).toBe(150);
    expect(expectedWait(1_000, 900, 3, s)).toBe(500);
    expect(expectedWait(1_000, 100, 0, s)).toBe(50);
    expect(expectedWait(1_000, 100, 3, newService())).toBeUndefined();
    expect(tooSlow(undefined, rules())).toBeUndefined();
    expect(tooSlow(10_000, rules({ maxWaitMs: 10_000 }))).toBeUndefined();
    expect(tooSlow(10_001, rules({ maxWaitMs: 10_000 }))).toEqual({ reason: 'too_slow', retryAfter: 1 });
    expect(tooSlow(12_001, rules({ maxWaitMs: 10_000 }))).toEqual({ reason: 'too_slow', retryAfter: 3 });
    expect(queueFull(10_000, s)).toEqual({ reason: 'queue_full', retryAfter: 5 });
    const unmeasured = newService();
    unmeasured.duration.value = 7_500;
    expect(queueFull(10_000, unmeasured)).toEqual({ reason: 'queue_full', retryAfter: 8 });
  });

  test('who waits beside it is counted, and no lane: it is refused by its own queue where it shares, by all where it is alone', () => {
    const waits = (arrivals: AdmitRequest[], last: AdmitRequest) => {
      const q = new Queue(rules({ slots: 1, maxWaitMs: 0, outputWeight: 0, lanes: { ...POLICY.lanes, embed: { atOnce: 0, weight: 1 } } }), [
        'a',
      ]);
      q.arrive(ask('run', { tenant: 'other' }), 0, nothing);
      q.dispatch(0, half);
      for (const r of arrivals) q.arrive(r, 0, nothing);
      q.ledger.service = structuredClone(s); // measured from here on: everything before it was let in
      const a = q.arrive(last, 0, nothing);
      return a.kind === 'refused' ? a.retryAfter : a.kind;
    };
    const mine = [1, 2].map((i) => ask(`mine${i}`, { promptTokens: 4_000 }));
    const theirs = [1, 2, 3].map((i) => ask(`their${i}`, { tenant: 'u', promptTokens: 4_000 }));
    expect(waits(mine, ask('new'))).toBe(4); // 8,000 tokens at 2 a ms
    expect(waits(theirs, ask('new'))).toBe(1); // nothing of its own waits: its turn is soon, after as much of theirs
    expect(waits([...mine.slice(0, 1), ...theirs], ask('new'))).toBe(5); // its 4,000 and itself, shared by two
    expect(waits([...mine, ...theirs], ask('new'))).toBe(9);
    expect(waits([ask('lane', { lane: 'embed', promptTokens: 40_000 }), ...mine], ask('new'))).toBe(4);
    expect(waits(mine, ask('new', { lane: 'embed' }))).toBe('queued');
  });
});

describe('the limits of one key', () => {
  const tenant = (more: Partial<Tenant> = {}): Tenant => ({ ...new Tenants().get('t', 0, 0), ...more });

  test('at once: what waits, runs and is in lanes, below the limit and not at it; told when one of them ends', () => {
    const s = newService();
    s.duration.value = 12_000;
    const c = rules({ concurrency: 6 });
    expect(withinLimits(tenant({ waiting: 2, running: 2, brief: 1 }), c, s, 0)).toBeUndefined();
    expect(withinLimits(tenant({ waiting: 2, running: 3, brief: 1 }), c, s, 0)).toEqual({ reason: 'concurrency_limit', retryAfter: 4 });
    expect(withinLimits(tenant({ waiting: 6 }), c, s, 0)).toEqual({ reason: 'concurrency_limit', retryAfter: 12 });
    expect(withinLimits(tenant({ running: 5 }), rules({ concurrency: 5 }), s, 0)?.retryAfter).toBe(3);
    expect(withinLimits(tenant({ waiting: 1_000 }), rules({ concurrency: 0 }), s, 0)).toBeUndefined();
  });

  test('a minute: a bucket that fills with time, to its size and no further, and may be owed', () => {
    expect([bucketSize(60, 2), bucketSize(60, 0), bucketSize(61, 0), bucketSize(3, 0), bucketSize(0, 0)]).toEqual([2, 6, 7, 1, 1]);
    expect(fullBucket(rules({ ratePerMinute: 120, burst: 0 }))).toBe(12);
    expect(refill({ tokens: 0, at: 1_000 }, 60, 5, 3_500)).toEqual({ tokens: 2.5, at: 3_500 });
    expect(refill({ tokens: 4, at: 1_000 }, 60, 5, 9_000)).toEqual({ tokens: 5, at: 9_000 });
    for (const now of [1_000, 500]) expect(refill({ tokens: 3, at: 1_000 }, 60, 5, now)).toEqual({ tokens: 3, at: 1_000 });
    expect([bucketWait({ tokens: 1, at: 0 }, 60), bucketWait({ tokens: 0.5, at: 0 }, 60), bucketWait({ tokens: -2, at: 0 }, 30)]).toEqual([
      0, 500, 6_000,
    ]);
    const t = tenant({ bucket: { tokens: 2, at: 0 } });
    take(t, 5, rules({ ratePerMinute: 0 }));
    expect(t.bucket.tokens).toBe(2);
    take(t, 5, rules({ ratePerMinute: 60 }));
    expect(t.bucket).toEqual({ tokens: -3, at: 0 });
    expect(withinLimits(t, rules({ ratePerMinute: 60, burst: 5 }), newService(), 3_000)).toEqual({ reason: 'rate_limit', retryAfter: 1 });
    expect(withinLimits(t, rules({ ratePerMinute: 60, burst: 5 }), newService(), 4_000)).toBeUndefined();
  });

  test('a request wants a slot a sequence, and no more than its key may have', () => {
    expect(slotsWanted(ask('a'), rules())).toBe(1);
    expect(slotsWanted(ask('a', { sequences: 9 }), rules())).toBe(9);
    expect(slotsWanted(ask('a', { sequences: 9 }), rules({ concurrency: 4.9 }))).toBe(4);
  });
});

describe('time', () => {
  const beat = (running: Heartbeat['running'], more: Partial<Heartbeat> = {}): Heartbeat => ({
    ...{ incarnation: 'one', slots: 4, kvTokens: 10_000, running, done: [] },
    ...more,
  });
  const c = rules({ leaseMs: 2_000, startMs: 9_000, attachMs: 5_000, laneMs: 7_000 });

  /** A queue in which one thing runs out of time, and who is gone with it. */
  const waits: [string, number, (q: Queue) => void, keyof ReturnType<Queue['expire']>][] = [
    ['a replica that says nothing of what it was given', 1_000 + 9_000, (q) => void q.dispatch(1_000, half), 'lost'],
    [
      'a warm replica that falls silent',
      4_000 + 2_000,
      (q) => {
        const { epoch } = q.dispatch(1_000, half)[0]!;
        q.heartbeat('a', beat([{ id: 'x', epoch, output: 1 }]), 4_000);
      },
      'lost',
    ],
    ['a caller that does not come back', 3_000 + 5_000, (q) => q.detach('x', 3_000), 'dropped'],
  ];
  test.each(waits)('%s is given up at %i, which is known before, and not a moment sooner', (_, at, before, fate) => {
    const q = new Queue(c, ['a']);
    q.arrive(ask('x'), 500, nothing);
    before(q);
    expect(q.nextDeadline()).toBe(at);
    expect(q.expire(at - 1)).toEqual({ lost: [], orphaned: [], dropped: [] });
    expect(q.expire(at)[fate]).toEqual(['x']);
    q.ledger.audit();
    expect(q.ledger.tickets.size).toBe(0);
  });

  test('a lane whose caller is gone is free again after its time', () => {
    const q = new Queue(c, ['a']);
    q.arrive(ask('x', { lane: 'tokenize' }), 500, nothing);
    expect(ids(q.dispatch(1_000, half))).toEqual(['x']);
    q.arrive(ask('y', { lane: 'tokenize' }), 1_000, nothing);
    expect(q.nextDeadline()).toBe(8_000);
    expect(q.expire(7_999).lost).toEqual([]);
    expect(q.dispatch(7_999, half)).toEqual([]);
    expect(q.expire(8_000).lost).toEqual(['x']);
    expect(ids(q.dispatch(8_000, half))).toEqual(['y']);
    q.ledger.audit();
  });

  test('what runs on the replica is lost, or waits again for its owner, and keeps its place as long as any', () => {
    const q = new Queue(c, ['a']);
    q.arrive(ask('x', { restart: true }), 0, nothing);
    q.arrive(ask('y'), 0, nothing);
    q.dispatch(0, half);
    expect(q.expire(9_000)).toEqual({ lost: ['y'], orphaned: ['x'], dropped: [] });
    expect(q.nextDeadline()).toBe(10_000); // its replica may be tried again then
    expect(q.expire(13_999).dropped).toEqual([]);
    expect(q.expire(14_000).dropped).toEqual(['x']);
    expect(q.nextDeadline()).toBeUndefined();
  });

  test('a request that the replica does not name is lost once it had time to begin, or was named before', () => {
    const q = new Queue(c, ['a']);
    q.arrive(ask('x'), 0, nothing);
    const { epoch } = q.dispatch(0, half)[0]!;
    expect(q.heartbeat('a', beat([]), 9_000).ended.lost).toEqual([]);
    expect(q.heartbeat('a', beat([]), 9_001).ended.lost).toEqual(['x']);
    q.arrive(ask('y'), 9_001, nothing);
    const second = q.dispatch(9_001, half)[0]!;
    q.heartbeat('a', beat([{ id: 'y', epoch: second.epoch, output: 0 }]), 9_002);
    expect(q.heartbeat('a', beat([{ id: 'y', epoch, output: 0 }]), 9_003).ended.lost).toEqual(['y']); // under another lease
  });

  test('one that is said to have ended is no loss', () => {
    const q = new Queue(c, ['a']);
    q.arrive(ask('x'), 0, nothing);
    const { epoch } = q.dispatch(0, half)[0]!;
    q.heartbeat('a', beat([{ id: 'x', epoch, output: 1 }]), 10);
    expect(q.heartbeat('a', beat([], { done: [{ id: 'x', epoch, output: 2 }] }), 20).ended).toEqual({
      lost: [],
      orphaned: [],
      dropped: [],
    });
    expect([q.ledger.tickets.size, q.ledger.replicas.get('a')!.running, q.ledger.replicas.get('a')!.deadline]).toEqual([0, 0, 0]);
  });

  test('waiting makes a request more urgent, a step each agingMs', () => {
    const order = (now: number) => {
      const q = new Queue(rules({ slots: 1, agingMs: 1_000 }), ['a']);
      q.arrive(ask('old', { priority: 1 }), 0, nothing);
      q.arrive(ask('new'), 900, nothing);
      return ids(q.dispatch(now, half));
    };
    expect([order(999), order(1_000), order(1_899), order(1_900)]).toEqual([['new'], ['old'], ['old'], ['new']]);
  });
});

describe('whose turn it is', () => {
  test('a full queue takes its newest from whoever waits for most slots, if that is more than the newcomer’s; one that ran stays', () => {
    const full = (arrivals: [string, string, Partial<AdmitRequest>?][], last: AdmitRequest) => {
      const q = new Queue(rules({ maxQueue: arrivals.length, slots: 1 }), ['a']);
      arrivals.forEach(([id, tenant, more], i) => void q.arrive(ask(id, { tenant, ...more }), i, nothing));
      const out: string[] = [];
      const { kind } = q.arrive(last, 99, (id) => out.push(id));
      q.ledger.audit();
      return kind === 'refused' ? kind : out.join();
    };
    const of = (...list: string[]): [string, string][] => list.map((id) => [id, id[0]!]);
    expect(full(of('a1', 'a2', 'b1'), ask('new', { tenant: 'c' }))).toBe('a2');
    expect(full(of('a1', 'b1', 'b2', 'a2', 'b3'), ask('new', { tenant: 'c' }))).toBe('b3');
    expect(full(of('a1', 'a2', 'b1'), ask('new', { tenant: 'b' }))).toBe('refused'); // it would wait for as many
    expect(full(of('a1', 'a2', 'a3', 'b1'), ask('new', { tenant: 'b' }))).toBe('a3');
    expect(full(of('a1', 'a2'), ask('new', { tenant: 'c', sequences: 2 }))).toBe('refused');
    expect(
      full(
        [
          ['a1', 'a', { sequences: 5 }],
          ['b1', 'b'],
          ['b2', 'b'],
        ],
        ask('new', { tenant: 'c' }),
      ),
    ).toBe('a1');
    expect(full(of('a1', 'a2', 'a3'), ask('new', { tenant: 'a' }))).toBe('refused');
  });

  test('what was admitted and ran before is not put out', () => {
    const q = new Queue(rules({ maxQueue: 2 }), ['a']);
    q.arrive(ask('ran1', { restart: true }), 0, nothing);
    q.arrive(ask('ran2', { restart: true }), 0, nothing);
    q.dispatch(0, half);
    q.die('a', 1);
    const out: string[] = [];
    expect(q.arrive(ask('new', { tenant: 'u' }), 2, (id) => out.push(id)).kind).toBe('refused');
    expect(out).toEqual([]);
  });

  test('keys take turns in a lane, by how long they had none; one key’s own by age', () => {
    const q = new Queue(rules({ lanes: { ...POLICY.lanes, embed: { atOnce: 2, weight: 1 } } }), ['a']);
    const embed = (id: string, at: number) => q.arrive(ask(id, { tenant: id[0], lane: 'embed' }), at, nothing);
    ['a1', 'a2', 'a3', 'b1', 'c1', 'b2'].forEach(embed);
    const order: string[] = [];
    for (let running = q.dispatch(9, half); running.length > 0; running = q.dispatch(9, half)) {
      expect(running.length).toBeLessThanOrEqual(2);
      for (const l of running) {
        order.push(l.id);
        q.release({ id: l.id, epoch: l.epoch, output: 0 }, 10);
      }
    }
    expect(order).toEqual(['a1', 'b1', 'c1', 'a2', 'b2', 'a3']);
    q.arrive(ask('chat'), 11, nothing);
    q.arrive(ask('gone', { lane: 'embed' }), 11, nothing);
    q.detach('gone', 11);
    expect(ids(q.dispatch(11, half))).toEqual(['chat']);
  });

  test('of several keys that had as much, the one that came first; of one key the lower number', () => {
    const q = new Queue(rules({ slots: 1, concurrency: 1e6 }), ['a']);
    q.arrive(ask('late', { tenant: 'u' }), 5, nothing);
    q.arrive(ask('early', { tenant: 't', priority: 3 }), 4, nothing);
    expect(ids(q.dispatch(6, half))).toEqual(['early']);
  });

  test('one key leaves a quarter of the slots, at least one, to others that are to be expected; draining and absent slots are none', () => {
    const started = (more: Partial<PolicyConfig>, replicas: string[], before: (q: Queue) => void = nothing) => {
      const q = new Queue(rules(more), replicas);
      before(q);
      for (let i = 0; i < 40; i++) q.arrive(ask(`x${i}`, { promptTokens: 1 }), 0, nothing);
      return q.dispatch(0, half).length;
    };
    expect(started({ slots: 8, shared: true }, ['a'])).toBe(6);
    expect(started({ slots: 3, shared: true }, ['a'])).toBe(2);
    expect(started({ slots: 1, shared: true }, ['a'])).toBe(1);
    expect(started({ slots: 1, shared: true }, ['a', 'b'])).toBe(1);
    expect(started({ slots: 8, shared: true }, ['a', 'b'], (q) => q.drain('b', true))).toBe(6);
    expect(started({ slots: 8, shared: true }, ['a', 'b'], (q) => void q.leave('b', 0))).toBe(6);
    expect(started({ slots: 8, headroom: 0.5, shared: true }, ['a'])).toBe(4);
    expect(started({ slots: 8 }, ['a'])).toBe(8);
  });

  test('a tenant seen within headroomMs is to be expected, its own last sight is not another', () => {
    const cap = (now: number) => {
      const q = new Queue(rules({ slots: 4, headroomMs: 1_000 }), ['a']);
      q.arrive(ask('other', { tenant: 'u' }), 0, nothing);
      q.cancel('other');
      for (let i = 0; i < 9; i++) q.arrive(ask(`x${i}`, { promptTokens: 1 }), now, nothing);
      return q.dispatch(now, half).length;
    };
    expect([cap(0), cap(999), cap(1_000)]).toEqual([3, 3, 4]);
  });

  test('a replica with backlogTokens to compute is given no more; what prefers it waits, and others pass', () => {
    const chain = [{ hash: 'h', tokens: 900 }];
    const q = new Queue(rules({ slots: 8, backlogTokens: 1_000 }), ['a', 'b']);
    q.arrive(ask('first', { promptTokens: 1_000, chain }), 0, nothing);
    const [home] = q.dispatch(0, half);
    q.arrive(ask('beside', { tenant: 'v', promptTokens: 10 }), 1, nothing); // so that the other one is not idle
    q.dispatch(1, half);
    q.arrive(ask('again', { promptTokens: 1_000, chain }), 1, nothing);
    q.arrive(ask('other', { tenant: 'u', promptTokens: 10 }), 2, nothing);
    const next = q.dispatch(3, half);
    expect(next.map((l) => l.id)).toEqual(['other']);
    expect(next[0]!.replica).not.toBe(home!.replica);
    q.heartbeat(
      home!.replica,
      { incarnation: 'x', slots: 8, kvTokens: 9_000, running: [{ id: 'first', epoch: home!.epoch, output: 0, computed: 1 }], done: [] },
      4,
    );
    expect(q.dispatch(5, half)).toMatchObject([{ id: 'again', replica: home!.replica, matched: 900 }]);
  });
});

describe('a replica', () => {
  test('has room by slots and tokens; an empty one takes any prompt, a suspected one a single probe', () => {
    const r = { ...newReplica('a', rules({ slots: 3, kvTokens: 100 })) };
    expect(hasRoom(r, 1_000, 0)).toBe(true);
    Object.assign(r, { running: 2, kvUsed: 60 });
    expect([hasRoom(r, 40, 0), hasRoom(r, 41, 0)]).toEqual([true, false]);
    r.running = 3;
    expect(hasRoom(r, 1, 0)).toBe(false);
    for (const not of [{ draining: true }, { absent: true }]) expect(hasRoom({ ...r, running: 0, ...not }, 1, 0)).toBe(false);
    const suspect = { ...r, running: 0, breaker: { ...closedBreaker(), openUntil: 10 } };
    expect([hasRoom(suspect, 1, 9), hasRoom(suspect, 1, 10), hasRoom({ ...suspect, running: 1 }, 1, 10)]).toEqual([false, true, false]);
  });

  test('fails three times before it is left alone, a second at first, a minute at most', () => {
    let b = closedBreaker();
    const pauses: number[] = [];
    for (let i = 0; i < 10; i++) {
      b = failed(b, 1_000);
      pauses.push(b.openUntil === 0 ? 0 : b.openUntil - 1_000);
    }
    expect(pauses).toEqual([0, 0, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]);
    expect(sent(closedBreaker(), 5)).toEqual(closedBreaker());
    const open = { ...closedBreaker(), openUntil: 100 };
    expect([99, 100].map((now) => breakerShown(open, now))).toEqual(['open', 'half-open']);
    expect(breakerShown(closedBreaker(), 100)).toBe('closed');
    const probing = sent(open, 100);
    expect(breakerShown(probing, 101)).toBe('half-open');
    expect([100, 100 + BREAKER.probeMs - 1, 100 + BREAKER.probeMs].map((now) => breakerState(probing, now))).toEqual([
      'open',
      'open',
      'half-open',
    ]);
    expect(sent({ ...open, openUntil: -1 }, 0).probing).toBe(1); // 0 says that there is none
  });
});

describe('what is measured', () => {
  test('a mean that begins plainly, then follows, inside its bounds, and hears no nonsense', () => {
    const rule = { alpha: 0.25, min: 0, max: 100 };
    let e = ewma(7);
    const seen = [10, 20, 30, 40, 50].map((x) => (e = observe(e, x, rule)).value);
    expect(seen).toEqual([10, 15, 20, 25, 25 + 0.25 * 25]);
    expect(observe(e, 1e9, rule).value).toBe(e.value + 0.25 * (100 - e.value));
    expect(observe(e, -5, rule).value).toBe(e.value * 0.75);
    for (const x of [Number.NaN, Number.POSITIVE_INFINITY]) expect(observe(e, x, rule)).toBe(e);
    expect(observe({ value: 500, samples: 9 }, 100, rule).value).toBe(100);
  });

  test('a rate over windows of a second in which something waited; work below nothing is none', () => {
    const s = newService();
    expect(timeFor(s, 5)).toBeUndefined();
    started(s, 100, true);
    worked(s, 500, 1_099, 1);
    expect(s.rate.samples).toBe(0);
    started(s, 1_099, false); // was not idle: the window goes on
    worked(s, -50, 1_099, 1);
    worked(s, 0, 1_100, 1);
    expect([s.rate, s.work, s.since, s.saturated]).toEqual([{ value: 0.5, samples: 1 }, 0, 1_100, true]);
    worked(s, 0, 5_000, 1); // nothing done says nothing
    expect(s.since).toBe(1_100);
    worked(s, 10, 5_001, 0);
    expect(s.rate.samples).toBe(1); // nothing waited, and it was slower
    worked(s, 3_000, 6_001, 0);
    expect(s.rate.samples).toBe(2); // nor now, but so fast it can be
    started(s, 9_000, true);
    expect([s.work, s.since]).toEqual([0, 9_000]);
    completed(s, 40, 2_000);
    expect([s.output, s.duration]).toEqual([
      { value: 40, samples: 1 },
      { value: 2_000, samples: 1 },
    ]);
  });
});

describe('accounts of keys', () => {
  test('who comes back is lifted to the lowest that waits, or to who left last; nobody falls below zero', () => {
    const t = new Tenants();
    const [a, b, c] = ['a', 'b', 'c'].map((n) => t.get(n, 0, 0)) as [Tenant, Tenant, Tenant];
    t.charge(a, 50);
    t.charge(b, 80);
    t.enter(a, 1);
    t.enter(b, 2);
    expect([t.lowest(), t.active()]).toEqual([50, 2]);
    t.enter(c, 1);
    expect(c.counter).toBe(50);
    t.charge(c, -80);
    expect(c.counter).toBe(0);
    t.enter(c, 1); // waits already: nothing is lifted
    expect(c.counter).toBe(0);
    t.leave(c, 2);
    t.leave(b, 1);
    expect([t.floor, b.waiting]).toEqual([0, 1]);
    t.leave(b, 1);
    expect(t.floor).toBe(80);
    t.leave(a, 1);
    expect([t.lowest(), t.active()]).toEqual([50, 0]);
  });

  test('one that is idle for longer than is kept, and whose counter says nothing, is forgotten; no other', () => {
    const t = new Tenants();
    const make = (name: string, more: Partial<Tenant>) => Object.assign(t.get(name, 0, 0), more);
    make('idle', { counter: 10, seen: 0 });
    make('lately', { counter: 10, seen: 1 });
    make('ahead', { counter: 11, seen: 0 });
    make('runs', { counter: 10, running: 1 });
    make('brief', { counter: 10, brief: 1 });
    t.enter(make('waits', { counter: 10 }), 1);
    t.dirty.clear();
    expect(t.prune(1_000, 1_000)).toEqual([]);
    expect(t.prune(1_001, 1_000)).toEqual(['idle']);
    expect([...t.all.keys()]).toEqual(['lately', 'ahead', 'runs', 'brief', 'waits']);
    expect([...t.dirty]).toEqual(['idle']);
  });

  test('everything that changes is marked to be stored', () => {
    const q = new Queue(rules({ slots: 2 }), ['a']);
    const L = q.ledger;
    const marked = (work: () => void) => {
      for (const set of [L.dirtyReplicas, L.tenants.dirty]) set.clear();
      L.placed.length = 0;
      work();
      return [[...L.dirtyReplicas], [...L.tenants.dirty], L.placed.map(([id, links]) => [id, links?.length ?? 0])];
    };
    const chain = [{ hash: 'h', tokens: 9 }];
    expect(marked(() => void q.arrive(ask('x', { restart: true, chain }), 0, nothing))).toEqual([[], ['t'], []]);
    expect(marked(() => q.detach('x', 1))).toEqual([[], [], []]);
    expect(marked(() => void q.arrive(ask('x', { restart: true }), 3, nothing))).toEqual([[], [], []]);
    expect(marked(() => void q.dispatch(4, half))).toEqual([['a'], ['t'], [['a', 1]]]);
    expect(marked(() => q.drain('a', true))).toEqual([['a'], [], []]);
    expect(marked(() => void q.die('a', 5))).toEqual([['a'], ['t'], [['a', 0]]]);
    expect(marked(() => q.join('a'))).toEqual([['a'], [], []]);
    expect(marked(() => void q.cancel('x'))).toEqual([[], ['t'], []]);
    expect(marked(() => void q.erase('t'))).toEqual([[], ['t'], []]);
    expect(marked(() => q.drain('none', true))).toEqual([[], [], []]);
    expect([q.cancel('x'), q.erase('t'), q.die('none', 6)]).toEqual([
      false,
      { waiting: [], running: 0 },
      { lost: [], orphaned: [], dropped: [] },
    ]);
  });
});

describe('a tenant that is erased', () => {
  test('is gone from the queue, the lanes and what may come back; nobody else is', () => {
    const q = new Queue(rules({ slots: 2 }), ['a']);
    for (const id of ['x1', 'x2', 'x3']) q.arrive(ask(id), 0, nothing);
    q.arrive(ask('y', { tenant: 'u' }), 0, nothing);
    q.arrive(ask('lane', { lane: 'embed' }), 0, nothing);
    const running = ids(q.dispatch(1, half));
    expect(running.sort()).toEqual(['lane', 'x1', 'y']); // one slot each
    expect(q.erase('t')).toEqual({ waiting: ['x2', 'x3'], running: 2 });
    expect([...q.ledger.tickets.keys()]).toEqual(['y']);
    expect([...q.ledger.tenants.all.keys()]).toEqual(['u']);
    q.ledger.audit();
    q.arrive(ask('z'), 2, nothing);
    const { epoch } = q.dispatch(2, half)[0]!;
    q.die('a', 3); // both are lost, and may still run there
    expect(q.erase('t')).toEqual({ waiting: [], running: 0 });
    const late = (id: string, e: number) => ({
      incarnation: '',
      slots: 2,
      kvTokens: 9_000,
      running: [{ id, epoch: e, output: 1 }],
      done: [],
    });
    expect(q.heartbeat('a', late('z', epoch), 4).abort).toEqual(['z']);
  });
});

describe('what a replica probably holds', () => {
  test('is bounded in links as in tokens, and a link costs what it adds', () => {
    const c = new ChainCache(1e9);
    for (let i = 0; i < 2_056; i++) c.add([{ hash: `h${i}`, tokens: 2 }]);
    expect([c.save().length, c.tokens]).toEqual([2_048, 4_096]);
    expect([c.match([{ hash: 'h7', tokens: 2 }]), c.match([{ hash: 'h8', tokens: 2 }])]).toEqual([0, 2]);
    c.clear();
    expect([c.save(), c.tokens]).toEqual([[], 0]);
    c.add([
      { hash: 'a', tokens: 10 },
      { hash: 'b', tokens: 4 }, // an estimate that fell
      { hash: 'c', tokens: 9 },
    ]);
    expect(c.save()).toEqual([
      ['c', 5],
      ['b', 0],
      ['a', 10],
    ]);
    c.capacity = 15;
    expect(c.tokens).toBe(15);
    c.capacity = 14;
    expect(c.save().map(([h]) => h)).toEqual(['b', 'a']);
    expect(
      new ChainCache(9, [
        ['x', 5],
        ['y', 5],
      ]).save(),
    ).toEqual([['y', 5]]);
  });
});

describe('a stored queue', () => {
  const filled = () => {
    const q = new Queue(rules({ slots: 2 }), ['a', 'b']);
    for (let i = 0; i < 5; i++) q.arrive(ask(`x${i}`, { chain: [{ hash: `h${i}`, tokens: 9 }] }), i, nothing);
    q.dispatch(9, half);
    q.drain('b', true);
    return q;
  };
  const plain = <T>(v: T): T => JSON.parse(JSON.stringify(v)) as T;
  const none = { tenants: [], replicas: [], chains: {} };

  test('comes back with its accounts and without its requests, above all leases before; a replica that is no longer there is forgotten', () => {
    const saved = plain(save(filled()));
    const q = load(rules({ slots: 2 }), ['a', 'b'], plain(saved), 20);
    const { meta, ...rest } = save(q);
    expect({ ...rest, meta: { ...meta, epoch: 0 } }).toEqual({ ...saved, meta: { ...saved.meta, epoch: 0 } });
    expect([q.ledger.epoch, q.ledger.base, q.ledger.tickets.size]).toEqual([20_000, 20_000, 0]);
    expect([...q.ledger.replicas.values()].map((r) => [r.id, r.running, r.kvUsed, r.deadline, r.draining])).toEqual([
      ['a', 0, 0, 0, false],
      ['b', 0, 0, 0, true],
    ]);
    expect([...q.ledger.tenants.all.values()].map((t) => [t.name, t.waiting, t.running, t.brief])).toEqual([['t', 0, 0, 0]]);
    expect([...load(rules(), ['a', 'c'], plain(saved), 20).ledger.replicas.keys()]).toEqual(['a', 'c']);
    expect(load(rules(), ['a'], none, 7).ledger.epoch).toBe(7_000);
    const ahead = { ...saved, meta: { ...saved.meta!, epoch: 20_000 } };
    expect(load(rules(), ['a'], ahead, 20).ledger.epoch).toBe(20_000 + 2 ** 20); // the clock went back
    expect(load(rules(), ['a'], { ...saved, meta: { ...saved.meta!, epoch: 19_999 } }, 20).ledger.epoch).toBe(20_000);
  });

  test('is told by replicas what they run, and books it; what was placed anew meanwhile is aborted, and what does not say whose it is is left to end', () => {
    const before = filled();
    const leases = [...before.ledger.tickets.values()].filter((t) => t.state === 'running');
    const q = load(rules({ slots: 2 }), ['a', 'b'], plain(save(before)), 20);
    expect([q.untold(20), q.untold(20 + POLICY.leaseMs - 1), q.untold(20 + POLICY.leaseMs)]).toEqual([true, true, false]);
    const counter = () => q.ledger.tenants.all.get('t')!.counter;
    const was = counter();
    const [one, two, three] = leases as [Ticket, Ticket, Ticket];
    q.arrive(ask(two.id), 21, nothing); // its caller had no answer
    const told = { output: 7, promptTokens: 100, cachedTokens: 40, tenant: 't', slots: 1 };
    const said = {
      ...{ incarnation: 'i', slots: 2, kvTokens: 10_000, done: [] },
      running: [
        { ...told, id: one.id, epoch: one.epoch },
        { ...told, id: two.id, epoch: two.epoch },
        { id: three.id, epoch: three.epoch, output: 1 },
        { ...told, id: 'later', epoch: q.ledger.base + 1 }, // cancelled since
      ],
    };
    expect(q.heartbeat('a', said, 22).abort).toEqual([two.id, 'later']);
    q.ledger.audit();
    const a = q.ledger.replicas.get('a')!;
    expect([a.running, a.kvUsed, a.deadline > 22, q.ledger.tenants.all.get('t')!.running]).toEqual([1, 107, true, 1]);
    expect(q.ledger.running(one.id, one.epoch)).toMatchObject({ replica: 'a', confirmed: true, output: 7, charged: 60 });
    expect(counter()).toBe(was); // charged before
    expect(q.heartbeat('a', { ...said, running: [{ ...told, id: one.id, epoch: one.epoch, output: 9 }] }, 23).abort).toEqual([]);
    expect(counter()).toBe(was + 2 * POLICY.outputWeight);
    expect(q.release({ ...told, id: one.id, epoch: one.epoch, output: 9 }, 24)).toBe(true);
    q.ledger.audit();
    expect([a.running, a.kvUsed, a.deadline]).toEqual([0, 0, 0]);
  });

  test('a request that asks again is as old as it is, and takes from its key’s rate once; it is not put out of a full queue', () => {
    const q = new Queue(rules({ slots: 1, ratePerMinute: 60, burst: 1, maxQueue: 2 }), ['a']);
    expect(q.arrive(ask('x'), 10_000, nothing).kind).toBe('queued');
    expect(q.arrive(ask('y'), 10_000, nothing)).toMatchObject({ kind: 'refused', reason: 'rate_limit' });
    const [{ epoch }] = q.dispatch(10_000, half) as [Lease];
    q.release({ id: 'x', epoch, output: 0, failed: true }, 10_001); // the replica was gone
    expect(q.arrive(ask('x', { waitedMs: 1 }), 10_001, nothing).kind).toBe('queued');
    expect(q.ledger.tickets.get('x')?.arrived).toBe(10_000);
    expect(q.ledger.tenants.all.get('t')!.bucket.tokens).toBeCloseTo(0);
    q.dispatch(10_001, half);
    for (const id of ['y', 'z']) expect(q.arrive(ask(id, { waitedMs: 500 }), 10_002, nothing).kind).toBe('queued');
    const out: string[] = [];
    expect(q.arrive(ask('new', { tenant: 'u' }), 10_003, (id) => out.push(id)).kind).toBe('refused');
    expect(out).toEqual([]);
  });

  test.each<[string, (s: ReturnType<typeof save>) => void, RegExp]>([
    ['a number that is none', (s) => void (s.tenants[0]!.counter = Number.NaN), /^tenant: .*is none/],
    ['a tenant without its bucket', (s) => void ((s.tenants[0] as { bucket: unknown }).bucket = null), /^tenant: /],
    ['a replica without its breaker’s', (s) => void delete (s.replicas[0]!.breaker as { pauseMs?: number }).pauseMs, /^replica: /],
    ['a word for a number', (s) => void ((s.replicas[0] as { slots: unknown }).slots = 'many'), /^replica: /],
    ['chains that are no list', (s) => void ((s.chains as Record<string, unknown>).a = {}), /^chains: /],
    ['a clock that is none', (s) => void ((s.meta as { epoch: unknown }).epoch = '7'), /^state of the queue: /],
  ])('with %s is refused, not misread', (_, damage, why) => {
    const saved = plain(save(filled()));
    damage(saved);
    expect(() => load(rules({ slots: 2 }), ['a', 'b'], saved, 20)).toThrow(why);
  });
});

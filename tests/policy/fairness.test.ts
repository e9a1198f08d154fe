import { expect, test } from 'vitest';
import { POLICY } from '../../policy/config.ts';
import { Queue } from '../../policy/queue.ts';
import { completed, newService, started, timeFor, worked } from '../../policy/service.ts';
import type { AdmitRequest, Lease } from '../../policy/ticket.ts';

const nothing = () => {};
const half = () => 0.5;
const ask = (id: string, tenant: string, more: Partial<AdmitRequest> = {}): AdmitRequest => ({
  id,
  tenant,
  priority: 0,
  promptTokens: 100,
  chain: [],
  restart: false,
  ...more,
});
const ids = (leases: Lease[]) => leases.map((l) => l.id);

/** One slot: each dispatch shows who is next. */
function oneSlot(more = {}) {
  return new Queue({ ...POLICY, slots: 1, ...more }, ['a']);
}

test('the waiting tenant with the lowest counter goes first, whatever the order of arrival', () => {
  const q = oneSlot();
  for (let i = 0; i < 3; i++) q.arrive(ask(`flood${i}`, 'flood'), i, nothing);
  const [first] = q.dispatch(3, half);
  expect(first!.id).toBe('flood0');
  q.arrive(ask('late', 'quiet'), 4, nothing);
  // flood was charged 100 for its prompt; quiet is lifted to flood's counter on arrival, then flood's output is charged
  q.release({ id: 'flood0', epoch: first!.epoch, output: 50 }, 10);
  expect(ids(q.dispatch(11, half))).toEqual(['late']);
});

test('idleness earns no credit: a returning tenant is lifted to the lowest that waits', () => {
  const q = oneSlot();
  q.arrive(ask('old', 'sleeper'), 0, nothing);
  const [old] = q.dispatch(0, half);
  q.release({ id: 'old', epoch: old!.epoch, output: 0 }, 1);
  for (let i = 0; i < 40; i++) {
    q.arrive(ask(`w${i}`, 'worker'), 2, nothing);
    const [lease] = q.dispatch(2, half);
    q.release({ id: lease!.id, epoch: lease!.epoch, output: 100 }, 3);
  }
  q.arrive(ask('busy', 'blocker'), 4, nothing);
  const [blocker] = q.dispatch(4, half);
  q.arrive(ask('next', 'worker'), 5, nothing);
  q.arrive(ask('back', 'sleeper'), 6, nothing);
  const counter = (name: string) => q.ledger.tenants.all.get(name)!.counter;
  expect(counter('sleeper')).toBe(counter('worker'));
  expect(counter('worker')).toBeGreaterThanOrEqual(40 * 300);
  q.release({ id: 'busy', epoch: blocker!.epoch, output: 1 }, 7);
});

test('two backlogged tenants get the same service in tokens, though one asks for ten times as much at a time', () => {
  const q = oneSlot({ agingMs: 1e9 });
  const served: Record<string, number> = { big: 0, small: 0 };
  for (let i = 0; i < 400; i++) {
    q.arrive(ask(`b${i}`, 'big', { promptTokens: 1000 }), 0, nothing);
    q.arrive(ask(`s${i}`, 'small', { promptTokens: 100 }), 0, nothing);
  }
  for (let i = 0; i < 200; i++) {
    const [lease] = q.dispatch(i, half);
    const big = lease!.id.startsWith('b');
    served[big ? 'big' : 'small']! += big ? 1000 + 2 * 100 : 100 + 2 * 10;
    q.release({ id: lease!.id, epoch: lease!.epoch, output: big ? 100 : 10 }, i);
  }
  expect(Math.abs(served.big! - served.small!)).toBeLessThanOrEqual(1200);
});

test('the estimate of the prompt is corrected on release, and cached tokens are not charged', () => {
  const q = oneSlot();
  q.arrive(ask('x', 't', { promptTokens: 900 }), 0, nothing);
  const [lease] = q.dispatch(0, half);
  expect(q.ledger.tenants.all.get('t')!.counter).toBe(900);
  q.release({ id: 'x', epoch: lease!.epoch, output: 10, promptTokens: 800, cachedTokens: 600 }, 1);
  expect(q.ledger.tenants.all.get('t')!.counter).toBe(200 + 20);
});

test("priority orders a tenant's own requests, age lowers its number, and nobody passes another tenant by it", () => {
  const q = oneSlot({ agingMs: 1000 });
  q.arrive(ask('run', 'x'), 0, nothing);
  const [run] = q.dispatch(0, half);
  q.arrive(ask('later', 'a', { priority: 1 }), 0, nothing);
  q.arrive(ask('sooner', 'a', { priority: -1 }), 10, nothing);
  q.release({ id: 'run', epoch: run!.epoch, output: 1 }, 20);
  const [first] = q.dispatch(20, half);
  expect(first!.id).toBe('sooner');
  q.arrive(ask('sooner2', 'a', { priority: -1 }), 3000, nothing);
  q.arrive(ask('other', 'b', { priority: 1000 }), 3001, nothing);
  q.arrive(ask('urgent', 'a', { priority: -2 }), 3002, nothing);
  q.release({ id: 'sooner', epoch: first!.epoch, output: 100 }, 3100);
  const [second] = q.dispatch(3100, half);
  expect(second!.id).toBe('other'); // a has had more
  q.release({ id: 'other', epoch: second!.epoch, output: 1000 }, 3200);
  const order: string[] = [];
  for (let i = 0; i < 3; i++) {
    const [next] = q.dispatch(3200, half);
    order.push(next!.id);
    q.release({ id: next!.id, epoch: next!.epoch, output: 1 }, 3200);
  }
  expect(order).toEqual(['later', 'urgent', 'sooner2']); // 1 less three ages, then -2, then -1
});

test('no tenant fills the last slots while another was seen lately', () => {
  const q = new Queue({ ...POLICY, slots: 8 }, ['a']);
  for (let i = 0; i < 20; i++) q.arrive(ask(`f${i}`, 'flood'), 0, nothing);
  expect(q.dispatch(0, half)).toHaveLength(8); // alone: no reserve
  const r = new Queue({ ...POLICY, slots: 8 }, ['a']);
  r.arrive(ask('s', 'small'), 0, nothing);
  for (let i = 0; i < 20; i++) r.arrive(ask(`f${i}`, 'flood'), 0, nothing);
  expect(ids(r.dispatch(0, half)).filter((id) => id.startsWith('f'))).toHaveLength(6);
  expect(ids(r.dispatch(700_000, half))).toHaveLength(1); // seen too long ago
});

test('a full queue costs the tenant with the longest queue its newest request', () => {
  const q = oneSlot({ maxQueue: 4 });
  q.arrive(ask('run', 'flood'), 0, nothing);
  q.dispatch(0, half);
  for (let i = 0; i < 4; i++) expect(q.arrive(ask(`f${i}`, 'flood'), i + 1, nothing).kind).toBe('queued');
  const full = q.arrive(ask('f4', 'flood'), 9, nothing);
  expect(full).toMatchObject({ kind: 'refused', reason: 'queue_full' });
  const out: string[] = [];
  expect(q.arrive(ask('s', 'small'), 10, (id) => out.push(id)).kind).toBe('queued');
  expect(out).toEqual(['f3']);
});

test('rate limit: a burst, then one a second, and Retry-After says when', () => {
  const q = new Queue({ ...POLICY, ratePerMinute: 60, burst: 2 }, ['a']);
  expect(q.arrive(ask('1', 't'), 0, nothing).kind).toBe('queued');
  expect(q.arrive(ask('2', 't'), 0, nothing).kind).toBe('queued');
  expect(q.arrive(ask('3', 't'), 100, nothing)).toEqual({ kind: 'refused', reason: 'rate_limit', retryAfter: 1 });
  expect(q.arrive(ask('4', 'other'), 100, nothing).kind).toBe('queued');
  expect(q.arrive(ask('5', 't'), 1_100, nothing).kind).toBe('queued');
});

test('the rate is the same at any time of the day, and rest saves up a burst and no more', () => {
  const q = new Queue({ ...POLICY, ratePerMinute: 60, burst: 2 }, ['a']);
  const noon = 1_800_000_000_000;
  const admitted = (at: number, from: number, n: number) =>
    Array.from({ length: n }, (_, i) => q.arrive(ask(String(from + i), 't'), at, nothing)).filter((a) => a.kind === 'queued').length;
  expect(admitted(noon, 0, 4)).toBe(2);
  expect(admitted(noon + 900, 10, 2)).toBe(0);
  expect(admitted(noon + 1_000, 20, 2)).toBe(1);
  expect(admitted(noon + 2_000, 30, 2)).toBe(1);
  expect(admitted(noon + 60_000, 40, 4)).toBe(2);
  expect(q.arrive(ask('last', 't'), noon + 60_400, nothing)).toEqual({ kind: 'refused', reason: 'rate_limit', retryAfter: 1 });
});

test('a request that is put out of a full queue is in no book any more', () => {
  const q = new Queue({ ...POLICY, maxQueue: 3, slots: 1 }, ['a']);
  for (const id of ['f1', 'f2', 'f3', 'f4']) {
    q.arrive(ask(id, 'flood'), 0, nothing);
    q.dispatch(0, half);
  }
  const out: string[] = [];
  expect(q.arrive(ask('s1', 'small'), 1, (id) => out.push(id)).kind).toBe('queued');
  expect(out).toEqual(['f4']);
  expect(q.ledger.tickets.has('f4')).toBe(false);
  expect([...q.ledger.waiting].map((t) => t.id)).toEqual(['f2', 'f3', 's1']);
  expect(q.cancel('f4')).toBe(false);
  q.ledger.audit();
});

test('concurrency limit counts what waits and what runs', () => {
  const q = new Queue({ ...POLICY, concurrency: 2, slots: 1 }, ['a']);
  q.arrive(ask('1', 't'), 0, nothing);
  q.dispatch(0, half);
  q.arrive(ask('2', 't'), 0, nothing);
  expect(q.arrive(ask('3', 't'), 0, nothing)).toMatchObject({ reason: 'concurrency_limit' });
  q.cancel('2');
  expect(q.arrive(ask('4', 't'), 0, nothing).kind).toBe('queued');
});

test('hopeless is refused with the time after which it would not be: work ahead over the measured rate', () => {
  const q = oneSlot({ maxWaitMs: 10_000, maxQueue: 1000 });
  const s = newService();
  started(s, 0, true);
  worked(s, 0, 0, 1);
  for (const at of [1_000, 2_000, 3_000]) {
    expect(timeFor(s, 100), 'one window or two say too little: the model may have been loaded in them').toBeUndefined();
    worked(s, 100, at, 1); // 0.1 weighted tokens a ms
  }
  expect(timeFor(s, 100)).toBeCloseTo(1_000);
  completed(s, 50, 1_000);
  q.ledger.service = s;
  q.arrive(ask('run', 't'), 0, nothing);
  q.dispatch(0, half);
  // each costs 100 prompt + 2 · 50 output = 200 weighted tokens = 2 s
  for (let i = 0; i < 6; i++) expect(q.arrive(ask(`${i}`, 't'), 0, nothing).kind).toBe('queued');
  expect(q.arrive(ask('7th', 't'), 0, nothing)).toEqual({ kind: 'refused', reason: 'too_slow', retryAfter: 2 });
  // another tenant shares the service: its own queue is empty, so it is not hopeless
  expect(q.arrive(ask('other', 'u'), 0, nothing).kind).toBe('queued');
});

test('a window without a queue never lowers the measured rate', () => {
  const s = newService();
  started(s, 0, true);
  worked(s, 1_000, 1_000, 3);
  expect(s.rate.value).toBe(1);
  worked(s, 10, 3_000, 0);
  expect(s.rate.value).toBe(1);
  worked(s, 5_000, 5_000, 0);
  expect(s.rate.value).toBeGreaterThan(1);
});

test("one key's requests of many choices leave the slots of others free, and start in what is free", () => {
  const q = new Queue({ ...POLICY, slots: 16, shared: true }, ['a']);
  for (let i = 0; i < 64; i++) q.arrive(ask(`wide${i}`, 'flood', { sequences: 16 }), i, nothing);
  const first = q.dispatch(64, half);
  expect(first.map((l) => [l.id, l.slots])).toEqual([['wide0', 12]]);
  q.arrive(ask('one', 'quiet'), 65, nothing);
  expect(ids(q.dispatch(65, half))).toEqual(['one']);
  q.arrive(ask('four', 'quiet', { sequences: 4 }), 66, nothing);
  expect(q.dispatch(66, half).map((l) => [l.id, l.slots])).toEqual([['four', 3]]);
  q.ledger.audit();
  q.release({ id: 'wide0', epoch: first[0]!.epoch, output: 160 }, 70);
  expect(q.ledger.service.output.value).toBe(10); // a sequence's
  q.ledger.audit();
});

test('a request costs its sequences: of the rate, of the limit at once, and of the work that waits', () => {
  const q = new Queue({ ...POLICY, ratePerMinute: 60, burst: 4 }, ['a']);
  expect(q.arrive(ask('wide', 't', { sequences: 8 }), 0, nothing).kind).toBe('queued'); // all of the burst, and four more
  expect(q.arrive(ask('next', 't'), 1_000, nothing)).toEqual({ kind: 'refused', reason: 'rate_limit', retryAfter: 4 });
  expect(q.arrive(ask('then', 't'), 5_000, nothing).kind).toBe('queued');

  const few = new Queue({ ...POLICY, concurrency: 4, slots: 16 }, ['a']);
  few.arrive(ask('wide', 't', { sequences: 8 }), 0, nothing);
  expect(few.dispatch(0, half)[0]!.slots).toBe(4);
  expect(few.arrive(ask('more', 't'), 0, nothing)).toMatchObject({ reason: 'concurrency_limit' });
  few.ledger.audit();
});

test('what takes a thread but no slot waits in a lane, fair between keys, under the same limits', () => {
  const q = new Queue({ ...POLICY, slots: 1, concurrency: 3 }, ['a']);
  const tokenize = (id: string, tenant: string) => q.arrive(ask(id, tenant, { lane: 'tokenize', promptTokens: 9_000 }), 0, nothing);
  for (let i = 0; i < 3; i++) expect(tokenize(`f${i}`, 'flood').kind).toBe('queued');
  expect(tokenize('f3', 'flood')).toMatchObject({ reason: 'concurrency_limit' });
  const [first] = q.dispatch(0, half);
  expect(first).toMatchObject({ id: 'f0', replica: '' });
  tokenize('q0', 'quiet');
  q.arrive(ask('chat', 'quiet'), 0, nothing);
  expect(ids(q.dispatch(0, half))).toEqual(['chat']); // a lane and the slots do not wait for each other
  q.ledger.audit();
  expect(q.release({ id: 'f0', epoch: first!.epoch, output: 0 }, 1)).toBe(true);
  const [second] = q.dispatch(1, half);
  expect(second!.id).toBe('q0');
  expect(q.ledger.tenants.all.get('flood')!.counter).toBe(9);
  // its caller is gone: the lane is free again in the end
  expect(q.expire(1 + POLICY.laneMs).lost).toContain('q0');
  q.ledger.audit();
});

/** Leases of replicas that are slow and alive. */
import { expect, test } from 'vitest';
import { POLICY } from '../../policy/config.ts';
import { Queue } from '../../policy/queue.ts';
import type { AdmitRequest, Heartbeat, Progress } from '../../policy/ticket.ts';

const half = () => 0.5;
const ask = (id: string, more: Partial<AdmitRequest> = {}): AdmitRequest => ({
  ...{ id, tenant: 't', priority: 0, promptTokens: 100, chain: [], restart: false },
  ...more,
});
const beat = (running: Progress[], more: Partial<Heartbeat> = {}): Heartbeat => ({
  ...{ incarnation: 'one', slots: 4, kvTokens: 10_000, running, done: [] },
  ...more,
});
const begun = (more: Partial<AdmitRequest> = {}) => {
  const q = new Queue(POLICY, ['a']);
  q.arrive(ask('x', more), 0, () => {});
  const [{ epoch }] = q.dispatch(0, half);
  return { q, epoch, replica: q.ledger.replicas.get('a')! };
};

test('a plain answer whose replica was silent for too long, and speaks again, goes on and is booked as it was', () => {
  const { q, epoch, replica } = begun();
  q.heartbeat('a', beat([{ id: 'x', epoch, output: 5 }]), 10);
  expect(q.expire(10 + POLICY.leaseMs).lost).toEqual(['x']);
  expect(replica.running).toBe(0);
  const late = q.heartbeat('a', beat([{ id: 'x', epoch, output: 9 }]), 20_000);
  expect(late.abort).toEqual([]);
  q.ledger.audit();
  expect([replica.running, q.ledger.tickets.get('x')?.output]).toEqual([1, 9]);
  expect(q.release({ id: 'x', epoch, output: 12 }, 21_000)).toBe(true);
  q.ledger.audit();
  expect([replica.running, replica.kvUsed]).toEqual([0, 0]);
});

test('not so one that its client gave up meanwhile, nor one that was placed anew, nor a session’s', () => {
  const cancelled = begun();
  cancelled.q.heartbeat('a', beat([{ id: 'x', epoch: cancelled.epoch, output: 5 }]), 10);
  cancelled.q.expire(10 + POLICY.leaseMs);
  cancelled.q.cancel('x');
  expect(cancelled.q.heartbeat('a', beat([{ id: 'x', epoch: cancelled.epoch, output: 9 }]), 20_000).abort).toEqual(['x']);

  const anew = begun();
  anew.q.expire(POLICY.startMs);
  anew.q.release({ id: 'x', epoch: anew.epoch, output: 0, failed: true }, POLICY.startMs); // its Worker saw it fail
  anew.q.arrive(ask('x'), POLICY.startMs, () => {});
  expect(anew.q.heartbeat('a', beat([{ id: 'x', epoch: anew.epoch, output: 1 }]), POLICY.startMs + 1).abort).toEqual(['x']);

  const owned = begun({ restart: true });
  owned.q.heartbeat('a', beat([{ id: 'x', epoch: owned.epoch, output: 5 }]), 10);
  expect(owned.q.expire(10 + POLICY.leaseMs).orphaned).toEqual(['x']);
  expect(owned.q.heartbeat('a', beat([{ id: 'x', epoch: owned.epoch, output: 9 }]), 20_000).abort).toEqual(['x']);
});

test('a replica whose first step is not done has as long as one that loads', () => {
  const { q, epoch, replica } = begun();
  q.heartbeat('a', beat([{ id: 'x', epoch, output: 0, promptTokens: 1_152 }]), 15);
  expect(replica.deadline).toBe(15 + POLICY.startMs);
  q.heartbeat('a', beat([{ id: 'x', epoch, output: 0, promptTokens: 1_152, computed: 32 }]), 3_000);
  expect(replica.deadline).toBe(3_000 + POLICY.leaseMs);
  q.heartbeat('a', beat([], { incarnation: 'two' }), 4_000);
  expect([replica.deadline, replica.warm]).toEqual([0, false]); // another one, which runs nothing
});

test('a replica whose steps are long may be silent for longer, and not without end', () => {
  const { q, epoch, replica } = begun();
  const says = (lateMs: number) => q.heartbeat('a', beat([{ id: 'x', epoch, output: 5 }], { lateMs }), 100);
  says(3_000);
  expect(replica.deadline).toBe(100 + 12_000);
  says(1_000_000);
  expect(replica.deadline).toBe(100 + POLICY.startMs);
});

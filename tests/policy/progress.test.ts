import { afterEach, expect, test, vi } from 'vitest';
import { POLICY } from '../../policy/config.ts';
import { Queue } from '../../policy/queue.ts';
import type { Heartbeat } from '../../policy/ticket.ts';
import { Reporter } from '../../serving/run/report.ts';

const half = () => 0.5;
afterEach(() => void vi.useRealTimers());

test('the queue hears how far a long prompt is computed, and its backlog falls with it', async () => {
  const queue = new Queue(POLICY, ['a']);
  queue.arrive({ id: 'long', tenant: 't', priority: 0, promptTokens: 900, chain: [], restart: false }, 0, () => {});
  const [lease] = queue.dispatch(0, half);
  const replica = queue.ledger.replicas.get('a')!;
  expect(replica.backlog).toBe(900);
  const beats: Heartbeat[] = [];
  let computed = 0;
  const send = async (name: string, beat: Heartbeat) => {
    beats.push(beat);
    return { abort: queue.heartbeat(name, beat, 1).abort };
  };
  const reporter = new Reporter({ slots: 8, kvTokens: 10_000, computed: (id) => (id === 'long/0' ? computed : undefined), send });
  reporter.begin({ id: 'long', epoch: lease.epoch, replica: 'a' }, () => {});
  reporter.prompt('long', 1_000);
  computed = 640;
  await expect
    .poll(() => beats.at(-1)?.running)
    .toEqual([{ id: 'long', epoch: lease.epoch, output: 0, promptTokens: 1_000, computed: 640 }]);
  expect(replica.backlog).toBe(360);
  reporter.event({ request: 'long/0', tokens: [{ id: 1 }], cachedTokens: 0 });
  await expect
    .poll(() => beats.at(-1)?.running[0])
    .toEqual({ id: 'long', epoch: lease.epoch, output: 1, promptTokens: 1_000, cachedTokens: 0 });
  expect(replica.backlog).toBe(0);
  reporter.end(lease);
  await expect.poll(() => replica.running).toBe(0);
  queue.ledger.audit();
  expect([replica.running, replica.kvUsed, replica.backlog]).toEqual([0, 0, 0]);
});

test('heartbeats go one at a time: none can overtake another and name what the other does not', async () => {
  vi.useFakeTimers();
  let under = 0;
  let most = 0;
  const said: string[] = [];
  let arrive: () => void = () => {};
  const send = async (_: string, beat: Heartbeat) => {
    most = Math.max(most, ++under);
    await new Promise<void>((done) => {
      arrive = done;
    });
    said.push(`${beat.running.map((p) => p.id)}|${beat.done.map((p) => p.id)}`);
    under--;
    return { abort: [] };
  };
  const reporter = new Reporter({ slots: 8, kvTokens: 10_000, computed: () => undefined, send });
  reporter.begin({ id: 'one', epoch: 1, replica: 'a' }, () => {});
  await expect.poll(() => under).toBe(1); // the first is on its way
  reporter.end({ id: 'one', epoch: 1 });
  reporter.begin({ id: 'two', epoch: 2, replica: 'a' }, () => {});
  await vi.advanceTimersByTimeAsync(150); // longer than it waits to say two things at once
  arrive();
  await expect.poll(() => said.length + under).toBe(2);
  reporter.end({ id: 'two', epoch: 2 });
  await vi.advanceTimersByTimeAsync(150);
  arrive();
  await expect.poll(() => said.length + under).toBe(3);
  arrive();
  await expect.poll(() => said.length).toBe(3);
  expect(most).toBe(1);
  expect(said).toEqual(['one|', 'two|one', '|two']);
});

test('a turn that comes back under a later lease ends the one that still runs here, whose end takes nothing from it', async () => {
  const beats: Heartbeat[] = [];
  const send = async (_: string, beat: Heartbeat) => {
    beats.push(beat);
    return { abort: [] };
  };
  const reporter = new Reporter({ slots: 8, kvTokens: 10_000, computed: () => undefined, send });
  const stopped: number[] = [];
  const begin = (epoch: number) => reporter.begin({ id: 'turn', epoch, replica: 'a' }, () => void stopped.push(epoch), true);
  begin(1);
  begin(1); // it says anew how it is stopped
  begin(2);
  expect(stopped).toEqual([1]);
  reporter.end({ id: 'turn', epoch: 1 });
  await expect.poll(() => beats.at(-1)).toMatchObject({ running: [{ id: 'turn', epoch: 2 }], done: [] });
  reporter.end({ id: 'turn', epoch: 2 });
  await expect.poll(() => beats.at(-1)).toMatchObject({ running: [], done: [{ id: 'turn', epoch: 2 }] });
});

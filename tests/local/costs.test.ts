/** Calls that an answer makes, counted where they are made: the app, an engine, its reporter and the queue's policy are the real ones. */
import { expect, test } from 'vitest';
import { POLICY } from '../../policy/config.ts';
import { CHAT_CALLS, costOfAnswer, PRICES, QUEUE_ROWS } from '../../policy/cost.ts';
import { Queue } from '../../policy/queue.ts';
import type { AdmitRequest, Heartbeat, Progress } from '../../policy/ticket.ts';
import { createApp } from '../../serving/app.ts';
import type { Host } from '../../serving/host.ts';
import { inProcess } from '../../serving/in-process.ts';
import { Reporter } from '../../serving/run/report.ts';
import type { Runtime } from '../../serving/run/runtime.ts';
import type { SchedulerPort } from '../../serving/scheduler.ts';
import { openShipped, requestTo } from './host.ts';

/** A server with one replica behind a queue; every call of either is counted. */
async function counted() {
  const calls = { admit: 0, heartbeat: 0, release: 0, replica: 0 };
  const queue = new Queue(POLICY, ['0']);
  const opened = await openShipped();
  const reporter = new Reporter({
    ...{ slots: 16, kvTokens: 16_384, computed: (id) => opened.engine.computed(id) },
    send: async (replica: string, beat: Heartbeat) => {
      calls.heartbeat++;
      return queue.heartbeat(replica, beat, Date.now());
    },
  });
  opened.loop.watch = (event) => reporter.event(event);
  const rt: Runtime = { ...opened, reporter, bill: (answered) => costOfAnswer({ ...answered, isolates: 1 }) };
  const port = {
    admit: async (r: AdmitRequest) => {
      calls.admit++;
      const arrival = queue.arrive(r, Date.now(), () => {});
      if (arrival.kind !== 'queued') throw new Error(arrival.kind);
      const [lease] = queue.dispatch(Date.now(), Math.random);
      return { ...lease, kind: 'run' as const };
    },
    release: async (list: Progress[]) => {
      calls.release++;
      return list.filter((p) => queue.release(p, Date.now())).length;
    },
  } as unknown as SchedulerPort;
  const inside = inProcess({ model: rt.served.id, runtime: async () => rt, vars: { PUBLIC: '1' } });
  const host: Host = {
    ...inside,
    queue: () => port,
    replica: (name) => {
      calls.replica++;
      return inside.replica(name);
    },
  };
  return { calls, queue, fetch: createApp(host).fetch };
}

const all = (calls: Record<string, number>) => Object.values(calls).reduce((a, b) => a + b, 0);

test.each([
  { max_tokens: 1, stream: false },
  { max_tokens: 40, stream: false },
  { max_tokens: 400, stream: true },
])('an answer of $max_tokens tokens makes the calls that it is billed, and none a token', async (more) => {
  const server = await counted();
  const body = { messages: [{ role: 'user', content: 'Who are you?' }], temperature: 0, ignore_eos: true, explain: true, ...more };
  const from = performance.now();
  const said = await (await server.fetch(requestTo('/v1/chat/completions', body))).text();
  const seconds = (performance.now() - from) / 1000;
  // its end is told, too
  await expect.poll(() => server.queue.ledger.tickets.size).toBe(0);
  const { calls } = server;
  expect(calls).toMatchObject({ admit: 1, replica: 1, release: 0 });
  expect(all(calls)).toBeGreaterThanOrEqual(CHAT_CALLS - 2); // what comes within 15 ms is told together
  expect(all(calls)).toBeLessThanOrEqual(CHAT_CALLS + Math.ceil(seconds));
  const { requests, rows } = JSON.parse(/"cost":(\{[^}]*\})/.exec(said)?.[1] ?? '{}') as { requests: number; rows: number };
  const billed = (requests - PRICES.workerRequest) / PRICES.objectRequest;
  expect(billed).toBeGreaterThanOrEqual(CHAT_CALLS);
  expect(Math.abs(billed - all(calls))).toBeLessThanOrEqual(2 + seconds);
  expect(rows).toBeCloseTo(QUEUE_ROWS * PRICES.rowWritten, 12);
});

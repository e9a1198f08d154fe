import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { workerds } from '../../bench/process.ts';
import { resultLines, soak } from '../../bench/soak/soak.ts';
import type { SessionPort } from '../../durable-objects/session/port.ts';
import { itemMessages } from '../../openai/requests/items.ts';
import { parseResponses } from '../../openai/requests/responses.ts';
import { sessionName, sessionOf } from '../../serving/responses/ids.ts';
import type { SchedulerStats } from '../../serving/scheduler.ts';
import { missing, startTestServer } from './server.ts';

const REPLICAS = 4;
const PAGE = 16;
const ADMIN_KEY = 'for-operators';
const GENERATED = 'turnstone_generation_tokens_total';

interface Answer {
  id: string;
  output_text: string;
  usage: { input_tokens: number; input_tokens_details: { cached_tokens: number } };
}

const others = new Set(workerds());

describe.skipIf(missing)(`${REPLICAS} replicas`, () => {
  let server: Awaited<ReturnType<typeof startTestServer>>;
  beforeAll(async () => {
    server = await startTestServer({ REPLICAS: String(REPLICAS), ADMIN_KEY });
  });
  afterAll(() => server.stop());

  async function ask(body: object): Promise<Answer> {
    const r = await fetch(`${server.url}/v1/responses`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ model: server.model, temperature: 0, ignore_eos: true, max_output_tokens: 20, ...body }),
    });
    if (!r.ok) throw new Error(await r.text());
    return (await r.json()) as Answer;
  }

  /** A metric by replica, from /metrics. */
  async function byReplica(metric: string): Promise<number[]> {
    const page = await (await fetch(`${server.url}/metrics`)).text();
    const values = new Map(
      [...page.matchAll(new RegExp(`^${metric}\\{replica="(\\d)".*\\} (\\d+)$`, 'gm'))].map((m) => [m[1], Number(m[2])]),
    );
    expect([...values.keys()]).toEqual(Array.from({ length: REPLICAS }, (_, i) => String(i)));
    expect(page.match(new RegExp(`^# TYPE ${metric} counter$`, 'gm'))).toHaveLength(1);
    return [...values.values()];
  }

  /** What was asked, and which replicas generated for it. */
  async function where<T>(run: () => Promise<T>): Promise<[T, number[]]> {
    const before = await byReplica(GENERATED);
    const result = await run();
    const after = await byReplica(GENERATED);
    return [result, after.flatMap((n, r) => (n > before[r] ? [r] : []))];
  }

  /** Until the queue knows of nothing that runs. */
  const idle = () =>
    expect
      .poll(
        async () => {
          const r = await fetch(`${server.url}/admin/queue`, { headers: { authorization: `Bearer ${ADMIN_KEY}` } });
          return ((await r.json()) as SchedulerStats).replicas.map((x) => x.running + x.backlog);
        },
        { interval: 20 },
      )
      .toEqual(new Array(REPLICAS).fill(0));

  const story = (topic: string) =>
    `Tell me about ${topic}, and about the sea, and about a stone that was lost, and about a friend who came back.`;

  it('requests at once go to several; a conversation stays where its pages are', async () => {
    const topics = ['birds', 'rain', 'bread', 'boats', 'snow', 'dogs', 'night', 'gardens'];
    const [, used] = await where(() => Promise.all(topics.map((t) => ask({ input: story(t), store: false }))));
    expect(used.length).toBeGreaterThanOrEqual(3);
    let previous: string | undefined;
    const places: number[][] = [];
    for (let turn = 0; turn < 4; turn++) {
      const [answer, at] = await where(() => ask({ input: story(`turn ${turn}`), previous_response_id: previous }));
      if (turn > 0) expect(answer.usage.input_tokens_details.cached_tokens).toBeGreaterThan(0);
      previous = answer.id;
      places.push(at);
      await idle(); // a replica that the queue still believes busy may be passed over
    }
    expect(new Set(places.map(String)).size).toBe(1);
    expect(places[0]).toHaveLength(1);
  });

  it('its replica drains: the session moves on with its pages and the same tokens', async () => {
    const [first, [at]] = await where(() => ask({ input: story('a moving house') }));
    const sessions = server.objects.namespace('SESSION');
    const session = sessions.get(sessions.idFromName(sessionName('public', sessionOf(first.id)!))) as unknown as SessionPort;
    const whole = Math.floor(first.usage.input_tokens / PAGE);
    for (let i = 0; (await session.stats()).pages < whole && i < 200; i++) await pause(50);
    const drain = async (draining: boolean, key = ADMIN_KEY) => {
      const headers = { 'content-type': 'application/json', authorization: `Bearer ${key}` };
      const body = JSON.stringify({ replica: String(at), draining });
      return (await fetch(`${server.url}/admin/drain`, { method: 'POST', headers, body })).status;
    };
    expect(await drain(true, 'somebody else')).toBe(401);
    expect(await drain(true)).toBe(200);
    const next = { input: story('the new place'), previous_response_id: first.id };
    const [moved, [to]] = await where(() => ask(next));
    expect(to).not.toBe(at);
    expect(moved.usage.input_tokens_details.cached_tokens).toBeGreaterThanOrEqual(whole * PAGE);
    expect(await drain(false)).toBe(200);
    const anew = await ask({ ...next, store: false, cache_salt: 'apart' });
    expect(anew.usage.input_tokens_details.cached_tokens).toBe(0);
    expect(moved.output_text).toBe(anew.output_text);
  });

  it('input that no context, and no row, can hold is refused before anything is stored', async () => {
    await expect(ask({ input: 'x'.repeat(700_000) })).rejects.toThrow(/context/);
  });

  it('a response that is not stored says too when another model gave the previous one', async () => {
    const objects = server.objects.namespace('REPLICA');
    const replica = objects.get(objects.idFromName('replica-0'));
    const { input, ...rest } = parseResponses({ model: server.model, input: 'Hello.', max_output_tokens: 2 });
    const request = { ...rest, input: [], messages: itemMessages(input, undefined) };
    const tell = async (previousFingerprint?: string) => {
      const body = JSON.stringify({ ...request, previousFingerprint });
      return (await (await replica.fetch('https://replica/v1/responses', { method: 'POST', body })).json()) as { turnstone?: object };
    };
    expect((await tell('another')).turnstone).toEqual({ recomputed: true });
    const sessions = server.objects.namespace('SESSION');
    const { id } = await ask({ input: 'Hello.' });
    const session = sessions.get(sessions.idFromName(sessionName('public', sessionOf(id)!))) as unknown as SessionPort;
    expect((await tell((await session.get(id))!.response.fingerprint!)).turnstone).toBeUndefined();
    expect((await tell()).turnstone).toBeUndefined();
  });

  it('a short soak: connections lost at random, every answer right, nothing left over', async () => {
    const pid = workerds().find((p) => !others.has(p)) ?? 0;
    const result = await soak({ server, pid, replicas: REPLICAS, sessions: 40, seconds: 10 });
    console.log(resultLines(result).join('\n'));
    expect(result.wrong).toEqual([]);
    expect(result.leaks).toEqual([]);
    expect(result.tally.disconnects).toBeGreaterThan(12);
    expect(result.tokens.filter((n) => n > 0)).toHaveLength(REPLICAS);
  });
});

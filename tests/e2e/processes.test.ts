import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { workerds } from '../../bench/process.ts';
import { startServer } from '../../cli/start.ts';
import type { EngineStats } from '../../engine/index.ts';
import type { SchedulerStats } from '../../serving/scheduler.ts';
import { missing, startTestServer } from './server.ts';

const ADMIN_KEY = 'for-operators';
const ROUNDS = 5;
const others = new Set(workerds());
const own = () => workerds().filter((p) => !others.has(p));
/** When a process was started, in ticks since the machine was. */
const startOf = (pid: number) => Number(readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ')[19]);
/** The process that was started last: the first one is older. */
const newest = () => own().sort((a, b) => startOf(b) - startOf(a))[0];
const oneCore = availableParallelism() < 2 ? 'one core computes one process at a time' : null;
const noProc = process.platform === 'linux' ? null : 'processes are found through /proc';
for (const why of [missing, oneCore, noProc]) if (why) console.warn(`skipped: ${why}`);

describe.skipIf(missing)('two processes', () => {
  let server: Awaited<ReturnType<typeof startTestServer>>;
  beforeAll(async () => {
    server = await startTestServer({ ADMIN_KEY }, undefined, 2);
  });
  afterAll(() => server.stop());

  const headers = { 'content-type': 'application/json' };
  const send = (path: string, body: object, signal?: AbortSignal) =>
    fetch(server.url + path, { method: 'POST', headers, body: JSON.stringify({ model: server.model, ...body }), signal });
  const post = (body: object, signal?: AbortSignal) =>
    send('/v1/completions', { prompt: 'Once upon a time', temperature: 1, ignore_eos: true, ...body }, signal);

  async function stats(replica: 0 | 1): Promise<EngineStats> {
    const objects = server.objects.namespace(replica === 0 ? 'REPLICA' : `REPLICA_${replica}`);
    const r = await objects.get(objects.idFromName(`replica-${replica}`)).fetch('https://replica/ready');
    return ((await r.json()) as { stats: EngineStats }).stats;
  }

  /** Waits until it runs something, or nothing. */
  async function runs(replica: 0 | 1, something: boolean): Promise<void> {
    for (let i = 0; i < 1000; i++) {
      const s = await stats(replica).catch(() => undefined); // it is being started
      if (s && (something ? s.running > 0 : s.running + s.waiting + s.pages.referenced === 0)) return;
      await pause(10);
    }
    throw new Error(`replica ${replica}: ${JSON.stringify(await stats(replica))}`);
  }

  async function drain(replica: 0 | 1, draining: boolean): Promise<void> {
    const body = JSON.stringify({ replica: String(replica), draining });
    const r = await fetch(`${server.url}/admin/drain`, {
      method: 'POST',
      headers: { ...headers, authorization: `Bearer ${ADMIN_KEY}` },
      body,
    });
    expect(r.status).toBe(200);
  }

  /** All that comes goes to the second process. */
  async function there<T>(run: () => Promise<T>): Promise<T> {
    await drain(0, true);
    return run().finally(() => drain(0, false));
  }

  const text = (sse: string) => [...sse.matchAll(/^data: (\{.*)$/gm)].map((m) => JSON.parse(m[1]).choices[0]?.text ?? '').join('');

  it.skipIf(oneCore)(
    '64 streams at once take at most half of the time that they take one after the other, with the same bits',
    async () => {
      const one = async (seed: number) => (await post({ stream: true, max_tokens: 40, seed })).text();
      for (let i = 0; i < 8; i++) await one(i); // kernels are compiled
      const ratios: number[] = [];
      for (let round = 0; round < ROUNDS && !(Math.min(...ratios) <= 0.5); round++) {
        const start = performance.now();
        const serial: string[] = [];
        for (let i = 0; i < 64; i++) serial.push(await one(i));
        const half = performance.now();
        const together = await Promise.all(Array.from({ length: 64 }, (_, i) => one(i)));
        const [alone, crowd] = [half - start, performance.now() - half];
        ratios.push(crowd / alone);
        console.log(`64 streams, 2 processes: ${crowd.toFixed(0)} ms together, ${alone.toFixed(0)} ms one after the other`);
        for (const t of together) expect(t.endsWith('data: [DONE]\n\n')).toBe(true);
        expect(together.map(text)).toEqual(serial.map(text));
      }
      expect(Math.min(...ratios)).toBeLessThanOrEqual(0.5);
      const largest = [(await stats(0)).largestBatch, (await stats(1)).largestBatch];
      expect(Math.min(...largest)).toBeGreaterThan(1);
      expect(Math.max(...largest)).toBeGreaterThanOrEqual(16);
      for (const replica of [0, 1] as const) await runs(replica, false);
    },
  );

  it('a client that leaves frees its pages in the other process, streaming or not', async () => {
    await there(async () => {
      for (const body of [
        { stream: true, max_tokens: 1900 },
        { max_tokens: 400, n: 4 },
      ]) {
        const abort = new AbortController();
        const answer = post(body, abort.signal).then(
          (r) => r.text().catch(() => 'aborted'),
          () => 'aborted',
        );
        await runs(1, true);
        abort.abort();
        expect(await answer).toBe('aborted');
        await runs(1, false);
      }
    });
    expect(await (await fetch(`${server.url}/metrics`)).text()).toMatch(/finished_reason="abort"\} [1-9]/);
  });

  it('a reader that does not read is bounded across processes', async () => {
    await there(async () => {
      const { port, hostname } = new URL(server.url);
      const body = JSON.stringify({
        ...{ model: server.model, prompt: 'Once', temperature: 1, ignore_eos: true },
        ...{ max_tokens: 900, stream: true, n: 16, logprobs: 20 },
      });
      const socket = connect(Number(port), hostname);
      socket.write(
        `POST /v1/completions HTTP/1.1\r\nHost: ${hostname}\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
      );
      await new Promise((r) => socket.once('data', r));
      socket.pause();
      const made = async () =>
        Number(/success_total\{replica="1".*"abort"\} (\d+)/.exec(await (await fetch(`${server.url}/metrics`)).text())?.[1]);
      const before = await made();
      expect(before).not.toBeNaN();
      for (let i = 0; i < 400 && (await made()) === before; i++) await pause(50);
      expect(await made()).toBe(before + 16);
      await runs(1, false);
      socket.destroy();
    });
  });

  it.skipIf(noProc)(
    'the other process is killed: a session goes on with the same text, the queue waits for the process to come back',
    async () => {
      const ask = { input: 'Tell me a story about birds.', max_output_tokens: 400, min_tokens: 400, temperature: 0 };
      const undisturbed = (await (await send('/v1/responses', { ...ask, store: false })).json()) as { output_text: string };
      await there(async () => {
        const response = await send('/v1/responses', { ...ask, stream: true });
        let sse = '';
        let killed = 0;
        for await (const part of response.body!.pipeThrough(new TextDecoderStream())) {
          sse += part;
          if (killed > 0 || sse.length < 20_000) continue;
          killed = newest();
          process.kill(killed, 'SIGKILL');
        }
        const events = [...sse.matchAll(/^data: (\{.*)$/gm)].map((m) => JSON.parse(m[1]) as { type: string; delta?: string });
        expect(killed).toBeGreaterThan(0);
        expect(events.at(-1)!.type).toBe('response.incomplete'); // all tokens were generated
        expect(events.map((e) => (e.type === 'response.output_text.delta' ? e.delta : '')).join('')).toBe(undisturbed.output_text);
        expect(own()).not.toContain(killed);
        expect((await post({ max_tokens: 2 })).status).toBe(200); // by the new one: the first still drains
      });
    },
  );

  it.skipIf(noProc)('the other process is killed under a plain answer: its client is told, and who comes then is answered', async () => {
    const told = await there(async () => {
      // both have a status: of the whole answer it goes out with its first heartbeat
      const answers = await Promise.all([true, false].map((stream) => post({ stream, max_tokens: 1900 })));
      process.kill(newest(), 'SIGKILL');
      return Promise.all(answers.map((a) => a.text()));
    });
    expect(told[0]).toContain('"code":"replica_lost"');
    expect(told[0]).not.toContain('[DONE]');
    expect(JSON.parse(told[1])).toMatchObject({ error: { code: 'replica_lost' } }); // its status was on its way already: it is told in the body
    const after = await Promise.all(Array.from({ length: 8 }, () => post({ max_tokens: 2 })));
    expect(after.map((r) => r.status)).toEqual(after.map(() => 200));
  });

  it.skipIf(noProc)('killed again while it joins, it comes back all the same; what an operator drained stays so', async () => {
    await drain(1, true);
    for (const joining of [0, 120]) {
      await pause(joining);
      const pid = newest();
      process.kill(pid, 'SIGKILL');
      await expect.poll(() => own().length === 2 && newest() !== pid, { interval: 5, timeout: 10_000 }).toBe(true);
    }
    const replica = async () => {
      const r = await fetch(`${server.url}/admin/queue`, { headers: { authorization: `Bearer ${ADMIN_KEY}` } });
      return ((await r.json()) as SchedulerStats).replicas.find((x) => x.id === '1');
    };
    await expect.poll(async () => (await replica())?.absent, { timeout: 20_000 }).toBe(false);
    expect((await replica())?.draining).toBe(true);
    await drain(1, false);
    await there(async () => expect((await post({ max_tokens: 2 })).status).toBe(200));
  });
});

describe.skipIf(missing)('starting and stopping two processes', () => {
  it('on storage that is known, the other one has work at once; stopped while it starts, nothing is left', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'turnstone-processes-'));
    const start = () => startServer({ port: 0, persist: join(folder, 'state'), processes: 2, vars: { ADMIN_KEY } });
    const before = own();
    try {
      for (let i = 0; i < 3; i++) {
        const early = await start();
        await early.stop();
        await early.whole.catch(() => {}); // it was not to be
      }
      const server = await start();
      await server.whole;
      const headers = { 'content-type': 'application/json', authorization: `Bearer ${ADMIN_KEY}` };
      const send = (path: string, body: object) => fetch(server.url + path, { method: 'POST', headers, body: JSON.stringify(body) });
      await send('/admin/drain', { replica: '0', draining: true });
      const from = performance.now();
      expect((await send('/v1/completions', { model: server.pack.id, prompt: 'Once', max_tokens: 2 })).status).toBe(200);
      expect(performance.now() - from).toBeLessThan(5_000);
      await server.stop();
      if (!noProc) await expect.poll(() => own().filter((p) => !before.includes(p)), { timeout: 5_000 }).toEqual([]);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});

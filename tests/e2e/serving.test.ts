import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { EngineStats } from '../../engine/index.ts';
import { missing, startTestServer } from './server.ts';

type TestServer = Awaited<ReturnType<typeof startTestServer>>;

describe.skipIf(missing)('serving under load', () => {
  let server: TestServer;
  beforeAll(async () => {
    server = await startTestServer({ MAX_BODY_BYTES: '65536' });
    await complete({ max_tokens: 30 }); // kernels are compiled
  });
  afterAll(() => server.stop());

  const post = (body: object, signal?: AbortSignal) =>
    fetch(`${server.url}/v1/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ model: server.model, prompt: 'Once upon a time', temperature: 1, ignore_eos: true, ...body }),
      signal,
    });
  const complete = async (body: object) => (await post(body)).text();
  const stats = async () => ((await (await fetch(`${server.url}/ready`)).json()) as { stats: EngineStats }).stats;
  const metric = async (line: RegExp) => Number(line.exec(await (await fetch(`${server.url}/metrics`)).text())?.[1] ?? Number.NaN);
  /** Waits until no page is referenced; answers after how many looks. */
  const pagesBack = async (looks: number) => {
    for (let i = 1; i <= looks; i++) {
      const s = await stats();
      if (s.pages.referenced === 0 && s.running + s.waiting === 0) return i;
      await new Promise((r) => setTimeout(r, 5));
    }
    throw new Error(`pages are still referenced: ${JSON.stringify(await stats())}`);
  };

  it('64 streams at once are faster than one after the other, ride in batches of at least 16, and give all pages back', async () => {
    const one = (i: number) => complete({ stream: true, max_tokens: 40, seed: i });
    const serialStart = performance.now();
    const serial: string[] = [];
    for (let i = 0; i < 16; i++) serial.push(await one(i));
    const serialTime = (performance.now() - serialStart) * 4; // of 64
    const start = performance.now();
    const together = await Promise.all(Array.from({ length: 64 }, (_, i) => one(i)));
    const time = performance.now() - start;
    for (const t of together) expect(t.endsWith('data: [DONE]\n\n')).toBe(true);
    const text = (sse: string) => [...sse.matchAll(/^data: (\{.*)$/gm)].map((m) => JSON.parse(m[1]).choices[0]?.text ?? '').join('');
    for (let i = 0; i < 16; i++) expect(text(together[i])).toBe(text(serial[i])); // the same bits alone and in the crowd
    const s = await stats();
    console.log(
      `64 streams: ${time.toFixed(0)} ms together, ${serialTime.toFixed(0)} ms one after the other; largest batch ${s.largestBatch}`,
    );
    expect(s.largestBatch).toBeGreaterThanOrEqual(16);
    expect(time).toBeLessThan(serialTime); // by how much depends on what else the machine does
    await pagesBack(1);
  });

  it('a client that disconnects mid-stream frees its pages within a step', async () => {
    const abort = new AbortController();
    const r = await post({ stream: true, max_tokens: 1900 }, abort.signal);
    const reader = r.body!.getReader();
    await reader.read();
    expect((await stats()).pages.referenced).toBeGreaterThan(0);
    abort.abort();
    await pagesBack(20);
    expect(await metric(/request_success_total\{[^}]*finished_reason="abort"\} (\d+)/)).toBeGreaterThan(0);
  });

  it('a client that disconnects while waiting for a whole answer frees its pages too', async () => {
    const abort = new AbortController();
    const waiting = post({ max_tokens: 400, n: 4 }, abort.signal)
      .then((r) => r.text()) // its status comes with the first token, which may be here already
      .catch(() => 'aborted');
    while ((await stats()).running === 0) await new Promise((r) => setTimeout(r, 2));
    abort.abort();
    expect(await waiting).toBe('aborted');
    await pagesBack(400); // noticed at the next heartbeat
  });

  /** A client that has read the answer's first bytes, and reads no more. */
  const stopped = async (more: object) => {
    const { port, host } = new URL(server.url);
    const socket = connect(Number(port), '127.0.0.1');
    socket.on('error', () => {});
    const body = JSON.stringify({ model: server.model, prompt: 'Once', temperature: 1, ignore_eos: true, ...more });
    socket.write(
      `POST /v1/completions HTTP/1.1\r\nHost: ${host}\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
    );
    await new Promise((r) => socket.once('data', r));
    socket.pause();
    return socket;
  };

  // the write that meets the reset, and not the socket's event, may be what tells: then the runtime passes nothing on by itself
  it.each([
    ['a stream', { stream: true }],
    ['a stream with logprobs', { stream: true, logprobs: 5 }],
    ['a whole answer', { logprobs: 5 }],
  ])('a reset with unread data is noticed 8 times of 8: %s', async (_, how) => {
    const before = await metric(/finished_reason="abort"\} (\d+)/);
    for (let i = 0; i < 8; i++) {
      const socket = await stopped({ max_tokens: 1900, seed: i, ...how });
      await new Promise((r) => setTimeout(r, 20 * i)); // at another place of a step each time
      socket.resetAndDestroy();
      await pagesBack(4000);
    }
    expect(await metric(/finished_reason="abort"\} (\d+)/)).toBe(before + 8); // none ran to its limit
  });

  it('a reader that does not read is bounded, then aborted', async () => {
    const before = await metric(/finished_reason="abort"\} (\d+)/);
    const socket = await stopped({ max_tokens: 480, stream: true, n: 16, logprobs: 20 });
    let aborted = before;
    for (let i = 0; i < 400 && aborted === before; i++) {
      await new Promise((r) => setTimeout(r, 50));
      aborted = await metric(/finished_reason="abort"\} (\d+)/);
    }
    expect(aborted).toBe(before + 16);
    await pagesBack(1);
    socket.destroy();
  });

  it('a server without keys answers to loopback names only', async () => {
    const { port } = new URL(server.url);
    const ask = (host: string) =>
      new Promise<string>((resolve, reject) => {
        const socket = connect(Number(port), '127.0.0.1', () =>
          socket.write(`GET /v1/models HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`),
        );
        socket.once('data', (d) => {
          resolve(String(d)); // the status line, at least
          socket.destroy();
        });
        socket.on('error', reject);
      });
    expect(await ask(`localhost:${port}`)).toContain('200 OK');
    expect(await ask('evil.example')).toMatch(/^HTTP\/1\.1 403/);
  });

  it('bad requests get their 4xx in the envelope before any page is taken', async () => {
    const raw = (body: string, path = '/v1/completions') =>
      fetch(`${server.url}${path}`, { method: 'POST', body, headers: { 'content-type': 'application/json' } });
    const base = { model: server.model, prompt: 'x' };
    const chat = { model: server.model, messages: [{ role: 'user', content: 'x' }] };
    const cases: [string, Promise<Response>, number, string][] = [
      ['oversize', raw(JSON.stringify({ ...base, prompt: 'x'.repeat(70_000) })), 413, 'payload_too_large'],
      ['broken JSON', raw('{"model": '), 400, 'invalid_json'],
      ['wrong type', raw(JSON.stringify({ ...base, temperature: 'hot' })), 400, 'invalid_type'],
      ['context', raw(JSON.stringify({ ...base, prompt: 'one two three '.repeat(2000) })), 400, 'context_length_exceeded'],
      ['context by max_tokens', raw(JSON.stringify({ ...base, max_tokens: 100_000 })), 400, 'context_length_exceeded'],
      ['unknown model', raw(JSON.stringify({ ...base, model: 'gpt-9' })), 404, 'model_not_found'],
      ['unknown parameter', raw(JSON.stringify({ ...chat, audio: {} }), '/v1/chat/completions'), 400, 'unsupported_parameter'],
      ['token id outside', raw(JSON.stringify({ ...base, prompt: [999_999] })), 400, 'invalid_value'],
    ];
    for (const [name, response, status, code] of cases) {
      const r = await response;
      const body = (await r.json()) as { error: { message: string; code: string } };
      expect([name, r.status, body.error.code]).toEqual([name, status, code]);
      expect(body.error.message.length).toBeGreaterThan(10);
    }
    const s = await stats();
    expect([s.pages.referenced, s.running, s.waiting]).toEqual([0, 0, 0]);
  });
});

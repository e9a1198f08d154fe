/** What only the runtime can show: bodies as they stream in, packs in R2, and a client's disconnect. */

import { request as httpRequest } from 'node:http';
import { connect } from 'node:net';
import { Miniflare } from 'miniflare';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bundle } from './bundle.ts';

const MAX_BODY = 65_536;
let server: Miniflare;
let url: URL;

beforeAll(async () => {
  server = new Miniflare({
    modules: [{ type: 'ESModule', path: 'stand-in.js', contents: await bundle(new URL('stand-in.ts', import.meta.url)) }],
    compatibilityDate: '2026-04-01',
    compatibilityFlags: ['enable_request_signal'],
    durableObjects: { REPLICA: 'Replica' },
    r2Buckets: ['PACKS'],
    bindings: { MAX_BODY_BYTES: String(MAX_BODY), PUBLIC: '1' },
    cf: false,
  });
  url = await server.ready;
  const packs = await server.getR2Bucket('PACKS');
  await packs.put('pebble/model.json', '{"version":1}');
  await packs.put(
    'pebble/0.bin',
    Uint8Array.from({ length: 1000 }, (_, i) => i % 251),
  );
});

afterAll(() => server?.dispose());

const chat = { model: 'm', messages: [{ role: 'user', content: 'hi' }] };

const post = (body: string) =>
  fetch(new URL('/v1/chat/completions', url), { method: 'POST', headers: { 'content-type': 'application/json' }, body });

/** Sends `chunks` chunks of 16 KiB without a content-length, and resolves with the status. */
function stream(chunks: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const req = httpRequest(
      new URL('/v1/chat/completions', url),
      { method: 'POST', headers: { 'content-type': 'application/json', 'transfer-encoding': 'chunked' } },
      (res) => {
        resolve(res.statusCode!);
        res.resume();
        req.destroy();
      },
    );
    req.on('error', reject);
    req.write(`${JSON.stringify(chat).slice(0, -1)},"user":"`);
    for (let i = 0; i < chunks; i++) req.write('x'.repeat(16_384));
    req.end('"}');
  });
}

type Seen = { sent: number; cancelled: number; aborted: number };
/** What became of the requests for a model: of one test, so that another's stream that still ends is not taken for it. */
const seen = async (model: string): Promise<Seen> =>
  ((await (await fetch(new URL('/metrics', url))).json()) as Record<string, Seen>)[model] ?? { sent: 0, cancelled: 0, aborted: 0 };

describe('bodies', () => {
  it('arrive checked', async () => {
    expect(await (await post(JSON.stringify(chat))).json()).toMatchObject({ kind: 'chat', model: 'm' });
  });

  it('are read up to the limit when no length was declared', async () => {
    expect(await stream(2)).toBe(200);
    expect(await stream(8)).toBe(413);
  });

  it('are not read at all when the declared length is above it', async () => {
    const response = await post(`${JSON.stringify(chat).slice(0, -1)},"user":"${'x'.repeat(MAX_BODY)}"}`);
    expect(response.status).toBe(413);
    expect(await response.json()).toMatchObject({ error: { code: 'payload_too_large' } });
  });
});

describe('streams', () => {
  it('come through as they are sent', async () => {
    const response = await post(JSON.stringify({ ...chat, stream: true }));
    expect(response.headers.get('content-type')).toBe('text/event-stream');
    const reader = response.body!.getReader();
    const { value } = await reader.read();
    expect(new TextDecoder().decode(value)).toContain('data: {"x":1}\n\n');
    await reader.cancel();
  });

  it("end inside the replica when the client goes, by the stream's cancel and the request's signal", async () => {
    const abort = new AbortController();
    const response = await fetch(new URL('/v1/chat/completions', url), {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ ...chat, model: 'left', stream: true }),
      signal: abort.signal,
    });
    await response.body!.getReader().read();
    abort.abort();
    await expect.poll(async () => (await seen('left')).cancelled, { interval: 20 }).toBeGreaterThan(0);
    await expect.poll(async () => (await seen('left')).aborted, { interval: 20 }).toBeGreaterThan(0);
    const { sent } = await seen('left');
    // as long as another stream takes for 20 parts: one that had gone on would have sent as many
    const other = (await post(JSON.stringify({ ...chat, model: 'stayed', stream: true }))).body!.getReader();
    while ((await seen('stayed')).sent < 20) await other.read();
    await other.cancel();
    expect((await seen('left')).sent, 'some may have been on their way').toBeLessThanOrEqual(sent + 5);
  });
});

/**
 * workerd on its own socket takes a closed sending half for no goodbye: before anything is written it notices a reset only. So this
 * client resets; in front of a deployed Worker, the edge tells.
 */
it('a client that goes before there is any answer is heard of inside the replica', async () => {
  const body = JSON.stringify({ ...chat, model: 'slow' });
  const socket = connect(Number(url.port), url.hostname);
  socket.on('error', () => {});
  socket.write(
    `POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
  );
  await expect.poll(async () => (await seen('slow')).sent, { interval: 20 }).toBeGreaterThan(0);
  socket.resetAndDestroy();
  await expect.poll(async () => (await seen('slow')).aborted, { interval: 20 }).toBeGreaterThan(0);
});

it('an answer that fails before its object began ends as an error that may be tried again', async () => {
  const body = JSON.stringify({ ...chat, model: 'breaks' });
  // on a connection of its own, which nobody uses after it
  const text = await new Promise<string>((resolve, reject) => {
    const r = httpRequest(new URL('/v1/chat/completions', url), {
      method: 'POST',
      agent: false,
      headers: { 'content-type': 'application/json' },
    });
    r.on('response', (res) => {
      let got = '';
      res.setEncoding('utf8').on('data', (d: string) => (got += d));
      res.on('close', () => resolve(got));
    });
    r.on('error', reject).end(body);
  });
  expect(JSON.parse(text)).toMatchObject({ error: { code: 'replica_lost', type: 'server_error' } });
});

describe('packs', () => {
  const get = (path: string, headers: Record<string, string> = {}, method = 'GET') =>
    fetch(new URL(`/packs/${path}`, url), { method, headers });
  const bytes = async (r: Response) => [...new Uint8Array(await r.arrayBuffer())];
  const all = Array.from({ length: 1000 }, (_, i) => i % 251);

  it('are served whole, typed, with an ETag', async () => {
    const response = await get('pebble/model.json');
    expect(await response.json()).toEqual({ version: 1 });
    expect(response.headers.get('content-type')).toBe('application/json');
    const shard = await get('pebble/0.bin');
    expect(shard.headers.get('accept-ranges')).toBe('bytes');
    expect(await bytes(shard)).toEqual(all);
  });

  it.each([
    ['bytes=0-9', 206, 'bytes 0-9/1000', [0, 10]],
    ['bytes=990-', 206, 'bytes 990-999/1000', [990, 1000]],
    ['bytes=990-5000', 206, 'bytes 990-999/1000', [990, 1000]],
    ['bytes=-7', 206, 'bytes 993-999/1000', [993, 1000]],
    ['bytes=9-3', 200, null, [0, 1000]],
    ['bytes=0-1,5-6', 200, null, [0, 1000]],
    ['lines=1-2', 200, null, [0, 1000]],
  ])('range %s is %i', async (range, status, contentRange, [from, to]) => {
    const response = await get('pebble/0.bin', { range });
    expect([response.status, response.headers.get('content-range')]).toEqual([status, contentRange]);
    expect(await bytes(response)).toEqual(all.slice(from, to));
  });

  it('range beyond the end is 416', async () => {
    const response = await get('pebble/0.bin', { range: 'bytes=1000-' });
    expect([response.status, response.headers.get('content-range')]).toEqual([416, 'bytes */1000']);
  });

  it('answer conditions and HEAD', async () => {
    const etag = (await get('pebble/0.bin', {}, 'HEAD')).headers.get('etag')!;
    expect((await get('pebble/0.bin', { 'if-none-match': etag })).status).toBe(304);
    expect((await get('pebble/0.bin', { 'if-none-match': '"other"' })).status).toBe(200);
    expect((await get('pebble/0.bin', { 'if-match': '"other"' })).status).toBe(412);
    const head = await get('pebble/0.bin', {}, 'HEAD');
    expect([head.status, head.headers.get('content-length'), (await bytes(head)).length]).toEqual([200, '1000', 0]);
  });

  it('that are not there are 404 in the envelope', async () => {
    const response = await get('pebble/9.bin');
    expect(response.status).toBe(404);
    expect(await response.json()).toMatchObject({ error: { code: 'not_found' } });
  });
});

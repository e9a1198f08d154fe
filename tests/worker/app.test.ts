/** Routing, keys and validation, in Node with a replica that only records: what runs in workerd is in runtime.test.ts. */

import { beforeEach, describe, expect, it, vi } from 'vitest';
import { version } from '../../package.json';
import type { Env } from '../../worker/env.ts';
import { app } from './app-of.ts';

const KEY = 'sk-0123456789';

interface Call {
  path: string;
  method: string;
  headers: Headers;
  body: { [key: string]: unknown } | null;
}

let calls: Call[];
let failures: unknown[];

function env(extra: Partial<Env> = {}): Env {
  const stub = {
    async fetch(url: string, init: RequestInit): Promise<Response> {
      const failure = failures.shift();
      calls.push({
        path: new URL(url).pathname,
        method: init.method ?? 'GET',
        headers: new Headers(init.headers),
        body: init.body ? JSON.parse(init.body as string) : null,
      });
      if (failure) throw failure;
      if (url.endsWith('/ready')) return Response.json({ status: 'ready', model: 'pebble' });
      if (url.endsWith('/v1/models'))
        return Response.json({ object: 'list', data: [{ id: 'org/pebble', object: 'model', created: 1, owned_by: 'x' }] });
      // one whose prompts have 100 tokens of 10 units
      const room: Record<string, string> = extra.MODEL_ID === 'small' ? { 'x-turnstone-prompt-room': '100 10' } : {};
      return new Response('data: [DONE]\n\n', { headers: { 'content-type': 'text/event-stream', ...room } });
    },
  };
  const namespace = { idFromName: (name: string) => name, get: () => stub };
  return { REPLICA: namespace as unknown as DurableObjectNamespace, PUBLIC: '1', ...extra };
}

const chat = { model: 'pebble', messages: [{ role: 'user', content: 'hi' }] };

const post = (path: string, body: unknown, extra: Partial<Env> = {}, headers: Record<string, string> = {}) =>
  app.request(
    path,
    {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: typeof body === 'string' ? body : JSON.stringify(body),
    },
    env(extra),
  );

it('FIGURES: a point a request in Analytics Engine, by route, model and the name of its key, and nothing of what was said', async () => {
  const points: AnalyticsEngineDataPoint[] = [];
  const FIGURES = { writeDataPoint: (p: AnalyticsEngineDataPoint) => void points.push(p) } as AnalyticsEngineDataset;
  const extra = { API_KEYS: `alice:${KEY}`, PUBLIC: undefined, MODEL_ID: 'pebble', FIGURES };
  await post('/v1/chat/completions', { ...chat, messages: [{ role: 'user', content: 'a secret' }] }, extra, {
    authorization: `Bearer ${KEY}`,
  });
  await post('/v1/chat/completions', chat, extra);
  expect(points.map((p) => [p.indexes, p.blobs, p.doubles?.[0]])).toEqual([
    [['alice'], ['/v1/chat/completions', 'pebble', 'POST', 'alice'], 200],
    [[''], ['/v1/chat/completions', '', 'POST', ''], 401],
  ]);
  expect(points.every((p) => Number(p.doubles?.[1]) >= 0)).toBe(true);
  expect(JSON.stringify(points)).not.toMatch(/secret|sk-/);
});

it('LOG_REQUESTS: a line of JSON a request, by the name of its key, and nothing of what was said or of the key', async () => {
  const log = vi.spyOn(console, 'log').mockImplementation(() => {});
  try {
    const extra = { API_KEYS: `alice:${KEY}`, PUBLIC: undefined, MODEL_ID: 'pebble' };
    await post('/v1/chat/completions', { ...chat, messages: [{ role: 'user', content: 'a secret' }] }, extra, {
      authorization: `Bearer ${KEY}`,
    });
    expect(log).not.toHaveBeenCalled(); // unless asked for
    const asked = { ...extra, LOG_REQUESTS: '1' };
    const answer = await post('/v1/chat/completions', { ...chat, messages: [{ role: 'user', content: 'a secret' }] }, asked, {
      authorization: `Bearer ${KEY}`,
    });
    const refused = await post('/v1/chat/completions', chat, asked, { authorization: 'Bearer wrong-key-00' });
    const lines = log.mock.calls.map(([line]) => String(line));
    expect(lines.map((line) => JSON.parse(line))).toEqual([
      {
        ...{ time: expect.stringMatching(/^\d{4}-.*Z$/), level: 'info', message: 'request', request: answer.headers.get('x-request-id') },
        ...{ key: 'alice', method: 'POST', route: '/v1/chat/completions', model: 'pebble', status: 200, ms: expect.any(Number) },
      },
      expect.objectContaining({ status: 401, request: refused.headers.get('x-request-id') }),
    ]);
    expect(lines.join()).not.toMatch(new RegExp(`a secret|${KEY}|wrong-key`));
  } finally {
    log.mockRestore();
  }
});

async function envelope(response: Response) {
  expect(response.headers.get('content-type')).toContain('application/json');
  const { error } = (await response.json()) as { error: { message: string; type: string; param: string | null; code: string | null } };
  expect(Object.keys(error).sort()).toEqual(['code', 'message', 'param', 'type']);
  return error;
}

beforeEach(() => {
  calls = [];
  failures = [];
});

describe('/ready', () => {
  const queue = (stats: () => unknown) =>
    ({ idFromName: (name: string) => name, get: () => ({ stats: async () => stats() }) }) as unknown as DurableObjectNamespace;
  const replicas = [
    { id: '0', absent: false },
    { id: '1', absent: true },
  ];

  it('asks each part, and tells what each says', async () => {
    const embedder = { fetch: async () => new Response('no', { status: 503 }) } as unknown as Fetcher;
    const response = await app.request(
      '/ready',
      {},
      env({ REPLICAS: '2', EMBEDDER: embedder, SCHEDULER: queue(() => ({ stored: false, replicas })) }),
    );
    expect(response.status).toBe(200);
    expect(await response.json()).toMatchObject({
      ...{ status: 'ready', model: 'pebble' },
      parts: { queue: expect.stringContaining('in memory'), 'replica 0': 'ready', 'replica 1': 'absent', embedder: 'answers 503' },
    });
  });

  it('is 503 when the queue or every replica fails, and says which', async () => {
    const broken = () => {
      throw new Error('database disk image is malformed');
    };
    const response = await app.request('/ready', {}, env({ SCHEDULER: queue(broken) }));
    expect(response.status).toBe(503);
    expect(await response.json()).toMatchObject({ parts: { queue: 'database disk image is malformed', 'replica 0': 'ready' }, error: {} });
    failures = [new Error('gone')];
    const dead = await app.request('/ready', {}, env());
    expect(dead.status).toBe(503);
    expect(await dead.json()).toMatchObject({ status: 'not ready', parts: { 'replica 0': 'gone' } });
  });
});

describe('Idempotency-Key', () => {
  const seedOf = async (headers: Record<string, string>, body: object = chat) => {
    calls = [];
    const response = await post('/v1/chat/completions', body, {}, headers);
    return response.status === 200 ? (calls[0].body!.sampling as { seed?: number[] }).seed : (await envelope(response)).code;
  };
  it('gives a request the seed that follows from it, unless the client gave one', async () => {
    const seed = await seedOf({ 'idempotency-key': 'a' });
    expect(seed).toEqual([expect.any(Number), expect.any(Number)]);
    expect(await seedOf({ 'idempotency-key': 'a' })).toEqual(seed);
    expect(await seedOf({ 'idempotency-key': 'b' })).not.toEqual(seed);
    expect(await seedOf({ 'idempotency-key': 'a' }, { ...chat, seed: 7 })).toEqual([7, 0]);
    expect(await seedOf({})).toBeUndefined();
    expect(await seedOf({ 'idempotency-key': 'x'.repeat(256) })).toBe('invalid_idempotency_key');
  });
});

describe('routes', () => {
  it('hands the checked request over in one call and the answer back as it is', async () => {
    const response = await post('/v1/chat/completions', { ...chat, stream: true });
    expect(response.status).toBe(200);
    expect(await response.text()).toBe('data: [DONE]\n\n');
    expect(calls).toHaveLength(1);
    expect(calls[0]).toMatchObject({ path: '/v1/chat/completions', method: 'POST', body: { kind: 'chat', stream: true } });
    expect(calls[0].headers.get('x-turnstone-tenant')).toBe('public');
    expect(calls[0].headers.get('x-turnstone-request')).toBe(response.headers.get('x-request-id'));
  });

  it('hears no header of the server’s own from a client', async () => {
    const sent = { 'x-turnstone-request': 'mine', 'x-turnstone-tenant': 'another', 'x-turnstone-replica': '7', 'x-turnstone-epoch': '9' };
    await post('/v1/chat/completions', chat, {}, sent);
    for (const [name, value] of Object.entries(sent)) expect(calls[0].headers.get(name)).not.toBe(value);
  });

  it.each([
    ['/v1/chat/completions/', '/v1/chat/completions'],
    ['/v1//chat/completions', '/v1/chat/completions'],
    ['//v1/models/?limit=1', '/v1/models?limit=1'],
    ['/v1/responses//resp_1/', '/v1/responses/resp_1'],
    ['/health/', '/health'],
    ['//evil.example//v1/models/', null],
  ])('sends %s to %s, with its method and body', async (from, to) => {
    for (const method of ['GET', 'POST']) {
      const response = await app.request(`http://localhost${from}`, { method }, env());
      if (to === null) expect(response.status).toBe(404);
      else expect([response.status, response.headers.get('location')]).toEqual([308, to]);
    }
  });

  it('leaves a preflight and the page’s own paths as they are', async () => {
    expect((await app.request('/v1/models/', { method: 'OPTIONS' }, env())).status).not.toBe(308);
    expect((await app.request('/docs/', {}, env())).status).toBe(404);
  });

  it.each([
    ['POST', '/v1/nothing'],
    ['POST', '/chat/completions'],
    ['GET', '/chat/completions'],
    ['GET', '/models'],
  ])('%s %s is a 404 in the envelope', async (method, path) => {
    const site = { fetch: async () => new Response('<h1>Not found</h1>', { status: 404, headers: { 'content-type': 'text/html' } }) };
    for (const ASSETS of [undefined, site as unknown as Fetcher]) {
      const response = await app.request(
        path,
        { method, headers: { 'content-type': 'application/json' }, body: method === 'POST' ? '{}' : undefined },
        env({ ASSETS }),
      );
      expect(response.status).toBe(404);
      expect(await envelope(response)).toMatchObject({ code: 'not_found', message: expect.stringContaining(path) });
    }
    if (method === 'GET') {
      const page = await app.request(path, { headers: { accept: 'text/html,*/*' } }, env({ ASSETS: site as unknown as Fetcher }));
      expect(await page.text()).toContain('<h1>');
    }
  });

  it('a method that a response does not have is a 405 that names those it has', async () => {
    const response = await app.request(
      '/v1/responses/resp_1',
      { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{}' },
      env(),
    );
    expect([response.status, response.headers.get('allow')]).toEqual([405, 'GET, DELETE']);
  });

  it.each([
    ['/v1/completions', { model: 'm', prompt: '' }, 'completion'],
    ['/v1/tokenize', { prompt: 'x' }, 'tokenize'],
    ['/v1/detokenize', { tokens: [1] }, 'detokenize'],
  ])('%s', async (path, body, kind) => {
    expect((await post(path, body)).status).toBe(200);
    expect(calls[0]).toMatchObject({ path, body: { kind } });
  });

  it.each(['/ready', '/metrics', '/v1/models'])('asks the replica for %s', async (path) => {
    expect((await app.request(path, {}, env())).status).toBe(200);
    expect(calls[0]).toMatchObject({ path, method: 'GET', body: null });
  });

  it('finds a model by its id, with a slash in it too', async () => {
    expect(await (await app.request('/v1/models/org/pebble', {}, env())).json()).toMatchObject({ id: 'org/pebble' });
    const missing = await app.request('/v1/models/nobody', {}, env());
    expect([missing.status, (await envelope(missing)).code]).toEqual([404, 'model_not_found']);
  });

  it('is healthy without a replica', async () => {
    expect(await (await app.request('/health', {}, env())).json()).toEqual({ status: 'ok', version });
    expect(calls).toHaveLength(0);
  });

  it.each([
    ['GET', '/v1/chat/completions', 405, 'POST'],
    ['DELETE', '/v1/models', 405, 'GET, HEAD'],
    ['POST', '/health', 405, 'GET, HEAD'],
    ['GET', '/v1/nothing', 404, null],
    ['POST', '/nothing', 404, null],
    ['GET', '/nothing', 404, null],
    ['GET', '/packs/x/model.json', 404, null],
    ['GET', '/packs/%E0%A4%A', 404, null],
  ])('%s %s is %i', async (method, path, status, allow) => {
    const response = await app.request(path, { method }, env());
    expect([response.status, response.headers.get('allow')]).toEqual([status, allow]);
    expect((await envelope(response)).type).toBe('invalid_request_error');
    expect(calls).toHaveLength(0);
  });

  it('leaves everything else to the assets, whose own headers stay', async () => {
    const headers = { 'content-type': 'text/html', 'content-security-policy': "default-src 'self'" };
    const ASSETS = { fetch: async () => new Response('<!doctype html>', { headers }) } as unknown as Fetcher;
    const response = await app.request('/', {}, env({ ASSETS }));
    expect(await response.text()).toBe('<!doctype html>');
    expect(response.headers.get('content-security-policy')).toBe("default-src 'self'");
    expect(response.headers.get('x-content-type-options')).toBe('nosniff');
  });

  it('keeps answers from being run or framed', async () => {
    const { headers } = await app.request('/health', {}, env());
    expect(headers.get('content-security-policy')).toBe("default-src 'none'; frame-ancestors 'none'");
    expect(headers.get('x-content-type-options')).toBe('nosniff');
  });
});

describe('keys', () => {
  it('of one name are one tenant: a key is replaced, both hold for a while, and what is stored stays', async () => {
    const tenant = async (API_KEYS: string, key: string) => {
      calls = [];
      const response = await post('/v1/chat/completions', chat, { API_KEYS }, { authorization: `Bearer ${key}` });
      return response.status === 200 ? calls[0].headers.get('x-turnstone-tenant') : response.status;
    };
    const before = await tenant('alice:old-key-01', 'old-key-01');
    expect(before).toMatch(/^[0-9a-f]{32}$/);
    expect(await tenant('alice:old-key-01, alice:new-key-02, bob:bobs-key-3', 'new-key-02')).toBe(before);
    expect(await tenant('alice:old-key-01, alice:new-key-02, bob:bobs-key-3', 'old-key-01')).toBe(before);
    expect(await tenant('alice:new-key-02', 'new-key-02')).toBe(before);
    expect(await tenant('alice:new-key-02', 'old-key-01')).toBe(401);
    expect(await tenant('alice:old-key-01, bob:bobs-key-3', 'bobs-key-3')).not.toBe(before);
    expect(await tenant('old-key-01', 'old-key-01')).not.toBe(before); // without a name a key is its own
    expect(await tenant('alice:old-key-01, bob:old-key-01', 'old-key-01')).toBe(503); // told at the start
  });

  const bearer = (key: string) => ({ authorization: `Bearer ${key}` });

  it.each(['/v1/models', '/metrics', '/packs/x', '/v1/nothing'])('guard %s', async (path) => {
    for (const headers of [{}, bearer('wrong-key-here'), bearer(KEY.slice(0, -1)), bearer(`${KEY}x`), { authorization: KEY }]) {
      const response = await app.request(path, { headers }, env({ API_KEYS: `ann:${KEY}` }));
      expect(response.status).toBe(401);
      expect(response.headers.get('www-authenticate')).toBe('Bearer');
      expect(await envelope(response)).toMatchObject({ type: 'authentication_error', code: 'invalid_api_key' });
    }
    const response = await app.request(path, { headers: bearer(KEY) }, env({ API_KEYS: `ann:${KEY}` }));
    expect(response.status).not.toBe(401);
  });

  it('that nobody has set close the server, unless it is public on purpose or answers to its own machine only', async () => {
    const closed = { PUBLIC: undefined };
    for (const path of ['/v1/models', '/metrics', '/packs/x']) {
      const response = await app.request(path, { headers: bearer(KEY) }, env(closed));
      expect(response.status).toBe(503);
      expect(await envelope(response)).toMatchObject({ code: 'server_closed', message: expect.stringContaining('API_KEYS') });
    }
    expect((await app.request('/health', {}, env(closed))).status).toBe(200);
    expect((await app.request('/v1/models', {}, env({ PUBLIC: '0' }))).status).toBe(503);
    expect((await app.request('/v1/models', {}, env({ PUBLIC: '1' }))).status).toBe(200);
    expect((await app.request('http://127.0.0.1/v1/models', {}, env({ ...closed, LOCAL_ONLY: '1' }))).status).toBe(200);
    expect((await app.request('http://evil.example/v1/models', {}, env({ ...closed, LOCAL_ONLY: '1' }))).status).toBe(403);
  });

  it('do not guard health and readiness, nor public packs', async () => {
    expect((await app.request('/health', {}, env({ API_KEYS: KEY }))).status).toBe(200);
    expect((await app.request('/ready', {}, env({ API_KEYS: KEY }))).status).toBe(200);
    expect((await app.request('/packs/x', {}, env({ API_KEYS: KEY, PUBLIC_PACKS: '1' }))).status).toBe(404);
  });

  it('are tenants: each key its own, always the same, without showing the key', async () => {
    const API_KEYS = `ann:${KEY}, sk-another-one`;
    for (const key of [KEY, 'sk-another-one', KEY]) await post('/v1/chat/completions', chat, { API_KEYS }, bearer(key));
    const [a, b, again] = calls.map((c) => c.headers.get('x-turnstone-tenant'));
    expect(a).toMatch(/^[0-9a-f]{32}$/);
    expect(b).not.toBe(a);
    expect(again).toBe(a);
  });

  it.each(['', ' ', ',', 'ann:', 'short'])(
    'that are none (%j) close the server rather than open it, and say nothing of the secret',
    async (API_KEYS) => {
      const log = vi.spyOn(console, 'error').mockImplementation(() => {});
      const response = await post('/v1/chat/completions', chat, { API_KEYS });
      expect([response.status, await envelope(response)]).toMatchObject([503, { code: 'misconfigured' }]);
      expect(calls).toHaveLength(0);
      expect(String(log.mock.calls[0][0])).toMatch(/^settings: API_KEYS/);
      expect(String(log.mock.calls[0][0])).not.toContain('short');
      log.mockRestore();
    },
  );
});

describe('bodies', () => {
  const deep = (n: number) => `{"model":"m","messages":${'['.repeat(n)}${']'.repeat(n)}}`;

  it.each<[string, unknown, Partial<Env>, Record<string, string>, number, string | null, string | null]>([
    ['broken JSON', '{"model":', {}, {}, 400, 'invalid_json', null],
    ['an empty body', '', {}, {}, 400, 'invalid_json', null],
    ['an array', '[]', {}, {}, 400, 'invalid_type', null],
    ['nesting without end', deep(5000), {}, {}, 400, 'json_too_deep', null],
    [
      'brackets in a string',
      JSON.stringify({ ...chat, messages: [{ role: 'user', content: '["\\'.repeat(500) }] }),
      {},
      {},
      200,
      null,
      null,
    ],
    [
      'many brackets side by side',
      { ...chat, messages: Array.from({ length: 300 }, () => ({ role: 'user', content: [{ type: 'text', text: 'hi' }] })) },
      {},
      {},
      200,
      null,
      null,
    ],
    ['another content type', JSON.stringify(chat), {}, { 'content-type': 'text/plain' }, 415, 'unsupported_media_type', null],
    ['a charset', JSON.stringify(chat), {}, { 'content-type': 'application/json; charset=utf-8' }, 200, null, null],
    ['too long a body', { ...chat, user: 'x'.repeat(2000) }, { MAX_BODY_BYTES: '1024' }, {}, 413, 'payload_too_large', null],
    ['a wrong type', { ...chat, temperature: 'hot' }, {}, {}, 400, 'invalid_type', 'temperature'],
    ['a refused parameter', { ...chat, audio: {} }, {}, {}, 400, 'unsupported_parameter', 'audio'],
    ['another model', chat, { MODEL_ID: 'other' }, {}, 404, 'model_not_found', 'model'],
    ['the model served', chat, { MODEL_ID: 'pebble' }, {}, 200, null, null],
    ['no model', { messages: chat.messages }, { MODEL_ID: 'pebble' }, {}, 200, null, null],
    ['another of several models', chat, { MODEL_ID: 'other', MODELS: 'a, pebble' }, {}, 200, null, null],
    ['an alias', { ...chat, model: 'gpt-4o' }, { MODEL_ID: 'pebble', ALIASES: 'gpt-4o=pebble' }, {}, 200, null, null],
    ['an alias of nothing', { ...chat, model: 'gpt-4o' }, { MODEL_ID: 'pebble', ALIASES: 'gpt-4o=x' }, {}, 404, 'model_not_found', 'model'],
  ])('%s', async (_, body, extra, headers, status, code, param) => {
    const response = await post('/v1/chat/completions', body, extra, headers);
    expect(response.status).toBe(status);
    expect(calls).toHaveLength(status === 200 ? 1 : 0);
    if (status !== 200) expect(await envelope(response)).toMatchObject({ code, param });
  });

  it.each([
    ['/v1/chat/completions', { model: 'small', messages: [{ role: 'user', content: 'x'.repeat(1001) }] }, 'messages'],
    ['/v1/completions', { model: 'small', prompt: ['ok', 'x'.repeat(1001)] }, 'prompt'],
    ['/v1/completions', { model: 'small', prompt: new Array(101).fill(1) }, 'prompt'],
    ['/v1/responses', { model: 'small', input: 'x'.repeat(1001), store: false }, 'input'],
    ['/v1/messages', { model: 'small', max_tokens: 1, messages: [{ role: 'user', content: 'x'.repeat(1001) }] }, undefined],
  ])('a prompt that can never fit is refused here, once a replica has said what does: %s', async (path, body, param) => {
    const has = { MODEL_ID: 'small' };
    const first = await post('/v1/chat/completions', { ...chat, model: 'small' }, has);
    expect([first.status, first.headers.get('x-turnstone-prompt-room')]).toEqual([200, null]); // not the client's to know
    calls.length = 0;
    const response = await post(path, body, has);
    expect([response.status, calls]).toEqual([400, []]);
    const error = (await response.json()) as { error: { message: string; param?: string } };
    expect(error.error).toMatchObject({ message: expect.stringContaining('101 tokens'), ...(param && { param }) });
  });

  it('and no more is read of a conversation than the context can hold, or MAX_BODY_BYTES', async () => {
    const has = { MODEL_ID: 'small' };
    await post('/v1/chat/completions', { ...chat, model: 'small' }, has);
    const body = { ...chat, model: 'small', user: 'x'.repeat(1 << 20) }; // 100 tokens × 10 units × 6 bytes, and 1 MiB beside
    expect((await post('/v1/chat/completions', body, has)).status).toBe(200);
    const long = { ...body, user: 'x'.repeat((1 << 20) + 6000) };
    const response = await post('/v1/chat/completions', long, has);
    expect([response.status, (await envelope(response)).message]).toEqual([413, expect.stringContaining(String((1 << 20) + 6000))]);
    expect((await post('/v1/chat/completions', long, { ...has, MAX_BODY_BYTES: String(4 << 20) })).status).toBe(200);
    expect((await post('/v1/chat/completions', long, { ...has, MODELS: 'larger' })).status).toBe(200); // for which it may be
    expect((await post('/v1/embeddings', { model: 'm', input: long.user }, has)).status).not.toBe(413);
  });

  const packed = async (format: 'gzip' | 'deflate', text: string) =>
    new Uint8Array(await new Response(new Blob([text]).stream().pipeThrough(new CompressionStream(format))).arrayBuffer());
  const sendPacked = (body: BodyInit, encoding: string, extra = {}) =>
    app.request(
      '/v1/chat/completions',
      { method: 'POST', headers: { 'content-type': 'application/json', 'content-encoding': encoding }, body },
      env(extra),
    );

  it.each(['gzip', 'deflate', 'x-gzip', ' GZIP '] as const)('unpacks %s', async (encoding) => {
    const format = encoding === 'deflate' ? 'deflate' : 'gzip';
    expect((await sendPacked(await packed(format, JSON.stringify(chat)), encoding)).status).toBe(200);
    expect(calls[0].body).toMatchObject({ kind: 'chat', model: 'pebble' });
  });

  it('a small body that unpacks to a large one is refused at the limit', async () => {
    const bomb = await packed('gzip', JSON.stringify({ ...chat, user: 'x'.repeat(5_000_000) }));
    expect(bomb.length).toBeLessThan(10_000);
    const response = await sendPacked(bomb, 'gzip', { MAX_BODY_BYTES: '65536' });
    expect([response.status, (await envelope(response)).code]).toEqual([413, 'payload_too_large']);
  });

  it.each(['br', 'zstd', 'gzip, gzip', 'nonsense'])('an encoding that is not read (%s) is named', async (encoding) => {
    const response = await sendPacked(JSON.stringify(chat), encoding);
    expect([response.status, response.headers.get('accept-encoding')]).toEqual([415, 'gzip, deflate']);
    expect(await envelope(response)).toMatchObject({ code: 'unsupported_content_encoding', message: expect.stringContaining(encoding) });
  });

  it.each(['plain', 'cut'])('a body that is not what its encoding says (%s) is a 400', async (how) => {
    const whole = await packed('gzip', JSON.stringify(chat));
    const response = await sendPacked(how === 'cut' ? whole.slice(0, -9) : JSON.stringify(chat), 'gzip');
    expect([response.status, (await envelope(response)).code]).toEqual([400, 'invalid_encoding']);
  });

  it('invalid UTF-8', async () => {
    const body = new Uint8Array([...new TextEncoder().encode('{"model":"'), 0xff, 0x22, 0x7d]);
    const init = { method: 'POST', headers: { 'content-type': 'application/json' }, body };
    expect((await envelope(await app.request('/v1/completions', init, env()))).message).toContain('UTF-8');
  });
});

describe('a replica that fails', () => {
  const failing = async (...errors: object[]) => {
    failures = errors.map((e) => Object.assign(new Error('secret detail'), e));
    return post('/v1/chat/completions', chat);
  };

  it('is asked once more when the platform says so', async () => {
    expect((await failing({ retryable: true })).status).toBe(200);
    expect(calls.map((c) => c.body)).toEqual([calls[0].body, calls[0].body]);
  });

  it.each([
    [[{ retryable: true }, { retryable: true }], 500, 2],
    [[{}], 500, 1],
    [[{ retryable: true, overloaded: true }], 503, 1],
  ])('with %j answers %i after %i calls, and tells nothing', async (errors, status, tries) => {
    const log = vi.spyOn(console, 'error').mockImplementation(() => {});
    const response = await failing(...errors);
    expect(response.status).toBe(status);
    expect(calls).toHaveLength(tries);
    expect((await envelope(response)).message).not.toContain('secret');
    expect(response.headers.get('retry-after')).toBe(status === 503 ? '1' : null);
    log.mockRestore();
  });
});

describe('CORS', () => {
  const preflight = (CORS_ORIGINS: string | undefined, origin: string, asked = 'authorization') =>
    app.request(
      '/v1/chat/completions',
      {
        method: 'OPTIONS',
        headers: { origin, 'access-control-request-method': 'POST', 'access-control-request-headers': asked },
      },
      env({ CORS_ORIGINS, API_KEYS: KEY }),
    );

  it('answers a preflight without a key, for the origins that are named', async () => {
    const allowed = await preflight('https://a.example, https://b.example', 'https://b.example');
    expect([allowed.status, allowed.headers.get('access-control-allow-origin')]).toEqual([204, 'https://b.example']);
    expect(allowed.headers.get('access-control-allow-headers')).toContain('authorization');
    expect(allowed.headers.get('access-control-allow-methods')).toBe('GET,POST,DELETE,OPTIONS');
    expect(allowed.headers.get('access-control-max-age')).toBe('3600');
    expect((await preflight('https://a.example', 'https://evil.example')).headers.get('access-control-allow-origin')).toBeNull();
    expect((await preflight('*', 'https://any.example')).headers.get('access-control-allow-origin')).toBe('*');
    expect((await preflight(undefined, 'https://any.example')).headers.get('access-control-allow-origin')).toBeNull();
  });

  it('allows an allowed page whatever headers its SDK sends: x-stainless-* and others that are not known here', async () => {
    const asked = 'authorization,content-type,idempotency-key,x-stainless-arch,x-stainless-lang,x-stainless-retry-count';
    const allowed = await preflight('https://a.example', 'https://a.example', asked);
    expect([allowed.status, allowed.headers.get('access-control-allow-headers')?.replaceAll(' ', '')]).toEqual([204, asked]);
  });

  it.each([undefined, 'https://a.example'])('explains itself to a page that may not call (CORS_ORIGINS %s)', async (origins) => {
    const refused = await preflight(origins, 'https://evil.example');
    expect([refused.status, refused.headers.get('access-control-allow-origin')]).toEqual([403, null]);
    const { code, message } = await envelope(refused);
    expect([code, message]).toEqual(['origin_not_allowed', expect.stringContaining('set CORS_ORIGINS')]);
  });

  it('lets pages read errors and the request id', async () => {
    const response = await post('/v1/chat/completions', '{', { CORS_ORIGINS: '*' }, { origin: 'https://a.example' });
    expect(response.status).toBe(400);
    expect(response.headers.get('access-control-allow-origin')).toBe('*');
    expect(response.headers.get('access-control-expose-headers')).toContain('x-request-id');
  });
});

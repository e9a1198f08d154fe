/** What the Worker asks of the services bound beside its replicas: embedder, accelerator, packs, the queue's operator; each as a test says it answers. */
import { beforeEach, describe, expect, it, vi } from 'vitest';
import type { Env } from '../../worker/env.ts';
import { app } from './app-of.ts';

interface Asked {
  url: string;
  method: string;
  headers: Headers;
  body: unknown;
}
let asked: Asked[];
const ctx = { waitUntil: () => {}, passThroughOnException: () => {}, props: {} };

/** A service that notes what it is asked. */
const service = (answer: (url: string) => Response | Promise<Response>) => ({
  fetch: async (url: string, init: RequestInit = {}) => {
    asked.push({ url, method: init.method ?? 'GET', headers: new Headers(init.headers), body: init.body });
    return answer(url);
  },
});
const namespace = (object: (name: string) => unknown) => ({ idFromName: (n: string) => n, get: object });
const env = (more: object = {}) =>
  ({ PUBLIC: '1', REPLICA: namespace((name) => service((url) => replica(name, url))), ...more }) as unknown as Env;
let replica: (name: string, url: string) => Response | Promise<Response>;
const get = (path: string, more: object = {}, init: RequestInit = {}) => app.request(path, init, env(more), ctx);
const post = (path: string, body: unknown, more: object = {}) =>
  get(path, more, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) });
const code = async (r: Response) => ((await r.json()) as { error: { code: string } }).error.code;

beforeEach(() => {
  asked = [];
  replica = () => Response.json({ object: 'list', data: [] });
});

describe('embeddings', () => {
  it('go to the embedder checked, and come back as they are', async () => {
    const EMBEDDER = service(() => new Response('{"data":[]}', { status: 200, headers: { 'x-from': 'embedder' } }));
    const response = await post('/v1/embeddings', { model: 'dunlin', input: ['a', 'b'] }, { EMBEDDER });
    expect([response.status, await response.text(), response.headers.get('x-from')]).toEqual([200, '{"data":[]}', 'embedder']);
    expect(response.headers.get('x-request-id')).toBeTruthy();
    expect(asked).toHaveLength(1);
    expect([asked[0].url, asked[0].method, asked[0].headers.get('content-type')]).toEqual([
      'https://embedder/v1/embeddings',
      'POST',
      'application/json',
    ]);
    expect(JSON.parse(asked[0].body as string)).toMatchObject({ model: 'dunlin' });
  });

  it('are refused before anything is asked: a wrong body, and no embedder', async () => {
    const EMBEDDER = service(() => new Response());
    expect((await post('/v1/embeddings', { model: 'dunlin' }, { EMBEDDER })).status).toBe(400);
    expect(asked).toEqual([]);
    const off = await post('/v1/embeddings', { model: 'dunlin', input: 'a' });
    expect([off.status, await code(off)]).toEqual([501, 'embeddings_off']);
  });

  it('have their model in the list, and an embedder that is gone takes nothing else with it', async () => {
    const list = async (answer: () => Response) => {
      const response = await get('/v1/models', { EMBEDDER: service(answer) });
      return ((await response.json()) as { data: { id: string; kind: string }[] }).data.map((m) => `${m.id} ${m.kind}`);
    };
    replica = () => Response.json({ object: 'list', data: [{ id: 'pebble', object: 'model' }] });
    expect(await list(() => Response.json({ id: 'dunlin', object: 'model' }))).toEqual(['pebble chat', 'dunlin embedding']);
    expect(asked.map((a) => a.url)).toContain('https://embedder/model');
    expect(await list(() => new Response('no', { status: 503 }))).toEqual(['pebble chat']);
    expect(
      await list(() => {
        throw new Error('gone');
      }),
    ).toEqual(['pebble chat']);
  });
});

describe('the accelerator', () => {
  const NPU_SECRET = 'between us';
  it.each([
    ['device', 'GET'],
    ['report', 'GET'],
    ['trace', 'GET'],
    ['simulate', 'POST'],
  ])('%s is asked with its secret, which goes nowhere else', async (path, method) => {
    const NPU = service(() => new Response('told', { status: 207, headers: { 'content-type': 'text/x', 'x-secret': NPU_SECRET } }));
    const bound = { NPU, NPU_SECRET };
    const response = await (method === 'GET' ? get(`/v1/npu/${path}`, bound) : post(`/v1/npu/${path}`, { prompt: 9 }, bound));
    expect([response.status, await response.text()]).toEqual([207, 'told']);
    expect([response.headers.get('content-type'), response.headers.get('cache-control')]).toEqual(['text/x', 'no-store']);
    expect(response.headers.has('x-secret')).toBe(false);
    expect(asked.map((a) => [a.url, a.method, a.headers.get('authorization'), a.headers.get('content-type')])).toEqual([
      [`https://npu/v1/${path}`, method, 'Bearer between us', 'application/json'],
    ]);
    expect(asked[0].body).toBe(method === 'POST' ? '{"prompt":9}' : undefined);
  });

  it('is not there where it is not bound, or has no secret', async () => {
    const NPU = service(() => new Response());
    for (const bound of [{}, { NPU }, { NPU_SECRET }]) expect((await get('/v1/npu/device', bound)).status).toBe(404);
    expect(asked).toEqual([]);
  });

  it('that says no type is taken to speak JSON', async () => {
    const NPU = { fetch: async () => new Response(new Uint8Array(2)) };
    expect((await get('/v1/npu/report', { NPU, NPU_SECRET })).headers.get('content-type')).toBe('application/json');
  });
});

describe('packs', () => {
  const object = { size: 10, httpEtag: '"e"', body: 'x' };
  const bucket = (o: { get?: () => unknown; head?: () => unknown }) => ({
    get: vi.fn(async () => (o.get ?? (() => object))()),
    head: vi.fn(async () => (o.head ?? (() => object))()),
  });
  const boom = () => {
    throw new Error('R2 is down');
  };

  it('tell a range beyond the end from a store that fails', async () => {
    const log = vi.spyOn(console, 'error').mockImplementation(() => {});
    const status = async (range: string | undefined, o: Parameters<typeof bucket>[0]) =>
      (await get('/packs/p/0.bin', { PACKS: bucket(o) }, { headers: range ? { range } : {} })).status;
    expect(await status('bytes=10-', { get: boom })).toBe(416);
    expect(await status('bytes=9-', { get: boom })).toBe(500);
    expect(await status('bytes=-0', { get: boom })).toBe(416);
    expect(await status('bytes=-1', { get: boom })).toBe(500);
    expect(await status(undefined, { get: boom })).toBe(500);
    expect(await status('bytes=10-', { get: boom, head: () => null })).toBe(500);
    log.mockRestore();
  });

  it.each([
    ['p/a.json', 'application/json'],
    ['p/a.txt', 'text/plain; charset=utf-8'],
    ['p/a.md', 'text/markdown; charset=utf-8'],
    ['p/a.bin', 'application/octet-stream'],
  ])('%s is %s, and asked for again each time', async (key, type) => {
    const PACKS = bucket({});
    const response = await get(`/packs/${key}`, { PACKS });
    expect([response.status, response.headers.get('content-type')]).toEqual([200, type]);
    expect([response.headers.get('etag'), response.headers.get('cache-control')]).toEqual(['"e"', 'no-cache']);
    expect(PACKS.get).toHaveBeenCalledWith(key, expect.objectContaining({ range: undefined }));
  });

  it.each([
    ['bytes=2-5', { offset: 2, length: 4 }, 'bytes 2-5/10'],
    ['bytes=3-3', { offset: 3, length: 1 }, 'bytes 3-3/10'],
    ['bytes=7-', { offset: 7 }, 'bytes 7-9/10'],
    ['bytes=-4', { suffix: 4 }, 'bytes 6-9/10'],
    ['bytes=-40', { suffix: 40 }, 'bytes 0-9/10'],
    ['bytes=-', undefined, null],
    [' bytes=1-2', { offset: 1, length: 2 }, 'bytes 1-2/10'], // a header's edges are trimmed
    ['bytes=1-2,4-5', undefined, null],
    ['bytes=1234567890123456-', undefined, null],
  ])('read %j as %j', async (range, wanted, content) => {
    const PACKS = bucket({});
    const response = await get('/packs/p/0.bin', { PACKS }, { headers: { range } });
    expect(PACKS.get).toHaveBeenCalledWith('p/0.bin', expect.objectContaining({ range: wanted }));
    expect([response.status, response.headers.get('content-range')]).toEqual([content ? 206 : 200, content]);
  });

  it.each([
    [{ 'if-none-match': '"e"' }, 304],
    [{ 'if-modified-since': 'Mon, 30 Nov 2026 07:00:00 GMT' }, 304],
    [{ 'if-match': '"x"' }, 412],
    [{ 'if-unmodified-since': 'Mon, 30 Nov 2026 07:00:00 GMT' }, 412],
  ])('whose condition does not hold (%j) have no body: %i', async (headers, status) => {
    const { body: _, ...bare } = object;
    expect(
      (await get('/packs/p/0.bin', { PACKS: bucket({ get: () => bare }) }, { headers: headers as Record<string, string> })).status,
    ).toBe(status);
  });

  it('not in R2 are looked for among the assets; a name without end is looked for nowhere', async () => {
    const ASSETS = service((() => new Response('asset')) as () => Response);
    expect(await (await get('/packs/p/0.bin', { PACKS: bucket({ get: () => null }), ASSETS })).text()).toBe('asset');
    const PACKS = bucket({});
    expect((await get(`/packs/${'x'.repeat(1025)}`, { PACKS })).status).toBe(404);
    expect(PACKS.get).not.toHaveBeenCalled();
    expect((await get(`/packs/${'x'.repeat(1024)}`, { PACKS })).status).toBe(200);
  });
});

describe('/metrics', () => {
  const sample = (n: number) => new Response(`# TYPE x counter\nx ${n}\n`);
  it('of one replica is as it is; of several, each is named', async () => {
    replica = () => sample(1);
    expect(await (await get('/metrics')).text()).toBe('# TYPE x counter\nx 1\n');
    replica = (name) => sample(Number(name.at(-1)));
    const text = await (await get('/metrics', { REPLICAS: '3' })).text();
    for (const r of [0, 1, 2]) expect(text).toContain(`x{replica="${r}"} ${r}`);
    expect(asked.map((a) => a.url)).toEqual(new Array(4).fill('https://replica/metrics'));
  });

  it('leaves out a replica that fails or refuses, unless all do', async () => {
    replica = (name) => (name.endsWith('1') ? new Response('no', { status: 500 }) : sample(5));
    expect(await (await get('/metrics', { REPLICAS: '2' })).text()).toBe('# TYPE x counter\nx 5\n');
    replica = () => new Response('no', { status: 503 });
    expect((await get('/metrics', { REPLICAS: '2' })).status).toBe(503);
  });
});

describe('/ready', () => {
  const queue = (stats: object) => ({ SCHEDULER: namespace(() => ({ stats: async () => stats })) });
  const parts = async (response: Response) => ((await response.json()) as { parts: Record<string, string> }).parts;
  beforeEach(() => {
    replica = () => Response.json({ status: 'ready', model: 'pebble' });
  });

  it('says that everything is', async () => {
    const fine = service(() => Response.json({}));
    const response = await get('/ready', { ...queue({ stored: true, replicas: [] }), EMBEDDER: fine, NPU: fine, NPU_SECRET: 's' });
    expect(response.status).toBe(200);
    expect(await parts(response)).toEqual({
      ...{ queue: 'ready', sessions: 'ready', 'replica 0': 'ready', embedder: 'ready', accelerator: 'ready' },
    });
    expect(asked.find((a) => a.url === 'https://npu/v1/device')?.headers.get('authorization')).toBe('Bearer s');
  });

  it('is 503 on a server that stops, and says when to ask again', async () => {
    const response = await get('/ready', queue({ closed: true, stored: true, replicas: [] }));
    expect([response.status, response.headers.get('retry-after')]).toEqual([503, '1']);
    expect(await response.json()).toMatchObject({ status: 'not ready', parts: { queue: 'closed' }, error: { code: 'server_stopping' } });
  });

  it('is 503 when no replica runs, and names them; one that answers is enough', async () => {
    const absent = (...ids: string[]) => queue({ stored: true, replicas: ids.map((id) => ({ id, absent: true })) });
    const none = await get('/ready', { REPLICAS: '2', ...absent('0', '1') });
    expect([none.status, await parts(none)]).toEqual([
      503,
      { queue: 'ready', sessions: 'ready', 'replica 0': 'absent', 'replica 1': 'absent' },
    ]);
    expect(asked).toEqual([]);
    expect((await get('/ready', { REPLICAS: '2', ...absent('0') })).status).toBe(200);
    replica = (name) =>
      name.endsWith('0') ? Response.json({ error: { code: 'broken' } }, { status: 500 }) : Response.json({ model: 'm' });
    const half = await get('/ready', { REPLICAS: '2' });
    expect([half.status, await parts(half)]).toEqual([200, { 'replica 0': 'answers 500', 'replica 1': 'ready' }]);
    replica = () => Response.json({ error: { code: 'broken' } }, { status: 500 });
    const own = await get('/ready');
    expect([own.status, await code(own)]).toEqual([500, 'broken']); // its own words
  });

  it('does not wait for what the server can do without', async () => {
    const EMBEDDER = service(() => new Promise<Response>(() => {}));
    const response = await get('/ready', { EMBEDDER });
    expect([response.status, (await parts(response)).embedder]).toEqual([200, 'no answer within 50 ms']);
  });
});

it('erasing a tenant goes on until nothing is left, skips replicas that are absent, and says when there is more', async () => {
  const lefts = [2, 0, 0];
  const forgotten: string[] = [];
  const bound = {
    ADMIN_KEY: 'operators-only',
    SCHEDULER: namespace(() => ({
      stats: async () => ({ replicas: [{ id: '0', absent: true }, { id: '1' }] }),
      erase: async () => ({ waiting: 1, running: 2 }),
    })),
    TENANT: namespace(() => ({ erase: async () => ({ sessions: 3, left: lefts.shift() ?? 0 }) })),
  };
  replica = (name, url) => {
    forgotten.push(`${name} ${url}`);
    return new Response();
  };
  const erase = () => get('/admin/tenants/ann', bound, { method: 'DELETE', headers: { authorization: 'Bearer operators-only' } });
  const whole = await erase();
  expect([whole.status, await whole.json()]).toEqual([200, { tenant: 'ann', sessions: 9, requests: 6, left: 0 }]);
  expect(forgotten).toEqual(['replica-1 https://replica/forget']);
  let now = 0;
  vi.spyOn(Date, 'now').mockImplementation(() => (now += 30_000)); // the next look at the clock is too late
  lefts.push(5, 5, 0);
  const late = await erase();
  vi.restoreAllMocks();
  expect([late.status, ((await late.json()) as { left: number }).left]).toEqual([202, 5]);
});

describe('a replica in another process', () => {
  /** Half an answer, then the end of its process. */
  const breaks = (type: string, sends = 'data: {"x":1}\n\n') => {
    let sent = false;
    const body = new ReadableStream<Uint8Array>({
      pull(controller) {
        if (sent) return controller.error(new Error('connection lost'));
        sent = true;
        controller.enqueue(new TextEncoder().encode(sends));
      },
    });
    return new Response(body, { headers: { 'content-type': type } });
  };
  const place = { kind: 'run', id: 'x', replica: '1', epoch: 1, matched: 0 };
  const bound = (answer: () => Response) => ({
    SCHEDULER: namespace(() => ({ admit: async () => place, release: async () => 1 })),
    REPLICA_1: namespace(() => service(answer)),
  });
  const chat = { model: 'pebble', messages: [{ role: 'user', content: 'hi' }] };

  it('whose answer is whole gives it as it is', async () => {
    const response = await post(
      '/v1/chat/completions',
      chat,
      bound(() => new Response('{"whole":true}')),
    );
    expect(await response.text()).toBe('{"whole":true}');
    const none = await post(
      '/v1/chat/completions',
      chat,
      bound(() => new Response(null, { status: 204 })),
    );
    expect([none.status, await none.text()]).toEqual([204, '']);
  });

  it('that ends half-way through a stream has its client told', async () => {
    const text = await (
      await post(
        '/v1/chat/completions',
        chat,
        bound(() => breaks('text/event-stream; charset=utf-8')),
      )
    ).text();
    expect(text).toMatch(/^data: \{"x":1\}\n\ndata: \{"error":\{.*"code":"replica_lost"\}\}\n\n$/);
  });

  it('that ends before its object has begun has its client told in the place of one: the status is gone', async () => {
    const response = await post(
      '/v1/chat/completions',
      chat,
      bound(() => breaks('application/json', '  ')),
    );
    expect(await response.json()).toMatchObject({ error: { code: 'replica_lost', message: expect.stringContaining('Ask again') } });
  });

  it('that ends half-way through an object breaks the connection: of half of one nothing can be made', async () => {
    const response = await post(
      '/v1/chat/completions',
      chat,
      bound(() => breaks('application/json')),
    );
    await expect(response.text()).rejects.toThrow('ended before its answer');
  });

  it('is told when the client leaves its stream', async () => {
    let reason: unknown;
    const body = new ReadableStream({
      cancel(why) {
        reason = why;
      },
    });
    const response = await post(
      '/v1/chat/completions',
      chat,
      bound(() => new Response(body)),
    );
    await response.body?.cancel('enough');
    expect(reason).toBe('enough');
  });
});

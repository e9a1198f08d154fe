/** The small parts of the server, each to the letter, and its routes on a host whose every part is a stand-in. */
import { afterEach, describe, expect, it, vi } from 'vitest';
import { ApiError } from '../../openai/errors.ts';
import { parseChat } from '../../openai/requests/chat.ts';
import { version } from '../../package.json';
import type { AdmitRequest } from '../../policy/ticket.ts';
import { createApp } from '../../serving/app.ts';
import { isKey, keyNamed, tenantNamed, tenantOf } from '../../serving/auth.ts';
import { type BatchKeeper, found } from '../../serving/batches.ts';
import { readAnyJson, readBody, readJson } from '../../serving/body.ts';
import { chainTokens, messageChain } from '../../serving/chain.ts';
import { errorResponse, inForm } from '../../serving/forms.ts';
import { CLOCK, type Host } from '../../serving/host.ts';
import { idempotencyKey, seeded } from '../../serving/idempotency.ts';
import { routeOf } from '../../serving/log.ts';
import { baseOf, isFirst, loadModel, modelNamed, modelNames, otherModels } from '../../serving/models.ts';
import { isRetryable, saysRetryable } from '../../serving/retry.ts';
import { conversationBytes, maxBodyBytes, noteRoom } from '../../serving/room.ts';
import { replicaNames, type SchedulerPort } from '../../serving/scheduler.ts';
import { allows, originsOf } from '../../serving/security.ts';
import { packFile } from '../../worker/packs.ts';
import { laterFault as fault } from '../fault.ts';

const MiB = 1 << 20;
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

describe('a body', () => {
  const of = (body: BodyInit, headers: Record<string, string> = {}) =>
    new Request('http://x/', {
      method: 'POST',
      body,
      headers: { 'content-type': 'application/json', ...headers },
      duplex: 'half',
    } as RequestInit);
  const nested = (n: number) => `${'['.repeat(n)}${']'.repeat(n)}`;

  it('is read to its last byte that may be, nested as deep as may be', async () => {
    expect(await readJson(of('{"a":1}'), 7)).toEqual({ a: 1 });
    expect(await fault(readJson(of('{"a":1}'), 6))).toEqual([413, 'payload_too_large', null]);
    expect(await readAnyJson(of(nested(100)), 1000)).toBeInstanceOf(Array);
    expect(await fault(readAnyJson(of(nested(101)), 1000))).toEqual([400, 'json_too_deep', null]);
    const flat = JSON.stringify(Array(300).fill({ a: [1] })); // many brackets, none of them deep
    expect(await readAnyJson(of(flat), 1e5)).toHaveLength(300);
    const text = JSON.stringify(['[{'.repeat(200), '\\', '"[', '\\"[{'.repeat(200)]);
    expect(await readAnyJson(of(text), 1e5)).toEqual(JSON.parse(text));
    expect(await fault(readAnyJson(of(`["\\\\", ${nested(100)}]`), 1000))).toEqual([400, 'json_too_deep', null]);
    expect(new TextDecoder().decode(await readBody(of('abc'), 3))).toBe('abc');
    expect(await fault(readBody(of('abc'), 2))).toEqual([413, 'payload_too_large', null]);
    expect(await readBody(new Request('http://x/'), 0)).toHaveLength(0);
  });

  it('is of one type, whatever is said beside it', async () => {
    for (const type of ['application/json', ' Application/JSON ; charset=utf-8'])
      expect(await readJson(of('1', { 'content-type': type }), 9)).toBe(1);
    for (const type of ['text/plain', 'application/jsonx']) {
      expect(await fault(readJson(of('1', { 'content-type': type }), 9))).toEqual([415, 'unsupported_media_type', null]);
      expect(await readAnyJson(of('1', { 'content-type': type }), 9)).toBe(1);
    }
  });

  it('that says it is larger is not read', async () => {
    const request = of('1', { 'content-length': '11' });
    expect(await fault(readAnyJson(request, 10))).toEqual([413, 'payload_too_large', null]);
    expect(request.bodyUsed).toBe(false);
    expect(await readAnyJson(of('1', { 'content-length': '10' }), 10)).toBe(1);
  });

  it.each(['{', '', 'nul', '\u{feff}\u{feff}1'])('that is no JSON is told so: %j', async (text) => {
    await expect(readAnyJson(of(text), 100)).rejects.toMatchObject({
      status: 400,
      code: 'invalid_json',
      message: expect.stringContaining('not valid JSON: '),
    });
  });

  it('that is cut within a character is no UTF-8', async () => {
    const bytes = new TextEncoder().encode('"é"');
    for (const cut of [bytes.subarray(0, 2), new Uint8Array([0x22, 0xff, 0x22])])
      await expect(readAnyJson(of(cut), 100)).rejects.toMatchObject({
        code: 'invalid_json',
        message: expect.stringContaining('it is not UTF-8'),
      });
    const pieces = new ReadableStream({
      start(c) {
        for (const b of bytes) c.enqueue(new Uint8Array([b]));
        c.close();
      },
    });
    expect(await readAnyJson(of(pieces), 4)).toBe('é');
  });

  it('is waited for 15 s while nothing comes, and 300 s in all', async () => {
    vi.useFakeTimers();
    const slow = (every: number) => {
      let cancelled = 0;
      const stream = new ReadableStream({
        pull: async (c) => {
          await new Promise((done) => setTimeout(done, every));
          if (cancelled === 0) c.enqueue(new Uint8Array([0x20]));
        },
        cancel: () => void cancelled++,
      });
      return { request: of(stream), cancelled: () => cancelled };
    };
    const waited = async (every: number) => {
      const { request, cancelled } = slow(every);
      const began = Date.now();
      const got = fault(readAnyJson(request, 1e6)).then((f) => [...f, Date.now() - began]);
      await vi.advanceTimersByTimeAsync(400_000);
      expect(cancelled()).toBe(1);
      return got;
    };
    expect(await waited(16_000)).toEqual([408, 'request_timeout', null, 15_000]);
    expect(await waited(14_000)).toEqual([408, 'request_timeout', null, 300_000]);
  });
});

describe('keys', () => {
  const vars = { API_KEYS: 'ann:key-of-ann,key-of-bob' };
  it('are tenants', async () => {
    expect(await tenantOf(vars, 'Bearer key-of-ann')).toBe(await tenantNamed('ann'));
    expect(await tenantOf(vars, 'bearer   key-of-bob')).toMatch(/^[0-9a-f]{32}$/);
    for (const wrong of [
      undefined,
      '',
      'key-of-ann',
      'Bearer key-of-ann ',
      'Bearer key-of-an',
      'x Bearer key-of-ann',
      `Bearer ${'x'.repeat(1025)}`,
    ])
      expect(await tenantOf(vars, wrong)).toBe(null);
    expect(await keyNamed(vars, await tenantNamed('ann'))).toBe('ann');
    const bob = (await tenantOf(vars, 'Bearer key-of-bob')) as string;
    expect([await keyNamed(vars, bob), await keyNamed({}, 'public')]).toEqual([bob, 'public']);
    expect([await tenantOf({ PUBLIC: '1' }, undefined), await tenantOf({ LOCAL_ONLY: '1' }, 'x')]).toEqual(['public', 'public']);
    expect(await fault(tenantOf({}, undefined))).toEqual([503, 'server_closed', null]);
  });

  it('are compared whole', async () => {
    expect(await isKey('secret-1', 'Bearer secret-1')).toBe(true);
    for (const wrong of [undefined, 'secret-1', 'Bearer secret-', 'Bearer secret-11', 'Bearer secret-1 x'])
      expect(await isKey('secret-1', wrong)).toBe(false);
  });
});

describe('models', () => {
  const first = { MODEL_ID: 'a', MODELS: 'b, hf:o/r:Q4 ,', ALIASES: 'gpt=b,mini=a,far=hf:o/r:Q4' };
  it('are known by their names, their adapters and their aliases', () => {
    expect(['a', 'a:x', 'b:y', 'hf:o/r:Q4', 'c'].map((m) => baseOf(first, m))).toEqual(['a', 'a', 'b', 'hf:o/r:Q4', 'c']);
    expect(baseOf({ MODEL_ID: 'hf:o/r:Q4' }, 'hf:o/r:Q4:x')).toBe('hf:o/r:Q4');
    expect(baseOf({ MODEL_ID: 'b', FIRST_MODEL: 'a' }, 'b')).toBe('b');
    expect(baseOf({}, 'x:y')).toBe('x');
    expect([undefined, 'a', 'a:x', 'b', 'ab'].map((m) => isFirst(first, m))).toEqual([true, true, true, false, false]);
    expect([isFirst({}, 'b'), isFirst({ MODEL_ID: 'b', FIRST_MODEL: 'a' }, 'b')]).toEqual([true, false]);
    const named = (asked: string, vars: object = first) => modelNamed({ vars }, asked);
    expect(['', 'a', 'a:x', 'b', 'b:y', 'gpt', 'gpt:y', 'mini', 'mini:z', 'far'].map((m) => named(m))).toEqual([
      ...['a', 'a', 'a:x', 'b', 'b:y', 'b', 'b:y', 'a', 'a:z', 'hf:o/r:Q4'],
    ]);
    for (const none of ['c', 'hf:o/r', ':x', 'gpts'])
      expect(() => named(none)).toThrow(`'${none}' does not exist here. This server serves 'a', 'b', 'hf:o/r:Q4'`);
    expect([named('any', {}), named('', {}), named('gpt', { ALIASES: 'gpt=x' })]).toEqual(['any', '', 'x']);
    expect(modelNamed({ vars: first, launcher: {} as never }, 'c')).toBe('c');
    expect(modelNamed({ vars: first, launcher: {} as never }, '')).toBe('a');
  });

  const launcher = (answer: () => Response) => {
    const asked: unknown[] = [];
    const fetch = async (url: string, init: RequestInit = {}) => {
      asked.push([url, init.method ?? 'GET', init.body]);
      return answer();
    };
    return { asked, fetch };
  };
  it('are loaded by the launcher, under their own names, and no first one', async () => {
    const l = launcher(() => new Response());
    for (const model of [undefined, 'a', 'a:x']) await loadModel({ vars: first, launcher: l }, model);
    expect(l.asked).toEqual([]);
    await loadModel({ vars: first, launcher: l }, 'b:y', { keepAliveMs: 5 });
    expect(l.asked).toEqual([['http://launcher/load', 'POST', '{"model":"b","asked":{"keepAliveMs":5}}']]);
    await loadModel({ vars: first }, 'b');
    const body = { error: { message: 'no room', type: 'server_error', param: 'p', code: 'c' } };
    const refused = launcher(() => Response.json(body, { status: 503, headers: { 'retry-after': '7' } }));
    await expect(loadModel({ vars: first, launcher: refused }, 'b')).rejects.toMatchObject({
      ...{ status: 503, message: 'no room', type: 'server_error', code: 'c', param: 'p', headers: { 'retry-after': '7' } },
    });
    const bare = launcher(() => Response.json({ error: { message: 'x', type: 'server_error', param: null, code: null } }, { status: 500 }));
    await expect(loadModel({ vars: first, launcher: bare }, 'b')).rejects.toMatchObject({ code: null, param: null, headers: {} });
  });

  it('are listed: those that are loaded have queues', async () => {
    const cold = { object: 'model', created: 0, owned_by: 'turnstone', kind: 'chat', state: 'cold' };
    expect(await otherModels({ vars: first })).toEqual([
      { id: 'b', ...cold },
      { id: 'hf:o/r:Q4', ...cold },
    ]);
    expect([await otherModels({ vars: {} }), await modelNames({ vars: {} })]).toEqual([[], [undefined]]);
    expect(await modelNames({ vars: first })).toEqual([undefined, 'b', 'hf:o/r:Q4']);
    const l = launcher(() =>
      Response.json({
        data: [
          { id: 'b', state: 'loaded' },
          { id: 'c', state: 'cold' },
        ],
      }),
    );
    expect(await modelNames({ vars: first, launcher: l })).toEqual([undefined, 'b']);
    expect(await otherModels({ vars: first, launcher: launcher(() => new Response('', { status: 500 })) })).toEqual([]);
  });
});

describe('small things', () => {
  it('routes in the log have no ids', () => {
    const cases = { '/v1/responses/resp_a-B_1/cancel': '/v1/responses/:id/cancel', '/v1/files/file_1/content': '/v1/files/:id/content' };
    for (const [path, route] of Object.entries(cases)) expect(routeOf(path)).toBe(route);
    expect(['/v1/conversations/conv_1/items', '/v1/batches/batch_2', '/v1/x/file-batch_1', '/v1/models/resp'].map(routeOf)).toEqual([
      ...['/v1/conversations/:id/items', '/v1/batches/:id', '/v1/x/:id', '/v1/models/resp'],
    ]);
    expect(routeOf(`/${'x'.repeat(200)}`)).toHaveLength(128);
  });

  it('origins', () => {
    expect([originsOf(undefined), originsOf(' a , ,b'), originsOf('')]).toEqual([[], ['a', 'b'], []]);
    expect([allows(['*'], 'x'), allows(['a'], 'a'), allows(['a'], 'b'), allows([], 'a')]).toEqual([true, true, false, false]);
  });

  it('calls that may be made again', () => {
    const e = (more: object) => Object.assign(new Error('x'), more);
    expect([e({ retryable: true }), e({ durableObjectReset: true }), e({ retryable: false }), e({})].map(isRetryable)).toEqual([
      true,
      true,
      false,
      false,
    ]);
    for (const told of ['Network connection lost.', 'disconnected', 'internal error; x', 'SQLITE_IOERR']) {
      expect([isRetryable(new Error(told)), isRetryable(told), isRetryable(e({ message: told, overloaded: true }))]).toEqual([
        true,
        true,
        false,
      ]);
    }
    expect([undefined, null, 'x', 7].map(isRetryable)).toEqual([false, false, false, false]);
    expect([e({ retryable: true }), e({ retryable: 1 }), null, 'retryable'].map(saysRetryable)).toEqual([true, false, false, false]);
  });

  it('a chain of messages: each over those before, its tokens a third of its bytes', async () => {
    const chain = await messageChain(['t', 'm'], [{ a: 1 }, { b: 2 }]);
    expect(chain.map((l) => l.tokens)).toEqual([Math.ceil(9 / 3), Math.ceil(16 / 3), Math.ceil(23 / 3)]);
    expect(chainTokens(chain)).toBe(8);
    expect(chainTokens([])).toBe(0);
    for (const l of chain) expect(l.hash).toMatch(/^[0-9a-f]{24}$/);
    const other = await messageChain(['t', 'm'], [{ a: 1 }, { b: 3 }]);
    expect(other.map((l, i) => l.hash === chain[i].hash)).toEqual([true, true, false]);
    expect((await messageChain(['u', 'm'], [{ a: 1 }]))[1].hash).not.toBe(chain[1].hash);
  });

  it('an Idempotency-Key is 1 to 255 visible characters, and a seed', async () => {
    const of = (key?: string) => new Request('http://x', { headers: key === undefined ? {} : { 'idempotency-key': key } });
    expect([idempotencyKey(of()), idempotencyKey(of('!~')), idempotencyKey(of('x'.repeat(255)))?.length]).toEqual([undefined, '!~', 255]);
    for (const wrong of ['', 'a b', 'x'.repeat(256), '\u00e9'])
      expect(await fault(() => idempotencyKey(of(wrong)))).toEqual([400, 'invalid_idempotency_key', null]);
    const request = parseChat({ messages: [{ role: 'user', content: 'x' }] });
    expect(seeded(request, 't', undefined)).toBe(request);
    const seed = seeded(request, 't', 'k').sampling.seed as [number, number];
    expect(seed).not.toEqual(seeded(request, 'u', 'k').sampling.seed);
    expect(seed).not.toEqual(seeded(request, 't', 'l').sampling.seed);
    expect(seed[0]).not.toBe(seed[1]);
    const given = parseChat({ messages: [{ role: 'user', content: 'x' }], seed: 0 });
    expect(seeded(given, 't', 'k')).toBe(given);
  });

  it('what is kept is found, or told', async () => {
    expect(found({ ok: true, value: 7 }, 'File', 'x')).toBe(7);
    const why = (why: 'not_found' | 'full' | 'in_use', what: 'File' | 'Batch' = 'File') =>
      fault(() => found({ ok: false, why }, what, 'x'));
    expect(await why('not_found')).toEqual([404, 'not_found', 'file_id']);
    expect(await why('not_found', 'Batch')).toEqual([404, 'not_found', 'batch_id']);
    expect(await why('full')).toEqual([429, 'quota_exceeded', null]);
    expect(await why('in_use')).toEqual([409, 'file_in_use', 'file_id']);
    expect(() => found({ ok: false, why: 'full' }, 'File', '')).toThrow('as many files as');
    expect(() => found({ ok: false, why: 'full' }, 'Batch', '')).toThrow('as many batches as');
    expect(() => found({ ok: false, why: 'not_found' }, 'Batch', 'y'.repeat(90))).toThrow(`Batch with id '${'y'.repeat(80)}' not found.`);
  });

  it('errors have the form of the API that is spoken at their path', async () => {
    const error = new ApiError(404, 'gone', { code: 'c', headers: { 'retry-after': '3' } });
    const told = async (path: string) => {
      const r = errorResponse(path, error);
      expect([r.status, r.headers.get('retry-after')]).toEqual([404, '3']);
      return r.json();
    };
    for (const path of ['/v1/messages', '/v1/messages/count_tokens'])
      expect(await told(path)).toEqual({ type: 'error', error: { type: 'not_found_error', message: 'gone' } });
    for (const path of ['/api', '/api/chat']) expect(await told(path)).toEqual({ error: 'gone' });
    for (const path of ['/apix', '/v1/messagesx', '/v1/chat/completions']) expect(await told(path)).toEqual(error.envelope());
    const log = vi.spyOn(console, 'error').mockImplementation(() => {});
    expect(errorResponse('/', new Error('secret')).status).toBe(500);
    expect(log).toHaveBeenCalledOnce();
    const answer = () => Response.json({ error: { message: 'gone' } }, { status: 404, headers: { 'content-length': '99', 'x-a': 'b' } });
    const form = await inForm('/api/chat', answer());
    expect([form.status, form.headers.get('x-a'), form.headers.get('content-length'), await form.json()]).toEqual([
      404,
      'b',
      null,
      { error: 'gone' },
    ]);
    expect(await (await inForm('/api/chat', Response.json({}, { status: 500 }))).json()).toEqual({ error: 'The server had an error.' });
    const [fine, other] = [new Response('x'), answer()];
    expect(await inForm('/api/chat', fine)).toBe(fine);
    expect(await inForm('/v1/chat/completions', other)).toBe(other);
  });

  it('a body is as large as the context can hold, once a replica has said what that is', () => {
    const host = (vars: object, more: Partial<Host> = {}) => ({ vars, ...more }) as Host;
    expect([maxBodyBytes(host({})), maxBodyBytes(host({ MAX_BODY_BYTES: '2048' }))]).toEqual([4 * MiB, 2048]);
    const heard = (room: string, model = 'heard') => noteRoom(model, new Headers({ 'x-turnstone-prompt-room': room }));
    expect(conversationBytes(host({ MODEL_ID: 'heard' }))).toBe(4 * MiB);
    for (const nonsense of ['', '0 5', '5 0', 'x y', '-1 5']) heard(nonsense);
    expect(conversationBytes(host({ MODEL_ID: 'heard' }))).toBe(4 * MiB);
    heard('100 10');
    expect(conversationBytes(host({ MODEL_ID: 'heard' }))).toBe(100 * 10 * 6 + MiB);
    expect(conversationBytes(host({ MODEL_ID: 'heard', MODELS: 'b' }))).toBe(4 * MiB);
    expect(conversationBytes(host({ MODEL_ID: 'heard', MAX_BODY_BYTES: '3000' }))).toBe(3000);
    expect(conversationBytes(host({ MODEL_ID: 'heard' }, { launcher: {} as never }))).toBe(4 * MiB);
    expect(conversationBytes(host({ MODEL_ID: 'other' }))).toBe(4 * MiB);
    heard('1000000 100');
    expect(conversationBytes(host({ MODEL_ID: 'heard' }))).toBe(4 * MiB);
    const headers = new Headers({ 'x-turnstone-prompt-room': '5 5' });
    noteRoom(undefined, headers);
    expect(headers.has('x-turnstone-prompt-room')).toBe(false);
    expect(conversationBytes(host({}))).toBe(5 * 5 * 6 + MiB);
    noteRoom(undefined, new Headers({ 'x-turnstone-prompt-room': '1000000 100' }));
  });

  it('names of replicas are those of all cells', () => {
    expect(replicaNames({ CELLS: '2', REPLICAS: '2' })).toEqual(['0', '1', '2', '3']);
    expect(CLOCK.now()).toBeGreaterThan(1.7e12);
  });
});

describe('files of packs', () => {
  const bytes = new TextEncoder().encode('0123456789');
  type Options = { range?: { offset?: number; length?: number; suffix?: number }; onlyIf?: Headers };
  const bucket = (stale = false) =>
    ({
      head: async (key: string) => (key.startsWith('m/') ? { size: 10, httpEtag: '"e"' } : null),
      get: async (key: string, { range }: Options) => {
        if (!key.startsWith('m/')) return null;
        if (stale) return { size: 10, httpEtag: '"e"' };
        const offset = range?.suffix === undefined ? (range?.offset ?? 0) : Math.max(0, 10 - range.suffix);
        if (offset >= 10 || range?.suffix === 0) throw new Error('range');
        const part = bytes.subarray(offset, range?.length === undefined ? 10 : offset + range.length);
        return { size: 10, httpEtag: '"e"', body: new Response(part).body };
      },
    }) as unknown as R2Bucket;
  const get = (range?: string, key = 'm/model.json', more: Record<string, string> = {}, method = 'GET', stale = false) =>
    packFile(bucket(stale), key, new Request('http://x/', { method, headers: { ...(range && { range }), ...more } }));

  it.each<[string | undefined, number, string, string | null]>([
    [undefined, 200, '0123456789', null],
    ['bytes=0-0', 206, '0', 'bytes 0-0/10'],
    ['bytes=2-5', 206, '2345', 'bytes 2-5/10'],
    ['bytes=8-99', 206, '89', 'bytes 8-9/10'],
    ['bytes=7-', 206, '789', 'bytes 7-9/10'],
    ['bytes=9-9', 206, '9', 'bytes 9-9/10'],
    ['bytes=-3', 206, '789', 'bytes 7-9/10'],
    ['bytes=-99', 206, '0123456789', 'bytes 0-9/10'],
    ['bytes=5-2', 200, '0123456789', null],
    ['bytes=-', 200, '0123456789', null],
    ['bytes=1-2,4-5', 200, '0123456789', null],
    ['xbytes=1-2', 200, '0123456789', null],
    ['items=1-2', 200, '0123456789', null],
  ])('%s', async (range, status, text, told) => {
    const answer = (await get(range)) as Response;
    expect([answer.status, await answer.text(), answer.headers.get('content-range')]).toEqual([status, text, told]);
    const headers = { etag: '"e"', 'accept-ranges': 'bytes', 'cache-control': 'no-cache', 'content-type': 'application/json' };
    for (const [name, value] of Object.entries(headers)) expect(answer.headers.get(name)).toBe(value);
  });

  it('outside their bytes are a 416 that says how many there are', async () => {
    for (const range of ['bytes=10-', 'bytes=99-100', 'bytes=-0']) {
      await expect(get(range)).rejects.toMatchObject({
        status: 416,
        code: 'range_not_satisfiable',
        headers: { 'content-range': 'bytes */10' },
      });
    }
  });

  it('have a type by their name, and are asked for without their bytes too', async () => {
    const type = async (key: string) => ((await get(undefined, key)) as Response).headers.get('content-type');
    expect(await Promise.all(['m/a.json', 'm/a.txt', 'm/a.md', 'm/a.bin', 'm/json'].map(type))).toEqual([
      ...[
        'application/json',
        'text/plain; charset=utf-8',
        'text/markdown; charset=utf-8',
        'application/octet-stream',
        'application/octet-stream',
      ],
    ]);
    const head = (await get('bytes=1-2', 'm/a.json', {}, 'HEAD')) as Response;
    expect([head.status, head.headers.get('content-length'), head.body]).toEqual([200, '10', null]);
    expect([await get(undefined, 'x'), await get(undefined, 'x', {}, 'HEAD')]).toEqual([null, null]);
    const when = async (name: string) => ((await get(undefined, 'm/a', { [name]: '"x"' }, 'GET', true)) as Response).status;
    expect(await Promise.all(['if-none-match', 'if-modified-since', 'if-match', 'if-unmodified-since'].map(when))).toEqual([
      304, 304, 412, 412,
    ]);
  });
});

describe('a host', () => {
  /** Who was asked what, in order. */
  let asked: string[];
  const service = (name: string, answer: (path: string, init: RequestInit) => Response | Promise<Response>) => ({
    fetch: async (url: string, init: RequestInit = {}) => {
      const path = url.replace(/^https?:\/\/[^/]+/, '');
      asked.push(`${name} ${init.method ?? 'GET'} ${path}${init.body ? ` ${init.body}` : ''}`);
      return answer(path, init);
    },
  });
  const stats = (more: object = {}) => ({ closed: false, stored: true, replicas: [{ id: '0', absent: false }], tenants: [], ...more });
  const host = (more: Partial<Host> = {}): Host => ({
    vars: { PUBLIC: '1', MODEL_ID: 'a' },
    replica: (name, model) =>
      service(`replica ${name}${model ? ` of ${model}` : ''}`, (path) => {
        if (path === '/metrics') return new Response(`# TYPE m counter\nm 1\n`);
        if (path === '/v1/models')
          return Response.json({ object: 'list', data: [{ id: 'a', created: 5, family: 'f', max_model_len: 64 }] });
        if (path === '/v1/tokenize') return Response.json({ count: 12 });
        return Response.json({ status: 'ready', model: 'a' });
      }),
    secret: async () => 's',
    clock: { now: () => 1_700_000_000_000, sleep: () => new Promise(() => {}) },
    ...more,
  });
  const ask = async (of: Host, path: string, init: RequestInit = {}) => {
    asked = [];
    const answer = await createApp(of).fetch(new Request(`http://localhost${path}`, init));
    const text = await answer.text();
    return { status: answer.status, headers: answer.headers, text, json: () => JSON.parse(text) };
  };
  const post = (body: unknown) => ({ method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) });

  it('with an accelerator passes on what it tells, and nothing of its headers but the type', async () => {
    const npu = service('npu', (path) =>
      path === '/v1/trace'
        ? new Response('t', { status: 404, headers: { 'content-type': 'text/plain', 'x-own': '1' } })
        : new Response('{}', { headers: { 'content-type': '' } }),
    );
    const of = host({ accelerator: npu });
    expect((await ask(of, '/v1/npu/device')).text).toBe('{}');
    expect(asked).toEqual(['npu GET /v1/device']);
    await ask(of, '/v1/npu/report');
    expect(asked).toEqual(['npu GET /v1/report']);
    const trace = await ask(of, '/v1/npu/trace');
    expect([trace.status, trace.headers.get('content-type'), trace.headers.get('x-own'), trace.headers.get('cache-control')]).toEqual([
      404,
      'text/plain',
      null,
      'no-store',
    ]);
    expect((await ask(of, '/v1/npu/simulate', post({ a: 1 }))).status).toBe(200);
    expect(asked).toEqual(['npu POST /v1/simulate {"a":1}']);
    expect((await ask(of, '/v1/npu/simulate', post('x'.repeat(65_534)))).status).toBe(200);
    expect((await ask(of, '/v1/npu/simulate', post('x'.repeat(65_535)))).status).toBe(413);
    expect((await ask(host(), '/v1/npu/device')).status).toBe(404);
  });

  it('with an embedder gives it what is checked, and lists its model', async () => {
    const of = host({
      embedder: service('embedder', (path) => (path === '/model' ? Response.json({ id: 'e' }) : Response.json({ path }))),
    });
    expect((await ask(of, '/v1/score', post({ text_1: 'a', text_2: 'b' }))).json()).toEqual({ path: '/v1/score' });
    expect(asked).toEqual(['embedder POST /v1/score {"kind":"score","first":["a"],"second":["b"]}']);
    expect((await ask(of, '/v1/rerank', post({ query: 'a', documents: ['b'] }))).json()).toEqual({ path: '/v1/rerank' });
    expect((await ask(of, '/v1/embeddings', post({ input: 'a' }))).json()).toEqual({ path: '/v1/embeddings' });
    const listed = (await ask(of, '/v1/models')).json();
    expect(listed).toEqual({
      object: 'list',
      data: [
        { id: 'a', created: 5, family: 'f', max_model_len: 64, kind: 'chat', state: 'loaded' },
        { id: 'e', kind: 'embedding', state: 'loaded' },
      ],
    });
    const sleeping = host({
      embedder: service('embedder', () => Response.json({ id: 'e' }, { headers: { 'x-turnstone-state': 'not started' } })),
    });
    expect((await ask(sleeping, '/v1/models')).json().data[1]).toEqual({ id: 'e', kind: 'embedding', state: 'cold' });
    for (const broken of [() => new Response('', { status: 500 }), () => Promise.reject(new Error('gone'))])
      expect((await ask(host({ embedder: service('embedder', broken) }), '/v1/models')).json().data).toHaveLength(1);
    const off = await ask(host(), '/v1/embeddings', post({ input: 'a' }));
    expect([off.status, off.json().error.code, off.json().error.type]).toEqual([501, 'embeddings_off', 'invalid_request_error']);
  });

  it('is ready as its parts are', async () => {
    const queue = (answer: () => Promise<object>) => () => ({ stats: answer }) as unknown as SchedulerPort;
    const parts = async (more: Partial<Host>) => {
      const { status, json, headers } = await ask(host(more), '/ready');
      return [status, json().status, json().parts, headers.get('retry-after'), json().error?.code];
    };
    expect(await parts({})).toEqual([200, 'ready', { 'replica 0': 'ready' }, null, undefined]);
    const fine = { queue: 'ready', sessions: 'ready', 'replica 0': 'ready' };
    expect(await parts({ queue: queue(async () => stats()) })).toEqual([200, 'ready', fine, null, undefined]);
    const failing = {
      queue: 'in memory only: its storage failed and is tried again later',
      sessions: 'responses may not be stored now',
      'replica 0': 'ready',
    };
    expect(await parts({ queue: queue(async () => stats({ stored: false })) })).toEqual([200, 'ready', failing, null, undefined]);
    expect(await parts({ queue: queue(async () => stats({ closed: true })) })).toEqual([
      503,
      'not ready',
      { ...fine, queue: 'closed' },
      '1',
      'server_stopping',
    ]);
    const away = await parts({ queue: queue(async () => stats({ replicas: [{ id: '0', absent: true }] })) });
    expect(away).toEqual([503, 'not ready', { ...fine, 'replica 0': 'absent' }, '1', null]);
    const cells = (second: () => Promise<object>) => ({
      vars: { PUBLIC: '1', MODEL_ID: 'a', CELLS: '2' },
      queue: (_?: string, cell = 0) => ({ stats: cell === 0 ? async () => stats() : second }) as unknown as SchedulerPort,
    });
    const both = { 'queue 0': 'ready', 'queue 1': 'ready', sessions: 'ready', 'replica 0': 'ready', 'replica 1': 'ready' };
    expect(await parts(cells(async () => stats()))).toEqual([200, 'ready', both, null, undefined]);
    const lost = await parts(cells(() => Promise.reject(new Error('gone'))));
    expect(lost).toEqual([503, 'not ready', { ...both, 'queue 1': 'gone' }, '1', null]);
    const half = (await parts(cells(async () => stats({ stored: false }))))[2] as Record<string, string>;
    expect([half['queue 0'], half.sessions]).toEqual(['ready', failing.sessions]);
    const beside = {
      embedder: service('e', () => new Response('', { status: 500 })),
      accelerator: service('n', () => new Response('', { headers: { 'x-turnstone-state': 'starting' } })),
    };
    expect(await parts(beside)).toEqual([
      200,
      'ready',
      { 'replica 0': 'ready', embedder: 'answers 500', accelerator: 'starting' },
      null,
      undefined,
    ]);
    expect(asked).toEqual(['e GET /model', 'n GET /v1/device', 'replica 0 GET /ready']);
    const late = { now: () => 0, sleep: async (ms: number) => void asked.push(`slept ${ms}`) };
    const silent = { fetch: () => new Promise<never>(() => {}) };
    expect((await parts({ clock: late, embedder: silent, accelerator: silent, queue: queue(() => new Promise(() => {})) }))[2]).toEqual({
      ...{
        queue: 'no answer within 2000 ms',
        embedder: 'no answer within 50 ms',
        accelerator: 'no answer within 50 ms',
        'replica 0': 'ready',
      },
    });
    const own = await ask(
      host({ replica: () => service('r', () => Response.json({ error: { message: 'no memory' } }, { status: 507 })) }),
      '/ready',
    );
    expect([own.status, own.json()]).toEqual([507, { error: { message: 'no memory' } }]);
  });

  it('asks for a place once and again, with how long it has waited: its key’s rate limit takes once', async () => {
    const places: AdmitRequest[] = [];
    let at = 1_000;
    const queue = () =>
      ({
        admit: async (r: AdmitRequest) => {
          places.push(r);
          at += 50;
          return places.length === 1
            ? { kind: 'wait' }
            : { kind: 'run', id: r.id, replica: '0', epoch: places.length, matched: 0, slots: 1 };
        },
        release: async () => 1,
      }) as unknown as SchedulerPort;
    let called = 0;
    const replica = () => ({
      fetch: async () => {
        if (++called === 1) throw new Error('Network connection lost.');
        return Response.json({ said: called });
      },
    });
    const of = host({ queue, replica, clock: { now: () => at, sleep: async () => {} } });
    expect((await ask(of, '/v1/completions', post({ prompt: 'a' }))).json()).toEqual({ said: 2 });
    expect(new Set(places.map((p) => p.id)).size).toBe(1);
    expect(places.map((p) => p.waitedMs)).toEqual([undefined, 50, 100]);
  });

  it('tells metrics of all its replicas, each sample with whose it is', async () => {
    const { text, headers } = await ask(host({ vars: { PUBLIC: '1', MODEL_ID: 'a', REPLICAS: '2' } }), '/metrics');
    expect([text, headers.get('content-type')]).toEqual([
      '# TYPE m counter\nm{replica="0"} 1\nm{replica="1"} 1\n',
      'text/plain; version=0.0.4; charset=utf-8',
    ]);
    expect((await ask(host(), '/metrics')).text).toBe('# TYPE m counter\nm 1\n');
    const launcher = service('launcher', (path) =>
      path === '/metrics'
        ? new Response('l 2\n')
        : Response.json({
            data: [
              { id: 'a', state: 'loaded' },
              { id: 'b', state: 'loaded' },
              { id: 'c', state: 'cold' },
            ],
          }),
    );
    expect((await ask(host({ launcher }), '/metrics')).text).toBe('# TYPE m counter\nm{replica="0"} 1\nm{replica="0"} 1\nl 2\n');
    expect(asked).toEqual(['launcher GET /models', 'replica 0 GET /metrics', 'replica 0 of b GET /metrics', 'launcher GET /metrics']);
    const one = { PUBLIC: '1', MODEL_ID: 'a', REPLICAS: '2' };
    const half = host({ vars: one, replica: (name) => service(name, () => new Response('m 1\n', { status: name === '0' ? 503 : 200 })) });
    expect((await ask(half, '/metrics')).text).toBe('m 1\n');
    const none = host({ vars: one, replica: (name) => service(name, () => new Response('why', { status: 503 })) });
    expect([(await ask(none, '/metrics')).text, asked.length]).toEqual(['why', 3]);
  });

  it("speaks Ollama's API", async () => {
    expect((await ask(host(), '/api/version')).json()).toEqual({ version });
    const details = { parent_model: '', format: 'turnstone', family: 'f', families: ['f'], parameter_size: '', quantization_level: '' };
    const entry = {
      name: 'a:latest',
      model: 'a:latest',
      modified_at: '1970-01-01T00:00:05.000Z',
      size: 0,
      digest: '0'.repeat(64),
      details,
    };
    expect((await ask(host(), '/api/tags')).json()).toEqual({ models: [entry] });
    const running = { ...entry, expires_at: '9999-12-31T00:00:00Z', size_vram: 0, context_length: 64 };
    const embedder = service('e', () => Response.json({ id: 'e' }));
    expect((await ask(host({ embedder }), '/api/ps')).json()).toEqual({ models: [running] });
    const bare = { name: 'e:latest', model: 'e:latest', modified_at: '1970-01-01T00:00:00.000Z', size: 0, digest: '0'.repeat(64) };
    expect((await ask(host({ embedder }), '/api/tags')).json().models[1]).toEqual({
      ...bare,
      details: { ...details, family: '', families: null },
    });
    const about = { modelfile: '', template: '', modified_at: entry.modified_at, details, parameters: '' };
    for (const body of [{ model: 'a' }, { name: 'a:latest' }, { model: 'a', name: 'x' }]) {
      expect((await ask(host(), '/api/show', post(body))).json()).toEqual({
        ...about,
        model_info: { 'general.architecture': 'f', 'f.context_length': 64 },
        capabilities: ['completion', 'tools'],
      });
    }
    const unknown = host({ vars: { PUBLIC: '1' }, embedder });
    expect((await ask(unknown, '/api/show', post({ model: 'e' }))).json()).toMatchObject({
      model_info: { 'general.architecture': '', 'model.context_length': null },
      capabilities: ['embedding'],
    });
    expect((await ask(unknown, '/api/show', post({ model: 'x' }))).status).toBe(404);
    const loaded = { model: 'a:latest', created_at: '2023-11-14T22:13:20.000Z', done: true };
    expect((await ask(host(), '/api/generate', post({ model: 'a' }))).json()).toEqual({ ...loaded, response: '', done_reason: 'load' });
    expect((await ask(host(), '/api/chat', post({ model: 'a', keep_alive: 0 }))).json()).toEqual({
      ...loaded,
      ...{ message: { role: 'assistant', content: '' }, done_reason: 'unload' },
    });
  });

  it("counts tokens in Anthropic's form", async () => {
    const body = { model: 'a', messages: [{ role: 'user', content: 'hi' }] };
    expect((await ask(host(), '/v1/messages/count_tokens', post(body))).json()).toEqual({ input_tokens: 12 });
    expect(asked[0]).toMatch(
      /^replica 0 of a POST \/v1\/tokenize \{"kind":"tokenize","model":"a","messages":\[.*"addSpecialTokens":true\}$/,
    );
    const refusing = host({ replica: () => service('r', () => Response.json({ error: { message: 'too long' } }, { status: 400 })) });
    const { status, json } = await ask(refusing, '/v1/messages/count_tokens', post(body));
    expect([status, json()]).toEqual([400, { type: 'error', error: { type: 'invalid_request_error', message: 'too long' } }]);
  });

  it('keeps files and batches, page by page', async () => {
    const all = ['c', 'b', 'a'].map((id) => ({ id, purpose: id === 'b' ? 'other' : 'batch' }));
    const fine = <T>(value: T) => ({ ok: true as const, value });
    const none = { ok: false as const, why: 'not_found' as const };
    const keeper = {
      files: async () => all,
      batches: async () => all,
      file: async (id: string, content?: boolean) =>
        id === 'x' ? none : fine({ file: { id }, bytes: content ? new Uint8Array([65]) : undefined }),
      removeFile: async (id: string) => (id === 'x' ? none : fine(null)),
      batch: async (id: string) => (id === 'x' ? none : fine({ id })),
      cancel: async (id: string) => (id === 'x' ? none : fine({ id, status: 'cancelling' })),
      begin: async (tenant: string, b: { inputFile: string }) =>
        b.inputFile === 'x' ? none : b.inputFile === 'full' ? { ok: false, why: 'full' } : fine({ tenant, ...b }),
      addFile: async (about: object, bytes: Uint8Array) => fine({ ...about, bytes: bytes.length }),
    } as unknown as BatchKeeper;
    const of = host({ batches: () => keeper });
    const page = async (query: string, at = 'batches') => {
      const { data, first_id, last_id, has_more, object } = (await ask(of, `/v1/${at}${query}`)).json();
      expect(object).toBe('list');
      return [data.map((d: { id: string }) => d.id).join(''), first_id, last_id, has_more];
    };
    expect(await page('')).toEqual(['cba', 'c', 'a', false]);
    expect(await page('?limit=2')).toEqual(['cb', 'c', 'b', true]);
    expect(await page('?limit=3')).toEqual(['cba', 'c', 'a', false]);
    expect(await page('?limit=1&after=c')).toEqual(['b', 'b', 'b', true]);
    expect(await page('?limit=1&after=b')).toEqual(['a', 'a', 'a', false]);
    expect(await page('?after=a')).toEqual(['', null, null, false]);
    expect(await page('?order=asc&limit=2')).toEqual(['ab', 'a', 'b', true]);
    expect(await page('?after=nobody')).toEqual(['cba', 'c', 'a', false]);
    expect(await page('?purpose=batch', 'files')).toEqual(['ca', 'c', 'a', false]);
    expect(await page('', 'files')).toEqual(['cba', 'c', 'a', false]);
    for (const limit of ['0', '10001', 'x', '1.5']) expect((await ask(of, `/v1/batches?limit=${limit}`)).json().error.param).toBe('limit');
    expect((await ask(of, '/v1/batches?limit=10000')).status).toBe(200);
    expect((await ask(of, '/v1/files/a')).json()).toEqual({ id: 'a' });
    const content = await ask(of, '/v1/files/a/content');
    expect([content.text, content.headers.get('content-type')]).toEqual(['A', 'application/octet-stream']);
    expect((await ask(of, '/v1/files/a', { method: 'DELETE' })).json()).toEqual({ id: 'a', object: 'file', deleted: true });
    expect((await ask(of, '/v1/batches/a')).json()).toEqual({ id: 'a' });
    expect((await ask(of, '/v1/batches/a/cancel', { method: 'POST' })).json()).toEqual({ id: 'a', status: 'cancelling' });
    const asks: [string, RequestInit, string][] = [
      ['/v1/files/x', {}, 'file_id'],
      ['/v1/files/x/content', {}, 'file_id'],
      ['/v1/files/x', { method: 'DELETE' }, 'file_id'],
      ['/v1/batches/x', {}, 'batch_id'],
      ['/v1/batches/x/cancel', { method: 'POST' }, 'batch_id'],
    ];
    for (const [path, init, param] of asks) expect((await ask(of, path, init)).json().error).toMatchObject({ code: 'not_found', param });
    const begin = (input_file_id: string) =>
      ask(of, '/v1/batches', post({ input_file_id, endpoint: '/v1/responses', completion_window: '24h' }));
    expect((await begin('a')).json()).toMatchObject({ tenant: 'public', inputFile: 'a' });
    expect((await begin('x')).json().error).toMatchObject({ param: 'file_id' });
    expect((await begin('full')).json().error.message).toContain('as many batches');
    const form = (fields: Record<string, string | Blob>) => {
      const body = new FormData();
      for (const [name, value] of Object.entries(fields)) body.set(name, value);
      return { method: 'POST', body };
    };
    const file = new File(['abc'], 'in.jsonl');
    expect((await ask(of, '/v1/files', form({ purpose: 'batch', file }))).json()).toEqual({
      filename: 'in.jsonl',
      purpose: 'batch',
      life: 30 * 86_400,
      bytes: 3,
    });
    expect((await ask(of, '/v1/files', form({ purpose: 'batch' }))).json().error).toMatchObject({
      param: 'file',
      code: 'missing_required_parameter',
    });
    expect((await ask(of, '/v1/files', form({ purpose: 'batch', file: 'text' }))).json().error).toMatchObject({
      param: 'file',
      code: 'missing_required_parameter',
    });
    const upload = (n: number) => ask(of, '/v1/files', form({ purpose: 'batch', file: new File([new Uint8Array(n)], 'x') }));
    expect([(await upload(8 * MiB)).status, (await upload(8 * MiB + 1)).json().error.code]).toEqual([200, 'file_too_large']);
    expect((await ask(of, '/v1/files', post({}))).json().error.code).toBe('unsupported_media_type');
    const broken = { method: 'POST', body: 'x', headers: { 'content-type': 'multipart/form-data; boundary=y' } };
    expect((await ask(of, '/v1/files', broken)).json().error.code).toBe('invalid_form');
    expect((await ask(host(), '/v1/files')).json().error.code).toBe('batches_off');
  });

  it('answers for files of packs from its own place, then from the assets', async () => {
    const assets = (status: number) => ({
      fetch: async (r: Request) =>
        new Response(status === 304 ? null : `asset ${new URL(r.url).pathname}`, { status, headers: { 'x-own': '1' } }),
    });
    const own = (answer: Response | null) => async (path: string) => (path === 'a b/model.json' ? answer : null);
    expect((await ask(host({ packFile: own(new Response('own')) }), '/packs/a%20b/model.json')).text).toBe('own');
    const asset = await ask(host({ packFile: own(null), assets: assets(200) }), '/packs/m/model.json');
    expect([asset.status, asset.text, asset.headers.get('x-own')]).toEqual([200, 'asset /packs/m/model.json', '1']);
    expect((await ask(host({ assets: assets(304) }), '/packs/m/x')).status).toBe(304);
    for (const none of [host({ assets: assets(404) }), host()]) expect((await ask(none, '/packs/m/x')).json().error.code).toBe('not_found');
    expect((await ask(host({ assets: assets(200) }), `/packs/${'x'.repeat(1024)}`)).status).toBe(200);
    expect((await ask(host({ assets: assets(200) }), `/packs/${'x'.repeat(1025)}`)).status).toBe(404);
  });

  it('lists models of the launcher with what it knows of them, and adapters as what they are', async () => {
    const launcher = service('launcher', () =>
      Response.json({
        data: [
          { id: 'a', bytes: 7, state: 'loaded' },
          { id: 'b', state: 'cold', kind: 'chat' },
        ],
      }),
    );
    const replica = () =>
      service('r', () =>
        Response.json({
          data: [
            { id: 'a', created: 1 },
            { id: 'a:x', parent: 'a', state: 'cold' },
          ],
        }),
      );
    expect((await ask(host({ launcher, replica }), '/v1/models')).json().data).toEqual([
      { id: 'a', created: 1, bytes: 7, kind: 'chat', state: 'loaded' },
      { id: 'a:x', parent: 'a', state: 'cold', kind: 'chat' },
      { id: 'b', state: 'cold', kind: 'chat' },
    ]);
    const refusing = host({ replica: () => service('r', () => Response.json({ error: { message: 'no' } }, { status: 503 })) });
    expect([(await ask(refusing, '/v1/models')).status, (await ask(refusing, '/api/tags')).json()]).toEqual([503, { error: 'no' }]);
  });

  it('opens a WebSocket to those who may', async () => {
    const socket = async (tenant: string) => new Response(`for ${tenant}`);
    const open = (of: Host, headers: Record<string, string> = {}) =>
      ask(of, '/v1/responses', { headers: { upgrade: 'WebSocket', ...headers } });
    expect((await open(host({ socket }))).text).toBe('for public');
    expect((await open(host({ socket }), { origin: 'http://localhost' })).text).toBe('for public');
    expect((await open(host({ socket }), { origin: 'https://a.example' })).json().error.code).toBe('origin_not_allowed');
    const allowing = host({ socket, vars: { PUBLIC: '1', CORS_ORIGINS: 'https://a.example' } });
    expect((await open(allowing, { origin: 'https://a.example' })).text).toBe('for public');
    expect((await open(host())).json().error.code).toBe('websocket_off');
    const plain = await ask(host({ socket }), '/v1/responses');
    expect([plain.status, plain.headers.get('allow')]).toEqual([405, 'POST']);
    expect((await ask(host({ socket }), '/v1/responses', { headers: { upgrade: 'h2c' } })).status).toBe(405);
    expect((await ask(host(), '/v1/responses/nothing', { method: 'POST' })).status).toBe(404);
  });

  it('asks in a tenant’s name without a key, and takes Anthropic’s header for one', async () => {
    const tenants: (string | null)[] = [];
    const replica = () => ({
      fetch: async (_: string, init: RequestInit = {}) => {
        tenants.push(new Headers(init.headers).get('x-turnstone-tenant'));
        return Response.json({ count: 1 });
      },
    });
    const vars = { API_KEYS: 'ann:key-of-ann', MODEL_ID: 'a' };
    const count = (of: Host, headers: Record<string, string> = {}) => {
      const { headers: own, ...init } = post({ model: 'a', messages: [{ role: 'user', content: 'x' }] });
      return ask(of, '/v1/messages/count_tokens', { ...init, headers: { ...own, ...headers } });
    };
    expect((await count(host({ vars, replica, tenant: 'one' }))).status).toBe(200);
    expect((await count(host({ vars, replica }), { 'x-api-key': 'key-of-ann' })).status).toBe(200);
    expect((await count(host({ vars, replica }), { 'x-api-key': 'key-of-bob' })).status).toBe(401);
    expect((await count(host({ vars, replica }))).status).toBe(401);
    expect(tenants).toEqual(['one', await tenantNamed('ann')]);
  });

  it('looks for another place while a replica says that another computes in its isolate, 64 times at most', async () => {
    let places = 0;
    const released: { output: number; failed?: boolean }[] = [];
    const held: unknown[] = [];
    const queue = () =>
      ({
        admit: async (r: { held?: boolean }) => {
          held.push(r.held);
          return { kind: 'run', id: 'x', replica: String(places++), epoch: 1, matched: 0, slots: 1 };
        },
        release: async (list: typeof released) => released.push(...list),
      }) as unknown as SchedulerPort;
    const busy = (times: number) => (name: string) =>
      service(name, () =>
        Number(name) < times ? Response.json({}, { status: 503, headers: { 'x-turnstone-elsewhere': '1' } }) : new Response('ok'),
      );
    const chat = post({ model: 'a', messages: [{ role: 'user', content: 'x' }] });
    const { text } = await ask(host({ queue, replica: busy(10) }), '/v1/chat/completions', chat);
    expect([text, places, released]).toEqual(['ok', 11, []]);
    places = 0;
    expect([(await ask(host({ queue, replica: busy(999) }), '/v1/chat/completions', chat)).status, places]).toEqual([503, 64]);
    expect(released.splice(0).map((r) => r.failed)).toEqual([true]);
    places = 0;
    held.length = 0;
    await ask(host({ queue, replica: busy(0) }), '/v1/turnstone/pages', chat);
    expect([asked[0].slice(0, 28), held, released]).toEqual([
      '0 POST /v1/turnstone/pages {',
      [true],
      [expect.objectContaining({ output: 0, failed: false })],
    ]);
  });

  it('erases a tenant in every queue and replica, and asks again while sessions are left', async () => {
    let left = 2;
    let now = 0;
    const queue = (model?: string, cell?: number) =>
      ({
        stats: async () =>
          stats({
            replicas: [
              { id: '0', absent: false },
              { id: '1', absent: true },
            ],
          }),
        erase: async (t: string) => {
          asked.push(`queue ${model} ${cell} ${t}`);
          return { waiting: 1, running: 2 };
        },
      }) as unknown as SchedulerPort;
    const of = (more: Partial<Host> = {}) =>
      host({
        vars: { PUBLIC: '1', MODEL_ID: 'a', MODELS: 'b', CELLS: '2', ADMIN_KEY: 'operators-only' },
        queue,
        sessionsOf: (t) => ({
          erase: async () => {
            asked.push(`sessions ${t}`);
            now += 5_000;
            return { sessions: 1, left: Math.max(0, --left) };
          },
        }),
        batches: () => ({ erase: async () => void asked.push('batches') }) as unknown as BatchKeeper,
        clock: { now: () => now, sleep: async () => {} },
        ...more,
      });
    const erase = (name: string, more: Partial<Host> = {}) =>
      ask(of(more), `/admin/tenants/${name}`, { method: 'DELETE', headers: { authorization: 'Bearer operators-only' } });
    const { status, json } = await erase('public');
    expect([status, json()]).toEqual([200, { tenant: 'public', sessions: 3, requests: 24, left: 0 }]);
    const queues = ['undefined 0', 'undefined 1', 'b 0', 'b 1'].map((q) => `queue ${q} public`);
    const replicas = ['', '', ' of b', ' of b'].map((m) => `replica 0${m} POST /forget {"tenant":"public"}`);
    expect(asked).toEqual([...queues, 'sessions public', 'sessions public', ...replicas, 'batches', 'sessions public', ...queues]);
    left = 1000;
    now = 0;
    const more = await erase('0'.repeat(32));
    expect([more.status, more.json().left > 0, asked.filter((a) => a.startsWith('sessions')).length]).toEqual([202, true, 8]); // 20 s, twice
    expect(asked.filter((a) => a.startsWith('queue')).length).toBe(4); // its cell of each model, twice
    expect((await erase('ann')).json().tenant).toBe('ann');
    expect(asked[0]).toContain(await tenantNamed('ann'));
    expect((await erase('ann', { queue: undefined })).status).toBe(404);
  });
});

/** The Responses API over a session that a test plays: what it is asked, and what each of its answers becomes. */
import { describe, expect, it, vi } from 'vitest';
import { ApiError } from '../../openai/errors.ts';
import { parseResponses } from '../../openai/requests/responses.ts';
import { cancelResponse, createResponse, deleteResponse, listInput, modelBefore, retrieveResponse } from '../../serving/responses/api.ts';
import type { Caller } from '../../serving/responses/caller.ts';
import { newResponseId, newSessionId, ownSession, sealOf, sessionName, sessionOf } from '../../serving/responses/ids.ts';
import { newTurn } from '../../serving/responses/turns.ts';
import type { BeginAnswer, BeginRequest, ResponseKeeper, SessionEvent, StoredResponse } from '../../serving/responses/types.ts';

const SECRET = 'known here alone';
const session = newSessionId();
const id = newResponseId(session, sealOf(SECRET, 'ann', session));

type Answers = { [K in keyof ResponseKeeper]?: (...given: Parameters<ResponseKeeper[K]>) => Awaited<ReturnType<ResponseKeeper[K]>> };
/** A caller whose sessions answer as told; which were opened. */
function caller(answers: Answers = {}, more: Partial<Caller> = {}) {
  const opened: string[] = [];
  const keeper: Record<string, unknown> = {};
  for (const name of ['begin', 'get', 'inputItems', 'cancel', 'remove', 'fetch'] as const) {
    keeper[name] = async (...given: never[]) => {
      const answer = answers[name] as ((...g: never[]) => unknown) | undefined;
      if (!answer) throw new Error(`${name}: no test foresaw it`);
      return answer(...given);
    };
  }
  const c: Caller = {
    tenant: 'ann',
    secret: async () => SECRET,
    session: (name) => {
      opened.push(name);
      return keeper as unknown as ResponseKeeper;
    },
    ...more,
  };
  return { c, opened };
}

const asked = (more: object = {}) => parseResponses({ model: 'm', input: 'hi', ...more });
const turn = (more: Partial<StoredResponse> = {}): StoredResponse => ({
  ...newTurn({ id, tenant: 'ann', model: 'm', input: ['in'] as never, request: asked() as never, echo: {}, priority: 0 }, [1, 2], 9_000),
  status: 'completed',
  ...more,
});
const found = (more: Partial<StoredResponse> = {}, text = 'said') => ({ response: turn(more), text });
const lines = (...events: SessionEvent[]) => new Response(events.map((e) => `${JSON.stringify(e)}\n`).join(''));
const never = async (): Promise<Response> => {
  throw new Error('not to be generated directly');
};
const failure = async (work: Promise<unknown>) => {
  const error = await work.then(
    () => 'none',
    (e: unknown) => e,
  );
  if (!(error instanceof ApiError)) throw error;
  const { status, code, param, message, headers } = error;
  return { status, code, param, message, retry: headers['retry-after'] };
};
const body = async (response: Response) => (await response.json()) as Record<string, unknown>;
const url = (query = '') => new Request(`http://localhost/v1/responses/x${query}`);

describe('a response that is begun', () => {
  const ended = { fetch: () => lines({ end: 'completed', response: turn() }), get: () => found() };

  it('is handed to its session checked, with an id that is its tenant’s', async () => {
    const begun: BeginRequest[] = [];
    const { c, opened } = caller({ ...ended, begin: (r) => ({ ok: begun.push(r) > 0 }) as BeginAnswer });
    const request = asked({
      input: [{ role: 'user', content: 'hi' }],
      instructions: 'be brief',
      seed: 7,
      metadata: { a: 'b' },
      priority: 3,
    });
    expect(await body(await createResponse(c, request, never))).toMatchObject({ id, status: 'completed', output_text: 'said' });
    const [r] = begun;
    const mine = ownSession(SECRET, 'ann', r!.id);
    expect(opened).toEqual([sessionName('ann', mine!)]);
    expect(r).toMatchObject({ tenant: 'ann', model: 'm', priority: request.priority, seed: request.sampling.seed, previous: undefined });
    expect(r!.input).toEqual([expect.objectContaining({ id: expect.any(String), role: 'user' })]);
    expect(r!.echo).toMatchObject({ store: true, metadata: { a: 'b' } });
    expect(Object.keys(r!.request as object)).not.toContain('input');
    expect(Object.keys(r!.request as object)).not.toContain('echo');
    expect(ownSession(SECRET, 'bob', r!.id)).toBeUndefined();
  });

  it('after another stays in its session; one that goes on from an id that was not given out wakes none', async () => {
    const begun: BeginRequest[] = [];
    const { c, opened } = caller({ ...ended, begin: (r) => ({ ok: begun.push(r) > 0 }) as BeginAnswer });
    await createResponse(c, asked({ previous_response_id: id }), never);
    expect([sessionOf(begun[0]!.id), begun[0]!.previous, opened]).toEqual([session, id, [sessionName('ann', session)]]);
    const bobs = newResponseId(session, sealOf(SECRET, 'bob', session));
    for (const guess of ['resp_1', bobs, `${id}0`]) {
      for (const store of [true, false]) {
        expect(await failure(createResponse(c, asked({ previous_response_id: guess, store }), never))).toMatchObject({
          ...{ status: 400, code: 'previous_response_not_found', param: 'previous_response_id', message: expect.stringContaining(guess) },
        });
      }
    }
    expect(opened).toHaveLength(1);
  });

  it.each<[BeginAnswer, object]>([
    [
      { ok: false, why: 'previous_not_found' },
      { status: 400, code: 'previous_response_not_found', param: 'previous_response_id' },
    ],
    [
      { ok: false, why: 'earlier_deleted' },
      { status: 400, code: 'earlier_response_deleted', param: 'previous_response_id' },
    ],
    [
      { ok: false, why: 'previous_not_finished' },
      { status: 400, code: 'invalid_value', param: 'previous_response_id' },
    ],
    [
      { ok: false, why: 'too_long' },
      { status: 400, code: 'context_length_exceeded', param: 'previous_response_id' },
    ],
    [
      { ok: false, why: 'exists' },
      { status: 500, code: 'internal_error', param: null },
    ],
    [
      { ok: false, why: 'refused', reason: 'queue_full', retryAfter: 9 },
      { status: 429, retry: '9' },
    ],
    [
      { ok: false, why: 'refused', reason: 'draining', retryAfter: 3 },
      { status: 503, retry: '3' },
    ],
  ])('that its session does not take (%j) is refused: %j', async (answer, wanted) => {
    const { c } = caller({ begin: () => answer });
    expect(await failure(createResponse(c, asked({ previous_response_id: id }), never))).toMatchObject(wanted);
  });

  it('that is too long names the input where nothing comes before it', async () => {
    const { c } = caller({ begin: () => ({ ok: false, why: 'too_long' }) });
    expect(await failure(createResponse(c, asked(), never))).toMatchObject({ param: 'input', code: 'context_length_exceeded' });
  });

  it('may have 600,000 characters of JSON in all, and no more', async () => {
    let sizes: number[] = [];
    const { c } = caller({ ...ended, begin: (r) => ({ ok: sizes.push(JSON.stringify(r).length) > 0 }) as BeginAnswer });
    await createResponse(c, asked({ input: '' }), never);
    const room = 600_000 - sizes[0]!;
    sizes = [];
    await createResponse(c, asked({ input: 'x'.repeat(room) }), never);
    expect(sizes).toEqual([600_000]);
    const more = createResponse(c, asked({ input: 'x'.repeat(room + 1) }), never);
    expect(await failure(more)).toMatchObject({ status: 400, code: 'string_above_max_length', param: 'input' });
    expect(sizes).toHaveLength(1);
  });

  it('that cannot be stored is a 503 that says so; what the session itself refuses stays what it is', async () => {
    const log = vi.spyOn(console, 'error').mockImplementation(() => {});
    const broken = caller({
      begin: () => {
        throw new Error('disk full at /secret');
      },
    });
    const said = await failure(createResponse(broken.c, asked(), never));
    expect(said).toMatchObject({ status: 503, code: 'storage_failed', retry: '5' });
    expect(said.message).not.toContain('secret');
    expect(log).toHaveBeenCalledOnce();
    log.mockRestore();
    const own = caller({
      begin: () => {
        throw new ApiError(404, 'its own', { code: 'own' });
      },
    });
    expect(await failure(createResponse(own.c, asked(), never))).toMatchObject({ status: 404, code: 'own' });
  });

  it('in the background is answered as it stands; one that streams is told from its beginning', async () => {
    const urls: string[] = [];
    const answers: Answers = {
      begin: () => ({ ok: true }),
      get: () => found({ status: 'in_progress' }, 'half'),
      fetch: (u) => {
        urls.push(u);
        return lines({ seq: 0, index: 0, text: 'all' }, { end: 'completed', response: turn() });
      },
    };
    const { c } = caller(answers);
    expect(await body(await createResponse(c, asked({ background: true }), never))).toMatchObject({
      ...{ status: 'in_progress', output_text: 'half', output: [{ status: 'in_progress' }] },
    });
    expect(urls).toEqual([]);
    const streamed = await createResponse(c, asked({ stream: true }), never);
    expect(streamed.headers.get('content-type')).toBe('text/event-stream; charset=utf-8');
    const text = await streamed.text();
    expect(text.startsWith('id: 0\nevent: response.created\n')).toBe(true);
    expect(text).toContain('"delta":"all"');
    expect(text).toContain('event: response.completed\n');
    expect(urls).toEqual([`https://session/events?response=${id}&after=-1`]);
  });

  it.each<[StoredResponse['error'], object]>([
    [
      { type: 'rate_limit_error', message: 'busy', retry_after: 7 },
      { status: 429, retry: '7' },
    ],
    [
      { type: 'rate_limit_error', message: 'busy' },
      { status: 429, retry: '1' },
    ],
    [
      { type: 'invalid_request_error', message: 'too long', code: 'c', param: 'input' },
      { status: 400, message: 'too long', code: 'c', param: 'input' },
    ],
  ])('that fails by its request or the queue (%j) is that error: %j', async (error, wanted) => {
    const end = { end: 'failed', response: turn({ status: 'failed', error }) } as const;
    const { c } = caller({ begin: () => ({ ok: true }), fetch: () => lines({ seq: 0, index: 0, text: 'x' }, end), get: () => found() });
    expect(await failure(createResponse(c, asked(), never))).toMatchObject(wanted);
    const fine = caller({ begin: () => ({ ok: true }), fetch: () => lines({ ...end, end: 'completed' }), get: () => found() });
    expect(await body(await createResponse(fine.c, asked(), never))).toMatchObject({ status: 'completed' });
  });

  it('that fails by the server is answered as it is kept; one that is gone meanwhile is not found', async () => {
    const failed = turn({ status: 'failed', error: { type: 'server_error', message: 'no replica' } });
    const { c } = caller({
      ...{ begin: () => ({ ok: true }), fetch: () => lines({ end: 'failed', response: failed }) },
      get: () => ({ response: failed, text: '' }),
    });
    expect(await body(await createResponse(c, asked(), never))).toMatchObject({ status: 'failed', error: { message: 'no replica' } });
    const gone = caller({ begin: () => ({ ok: true }), fetch: () => new Response('no', { status: 404 }), get: () => found() });
    expect(await failure(createResponse(gone.c, asked(), never))).toMatchObject({ status: 404, param: 'response_id' });
    const erased = caller({ begin: () => ({ ok: true }), fetch: () => lines({ end: 'failed', response: failed }), get: () => undefined });
    expect(await failure(createResponse(erased.c, asked(), never))).toMatchObject({ status: 404, code: 'not_found' });
  });
});

describe('a response that is not stored', () => {
  it('is generated directly, alone', async () => {
    for (const c of [caller().c, caller({}, { session: undefined }).c]) {
      const more = c.session ? { store: false } : {};
      const response = await createResponse(c, asked({ ...more, instructions: 'be brief' }), async (r) =>
        Response.json({
          messages: r.messages.map((m) => [m.role, m.content]),
          input: r.input,
          store: (r.echo as { store: boolean }).store,
        }),
      );
      expect(await body(response)).toEqual({
        messages: [
          ['system', 'be brief'],
          ['user', 'hi'],
        ],
        ...{ input: [], store: false },
      });
    }
  });

  it('goes on from a stored one: its input, what it said, and under which model', async () => {
    const message = (role: string, text: string) => ({ type: 'message', role, content: [{ type: 'input_text', text }] });
    const { c } = caller({
      inputItems: () => [message('user', 'first')] as never,
      get: () => found({ output: [message('assistant', 'answer')] as never, fingerprint: 'fp' }),
    });
    const seen: unknown[] = [];
    await createResponse(c, asked({ previous_response_id: id, store: false }), async (r) => {
      seen.push(
        r.messages.map((m) => m.content),
        r.previousFingerprint,
      );
      return new Response();
    });
    expect(seen).toEqual([['first', 'answer', 'hi'], 'fp']);
    for (const [answers, code] of [
      [{ inputItems: () => undefined, get: () => found() }, 'earlier_response_deleted'],
      [{ inputItems: () => [], get: () => undefined }, 'previous_response_not_found'],
    ] as [Answers, string][]) {
      const refused = createResponse(caller(answers).c, asked({ previous_response_id: id, store: false }), never);
      expect(await failure(refused)).toMatchObject({
        status: 400,
        code,
        param: 'previous_response_id',
        message: expect.stringContaining(id),
      });
    }
  });

  it('nothing is kept where nothing can be: each way of asking for it is refused', async () => {
    const { c } = caller({}, { session: undefined });
    const refused = { status: 400, param: 'store' };
    expect(await failure(createResponse(c, asked({ store: true }), never))).toMatchObject(refused);
    expect(await failure(createResponse(c, asked({ background: true }), never))).toMatchObject(refused);
    expect(await failure(createResponse(c, asked({ previous_response_id: id }), never))).toMatchObject(refused);
    expect(await failure(retrieveResponse(c, id, url()))).toMatchObject(refused);
    expect(await modelBefore(c, asked({ previous_response_id: id }))).toBe('');
  });
});

describe('an Idempotency-Key', () => {
  /** Begins as often as `answers` says; the first turn as it was asked. */
  const again = (answers: BeginAnswer[], kept: (first: BeginRequest) => Partial<StoredResponse> | undefined) => {
    const done: string[] = [];
    let first: BeginRequest | undefined;
    const keeper: Answers = {
      begin: (r) => {
        done.push('begin');
        first ??= r;
        return answers.shift()!;
      },
      get: () => {
        const change = kept(first!);
        return change && { response: { ...turn(), ...first!, previous: first!.previous ?? null, seed: [0, 0], ...change }, text: '' };
      },
      remove: () => done.push('remove') > 0,
      fetch: () => lines({ end: 'completed', response: turn() }),
    };
    return { ...caller(keeper, { key: 'k' }), done };
  };
  const exists: BeginAnswer = { ok: false, why: 'exists' };

  it('gives the same ids each time, others for another key, tenant or conversation', async () => {
    const ids: string[] = [];
    const keeper: Answers = {
      begin: (r) => ({ ok: ids.push(r.id) > 0 }) as BeginAnswer,
      get: () => found(),
      fetch: () => lines({ end: 'completed', response: turn() }),
    };
    for (const more of [{}, {}, { key: 'other' }, { tenant: 'bob' }])
      await createResponse(caller(keeper, { key: 'k', ...more }).c, asked(), never);
    await createResponse(caller(keeper, { key: 'k' }).c, asked({ previous_response_id: id }), never);
    expect(ids[1]).toBe(ids[0]);
    expect(new Set(ids).size).toBe(4);
    expect(sessionOf(ids[4]!)).toBe(session);
  });

  it('that is known gives its response again, running or ended', async () => {
    for (const status of ['queued', 'completed', 'cancelled'] as const) {
      const { c, done } = again([exists], () => ({ status }));
      await createResponse(c, asked({ background: true }), never);
      expect(done).toEqual(['begin']);
    }
  });

  it('whose response failed, or is gone, begins it once more', async () => {
    const failed = again([exists, { ok: true }], () => ({ status: 'failed' }));
    await createResponse(failed.c, asked({ background: true }), never);
    expect(failed.done).toEqual(['begin', 'remove', 'begin']);
    let looks = 0;
    const gone = again([exists, { ok: true }], () => (looks++ === 0 ? undefined : {}));
    await createResponse(gone.c, asked({ background: true }), never);
    expect(gone.done).toEqual(['begin', 'begin']);
  });

  it.each([
    ['input', { input: ['other'] }],
    ['model', { model: 'other' }],
    ['previous', { previous: 'other' }],
    ['request', { request: { other: 1 } }],
  ])('that was sent with another request (%s) is refused', async (_, change) => {
    const { c, done } = again([exists], () => ({ status: 'failed', ...change }) as never);
    expect(await failure(createResponse(c, asked({ background: true }), never))).toMatchObject({
      status: 400,
      code: 'idempotency_key_reused',
    });
    expect(done).toEqual(['begin']);
  });
});

describe('a stored response', () => {
  it('is read as it stands', async () => {
    const { c, opened } = caller({ get: () => found({ usage: { prompt: 3, cached: 1, completion: 2 } }) });
    expect(await body(await retrieveResponse(c, id, url()))).toMatchObject({
      ...{ id, created_at: 9, status: 'completed', output_text: 'said' },
      usage: { input_tokens: 3, input_tokens_details: { cached_tokens: 1 }, output_tokens: 2 },
    });
    expect(await (await retrieveResponse(c, id, url('?stream=false'))).json()).toMatchObject({ id });
    expect(opened).toEqual([sessionName('ann', session), sessionName('ann', session)]);
    expect(await modelBefore(c, asked({ previous_response_id: id }))).toBe('m');
  });

  it.each([
    ['?stream=true', {}, 0],
    ['?stream=true&starting_after=-1', {}, 0],
    ['?stream=true&starting_after=0', {}, 1],
    ['?stream=true', { 'last-event-id': '2' }, 3],
    ['?stream=true&starting_after=1', { 'last-event-id': '5' }, 2],
  ])('is told after the event that was seen (%s, %j): from %i', async (query, headers, first) => {
    const { c } = caller({
      get: () => found(),
      fetch: () => lines({ seq: 0, index: 0, text: 'a' }, { end: 'completed', response: turn() }),
    });
    const request = new Request(`http://localhost/v1/responses/x${query}`, { headers: headers as Record<string, string> });
    expect(await (await retrieveResponse(c, id, request)).text()).toMatch(new RegExp(`^id: ${first}\n`));
  });

  it.each(['x', '', '-2', '1.5', '1000000000', ' 1'])('has no event %j', async (after) => {
    const { c } = caller({ get: () => found() });
    const asks = retrieveResponse(c, id, url(`?stream=true&starting_after=${encodeURIComponent(after)}`));
    expect(await failure(asks)).toMatchObject({ status: 400, param: 'starting_after' });
  });

  it('that is erased while it is told fails in its last event; a source that breaks breaks the stream', async () => {
    const gone = caller({ get: () => found(), fetch: () => lines({ seq: 0, index: 0, text: 'a' }) });
    const text = await (await retrieveResponse(gone.c, id, url('?stream=true'))).text();
    expect(text).toMatch(/event: response\.failed\n.*The response was deleted\./);
    const broken = new ReadableStream<Uint8Array>({ pull: (c) => c.error(new Error('reset')) });
    const cut = caller({ get: () => found(), fetch: () => new Response(broken) });
    await expect((await retrieveResponse(cut.c, id, url('?stream=true'))).text()).rejects.toThrow('reset');
    const refused = caller({ get: () => found(), fetch: () => new Response('no', { status: 404 }) });
    await expect(retrieveResponse(refused.c, id, url('?stream=true'))).rejects.toThrow('404');
  });

  it('lets its session go when the reader goes', async () => {
    let cancelled = false;
    const endless = new ReadableStream<Uint8Array>({
      pull: (c) => c.enqueue(new TextEncoder().encode(`${JSON.stringify({ seq: 0, index: 0, text: 'x' })}\n`)),
      cancel: () => {
        cancelled = true;
      },
    });
    const { c } = caller({ get: () => found(), fetch: () => new Response(endless) });
    const reader = (await retrieveResponse(c, id, url('?stream=true'))).body!.getReader();
    for (let i = 0; i < 3; i++) await reader.read();
    await reader.cancel();
    expect(cancelled).toBe(true);
  });

  it('is deleted and cancelled, once', async () => {
    const { c } = caller({ get: () => found(), remove: () => true, cancel: () => found({ status: 'cancelled' }) });
    expect(await body(await deleteResponse(c, id))).toEqual({ id, object: 'response', deleted: true });
    expect(await body(await cancelResponse(c, id))).toMatchObject({ id, status: 'cancelled', output_text: 'said' });
    const none = caller({ remove: () => false, cancel: () => undefined, get: () => undefined, inputItems: () => undefined });
    const missing = { status: 404, code: 'not_found', param: 'response_id', message: `Response with id '${id}' not found.` };
    for (const work of [
      deleteResponse(none.c, id),
      cancelResponse(none.c, id),
      retrieveResponse(none.c, id, url()),
      retrieveResponse(none.c, id, url('?stream=true')),
      listInput(none.c, id, url()),
    ]) {
      expect(await failure(work)).toMatchObject(missing);
    }
    expect(await modelBefore(none.c, asked({ previous_response_id: id }))).toBe('');
  });

  it('of another tenant, or of nobody, wakes no session', async () => {
    const { c, opened } = caller();
    const guess = newResponseId(session, sealOf(SECRET, 'bob', session));
    const long = 'x'.repeat(100);
    for (const g of [guess, 'resp_1', long]) {
      for (const work of [retrieveResponse(c, g, url()), deleteResponse(c, g), cancelResponse(c, g), listInput(c, g, url())]) {
        expect(await failure(work)).toMatchObject({ status: 404, message: `Response with id '${g.slice(0, 80)}' not found.` });
      }
      expect(await modelBefore(c, asked({ previous_response_id: g }))).toBe('');
    }
    expect(await modelBefore(c, asked())).toBe('');
    expect(opened).toEqual([]);
  });
});

describe('input items', () => {
  const items = Array.from({ length: 25 }, (_, i) => ({ id: `item_${i}`, type: 'message' }));
  const list = async (query: string) => {
    const { c } = caller({ inputItems: () => items as never });
    const page = (await body(await listInput(c, id, url(query)))) as {
      data: { id: string }[];
      first_id: string;
      last_id: string;
      has_more: boolean;
    };
    const ids = page.data.map((i) => Number(i.id.slice(5)));
    expect([page.first_id, page.last_id]).toEqual(ids.length > 0 ? [page.data[0]!.id, page.data.at(-1)!.id] : ['', '']);
    return { ids, more: page.has_more };
  };
  const from = (a: number, n: number, step = 1) => Array.from({ length: n }, (_, i) => a + i * step);

  it('come twenty at a time, the newest first, unless it is asked otherwise', async () => {
    expect(await list('')).toEqual({ ids: from(24, 20, -1), more: true });
    expect(await list('?order=desc&after=item_5')).toEqual({ ids: from(4, 5, -1), more: false });
    expect(await list('?order=asc')).toEqual({ ids: from(0, 20), more: true });
    expect(await list('?order=asc&limit=25')).toEqual({ ids: from(0, 25), more: false });
    expect(await list('?order=asc&limit=24')).toEqual({ ids: from(0, 24), more: true });
    expect(await list('?order=asc&limit=1&after=item_23')).toEqual({ ids: [24], more: false });
    expect(await list('?order=asc&after=item_24')).toEqual({ ids: [], more: false });
    expect(await list('?order=asc&limit=100&after=nobody')).toEqual({ ids: from(0, 25), more: false });
  });

  it.each(['0', '101', '-1', '1.5', 'x'])('not %s at a time', async (limit) => {
    const { c } = caller({ inputItems: () => items as never });
    expect(await failure(listInput(c, id, url(`?limit=${limit}`)))).toMatchObject({ status: 400, param: 'limit' });
  });

  it('of a conversation that lost an earlier turn are not known', async () => {
    const { c } = caller({ inputItems: () => undefined, get: () => found() });
    expect(await failure(listInput(c, id, url()))).toMatchObject({ status: 400, code: 'earlier_response_deleted', param: 'response_id' });
  });
});

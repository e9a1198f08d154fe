/** A place in the queue before the replica is called, with a scheduler and replicas that do as each test tells them and note what they are asked. */
import { beforeEach, describe, expect, it, vi } from 'vitest';
import type { AdmitRequest, Progress } from '../../policy/ticket.ts';
import type { AdmitAnswer } from '../../serving/scheduler.ts';
import type { Env } from '../../worker/env.ts';
import { app } from './app-of.ts';

const chat = { model: 'pebble', messages: [{ role: 'user', content: 'hi' }] };
const run = (more: object = {}): AdmitAnswer => ({ kind: 'run', id: 'x', replica: '1', epoch: 7, matched: 0, slots: 2, ...more });

let answers: (AdmitAnswer | Error | Promise<AdmitAnswer>)[];
let replies: (Response | Error)[];
const asked = { admitted: [] as AdmitRequest[], released: [] as Progress[], cancelled: [] as string[], waited: [] as number[] };
let calls: { replica: string; headers: Headers }[];
let background: Promise<unknown>[];

const next = <T>(list: (T | Error | Promise<T>)[]): Promise<T> => {
  const v = list.shift();
  if (v === undefined) throw new Error('asked once more than was foreseen');
  return v instanceof Error ? Promise.reject(v) : Promise.resolve(v);
};
const scheduler = {
  admit: (r: AdmitRequest) => {
    asked.admitted.push(r);
    return next(answers);
  },
  release: async (list: Progress[]) => asked.released.push(...list),
  cancel: async (id: string) => asked.cancelled.push(id) > 0,
};
const env = {
  PUBLIC: '1',
  SCHEDULER: { idFromName: (n: string) => n, get: () => scheduler },
  REPLICA: {
    idFromName: (n: string) => n,
    get: (replica: string) => ({
      fetch: (_: string, init: RequestInit) => {
        calls.push({ replica, headers: new Headers(init.headers) });
        return next(replies);
      },
    }),
  },
} as unknown as Env;

const post = (path: string, body: object, signal?: AbortSignal) =>
  app.request(
    path,
    { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body), signal },
    env,
    { waitUntil: (p: Promise<unknown>) => void background.push(p), passThroughOnException: () => {}, props: {} },
    { clock: { now: () => Date.now(), sleep: async (ms) => void asked.waited.push(ms) } },
  );

beforeEach(() => {
  [answers, replies, calls, background] = [[], [], [], []];
  for (const list of Object.values(asked)) list.length = 0;
});

describe('a generation', () => {
  it('is placed: the replica that was named gets it, with its lease and slots', async () => {
    answers = [run()];
    replies = [new Response('data: [DONE]\n\n')];
    const response = await post('/v1/chat/completions', { ...chat, n: 3, priority: 2 });
    expect(response.status).toBe(200);
    const [request] = asked.admitted;
    expect(request).toMatchObject({ tenant: 'public', priority: 2, sequences: 3, restart: false });
    expect(request.promptTokens).toBeGreaterThan(0);
    expect(request.chain.length).toBeGreaterThan(0);
    expect(calls.map((c) => c.replica)).toEqual(['replica-1']);
    const sent = (name: string) => calls[0].headers.get(`x-turnstone-${name}`);
    expect([sent('replica'), sent('epoch'), sent('slots'), sent('tenant')]).toEqual(['1', '7', '2', 'public']);
    expect(sent('request')).toBe(request.id);
    expect(response.headers.get('x-request-id')).toBe(request.id);
    expect(asked.released).toEqual([]); // its replica says when it ends
  });

  it('counts the prompts of a completion', async () => {
    answers = [run()];
    replies = [new Response('{}')];
    await post('/v1/completions', { model: 'pebble', prompt: ['a', 'b', 'c'], n: 2 });
    expect(asked.admitted[0].sequences).toBe(6);
  });

  it('that must wait asks again under the same id', async () => {
    answers = [{ kind: 'wait' }, { kind: 'wait' }, run()];
    replies = [new Response('{}')];
    expect((await post('/v1/chat/completions', chat)).status).toBe(200);
    expect(asked.admitted).toHaveLength(3);
    expect(new Set(asked.admitted.map((r) => r.id)).size).toBe(1);
    expect(calls).toHaveLength(1);
  });

  it.each([
    ['queue_full', 429],
    ['too_slow', 429],
    ['rate_limit', 429],
    ['concurrency_limit', 429],
    ['draining', 503],
  ] as const)('that is refused (%s) reaches no replica, and is told when to ask again', async (reason, status) => {
    answers = [{ kind: 'refused', reason, retryAfter: 9 }];
    const response = await post('/v1/chat/completions', chat);
    expect([response.status, response.headers.get('retry-after')]).toEqual([status, '9']);
    expect(((await response.json()) as { error: { message: string } }).error.message.length).toBeGreaterThan(10);
    expect(calls).toEqual([]);
    expect(asked.released).toEqual([]);
  });

  it('asks a queue that went away under the call once more, and not for ever', async () => {
    answers = [new Error('evicted'), run()];
    replies = [new Response('{}')];
    expect((await post('/v1/chat/completions', chat)).status).toBe(200);
    const log = vi.spyOn(console, 'error').mockImplementation(() => {});
    answers = [new Error('evicted'), new Error('evicted')];
    expect((await post('/v1/chat/completions', chat)).status).toBe(500);
    log.mockRestore();
    expect(asked.admitted).toHaveLength(4);
  });

  it('whose client leaves while it waits gives its place back', async () => {
    const gone = new AbortController();
    answers = [new Promise<AdmitAnswer>(() => {})];
    const response = post('/v1/chat/completions', chat, gone.signal);
    await expect.poll(() => asked.admitted.length).toBe(1);
    gone.abort();
    expect((await response).status).toBe(499);
    await Promise.all(background);
    expect(asked.cancelled).toEqual([asked.admitted[0].id]);
    expect(calls).toEqual([]);
  });

  it.each([
    [400, false],
    [503, true],
  ])('that its replica answers with %i gives its place back, the replica at fault: %s', async (status, failed) => {
    answers = [run()];
    replies = [Response.json({ error: {} }, { status })];
    expect((await post('/v1/chat/completions', chat)).status).toBe(status);
    expect(asked.released).toEqual([{ id: asked.admitted[0].id, epoch: 7, output: 0, failed }]);
    expect(asked.waited).toEqual([]);
  });

  it('whose replica is gone before it says anything gets another place, after the queue has learned of it', async () => {
    answers = [run(), run({ replica: '2', epoch: 8 })];
    replies = [new Error('no such process'), new Response('{}')];
    expect((await post('/v1/chat/completions', chat)).status).toBe(200);
    expect(calls.map((c) => c.replica)).toEqual(['replica-1', 'replica-2']);
    expect(asked.released).toEqual([{ id: asked.admitted[0].id, epoch: 7, output: 0, failed: true }]);
    expect(asked.waited).toEqual([200]);
  });

  it('gives up after four places', async () => {
    const log = vi.spyOn(console, 'error').mockImplementation(() => {});
    answers = Array.from({ length: 5 }, () => run());
    replies = Array.from({ length: 5 }, () => new Error('no such process'));
    expect((await post('/v1/chat/completions', chat)).status).toBe(500);
    log.mockRestore();
    expect(calls).toHaveLength(4);
    expect(asked.released).toHaveLength(4);
  });
});

describe('an errand', () => {
  it('waits for its lane by the length of its text, and gives it back when it is done', async () => {
    answers = [run({ replica: '' })];
    replies = [Response.json({ tokens: [] })];
    expect((await post('/v1/tokenize', { model: 'pebble', prompt: 'x'.repeat(4000) })).status).toBe(200);
    expect(asked.admitted[0]).toMatchObject({ lane: 'tokenize', chain: [], restart: false });
    expect(asked.admitted[0].promptTokens).toBeGreaterThan(500);
    await Promise.all(background);
    expect(asked.released).toEqual([{ id: asked.admitted[0].id, epoch: 7, output: 0, failed: false }]);
  });

  it('gives it back when its replica fails, too', async () => {
    const log = vi.spyOn(console, 'error').mockImplementation(() => {});
    answers = [run({ replica: '' })];
    replies = [new Error('gone')];
    expect((await post('/v1/tokenize', { model: 'pebble', prompt: 'x' })).status).toBe(500);
    log.mockRestore();
    await Promise.all(background);
    expect(asked.released).toHaveLength(1);
  });
});

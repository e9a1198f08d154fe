/** `/admin/models`: what the launcher offers, for whom, and what it is asked. */
import { beforeEach, describe, expect, it } from 'vitest';
import type { Env } from '../../worker/env.ts';
import { app } from './app-of.ts';

let asked: { url: string; method: string; type: string | null; body: unknown }[];
const LAUNCHER = {
  fetch: async (url: string, init: RequestInit = {}) => {
    asked.push({ url, method: init.method ?? 'GET', type: new Headers(init.headers).get('content-type'), body: init.body });
    return url.endsWith('/offers') ? Response.json({ offers: ['a'] }) : Response.json({ error: 'no room' }, { status: 507 });
  },
};
const ask = (path: string, init: RequestInit = {}, env: object = { LAUNCHER, LOCAL_ONLY: '1' }) =>
  app.request(`http://localhost:8787${path}`, init, env as unknown as Env);
const json = { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"model":"a"}' };

beforeEach(() => {
  asked = [];
});

describe('models to be brought here', () => {
  it('are listed, pulled and cancelled by the launcher, whose answers come back as they are', async () => {
    expect(await (await ask('/admin/models')).json()).toEqual({ offers: ['a'] });
    for (const what of ['pull', 'cancel']) {
      const answer = await ask(`/admin/models/${what}`, json);
      expect([answer.status, await answer.json()]).toEqual([507, { error: 'no room' }]);
    }
    expect(asked).toEqual([
      { url: 'http://launcher/offers', method: 'GET', type: null, body: undefined },
      ...['pull', 'cancel'].map((what) => ({
        ...{ url: `http://launcher/${what}`, method: 'POST', type: 'application/json', body: '{"model":"a"}' },
      })),
    ]);
  });

  it('are asked for with at most 4096 bytes', async () => {
    const of = (n: number) => ask('/admin/models/pull', { ...json, body: JSON.stringify({ m: 'x'.repeat(n - 8) }) });
    expect((await of(4096)).status).toBe(507);
    expect((await of(4097)).status).toBe(413);
    expect(asked).toHaveLength(1);
  });

  it.each<[string, object, Record<string, string>, number]>([
    ['its own machine', { LOCAL_ONLY: '1' }, {}, 200],
    ['its own page', { LOCAL_ONLY: '1' }, { origin: 'http://localhost:8787' }, 200],
    ['another page', { LOCAL_ONLY: '1' }, { origin: 'http://localhost:9999' }, 404],
    ['another page', { LOCAL_ONLY: '1', ADMIN_KEY: 'operators-only' }, { origin: 'https://evil.example' }, 401],
    ['the network', {}, {}, 404],
    ['the network', { LOCAL_ONLY: '0', ADMIN_KEY: 'operators-only' }, {}, 401],
    ['the operator', { ADMIN_KEY: 'operators-only' }, { authorization: 'Bearer operators-only' }, 200],
    ['the operator', { ADMIN_KEY: 'operators-only' }, { authorization: 'bearer  operators-only' }, 200],
    ['a wrong key', { ADMIN_KEY: 'operators-only' }, { authorization: 'Bearer operators-onlz' }, 401],
    ['a key and more', { ADMIN_KEY: 'operators-only' }, { authorization: 'Bearer operators-only x' }, 401],
  ])('are for %s (%j, %j): %i', async (_, env, headers, status) => {
    expect((await ask('/admin/models', { headers }, { LAUNCHER, ...env })).status).toBe(status);
    expect(asked).toHaveLength(status === 200 ? 1 : 0);
  });

  it('need no key, everything else of the operator does', async () => {
    expect((await ask('/admin/queue')).status).toBe(404);
    expect((await ask('/admin/models', {}, { LOCAL_ONLY: '1' })).status).toBe(404); // no launcher
  });
});

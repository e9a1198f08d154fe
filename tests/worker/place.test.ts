/** Where objects are made, and which queue is asked: every binding of the Worker is told region, jurisdiction and cell. */
import { expect, it } from 'vitest';
import { cellOf } from '../../policy/cells.ts';
import type { Env } from '../../worker/env.ts';
import { hostOf } from '../../worker/host.ts';
import { app } from './app-of.ts';

interface Made {
  name: string;
  within?: string;
  near?: string;
}

function namespace(made: Made[], answer: object = {}, within?: string): DurableObjectNamespace {
  return {
    jurisdiction: (j: string) => namespace(made, answer, j),
    idFromName: (name: string) => name,
    get: (name: string, o?: { locationHint?: string }) => {
      made.push({ name, within, near: o?.locationHint });
      return answer;
    },
  } as unknown as DurableObjectNamespace;
}

it('objects are made in the region and within the jurisdiction that are set, and nowhere in particular otherwise', () => {
  for (const [vars, where] of [
    [
      { REGION: 'weur', JURISDICTION: 'eu' },
      { within: 'eu', near: 'weur' },
    ],
    [{ REGION: 'apac' }, { within: undefined, near: 'apac' }],
    [{}, { within: undefined, near: undefined }],
  ] as const) {
    const made: Made[] = [];
    const all = namespace(made);
    const host = hostOf({ ...vars, REPLICA: all, SESSION: all, SCHEDULER: all, TENANT: all, BATCHES: all } as unknown as Env);
    host.queue?.();
    host.queue?.(undefined, 3);
    host.session?.('a session');
    host.sessionsOf?.('a tenant');
    host.batches?.('a tenant');
    const names = ['scheduler', 'scheduler~3', 'a session', 'a tenant', 'a tenant'];
    expect(made).toEqual(names.map((name) => ({ name, ...where })));
  }
});

it("a tenant's requests are asked for at the queue of its cell, and an operator sees each", async () => {
  const made: Made[] = [];
  const asked: string[] = [];
  const scheduler = {
    admit: async () => ({ kind: 'refused', reason: 'queue_full', retryAfter: 1 }),
    stats: async () => ({ replicas: [], tenants: [] }),
  };
  const env = {
    ...{ CELLS: '8', REPLICAS: '2', MODEL_ID: 'pebble', API_KEYS: 'alice:key-of-alice,bert:key-of-bert', ADMIN_KEY: 'key-of-admin' },
    ...{ SCHEDULER: namespace(made, scheduler), REPLICA: namespace([]) },
  } as unknown as Env;
  for (const name of ['alice', 'bert', 'alice']) {
    made.length = 0;
    const headers = { 'content-type': 'application/json', authorization: `Bearer key-of-${name}` };
    const body = JSON.stringify({ model: 'pebble', messages: [{ role: 'user', content: 'hi' }] });
    const { status } = await app.request('/v1/chat/completions', { method: 'POST', headers, body }, env);
    expect([status, made.length]).toEqual([429, 1]);
    asked.push(made[0].name);
  }
  expect(asked[0]).toBe(asked[2]);
  expect(asked[0]).not.toBe(asked[1]); // these two fall into different ones
  expect(asked.every((n) => /^scheduler(~[1-7])?$/.test(n))).toBe(true);
  const look = (query: string) => app.request(`/admin/queue${query}`, { headers: { authorization: 'Bearer key-of-admin' } }, env);
  expect(await (await look('?cell=7')).json()).toMatchObject({ cell: 7, cells: 8 });
  expect((await look('?cell=8')).status).toBe(400);
  expect(cellOf('x', '', {})).toBe(0);
});

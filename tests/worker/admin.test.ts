import { expect, it } from 'vitest';
import type { Env } from '../../worker/env.ts';
import { app } from './app-of.ts';

const calls: unknown[][] = [];
const scheduler = {
  stats: async () => ({ waiting: 3, replicas: [{ id: '0' }, { id: '1' }] }),
  drain: async (...given: unknown[]) => {
    calls.push(given);
    return 2;
  },
};
const env = { ADMIN_KEY: 'operators-only', SCHEDULER: { idFromName: (n: string) => n, get: () => scheduler } } as unknown as Env;
const headers = { authorization: 'Bearer operators-only', 'content-type': 'application/json' };
const drain = (body: unknown) => app.request('/admin/drain', { method: 'POST', headers, body: JSON.stringify(body) }, env);

it('is not there without a key of its own, and shut to others', async () => {
  expect((await app.request('/admin/queue', { headers }, { ...env, ADMIN_KEY: undefined })).status).toBe(404);
  expect((await app.request('/admin/queue', {}, env)).status).toBe(401);
  expect((await app.request('/admin/queue', { headers: { authorization: 'Bearer operators' } }, env)).status).toBe(401);
});

it('shows the queue and drains a replica that there is', async () => {
  expect(await (await app.request('/admin/queue', { headers }, env)).json()).toMatchObject({ waiting: 3 });
  expect(await (await drain({ replica: '1', draining: true })).json()).toEqual({ replica: '1', draining: true, running: 2 });
  expect(calls).toEqual([['1', true]]);
  for (const wrong of [
    { replica: '7', draining: true },
    { replica: 1, draining: true },
    { replica: '1' },
    { replica: '1', draining: 'no' },
  ]) {
    expect((await drain(wrong)).status).toBe(400);
  }
  expect(calls).toHaveLength(1);
});

it('erases a tenant by the name of its keys, or as the queue shows it, in the queue, its sessions and each replica', async () => {
  const asked: string[] = [];
  const note = <T>(what: string, answer: T): T => {
    asked.push(what);
    return answer;
  };
  const replica = { fetch: async (url: string, init: RequestInit) => note(`replica ${url} ${init.body}`, new Response()) };
  const more = {
    SCHEDULER: {
      idFromName: (n: string) => n,
      get: () => ({ ...scheduler, erase: async (t: string) => note(`queue ${t}`, { waiting: 1, running: 0 }) }),
    },
    TENANT: {
      idFromName: (n: string) => n,
      get: (t: string) => ({ erase: async () => note(`sessions ${t}`, { sessions: 2, left: 0 }) }),
    },
    REPLICA: { idFromName: (n: string) => n, get: () => replica },
  } as unknown as Partial<Env>;
  const erase = (name: string, over = {}) =>
    app.request(`/admin/tenants/${name}`, { method: 'DELETE', headers }, { ...env, ...more, ...over } as Env);
  const id = 'ab'.repeat(16);
  expect(await (await erase(id)).json()).toEqual({ tenant: id, sessions: 4, requests: 2, left: 0 });
  expect(asked).toEqual([
    `queue ${id}`,
    `sessions ${id}`,
    ...['0', '1'].map(() => `replica https://replica/forget {"tenant":"${id}"}`),
    `sessions ${id}`,
    `queue ${id}`,
  ]);
  asked.length = 0;
  expect((await erase('ann')).status).toBe(200);
  expect(asked[0]).toMatch(/^queue [0-9a-f]{32}$/);
  expect((await erase('ann', { TENANT: undefined })).status).toBe(404);
  expect((await app.request('/admin/tenants/ann', { method: 'DELETE' }, env)).status).toBe(401);
});

import { expect, it } from 'vitest';
import { createApp } from '../../worker/app.ts';
import type { Env } from '../../worker/env.ts';

const app = createApp();
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

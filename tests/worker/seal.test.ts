/** What seals the ids of responses: a secret of one's own, or what the queue has drawn. */
import { expect, it, vi } from 'vitest';
import { sealOf } from '../../serving/responses/ids.ts';
import type { Env } from '../../worker/env.ts';

const session = 'ab'.repeat(16);
const idOf = (secret: string) => `resp_${session}${'0'.repeat(16)}${sealOf(secret, 'public', session)}`;

/** An isolate of its own: it keeps the queue's secret. */
async function isolate(secrets: (string | Error)[]) {
  vi.resetModules();
  const { createApp } = await import('../../worker/app.ts');
  const app = createApp();
  const woken: string[] = [];
  let asks = 0;
  const secret = async () => {
    const s = secrets[Math.min(asks++, secrets.length - 1)]!;
    if (s instanceof Error) throw s;
    return s;
  };
  const env = {
    PUBLIC: '1',
    SESSION: { idFromName: (n: string) => n, get: (n: string) => ({ get: async () => void woken.push(n) }) },
    SCHEDULER: { idFromName: (n: string) => n, get: () => ({ secret }) },
  };
  const get = async (id: string, more: object = {}) =>
    (await app.request(`/v1/responses/${id}`, {}, { ...env, ...more } as unknown as Env)).status;
  return { get, woken, asks: () => asks };
}

it('the queue is asked for it once an isolate; ids of another seal wake no session', async () => {
  const { get, woken, asks } = await isolate(['drawn']);
  expect(await get(idOf('drawn'))).toBe(404);
  expect(await get(idOf('another'))).toBe(404);
  expect(await get(idOf('drawn'))).toBe(404);
  expect([woken, asks()]).toEqual([[`public/${session}`, `public/${session}`], 1]);
});

it('a queue that failed is asked again by the next request', async () => {
  const log = vi.spyOn(console, 'error').mockImplementation(() => {});
  const gone = new Error('gone');
  const { get, woken } = await isolate([gone, gone, 'drawn']);
  expect(await get(idOf('drawn'))).toBe(500);
  expect(await get(idOf('drawn'))).toBe(404);
  expect(woken).toHaveLength(1);
  log.mockRestore();
});

it('ID_SECRET is taken before the queue’s; with neither nothing is sealed', async () => {
  const { get, woken, asks } = await isolate(['drawn']);
  expect(await get(idOf('mine'), { ID_SECRET: 'mine' })).toBe(404);
  expect([woken.length, asks()]).toEqual([1, 0]);
  const log = vi.spyOn(console, 'error').mockImplementation(() => {});
  expect(await get(idOf('mine'), { SCHEDULER: undefined })).toBe(500);
  log.mockRestore();
});

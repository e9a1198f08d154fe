/** What seals the ids of responses: a secret of one's own, or what the queue has drawn, which an isolate keeps. */
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { sealOf } from '../../serving/responses/ids.ts';
import type { Env } from '../../worker/env.ts';
import { app } from './app-of.ts';

const session = 'ab'.repeat(16);
const idOf = (secret: string) => `resp_${session}${'0'.repeat(16)}${sealOf(secret, 'public', session)}`;
let asks = 0;
let woken: string[] = [];
const secret = async () => {
  if (++asks <= 2) throw new Error('gone'); // it is asked twice a request
  return 'drawn';
};
const env = {
  PUBLIC: '1',
  SESSION: { idFromName: (n: string) => n, get: (n: string) => ({ get: async () => void woken.push(n) }) },
  SCHEDULER: { idFromName: (n: string) => n, get: () => ({ secret }) },
};
const get = async (id: string, more: object = {}) =>
  (await app.request(`/v1/responses/${id}`, {}, { ...env, ...more } as unknown as Env)).status;

beforeEach(() => {
  woken = [];
  vi.spyOn(console, 'error').mockImplementation(() => {});
});
afterEach(() => void vi.restoreAllMocks());

it('ID_SECRET is taken before the queue’s; with neither nothing is sealed', async () => {
  expect(await get(idOf('mine'), { ID_SECRET: 'mine' })).toBe(404);
  expect([woken.length, asks]).toEqual([1, 0]);
  expect(await get(idOf('mine'), { SCHEDULER: undefined })).toBe(500);
});

it('the queue is asked until it has answered, and then no more; ids of another seal wake no session', async () => {
  expect(await get(idOf('drawn'))).toBe(500);
  expect([woken, asks]).toEqual([[], 2]);
  for (const s of ['drawn', 'another', 'drawn']) expect(await get(idOf(s))).toBe(404);
  expect([woken, asks]).toEqual([[`public/${session}`, `public/${session}`], 3]);
});

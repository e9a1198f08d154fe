/** A tenant's sessions are listed as they begin, and can be erased, all of them and no other's. */
import { env } from 'cloudflare:workers';
import { expect, test } from 'vitest';
import { openSession } from '../../durable-objects/session/port.ts';
import { listOf } from '../../durable-objects/tenant/port.ts';
import { frame } from '../../serving/responses/frames.ts';
import { cacheName, newResponseId, newSessionId, sessionName } from '../../serving/responses/ids.ts';
import { readLines } from '../../serving/responses/ndjson.ts';
import type { Script } from './test-replica.ts';

const list = (tenant: string) => listOf({ TENANT: env.TENANT as DurableObjectNamespace }, tenant);
const named = (name: string) => openSession(env.SESSION as DurableObjectNamespace, name);

/** A session with one turn. */
async function begun(tenant: string, script: Script = { tokens: 4 }) {
  const session = newSessionId();
  const stub = named(sessionName(tenant, session));
  const id = newResponseId(session, '0'.repeat(16));
  const turn = { id, tenant, model: 'm', input: [], request: script as never, echo: {}, priority: 0 };
  expect(await stub.begin(turn)).toEqual({ ok: true });
  return { stub, id };
}

test('its sessions are erased, with turns that run and pages alone; another tenant’s stay', async () => {
  const ended = await begun('ours');
  const running = await begun('ours', { tokens: 1000, delayMs: 5 });
  const theirs = await begun('theirs');
  const pages = named(cacheName('ours', 'key'));
  const body = await frame('a'.repeat(64), new Uint8Array(1000));
  const put = () => pages.fetch('https://session/pages', { method: 'PUT', body, headers: { 'x-turnstone-tenant': 'ours' } });
  expect(await (await put()).json()).toEqual({ stored: 1, refused: 0 });
  await put(); // listed once
  expect(await list('ours').count()).toBe(3);

  expect(await list('ours').erase()).toEqual({ sessions: 3, left: 0 });
  expect(await ended.stub.get(ended.id)).toBeUndefined();
  expect(await running.stub.get(running.id)).toBeUndefined();
  expect(await running.stub.stats()).toMatchObject({ turns: 0, pages: 0, pageBytes: 0, running: 0 });
  expect(await pages.stats()).toMatchObject({ pages: 0 });
  expect(await list('ours').count()).toBe(0);
  expect(await theirs.stub.get(theirs.id)).toMatchObject({ response: { id: theirs.id } });
  expect(await list('theirs').count()).toBe(1);
  expect(await list('ours').erase()).toEqual({ sessions: 0, left: 0 });
});

test('a session that is over leaves the list; one that begins again comes back to it', async () => {
  const { stub, id } = await begun('one');
  expect(await list('one').count()).toBe(1);
  for await (const line of readLines((await stub.fetch(`https://session/events?response=${id}`)).body!)) expect(line).toBeTruthy();
  expect(await stub.remove(id)).toBe(true);
  await expect.poll(() => list('one').count()).toBe(0);
  const turn = { id, tenant: 'one', model: 'm', input: [], request: { tokens: 1 } as never, echo: {}, priority: 0 };
  expect(await stub.begin(turn)).toEqual({ ok: true });
  expect(await list('one').count()).toBe(1);
});

test('a call erases some, and says how many are left', async () => {
  const ids = Array.from({ length: 80 }, (_, i) => env.SESSION.idFromName(`many/${i}`).toString());
  await Promise.all(ids.map((id) => list('many').add(id)));
  expect(await list('many').erase()).toEqual({ sessions: 64, left: 16 });
  expect(await list('many').erase()).toEqual({ sessions: 16, left: 0 });
});

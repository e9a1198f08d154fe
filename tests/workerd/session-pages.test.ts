import { runInDurableObject } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { concatBytes } from '@noble/hashes/utils.js';
import { expect, test } from 'vitest';
import { openSession } from '../../durable-objects/session/port.ts';
import { TURN_ROWS } from '../../policy/cost.ts';
import { digestOf, type Frame, frame, frameHead, parseFrames, readFrames } from '../../serving/responses/frames.ts';
import { cacheName, newResponseId, newSessionId, sessionName } from '../../serving/responses/ids.ts';
import type { TurnRequest } from '../../serving/responses/types.ts';
import { said } from './test-replica.ts';

let next = 0;
const open = (tenant = 't') => env.SESSION.get(env.SESSION.idFromName(cacheName(tenant, `key${next++}`)));
const name = (n: number) => n.toString(16).padStart(64, '0');
/** The test environment allows 3,000,000 bytes a session. */
const QUOTA = 3_000_000;

function payload(bytes: number, seed: number): Uint8Array {
  const p = new Uint8Array(bytes);
  let x = seed + 1;
  for (let i = 0; i < bytes; i++) {
    x = Math.imul(x, 1103515245) + 12345;
    p[i] = x >>> 16;
  }
  return p;
}

const concat = (parts: readonly Uint8Array[]): Uint8Array => concatBytes(...parts);

async function put(
  stub: ReturnType<typeof open>,
  frames: readonly Uint8Array[],
): Promise<{ status: number; body: { stored: number; refused: number; error?: string } }> {
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
  const writer = writable.getWriter();
  const sending = (async () => {
    for (const f of frames) await writer.write(f);
    await writer.close();
  })().catch(() => {});
  const response = await stub.fetch('https://session/pages', { method: 'PUT', body: readable });
  const body = await response.json<{ stored: number; refused: number }>();
  await writer.abort().catch(() => {}); // what was refused is not read to its end
  await sending;
  return { status: response.status, body };
}

async function get(stub: ReturnType<typeof open>, names: readonly string[]): Promise<Frame[]> {
  const response = await stub.fetch('https://session/pages', { method: 'POST', body: JSON.stringify({ names }) });
  return parseFrames(new Uint8Array(await response.arrayBuffer()));
}

test('pages go in once and come back to the bit, small ones and ones larger than a row may be', async () => {
  const stub = open();
  const sizes = [1, 4_096, 200_000, (1 << 20) + 17];
  const pages = sizes.map((bytes, i) => ({ name: name(i), payload: payload(bytes, i) }));
  const names = pages.map((p) => p.name);
  expect(await stub.missing(names)).toEqual(names);
  const frames = await Promise.all(pages.map((p) => frame(p.name, p.payload)));
  expect((await put(stub, frames)).body).toEqual({ stored: 4, refused: 0 });
  expect(await stub.missing([...names, name(99)])).toEqual([name(99)]);
  const back = await get(stub, names);
  expect(back.map((f) => f.name)).toEqual(names);
  for (const [i, f] of back.entries()) {
    expect(f.payload.byteLength).toBe(sizes[i]);
    expect(await digestOf(f.payload)).toEqual(await digestOf(pages[i]!.payload));
  }
  const before = await stub.stats();
  await put(stub, frames);
  expect(await stub.stats()).toEqual(before); // not a row, either
});

test('a chain is answered up to the first page that is not here', async () => {
  const stub = open();
  await put(stub, [await frame(name(1), payload(100, 1)), await frame(name(3), payload(100, 3))]);
  expect((await get(stub, [name(1), name(2), name(3)])).map((f) => f.name)).toEqual([name(1)]);
});

test('a damaged, cut or oversized page is refused and not stored; those before it are', async () => {
  const good = await frame(name(1), payload(1000, 1));
  const bad = await frame(name(2), payload(1000, 2));
  bad[500]! ^= 1;
  const cut = (await frame(name(3), payload(1000, 3))).slice(0, 600);
  const huge = frameHead(name(4), new Uint8Array(32), 0x7fffffff);
  for (const [what, why] of [
    [bad, /does not match its digest/],
    [cut, /ends inside page/],
    [cut.slice(0, 30), /ends inside a head/],
    [huge, /payload of 2147483647 bytes/],
  ] as const) {
    const stub = open();
    const { status, body } = await put(stub, [concat([good, what])]);
    expect(status).toBe(400);
    expect(body.error).toMatch(why);
    expect(await stub.stats()).toMatchObject({ pages: 1, pageBytes: 1000 });
    await expect(parseFrames(concat([good, what]))).rejects.toThrow(/^pages: /);
  }
});

test('the byte quota drops the least recently used pages, descendants before ancestors', async () => {
  const stub = open();
  const bytes = 400_000; // seven fit
  const put1 = async (n: number) => put(stub, [await frame(name(n), payload(bytes, n))]);
  for (let n = 0; n < 7; n++) await put1(n);
  await stub.missing([0, 1, 2, 3, 4, 5, 6].map(name)); // one chain, root first: the root is the most recent now
  await put1(7);
  await put1(8);
  const left = (await stub.missing([0, 1, 2, 3, 4, 5, 6, 7, 8].map(name))).map((n) => Number.parseInt(n, 16));
  expect(left).toEqual([5, 6]);
  expect((await stub.stats()).pageBytes).toBeLessThanOrEqual(QUOTA);
  const stored = () =>
    runInDurableObject(stub, (_, s) => s.storage.sql.exec<{ n: number }>('SELECT sum(length(data)) AS n FROM pages').one().n);
  expect(await stored()).toBe(7 * bytes);
  expect((await put(stub, [await frame(name(9), payload(QUOTA + 1, 9))])).body).toEqual({ stored: 0, refused: 1 });
  expect((await stub.stats()).pages).toBe(7);
});

test('a chain longer than the quota keeps its beginning, and older chains go for it', async () => {
  const stub = open();
  const bytes = 400_000; // seven fit
  const frames = (from: number, n: number) => Promise.all(Array.from({ length: n }, (_, i) => frame(name(from + i), payload(bytes, i))));
  await put(stub, await frames(100, 5)); // another branch
  const chain = Array.from({ length: 10 }, (_, i) => name(i));
  expect(await stub.missing(chain)).toEqual(chain);
  expect((await put(stub, await frames(0, 10))).body).toEqual({ stored: 7, refused: 3 });
  expect(await stub.missing(chain)).toEqual(chain.slice(7));
  expect((await get(stub, chain)).map((f) => f.name)).toEqual(chain.slice(0, 7));
});

test("another tenant's key of the same name is another session", async () => {
  const key = `shared${next++}`;
  const of = (tenant: string) => env.SESSION.get(env.SESSION.idFromName(cacheName(tenant, key)));
  await put(of('a'), [await frame(name(1), payload(10, 1))]);
  expect(await of('a').missing([name(1)])).toEqual([]);
  expect(await of('b').missing([name(1)])).toEqual([name(1)]);
});

test('frames read from a stream and from bytes are the same', async () => {
  const bytes = concat([await frame(name(1), payload(70_000, 1)), await frame(name(2), payload(3, 2))]);
  const streamed: Frame[] = [];
  for await (const f of readFrames(new Response(bytes).body!)) streamed.push(f);
  expect(streamed.map((f) => [f.name, [...f.payload]])).toEqual((await parseFrames(bytes)).map((f) => [f.name, [...f.payload]]));
});

test('a stored turn of 1,000 tokens of history writes at most 30 rows on a warm replica and 60 on a cold one', async () => {
  const session = newSessionId();
  const stub = openSession(env.SESSION as DurableObjectNamespace, sessionName('t', session));
  const pages = (n: number) => Promise.all(Array.from({ length: n }, (_, i) => frame(name(i), payload(40_000, i))));
  const all = await pages(70);
  const names = all.map((_, i) => name(i));
  /** A turn as its replica runs it: pulled where it is cold, generated, and the new pages handed over. */
  const say = async (known: number, now: number, cold: boolean, previous?: string): Promise<number> => {
    const before = (await stub.stats()).rowsWritten;
    const id = newResponseId(session, '0'.repeat(16));
    const request = { tokens: 64, delayMs: 20 } as unknown as TurnRequest; // a script of TestReplica
    const input = [said('user', 'hello')];
    expect(await stub.begin({ id, tenant: 't', model: 'm', previous, input, request, echo: {}, priority: 0 })).toEqual({ ok: true });
    if (cold) await (await stub.fetch('https://session/pages', { method: 'POST', body: JSON.stringify({ names }) })).arrayBuffer();
    await (await stub.fetch(`https://session/events?response=${id}&after=-1`)).text();
    expect(await stub.missing(names.slice(0, now))).toHaveLength(now - known);
    const body = concat(all.slice(known, now));
    if (now > known) expect((await stub.fetch(`https://session/pages?response=${id}`, { method: 'PUT', body })).status).toBe(200);
    last = id;
    return (await stub.stats()).rowsWritten - before;
  };
  let last = '';
  // a conversation that begins with 1,000 tokens: every page of them is new
  const first = await say(0, 63, false); // and the tables are made
  const warm = await say(63, 68, false, last);
  expect(warm).toBeLessThanOrEqual(TURN_ROWS); // of 30
  expect(warm).toBeGreaterThan(5);
  const cold = await say(68, 70, true, last);
  expect(cold).toBeLessThanOrEqual(TURN_ROWS); // of 60
  expect(first).toBeLessThanOrEqual(60);
});

test('pages that an older server stored, one a row or cut, are read, and go in the order of their use', async () => {
  const stub = open();
  const old = [
    { name: name(1), payload: payload(900_000, 1), used: 3 },
    { name: name(2), payload: payload((1 << 20) + 5, 2), used: 2 },
    { name: name(3), payload: payload(30, 3), used: 1 },
  ];
  const digests = await Promise.all(old.map((p) => digestOf(p.payload)));
  await runInDurableObject(stub, (_, { storage: { sql } }) => {
    sql.exec(`
CREATE TABLE pages (name TEXT PRIMARY KEY, bytes INTEGER NOT NULL, digest BLOB NOT NULL, used INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX pages_used ON pages (used);
CREATE TABLE parts (name TEXT NOT NULL, part INTEGER NOT NULL, data BLOB NOT NULL, PRIMARY KEY (name, part));
CREATE TABLE schema (part TEXT PRIMARY KEY, version INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO schema (part, version) VALUES ('pages', 1)`);
    for (const [i, { name, payload, used }] of old.entries()) {
      sql.exec('INSERT INTO pages (name, bytes, digest, used) VALUES (?, ?, ?, ?)', name, payload.byteLength, digests[i], used);
      for (let part = 0; part << 20 < payload.byteLength; part++)
        sql.exec('INSERT INTO parts (name, part, data) VALUES (?, ?, ?)', name, part, payload.slice(part << 20, (part + 1) << 20));
    }
  });
  await put(stub, [await frame(name(4), payload(10, 4))]);
  // up to the quota: what was used first has to go, and no more
  await put(stub, [await frame(name(5), payload(QUOTA - 900_000 - (1 << 20) - 15, 5))]);
  expect(await stub.missing([1, 2, 3, 4, 5].map(name))).toEqual([name(3)]);
  const [one, two] = old;
  const back = await get(stub, [one!.name, two!.name]);
  expect(back.map((f) => [f.name, f.digest])).toEqual([one!, two!].map((p, i) => [p.name, digests[i]])); // parseFrames holds payloads to digests
});

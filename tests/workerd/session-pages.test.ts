import { runInDurableObject } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { expect, test } from 'vitest';
import { digestOf, type Frame, frame, frameHead, parseFrames, readFrames } from '../../serving/responses/frames.ts';
import { cacheName } from '../../serving/responses/ids.ts';

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

const concat = (parts: readonly Uint8Array[]): Uint8Array => new Uint8Array(parts.flatMap((p) => [...p]));

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
  await Promise.race([sending, new Promise((resolve) => setTimeout(resolve, 100))]);
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
  expect(await stub.stats()).toEqual(before);
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
  const orphans = await runInDurableObject(
    stub,
    (_, s) => s.storage.sql.exec('SELECT count(*) AS n FROM parts WHERE name NOT IN (SELECT name FROM pages)').one().n,
  );
  expect(orphans).toBe(0);
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

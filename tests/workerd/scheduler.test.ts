import { abortAllDurableObjects, runInDurableObject } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { expect, test } from 'vitest';
import { QUEUE_ROWS } from '../../policy/cost.ts';
import type { Queue } from '../../policy/queue.ts';
import type { Heartbeat, Progress } from '../../policy/ticket.ts';

let next = 0;
const scheduler = (name = `s${next++}`) => ({ name, stub: env.SCHEDULER.get(env.SCHEDULER.idFromName(name)) });
const ask = (id: string, more = {}) => ({ id, tenant: 't', priority: 0, promptTokens: 100, chain: [], restart: false, ...more });
const beat = (running: Progress[], more: Partial<Heartbeat> = {}): Heartbeat => ({
  incarnation: 'i',
  slots: 2,
  kvTokens: 10_000,
  running,
  done: [],
  ...more,
});
/** Both replicas say they have one slot each. */
async function oneSlotEach(stub: ReturnType<typeof scheduler>['stub']) {
  for (const r of ['0', '1']) await stub.heartbeat(r, beat([], { slots: 1 }));
}

test('admits, holds the next caller until a slot is free, and places a follow-up where its chain is', async () => {
  const { stub } = scheduler();
  await oneSlotEach(stub);
  const chain = [
    { hash: 'k', tokens: 50 },
    { hash: 'k/u1', tokens: 100 },
  ];
  const first = await stub.admit(ask('a', { chain }));
  const second = await stub.admit(ask('b'));
  if (first.kind !== 'run' || second.kind !== 'run') throw new Error('not admitted');
  expect(new Set([first.replica, second.replica])).toEqual(new Set(['0', '1']));
  const third = stub.admit(ask('c', { chain: [...chain, { hash: 'k/u1/u2', tokens: 150 }], promptTokens: 150 }));
  await stub.stats();
  expect((await stub.stats()).waiting).toBe(1);
  expect(await stub.release([{ id: 'a', epoch: first.epoch, output: 10, promptTokens: 90 }])).toBe(1);
  expect(await third).toMatchObject({ kind: 'run', replica: first.replica, matched: 100 });
});

test('the same id is the same request: asked twice while it runs, it gets the same lease', async () => {
  const { stub } = scheduler();
  const first = await stub.admit(ask('a'));
  expect(await stub.admit(ask('a'))).toMatchObject({ kind: 'run', epoch: first.kind === 'run' && first.epoch });
  expect((await stub.stats()).replicas.reduce((n, r) => n + r.running, 0)).toBe(1);
});

test('a waiting request that is cancelled leaves at once; a running one is aborted by its replica', async () => {
  const { stub } = scheduler();
  await oneSlotEach(stub);
  const a = await stub.admit(ask('a'));
  await stub.admit(ask('b'));
  const waiting = stub.admit(ask('c'));
  await expect.poll(async () => (await stub.stats()).waiting).toBe(1); // two calls may overtake each other
  expect(await stub.cancel('c')).toBe(true);
  expect(await waiting).toEqual({ kind: 'wait' });
  expect((await stub.stats()).waiting).toBe(0);
  if (a.kind !== 'run') throw new Error('not admitted');
  await stub.cancel('a');
  expect(await stub.heartbeat(a.replica, beat([{ id: 'a', epoch: a.epoch, output: 5 }]))).toEqual({ abort: ['a'], draining: false });
});

test('a tenant that is erased waits and runs no more, and has no account', async () => {
  const { name, stub } = scheduler();
  await oneSlotEach(stub);
  const a = await stub.admit(ask('a', { tenant: 'gone' }));
  await stub.admit(ask('b', { tenant: 'stays' }));
  const waiting = stub.admit(ask('c', { tenant: 'gone' }));
  await expect.poll(async () => (await stub.stats()).waiting).toBe(1);
  expect(await stub.erase('gone')).toEqual({ waiting: 1, running: 1 });
  expect(await waiting).toMatchObject({ kind: 'refused', reason: 'erased' });
  if (a.kind !== 'run') throw new Error('not admitted');
  expect(await stub.heartbeat(a.replica, beat([{ id: 'a', epoch: a.epoch, output: 5 }]))).toMatchObject({ abort: ['a'] });
  expect((await stub.stats()).tenants.map((t) => t.name)).toEqual(['stays']);
  await abortAllDurableObjects();
  const after = scheduler(name).stub;
  expect((await after.stats()).tenants.map((t) => t.name)).toEqual(['stays']); // it is written at once
  expect(await stub.erase('gone').catch(() => after.erase('gone'))).toEqual({ waiting: 0, running: 0 });
});

test('a full queue refuses with a Retry-After', async () => {
  const { stub } = scheduler();
  await oneSlotEach(stub);
  await Promise.all(['a', 'b'].map((id) => stub.admit(ask(id))));
  const held = Array.from({ length: 8 }, (_, i) => stub.admit(ask(`w${i}`)));
  await expect.poll(async () => (await stub.stats()).waiting).toBe(8);
  const refused = await stub.admit(ask('one too many'));
  expect(refused).toMatchObject({ kind: 'refused', reason: 'queue_full' });
  expect(refused.kind === 'refused' && refused.retryAfter).toBeGreaterThanOrEqual(1);
  for (let i = 0; i < 8; i++) await stub.cancel(`w${i}`);
  expect(await Promise.all(held)).toEqual(new Array(8).fill({ kind: 'wait' }));
});

test('evicted: what runs is told by its replica, who waits asks again, and nothing runs twice', async () => {
  const { name, stub } = scheduler();
  await oneSlotEach(stub);
  const a = await stub.admit(ask('a'));
  const b = await stub.admit(ask('b'));
  void stub.admit(ask('c')).catch(() => {}); // never answered: its object is gone
  await expect.poll(async () => (await stub.stats()).waiting).toBe(1);
  if (a.kind !== 'run' || b.kind !== 'run') throw new Error('not admitted');
  await abortAllDurableObjects();
  const again = scheduler(name).stub;
  expect((await again.lease('a')).state).toBe('untold'); // a session waits for it to be told
  const told = { tenant: 't', slots: 1, output: 1, promptTokens: 100 };
  for (const { id, epoch, replica } of [a, b]) {
    expect((await again.heartbeat(replica, beat([{ ...told, id, epoch }], { slots: 1 }))).abort).toEqual([]);
  }
  expect(await again.stats()).toMatchObject({ waiting: 0, tenants: [{ running: 2 }] });
  expect(await again.admit(ask('a'))).toMatchObject({ kind: 'run', replica: a.replica, epoch: a.epoch });
  const c = again.admit(ask('c', { waitedMs: 5 }));
  expect((await again.stats()).waiting).toBe(1);
  expect(await again.release([{ id: 'a', epoch: a.epoch, output: 1 }])).toBe(1);
  expect(await again.release([{ id: 'a', epoch: a.epoch, output: 1 }])).toBe(0);
  const third = await c;
  expect(third).toMatchObject({ kind: 'run', replica: a.replica });
  expect(third.kind === 'run' && third.epoch).toBeGreaterThan(b.epoch);
});

test('a replica that falls silent: its lease ends; a session gets its place again under a new epoch', async () => {
  const { stub } = scheduler();
  const s = await stub.admit(ask('s', { restart: true }));
  const p = await stub.admit(ask('p', { tenant: 'u', chain: [] }));
  if (s.kind !== 'run' || p.kind !== 'run') throw new Error('not admitted');
  for (const l of [s, p]) await stub.heartbeat(l.replica, beat([{ id: l.id, epoch: l.epoch, output: 3 }]));
  // at most the lease and, as nobody waits for it, its excuse
  await expect.poll(async () => (await stub.lease('s')).state, { timeout: 5_000 }).toBe('waiting');
  await expect.poll(async () => (await stub.lease('p')).state, { timeout: 5_000 }).toBe('unknown'); // its replica spoke later
  const probe = { incarnation: 'new' };
  await stub.heartbeat('0', beat([], probe));
  const again = await stub.admit(ask('s', { restart: true }));
  if (again.kind !== 'run') throw new Error('not admitted again');
  expect(again.epoch).toBeGreaterThan(p.epoch);
  expect(await stub.release([{ id: 's', epoch: s.epoch, output: 4 }])).toBe(0);
});

test('draining: new requests are refused when every replica drains, what runs may end', async () => {
  const { stub } = scheduler();
  const a = await stub.admit(ask('a'));
  const left = (await stub.drain('0', true)) + (await stub.drain('1', true));
  expect(left).toBe(1);
  expect(await stub.admit(ask('b'))).toEqual({ kind: 'refused', reason: 'draining', retryAfter: 5 });
  expect(await stub.release([{ id: 'a', epoch: a.kind === 'run' ? a.epoch : 0, output: 1 }])).toBe(1);
  await stub.drain('0', false);
  expect((await stub.admit(ask('b'))).kind).toBe('run');
});

test('what came over the wire is bounded before it counts', async () => {
  const { stub } = scheduler();
  const wrong = (p: Promise<unknown>) => p.then(() => 'accepted').catch((e: Error) => e.message);
  expect(await wrong(stub.admit(ask('x', { promptTokens: 1e9 })))).toMatch(/promptTokens/);
  expect(await wrong(stub.admit(ask('')))).toMatch(/id must be/);
  expect(await wrong(stub.heartbeat('9', beat([])))).toMatch(/no replica "9"/);
  expect(await wrong(stub.heartbeat('0', beat([{ id: 'a', epoch: 1, output: -1 }])))).toMatch(/output is -1/);
});

test('what must survive follows the queue: evicted whenever nothing runs, its accounts are what they were', async () => {
  let { stub, name } = scheduler();
  for (let i = 0; i < 300; i++) {
    const a = await stub.admit(ask(`r${i}`, { tenant: `t${i % 7}`, chain: [{ hash: `h${i % 20}`, tokens: 90 }] }));
    if (a.kind !== 'run') throw new Error('not admitted');
    await stub.release([{ id: a.id, epoch: a.epoch, output: 1 }]);
    if (i !== 40 && i !== 277) continue;
    const before = await stub.stats();
    await abortAllDurableObjects();
    ({ stub } = scheduler(name));
    const same = { ...before, rowsWritten: expect.any(Number), epoch: expect.any(Number) };
    expect(await stub.stats()).toEqual(same);
  }
  const count = (table: string) =>
    runInDurableObject(stub, (_, state) => state.storage.sql.exec<{ n: number }>(`SELECT count(*) AS n FROM ${table}`).one().n);
  expect(await count('events')).toBe(256);
  expect(await count('state')).toBeLessThanOrEqual(3);
});

const OLD = ['journal', 'tickets', 'tenants', 'replicas', 'chains', 'meta'].map((table) => `CREATE TABLE ${table} (id TEXT);`).join(' ');
const damages: [string, string][] = [
  ['a row that is no JSON', "UPDATE state SET data = '{broken'"],
  ['a row of another kind', `UPDATE state SET data = '{"seq":1,"meta":{},"tenants":[{}],"replicas":[]}'`],
  ['a number that is none', "UPDATE state SET data = json_set(data, '$.replicas[0].slots', 'much')"],
  ['a table that is gone', 'DROP TABLE events'],
  ['an event that is missing', 'DELETE FROM events WHERE id = 2'],
  ['tables of an older server', `${OLD} UPDATE schema SET version = 3 WHERE part = 'queue'`],
  ['tables of a newer server', "UPDATE schema SET version = 99 WHERE part = 'queue'"],
];
test.each(damages)('damaged in storage (%s): it begins anew, above all epochs before, and what runs goes on', async (_, sql) => {
  const { name, stub } = scheduler();
  const secret = await stub.secret();
  for (let i = 0; i < 3; i++) expect(await stub.drain('1', i % 2 === 0)).toBe(0); // an event each
  const a = await stub.admit(ask('a'));
  if (a.kind !== 'run') throw new Error('not admitted');
  await runInDurableObject(stub, (_, state) => state.storage.sql.exec(sql));
  await abortAllDurableObjects();
  const again = scheduler(name).stub;
  const b = await again.admit(ask('b'));
  if (b.kind !== 'run') throw new Error('not admitted');
  expect(b.epoch).toBeGreaterThan(a.epoch);
  expect(await again.heartbeat(a.replica, beat([{ id: 'a', epoch: a.epoch, output: 5 }]))).toMatchObject({ abort: [] });
  const { waiting, stored, replicas } = await again.stats();
  expect([waiting, stored, replicas.some((r) => r.draining)]).toEqual([0, true, false]); // forgotten
  expect(await again.secret()).toBe(secret); // ids given out before still hold
  const tables = await runInDurableObject(again, (_, state) => [
    ...state.storage.sql.exec<{ name: string }>(
      "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '\\_cf\\_%' ESCAPE '\\'",
    ),
  ]);
  expect(tables.map((t) => t.name).sort()).toEqual(['events', 'kept', 'schema', 'state']);
  await again.drain('1', true);
  await abortAllDurableObjects();
  expect((await scheduler(name).stub.stats()).replicas.map((r) => r.draining)).toEqual([false, true]); // and is stored again
});

test('an event that finds the books wrong begins them anew and is answered', async () => {
  const { stub } = scheduler();
  await oneSlotEach(stub);
  for (const id of ['a', 'b']) await stub.admit(ask(id));
  const held = stub.admit(ask('c'));
  await expect.poll(async () => (await stub.stats()).waiting).toBe(1);
  await runInDurableObject(stub, (object) => {
    const { ledger } = (object as unknown as { keeper: { queue: Queue } }).keeper.queue;
    ledger.tenants.all.clear();
  });
  expect(await stub.cancel('a')).toBe(false); // forgotten
  expect(await held).toEqual({ kind: 'wait' });
  expect((await stub.admit(ask('c'))).kind).toBe('run');
});

test('a write that is never stored: the next object goes on in memory, and leaves storage alone', async () => {
  const { name, stub } = scheduler();
  await oneSlotEach(stub);
  const a = await stub.admit(ask('a'));
  await runInDurableObject(stub, (object, state) => {
    const memory = (object as unknown as { keeper: { memory: { begun: number } } }).keeper.memory;
    memory.begun++; // as when the disk is full: the object breaks before it learns of it
    state.storage.sql.exec('DELETE FROM state');
    state.storage.sql.exec('DELETE FROM events');
  });
  await abortAllDurableObjects();
  const again = scheduler(name).stub;
  expect(await again.lease('a')).toMatchObject({ state: 'running', epoch: a.kind === 'run' && a.epoch });
  expect((await again.stats()).stored).toBe(false);
  expect((await again.admit(ask('b'))).kind).toBe('run');
  const events = await runInDurableObject(again, (_, state) => state.storage.sql.exec('SELECT count(*) AS n FROM events').one().n);
  expect(events).toBe(0); // nothing was written
  await runInDurableObject(again, (object) => {
    (object as unknown as { keeper: { memory: { restUntil: number } } }).keeper.memory.restUntil = 1; // it has rested
  });
  expect(await again.release([{ id: 'b', epoch: 0, output: 1 }])).toBe(0);
  await again.cancel('b');
  await expect.poll(async () => (await again.stats()).stored).toBe(true);
  await again.drain('1', true);
  await abortAllDurableObjects();
  expect((await scheduler(name).stub.stats()).replicas.map((r) => r.draining)).toEqual([false, true]); // all of it is stored again
});

test('what a chat costs in its queue: a row where it is alone, none where others go on, however often its replica says how far it is', async () => {
  const { stub } = scheduler();
  await oneSlotEach(stub);
  const written = async () => (await stub.stats()).rowsWritten;
  const chat = async (id: string, beats: number) => {
    const place = await stub.admit(ask(id));
    if (place.kind !== 'run') throw new Error('not admitted');
    const { epoch, replica } = place;
    for (let output = 0; output < beats; output++) await stub.heartbeat(replica, beat([{ id, epoch, output, promptTokens: 100 }]));
    return () => stub.heartbeat(replica, beat([], { done: [{ id, epoch, output: 30, promptTokens: 100 }] }));
  };
  await (await chat('first', 1))(); // all of the queue is written once
  const before = await written();
  const chats = 40;
  for (let i = 0; i < chats; i++) await (await chat(`a${i}`, i === 7 ? 30 : 1))();
  expect((await written()) - before).toBe(chats * QUEUE_ROWS);
  const end = await chat('goes on', 1);
  const busy = await written();
  const from = Date.now();
  for (let i = 0; i < chats; i++) await (await chat(`b${i}`, 2))();
  expect((await written()) - busy).toBeLessThanOrEqual((Date.now() - from) / 10_000); // one in ten seconds
  await end();
  expect((await stub.stats()).tenants).toEqual([expect.objectContaining({ running: 0, waiting: 0 })]);
  expect(await runInDurableObject(stub, (_, s) => s.storage.getAlarm())).toBeNull(); // which is a row, too
});

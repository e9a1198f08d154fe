import { abortAllDurableObjects, runDurableObjectAlarm, runInDurableObject } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { expect, onTestFinished, test } from 'vitest';
import type { Session } from '../../durable-objects/session/index.ts';
import { openSession, type SessionPort } from '../../durable-objects/session/port.ts';
import { TurnStore } from '../../durable-objects/session/turns.ts';
import { frame } from '../../serving/responses/frames.ts';
import { newResponseId, newSessionId, sessionName, sessionOf } from '../../serving/responses/ids.ts';
import type { BeginRequest, Commit, RunOrder, SessionEvent, TurnRequest } from '../../serving/responses/types.ts';
import { promptOf, type Script, said, textOf, tokenAt } from './test-replica.ts';

const SEAL = '0'.repeat(16);
const open = (session = newSessionId(), tenant = 't') => ({
  session,
  stub: openSession(env.SESSION as DurableObjectNamespace, sessionName(tenant, session)),
});
/** The stub as the test harness wants it. */
const raw = (stub: Stub) => stub as unknown as DurableObjectStub<Session>;
const turn = (session: string, script: Script, more: Partial<BeginRequest> = {}): BeginRequest => ({
  id: newResponseId(session, SEAL),
  tenant: 't',
  model: 'm',
  input: [said('user', 'hello')],
  request: script as unknown as TurnRequest,
  echo: {},
  priority: 0,
  ...more,
});
type Stub = SessionPort;

async function events(stub: Stub, id: string, after = -1, limit = Number.POSITIVE_INFINITY): Promise<SessionEvent[]> {
  const response = await stub.fetch(`https://session/events?response=${id}&after=${after}`);
  const got: SessionEvent[] = [];
  let held = '';
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { value, done } = await reader.read();
    if (done) break;
    const lines = (held + value).split('\n');
    held = lines.pop()!;
    for (const line of lines) got.push(JSON.parse(line) as SessionEvent);
    if (got.length >= limit) {
      await reader.cancel();
      break;
    }
  }
  return got;
}

const replicas = [0, 1].map((r) => () => env.REPLICA.get(env.REPLICA.idFromName(`replica-${r}`)));
/** What was ordered of a response, by all replicas. */
const ordered = async (id: string): Promise<RunOrder[]> =>
  (await Promise.all(replicas.map((replica) => replica().seen())))
    .flatMap((json) => JSON.parse(json) as RunOrder[])
    .filter((o) => o.response === id);
/** Whether a run of it has ended on a replica, however it did. */
const ranOut = async (id: string): Promise<boolean> => (await Promise.all(replicas.map((replica) => replica().over()))).flat().includes(id);

const COMMITTED = 'SELECT coalesce(sum(length(ids)) / 4, 0) AS n FROM log';

const textOfEvents = (list: SessionEvent[]) => list.map((e) => ('seq' in e ? e.text : '')).join('');
const seqs = (list: SessionEvent[]) => list.flatMap((e) => ('seq' in e ? [e.seq] : []));
const wanted = (seed: readonly [number, number], n: number) =>
  `${Array.from({ length: n }, (_, i) => textOf(tokenAt(seed, i), i)).join('')}!`;

test('an id says its session, and nothing else passes for one', () => {
  const session = newSessionId();
  expect(sessionOf(newResponseId(session, SEAL))).toBe(session);
  expect(sessionOf('resp_1')).toBeUndefined();
});

test('a turn runs to its end; readers get every event once, whenever they come', async () => {
  const { session, stub } = open();
  const t = turn(session, { tokens: 40, delayMs: 2 }, { seed: [7, 9] });
  expect(await stub.begin(t)).toEqual({ ok: true });
  const live = await events(stub, t.id);
  expect(textOfEvents(live)).toBe(wanted([7, 9], 40));
  expect(seqs(live)).toEqual(Array.from({ length: 33 }, (_, i) => i)); // 32 tokens with text and the tail
  expect(live.at(-1)).toMatchObject({ end: 'completed', response: { usage: { completion: 40 }, finish: 'stop' } });
  const late = await events(stub, t.id);
  expect(late).toEqual(live);
  expect(await events(stub, t.id, 20)).toEqual(live.filter((e) => !('seq' in e) || e.seq > 20));
  const { text, response } = (await stub.get(t.id))!;
  expect(text).toBe(wanted([7, 9], 40));
  expect(response.status).toBe('completed');
});

test('the replica dies again and again: the text is the undisturbed one, each event comes once', async () => {
  const { session, stub } = open();
  const t = turn(session, { tokens: 60, dieAt: 23, deaths: 2, delayMs: 1 });
  await stub.begin(t);
  const got = await events(stub, t.id);
  const { response, text } = (await stub.get(t.id))!;
  expect(text).toBe(wanted(response.seed, 60));
  expect(textOfEvents(got)).toBe(text);
  expect(seqs(got)).toEqual(Array.from({ length: 49 }, (_, i) => i));
  expect(response.starts).toEqual([0, 23, ...new Array(response.starts.length - 2).fill(23)]);
  const orders = (await ordered(t.id)).sort((a, b) => a.epoch - b.epoch);
  expect(orders.length).toBeGreaterThanOrEqual(2);
  expect(orders[1]!.generated).toHaveLength(23);
  expect(orders[0]!.prompt).toEqual([]); // the replica makes it of the input, once
  expect(orders[1]!.prompt).toEqual(promptOf(orders[0]!.input));
  expect(orders.every((o) => o.seed[0] === orders[0]!.seed[0])).toBe(true);
});

test('the session itself dies mid-stream: the alarm starts the rest, a returning reader misses and repeats nothing', async () => {
  const { session, stub } = open();
  const t = turn(session, { tokens: 120, delayMs: 4 });
  await stub.begin(t);
  const before = await events(stub, t.id, -1, 50);
  const lastSeen = seqs(before).at(-1)!;
  await abortAllDurableObjects();
  const again = open(session).stub;
  const committed = await runInDurableObject(raw(again), (_, s) => s.storage.sql.exec<{ n: number }>(COMMITTED).one().n);
  expect(committed).toBeGreaterThanOrEqual(32); // of the 50 that were read
  expect(committed).toBeLessThan(120);
  await runDurableObjectAlarm(raw(again)); // or it has run already: the object arms it when it wakes
  const after = await events(again, t.id, lastSeen);
  const { response } = (await again.get(t.id))!;
  expect(textOfEvents(before) + textOfEvents(after)).toBe(wanted(response.seed, 120));
  expect([...seqs(before), ...seqs(after)]).toEqual(Array.from({ length: 97 }, (_, i) => i));
});

test('slow tokens are stored after a while, not only when there are 32 of them', async () => {
  const { session, stub } = open();
  const t = turn(session, { tokens: 12, delayMs: 60, hang: true });
  await stub.begin(t);
  const stored = () => runInDurableObject(raw(stub), (_, s) => s.storage.sql.exec<{ n: number }>(COMMITTED).one().n);
  await expect.poll(stored).toBeGreaterThanOrEqual(4);
  expect(await stored()).toBeLessThanOrEqual(12);
  await stub.cancel(t.id);
});

test('the replica hangs and breaks no stream: its lease ends, and the turn goes on elsewhere', async () => {
  const { session, stub } = open();
  const t = turn(session, { tokens: 40, hangAt: 10 });
  await stub.begin(t);
  const before = await events(stub, t.id, -1, 8);
  const queue = env.SCHEDULER.get(env.SCHEDULER.idFromName('scheduler'));
  const { replica, epoch } = await queue.lease(t.id);
  const running = [{ id: t.id, epoch, output: 10 }];
  await queue.heartbeat(replica, { incarnation: 'hangs', slots: 4, kvTokens: 10_000, running, done: [] }); // its last
  await expect.poll(async () => (await queue.lease(t.id)).epoch).not.toBe(epoch);
  await runDurableObjectAlarm(raw(stub)); // or it has run already
  const after = await events(stub, t.id, seqs(before).at(-1));
  const { response } = (await stub.get(t.id))!;
  expect(textOfEvents(before) + textOfEvents(after)).toBe(wanted(response.seed, 40));
  expect(response.starts).toEqual([0, 10]);
  expect(response.epoch).toBeGreaterThan(epoch);
});

test('stale commits are refused, gaps are told, what is known already changes nothing', async () => {
  const { session, stub } = open();
  const t = turn(session, { tokens: 3, hang: true });
  await stub.begin(t);
  await events(stub, t.id, -1, 3);
  const commit = (c: Commit) => runInDurableObject(raw(stub), (_, state) => new TurnStore(state.storage.sql).commit(c));
  const { epoch } = (await stub.get(t.id))!.response;
  const ids = [1, 2, 3, 4].map((_, i) => tokenAt([0, 0], i));
  const c: Commit = { response: t.id, epoch, from: 0, ids: ids.slice(0, 1), text: ['#'] };
  const before = await commit(c); // the first of the three is stored at once
  expect(before.ok && before.committed >= 1).toBe(true);
  expect(await commit({ ...c, epoch: epoch - 1 })).toMatchObject({ ok: false, why: 'stale' });
  expect(await commit({ ...c, from: 9 })).toEqual({ ok: false, why: 'gap', committed: before.committed });
  expect(await commit({ ...c, response: newResponseId(session, SEAL) })).toMatchObject({ ok: false, why: 'unknown' });
  await stub.cancel(t.id);
  const { text } = (await stub.get(t.id))!;
  expect(text).not.toContain('#');
  expect(await commit(c)).toMatchObject({ ok: false, why: 'stale' });
});

test('cancel keeps what was said, frees the place in the queue, and ends the readers', async () => {
  const { session, stub } = open();
  const t = turn(session, { tokens: 10_000, delayMs: 3 });
  await stub.begin(t);
  const reading = events(stub, t.id);
  await events(stub, t.id, -1, 5);
  expect((await stub.cancel(t.id))!.response.status).toBe('cancelled');
  const got = await reading;
  expect(got.at(-1)).toMatchObject({ end: 'cancelled' });
  expect(seqs(got).length).toBeGreaterThanOrEqual(5);
  const stats = await env.SCHEDULER.get(env.SCHEDULER.idFromName('scheduler')).stats();
  expect(stats.tenants.filter((x) => x.running + x.waiting > 0)).toEqual([]);
});

test('a request the replica refuses fails with its error', async () => {
  const { session, stub } = open();
  const t = turn(session, { tokens: 1, refuse: 400 });
  await stub.begin(t);
  const got = await events(stub, t.id);
  expect(got).toEqual([{ end: 'failed', response: expect.objectContaining({ error: expect.objectContaining({ message: 'refused' }) }) }]);
});

test.each([
  [{ refuse: 500 }, 1],
  [{ fault: 500 }, 1],
  [{ fault: 503 }, 5],
])('a fault of the turn itself (%o) ends it; only what another replica may do better is tried again', async (script, tries) => {
  const { session, stub } = open();
  const t = turn(session, { tokens: 1, ...script });
  await stub.begin(t);
  expect((await events(stub, t.id)).at(-1)).toMatchObject({ end: 'failed' });
  expect(await ordered(t.id)).toHaveLength(tries);
});

test('what the queue refuses at once is told at once, and leaves nothing; the conversation before it stays', async () => {
  const { session, stub } = open();
  const queue = env.SCHEDULER.get(env.SCHEDULER.idFromName('scheduler'));
  const drain = (draining: boolean) => Promise.all(['0', '1'].map((r) => queue.drain(r, draining)));
  onTestFinished(async () => void (await drain(false))); // the others share the queue
  await drain(true);
  const first = turn(session, { tokens: 3 });
  expect(await stub.begin(first)).toEqual({ ok: false, why: 'refused', reason: 'draining', retryAfter: 5 });
  expect(await stub.get(first.id)).toBeUndefined();
  expect(await tables(stub)).toEqual({ tables: [], alarm: null, keys: 0 });
  await drain(false);
  expect(await stub.begin(first)).toEqual({ ok: true });
  await events(stub, first.id);
  await drain(true);
  const next = turn(session, { tokens: 3 }, { previous: first.id });
  expect(await stub.begin(next)).toMatchObject({ ok: false, why: 'refused' });
  await drain(false);
  expect(await stub.get(next.id)).toBeUndefined();
  expect((await stub.get(first.id))!.response.status).toBe('completed');
  expect(await stub.begin(next)).toEqual({ ok: true });
  expect((await events(stub, next.id)).at(-1)).toMatchObject({ end: 'completed' });
});

test('branches: turn 3 and another turn 3 share turns 1 and 2, and see only their own past', async () => {
  const { session, stub } = open();
  const say = async (content: string, previous?: string) => {
    const t = turn(session, { tokens: 2 }, { previous, input: [said('user', content)] });
    expect(await stub.begin(t)).toEqual({ ok: true });
    await events(stub, t.id);
    return t.id;
  };
  const one = await say('one');
  const two = await say('two', one);
  await say('three', two);
  const other = await say('other three', two);
  const answer = said('assistant', '2');
  const user = (content: string) => said('user', content);
  expect(await stub.inputItems(other)).toEqual([user('one'), answer, user('two'), answer, user('other three')]);
  expect(await stub.begin(turn(session, { tokens: 1 }, { previous: newResponseId(session, SEAL) }))).toEqual({
    ok: false,
    why: 'previous_not_found',
  });
});

test('another model at the next turn: the response says that everything was computed anew', async () => {
  const { session, stub } = open();
  const first = turn(session, { tokens: 1 });
  await stub.begin(first);
  await events(stub, first.id);
  const second = turn(session, { tokens: 1 }, { previous: first.id, model: 'm2' });
  await stub.begin(second);
  await events(stub, second.id);
  expect((await stub.get(first.id))!.response.recomputed).toBe(false);
  expect((await stub.get(second.id))!.response.recomputed).toBe(true);
});

const tables = (stub: Stub) =>
  runInDurableObject(raw(stub), async (_, state) => ({
    tables: state.storage.sql
      .exec<{ name: string }>("SELECT name FROM sqlite_master WHERE name NOT LIKE '\\_cf\\_%' ESCAPE '\\'")
      .toArray()
      .map((r) => r.name),
    alarm: await state.storage.getAlarm(),
    keys: (await state.storage.list()).size,
  }));

test('deleting the last turn leaves nothing: no table, no key, no alarm', async () => {
  const { session, stub } = open();
  const first = turn(session, { tokens: 5 });
  await stub.begin(first);
  await events(stub, first.id);
  const second = turn(session, { tokens: 5 }, { previous: first.id, input: [said('user', 'a secret')] });
  await stub.begin(second);
  await events(stub, second.id);
  expect((await tables(stub)).tables.length).toBeGreaterThan(3);
  expect(await stub.remove(first.id)).toBe(true);
  expect(await stub.remove(first.id)).toBe(false);
  // the second turn's own text stays, what it was made from does not: nobody can go on from it
  expect((await stub.get(second.id))!.text).toContain('!');
  const prompt = await runInDurableObject(raw(stub), (_, s) => s.storage.sql.exec('SELECT prompt FROM turns').one().prompt);
  expect(prompt).toBeNull();
  expect(await stub.begin(turn(session, { tokens: 1 }, { previous: second.id }))).toEqual({ ok: false, why: 'earlier_deleted' });
  expect(await stub.remove(second.id)).toBe(true);
  expect(await tables(stub)).toEqual({ tables: [], alarm: null, keys: 0 });
  expect(await stub.get(second.id)).toBeUndefined();
});

test('erasing while a turn runs leaves nothing either', async () => {
  const { session, stub } = open();
  const t = turn(session, { tokens: 10_000, delayMs: 2 });
  await stub.begin(t);
  await events(stub, t.id, -1, 3);
  await stub.remove(t.id);
  await expect.poll(() => ranOut(t.id)).toBe(true);
  expect(await tables(stub)).toEqual({ tables: [], alarm: null, keys: 0 });
});

test('pages that arrive after their response was deleted are refused: nothing comes back', async () => {
  const { session, stub } = open();
  const t = turn(session, { tokens: 2 });
  await stub.begin(t);
  await events(stub, t.id);
  const put = async () => {
    const body = await frame('ab'.repeat(32), new Uint8Array(1_000));
    return (await stub.fetch(`https://session/pages?response=${t.id}`, { method: 'PUT', body })).status;
  };
  expect(await put()).toBe(200);
  expect((await stub.stats()).pages).toBe(1);
  await stub.remove(t.id);
  expect(await put()).toBe(400);
  expect(await tables(stub)).toEqual({ tables: [], alarm: null, keys: 0 });
});

test('a session nobody began writes nothing', async () => {
  const { session, stub } = open();
  expect(await stub.get(newResponseId(session, SEAL))).toBeUndefined();
  expect(await stub.missing(['a'])).toEqual(['a']);
  expect((await stub.fetch(`https://session/events?response=${newResponseId(session, SEAL)}`)).status).toBe(404);
  expect((await tables(stub)).tables).toEqual([]);
});

test('its time to live: the alarm after the last use erases it', async () => {
  const { session, stub } = open();
  const t = turn(session, { tokens: 1 });
  await stub.begin(t);
  await events(stub, t.id);
  await runDurableObjectAlarm(raw(stub));
  expect((await stub.get(t.id))?.response.status).toBe('completed'); // early: it only arms the next
  await runInDurableObject(raw(stub), (_, s) => {
    s.storage.sql.exec('UPDATE life SET expires = 1');
  });
  expect(await runDurableObjectAlarm(raw(stub))).toBe(true);
  expect(await tables(stub)).toEqual({ tables: [], alarm: null, keys: 0 });
});

test('a conversation that is longer than is kept is refused at once; one that an older server stored is answered', async () => {
  const { session, stub } = open();
  // short: this replica's prompt has a token for each of their characters
  const items = (n: number) => Array.from({ length: n }, (_, i) => ({ role: 'user', content: `${i}` }) as never);
  expect(await stub.begin(turn(session, { tokens: 1 }, { input: items(4_097) }))).toEqual({ ok: false, why: 'too_long' });
  expect(await tables(stub)).toEqual({ tables: [], alarm: null, keys: 0 });
  const first = turn(session, { tokens: 1 }, { input: items(4_000) });
  expect(await stub.begin(first)).toEqual({ ok: true });
  await events(stub, first.id);
  expect(await stub.begin(turn(session, { tokens: 1 }, { previous: first.id, input: items(200) }))).toEqual({ ok: false, why: 'too_long' });
  await runInDurableObject(raw(stub), (_, s) => {
    const many = JSON.stringify(items(5_000));
    s.storage.sql.exec(
      "UPDATE turns SET status = 'queued', epoch = 0, tried_at = 0, starts = '[]', data = json_set(data, '$.input', json(?))",
      many,
    );
    s.storage.sql.exec('DELETE FROM log');
  });
  await abortAllDurableObjects();
  expect((await events(open(session).stub, first.id)).at(-1)).toMatchObject({ end: 'completed' });
});

test('what is wrong with a turn itself ends it, whatever throws, and is not tried again', async () => {
  const { session, stub } = open();
  const t = turn(session, { tokens: 1 }, { priority: 5_000 }); // the queue throws at it
  await stub.begin(t);
  expect(await events(stub, t.id)).toEqual([{ end: 'failed', response: expect.objectContaining({ error: expect.anything() }) }]);
  await abortAllDurableObjects();
  expect((await open(session).stub.get(t.id))!.response.status).toBe('failed');
});

test('a turn that ends every replica, or the session itself, is given up, also across restarts', async () => {
  const { session, stub } = open();
  const t = turn(session, { tokens: 4, dieAt: 0, deaths: 1_000 });
  await stub.begin(t);
  let tries = 0;
  for (; tries < 40; tries++) {
    const over = async () => (await open(session).stub.get(t.id))!.response.status === 'failed' || (await ranOut(t.id));
    const ended = expect.poll(over, { interval: 10, timeout: 1_000 }).toBe(true);
    await ended.catch(() => {}); // or ended while it waits for its place
    await abortAllDurableObjects(); // as if it had ended the process
    if ((await open(session).stub.get(t.id))!.response.status === 'failed') break;
  }
  expect(tries).toBeGreaterThanOrEqual(3);
  expect(tries).toBeLessThan(20);
  expect((await events(open(session).stub, t.id)).at(-1)).toMatchObject({ end: 'failed' });
});

test('tables of before there were versions go on; those of a newer server are refused, not misread', async () => {
  const { session, stub } = open();
  const t = turn(session, { tokens: 2 });
  await stub.begin(t);
  await events(stub, t.id);
  await runInDurableObject(raw(stub), (_, s) => {
    s.storage.sql.exec('ALTER TABLE turns DROP COLUMN tries');
    s.storage.sql.exec('ALTER TABLE turns RENAME COLUMN tried_at TO committed');
    for (const table of ['pages', 'recent', 'schema']) s.storage.sql.exec(`DROP TABLE ${table}`);
  });
  await abortAllDurableObjects();
  const again = open(session).stub;
  expect((await again.get(t.id))!.response.status).toBe('completed');
  const next = turn(session, { tokens: 2 }, { previous: t.id });
  expect(await again.begin(next)).toEqual({ ok: true });
  await events(again, next.id);
  const newer = await runInDurableObject(raw(again), (_, s) => {
    s.storage.sql.exec("UPDATE schema SET version = 9 WHERE part = 'turns'");
    try {
      new TurnStore(s.storage.sql);
      return 'read';
    } catch (error) {
      return String(error);
    } finally {
      s.storage.sql.exec("UPDATE schema SET version = 3 WHERE part = 'turns'");
    }
  });
  expect(newer).toContain('stored as version 9');
});

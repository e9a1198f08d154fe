/** Sessions in memory, with an engine that never comes: what is taken, what goes first, when it is forgotten; and conversations over them. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Item } from '../../openai/requests/item-types.ts';
import { converse, goesOn, nextIn } from '../../serving/responses/conversation.ts';
import { Responses } from '../../serving/responses/memory-sessions.ts';
import { ResponseStore, type StoreLimits } from '../../serving/responses/memory-turns.ts';
import { newTurn } from '../../serving/responses/turns.ts';
import type { BeginRequest, ConversationOp, ResponseStatus, StoredResponse } from '../../serving/responses/types.ts';

const NOW = 1_800_000_000_000;
beforeEach(() => void vi.useFakeTimers({ now: NOW }));
afterEach(() => void vi.useRealTimers());

const limits: StoreLimits = { count: 100, bytes: 1 << 24, ttlMs: 10_000, open: 3 };
const request = (id: string, more: Partial<BeginRequest> = {}): BeginRequest => ({
  ...{ id, tenant: 't', model: 'm', input: [`of ${id}`] as never, request: { q: 1 } as never, echo: {}, priority: 0 },
  ...more,
});
const turn = (id: string, status: ResponseStatus = 'completed', more: Partial<StoredResponse> = {}): StoredResponse => ({
  ...{ ...newTurn(request(id), [0, 0], NOW), status },
  ...more,
});

const open = (store: ResponseStore, ...ids: string[]) => {
  for (const id of ids) store.insert('s', turn(id, 'queued'));
};

describe('a response that is begun', () => {
  const keeper = (more: Partial<StoreLimits> = {}) => {
    const responses = new Responses(() => new Promise(() => {}), { ...limits, ...more });
    return { responses, store: responses.store, session: responses.session('s') };
  };

  it('is kept with its seed, 53 bits where the client gave none, and waits for its engine', async () => {
    const { session, store } = keeper();
    expect(await session.begin(request('a', { seed: [7, 9] }))).toEqual({ ok: true });
    expect(store.get('a')).toMatchObject({
      status: 'in_progress',
      seed: [7, 9],
      input: ['of a'],
      created: NOW / 1000,
      epoch: 1,
      previous: null,
    });
    const drawn = new Set<string>();
    for (let i = 0; i < 20; i++) {
      const fresh = keeper();
      await fresh.session.begin(request('b'));
      const { seed } = fresh.store.get('b')!;
      expect(seed.every((half) => Number.isInteger(half) && half >= 0)).toBe(true);
      expect([seed.length, seed[0]! < 2 ** 32, seed[1]! < 2 ** 21]).toEqual([2, true, true]);
      drawn.add(String(seed));
    }
    expect(drawn.size).toBe(20);
    expect(Math.max(...[...drawn].map((s) => Number(s.split(',')[1])))).toBeGreaterThan(2 ** 16);
  });

  it.each<[string, (k: ReturnType<typeof keeper>) => void, Partial<BeginRequest>, object]>([
    ['an id that is there', (k) => k.store.insert('s', turn('new')), {}, { ok: false, why: 'exists' }],
    ['a previous one that is not', () => {}, { previous: 'p' }, { ok: false, why: 'previous_not_found' }],
    ['one of another session', (k) => k.store.insert('other', turn('p')), { previous: 'p' }, { ok: false, why: 'previous_not_found' }],
    [
      'one whose own is gone',
      (k) => k.store.insert('s', turn('p', 'completed', { previous: 'o' })),
      { previous: 'p' },
      { ok: false, why: 'earlier_deleted' },
    ],
    [
      'one that is not done',
      (k) => k.store.insert('s', turn('p', 'queued')),
      { previous: 'p' },
      { ok: false, why: 'previous_not_finished' },
    ],
    [
      'a long conversation',
      (k) => k.store.insert('s', turn('p', 'completed', { output: new Array(4095).fill('o') })),
      { previous: 'p' },
      { ok: false, why: 'too_long' },
    ],
    [
      'one at the limit',
      (k) => k.store.insert('s', turn('p', 'completed', { output: new Array(4094).fill('o') })),
      { previous: 'p' },
      { ok: true },
    ],
    ['many at once', (k) => open(k.store, 'x', 'y', 'z'), {}, { ok: false, why: 'refused', reason: 'queue_full', retryAfter: 1 }],
    ['two at once', (k) => open(k.store, 'x', 'y'), {}, { ok: true }],
    ['a conversation that is not', () => {}, { conversation: 'c' }, { ok: false, why: 'conversation_not_found' }],
  ])('after %s', async (_, before, more, answer) => {
    const k = keeper();
    before(k);
    expect(await k.session.begin(request('new', more))).toEqual(answer);
  });

  it('is refused when it does not fit beside those that run', async () => {
    const { session, store } = keeper({ bytes: 20_000 });
    store.insert('s', turn('x', 'queued'));
    const size = (n: number) => request('new', { input: ['x'.repeat(n)] as never });
    const fits = Math.floor((20_000 - store.stats.bytes - 2 * JSON.stringify(size(0)).length) / 2);
    expect(await session.begin(size(fits + 1))).toMatchObject({ why: 'refused' });
    expect(await session.begin(size(fits))).toEqual({ ok: true });
  });

  it('is stopped, read and erased through its own session alone', async () => {
    const { session, store, responses } = keeper();
    await session.begin(request('a'));
    const other = responses.session('other');
    expect([await other.get('a'), await other.cancel('a'), await other.remove('a'), await other.inputItems('a')]).toEqual([
      undefined,
      undefined,
      false,
      undefined,
    ]);
    expect((await other.fetch('https://session/events?response=a')).status).toBe(404);
    const told = session.fetch('https://session/events?response=a&after=-1').then((r) => r.text());
    store.commit({ response: 'a', epoch: 1, from: 0, ids: [1], text: ['said'] });
    expect(await session.cancel('a')).toMatchObject({ response: { status: 'cancelled' }, text: 'said' });
    expect(await told).toMatch(/^\{"seq":0.*"end":"cancelled"/s);
    const late = await session.fetch('https://session/events?response=a&after=0');
    expect(await late.text()).toMatch(/^\{"end":"cancelled"/); // after what it has seen
    expect(await session.inputItems('a')).toEqual(['of a']);
    expect([await session.remove('a'), await session.remove('a'), store.get('a')]).toEqual([true, false, undefined]);
  });

  it('ends with its process', async () => {
    const { session, store, responses } = keeper();
    await session.begin(request('a'));
    responses.close();
    expect(store.get('a')!.status).toBe('cancelled');
  });
});

describe('what is kept', () => {
  const names = (store: ResponseStore, ...ids: string[]) => ids.filter((id) => store.get(id)).join('');

  it('goes when there is too much: of the session that was unused for longest its oldest, never one that runs', () => {
    const store = new ResponseStore({ ...limits, count: 3 });
    store.insert('s', turn('a', 'in_progress'));
    store.insert('s', turn('b'));
    store.insert('t', turn('c'));
    expect(names(store, 'a', 'b', 'c')).toBe('abc');
    store.insert('u', turn('d'));
    expect(names(store, 'a', 'b', 'c', 'd')).toBe('acd'); // a runs
    store.touch('t');
    store.insert('v', turn('e'));
    expect(names(store, 'a', 'c', 'd', 'e')).toBe('ace'); // u is unused for longest now, but for s
    expect(store.stats.sessions).toBe(3);
  });

  it('is weighed: its texts, tokens and prompt; what is erased weighs nothing', () => {
    const store = new ResponseStore(limits);
    store.insert('s', turn('a', 'in_progress'));
    const { bytes } = store.stats;
    const texts = JSON.stringify([['of a'], { q: 1 }, {}, []]).length;
    expect(bytes).toBe(1024 + 2 * texts);
    store.claim('a', 1);
    store.commit({ response: 'a', epoch: 1, from: 0, ids: [5, 6], text: ['abc', 'de'] });
    store.update('a', { tail: 'xyz' }, [1, 2, 3]);
    expect(store.stats.bytes).toBe(bytes + 2 * (5 + 3) + 2 * 40 + 3 * 8);
    store.compact('a');
    expect(store.stats.bytes).toBe(bytes + 2 * (5 + 3) + 2 * 40); // a second try is not needed any more
    expect(store.prompt('a')).toEqual([]);
    store.erase('a');
    store.erase('a');
    expect(store.stats).toEqual({ responses: 0, sessions: 0, bytes: 0 });
  });

  it('by bytes, too', () => {
    const store = new ResponseStore({ ...limits, bytes: 4_000 });
    for (const id of ['a', 'b', 'c', 'd']) store.insert(id, turn(id));
    expect(names(store, 'a', 'b', 'c', 'd')).toBe('bcd');
    expect(store.stats.bytes).toBeLessThanOrEqual(4_000);
  });

  it('is forgotten when its session’s time is over, though nobody asks; not while something in it runs', () => {
    const store = new ResponseStore(limits);
    store.insert('s', turn('a'));
    store.insert('s', turn('b'));
    vi.advanceTimersByTime(6_000);
    store.insert('t', turn('c', 'in_progress'));
    vi.advanceTimersByTime(3_999);
    expect(names(store, 'a', 'b', 'c')).toBe('abc');
    vi.advanceTimersByTime(1);
    expect(names(store, 'a', 'b', 'c')).toBe('c');
    vi.advanceTimersByTime(20_000);
    expect(names(store, 'c')).toBe('c');
    store.update('c', { status: 'completed' });
    vi.advanceTimersByTime(1_000);
    expect(store.stats).toEqual({ responses: 0, sessions: 0, bytes: 0 });
    expect(vi.getTimerCount()).toBe(0);
  });

  it('lives its whole time from its last use; a reader after that finds nothing', () => {
    const store = new ResponseStore(limits);
    store.insert('s', turn('a', 'in_progress'));
    vi.advanceTimersByTime(9_000);
    store.update('a', { status: 'completed' });
    store.compact('a'); // its end is a use
    store.close(); // no timer any more
    vi.advanceTimersByTime(9_999);
    expect(store.of('s', 'a')?.id).toBe('a');
    vi.advanceTimersByTime(1);
    expect(store.of('s', 'a')).toBeUndefined();
  });

  it('takes a lease that is newer, of a turn that is open, and tokens of that lease in their order', () => {
    const store = new ResponseStore(limits);
    store.insert('s', turn('a', 'queued'));
    expect([store.claim('none', 1), store.claim('a', 0), store.claim('a', 2), store.claim('a', 2), store.claim('a', 1)]).toEqual([
      false,
      false,
      true,
      false,
      false,
    ]);
    const commit = (from: number, ids: number[], epoch = 2, response = 'a') =>
      store.commit({ response, epoch, from, ids, text: ids.map(String) });
    expect(commit(0, [1], 2, 'none')).toEqual({ ok: false, why: 'unknown', committed: 0 });
    expect(commit(0, [1, 2])).toEqual({ ok: true, committed: 2 });
    expect(commit(3, [4])).toEqual({ ok: false, why: 'gap', committed: 2 });
    expect(commit(1, [9, 3])).toEqual({ ok: true, committed: 3 });
    expect(commit(3, [4], 1)).toEqual({ ok: false, why: 'stale', committed: 3 });
    store.update('a', { status: 'failed' });
    expect(commit(3, [4])).toEqual({ ok: false, why: 'stale', committed: 3 });
    expect(store.claim('a', 5)).toBe(false);
    expect(store.tokens('a')).toEqual({ ids: [1, 2, 3], text: ['1', '2', '3'] });
    store.update('a', {}, [1]);
    store.update('a', {}, [2]);
    expect([store.prompt('a'), store.prompt('none'), store.committed('none'), store.tokens('none')]).toEqual([
      [1],
      [],
      0,
      { ids: [], text: [] },
    ]);
    store.update('none', { tail: 'x' }, [1]);
    store.compact('none');
    expect(store.stats.responses).toBe(1);
  });
});

describe('a conversation', () => {
  const item = (id: string): Item => ({ id, type: 'message' }) as Item;
  const begun = () => {
    const store = new ResponseStore(limits);
    const turns = store.within('s');
    const op = (o: ConversationOp, root = 'c') => converse(turns, root, o, NOW);
    op({ do: 'create', tenant: 't', metadata: { a: 'b' }, items: [item('1')] });
    return { store, turns, op };
  };
  const ids = (answer: ReturnType<typeof converse>) =>
    answer.ok ? answer.items.map((i) => (i as { id: string }).id).join('') : answer.why;

  it('is created, read, changed and deleted; its items stay then, and nothing more is done with it', () => {
    const { store, op, turns } = begun();
    expect(op({ do: 'get' })).toEqual({ ok: true, created: NOW / 1000, metadata: { a: 'b' }, items: [item('1')] });
    expect(store.get('c')).toMatchObject({ status: 'completed', completed: NOW / 1000, request: null, model: '', tenant: 't' });
    expect(op({ do: 'update', metadata: { c: 'd' } })).toMatchObject({ metadata: { c: 'd' }, items: [item('1')] });
    expect(ids(op({ do: 'add', id: 'x', tenant: 't', items: [item('2'), item('3')] }))).toBe('123');
    expect(ids(op({ do: 'remove', item: '2' }))).toBe('13');
    expect(ids(op({ do: 'remove', item: '2' }))).toBe('item_not_found');
    expect(ids(op({ do: 'remove', item: '1' }))).toBe('3');
    expect(ids(op({ do: 'delete' }))).toBe('3');
    for (const o of [{ do: 'get' }, { do: 'update', metadata: {} }, { do: 'delete' }, { do: 'remove', item: '3' }] as const)
      expect(ids(op(o))).toBe('not_found');
    expect(nextIn(turns, 'c')).toEqual({ ok: false, why: 'conversation_not_found' });
    expect(store.get('x')?.input).toEqual([item('3')]);
  });

  it('goes on with a response that ended well, not with another, and is locked while one runs', () => {
    for (const [status, items] of [
      ['completed', '1io'],
      ['incomplete', '1io'],
      ['failed', '1'],
      ['cancelled', '1'],
    ] as const) {
      const { store, op, turns } = begun();
      expect(nextIn(turns, 'c')).toEqual({ ok: true, previous: 'c' });
      store.insert('s', turn('r', 'queued', { previous: 'c', input: [item('i')], output: [item('o')] as never }));
      goesOn(turns, 'c', 'r');
      expect(nextIn(turns, 'c')).toEqual({ ok: false, why: 'conversation_locked' });
      expect(ids(op({ do: 'add', id: 'y', tenant: 't', items: [] }))).toBe('locked');
      expect(ids(op({ do: 'get' }))).toBe('1');
      store.update('r', { status });
      expect(nextIn(turns, 'c')).toEqual({ ok: true, previous: items === '1' ? 'c' : 'r' });
      expect(ids(op({ do: 'get' }))).toBe(items);
    }
  });

  it('that lost one of its turns is none; a response is no conversation', () => {
    const { store, op, turns } = begun();
    op({ do: 'add', id: 'x', tenant: 't', items: [] });
    op({ do: 'add', id: 'y', tenant: 't', items: [] });
    store.erase('x');
    expect(nextIn(turns, 'c')).toEqual({ ok: false, why: 'conversation_not_found' });
    expect(ids(op({ do: 'add', id: 'z', tenant: 't', items: [] }))).toBe('not_found');
    store.insert('s', turn('r'));
    for (const root of ['r', 'nobody']) expect([nextIn(turns, root).ok, ids(op({ do: 'get' }, root))]).toEqual([false, 'not_found']);
    goesOn(turns, 'r', 'x');
    expect(store.get('r')!.echo).toEqual({});
  });

  it('holds 4096 items, and no more', () => {
    const { op } = begun();
    const many = (n: number) => new Array<Item>(n).fill(item('x'));
    expect(ids(op({ do: 'add', id: 'x', tenant: 't', items: many(4096) }))).toBe('too_long');
    expect(op({ do: 'add', id: 'x', tenant: 't', items: many(4095) }).ok).toBe(true);
    expect(ids(op({ do: 'create', tenant: 't', metadata: {}, items: many(4097) }, 'd'))).toBe('too_long');
  });
});

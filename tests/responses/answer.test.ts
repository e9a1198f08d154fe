/** A running answer over a store of turns: what is stored when, what its readers get, and whose tokens count. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Answer } from '../../serving/responses/answer.ts';
import { ResponseStore } from '../../serving/responses/memory-turns.ts';
import { applyLine } from '../../serving/responses/run-line.ts';
import { newTurn } from '../../serving/responses/turns.ts';
import type { BeginRequest, RunLine, SessionEvent, StoredResponse, TurnRequest } from '../../serving/responses/types.ts';

const limits = { count: 100, bytes: 1 << 24, ttlMs: 1e6, open: 10 };
const request = (id: string, more: Partial<BeginRequest> = {}): BeginRequest => ({
  ...{ id, tenant: 't', model: 'm', input: [], request: {} as TurnRequest, echo: {}, priority: 0 },
  ...more,
});

function begun(id = 'r') {
  const store = new ResponseStore(limits);
  store.insert('s', newTurn(request(id), [1, 2], 5_999));
  const answer = new Answer(store, id);
  expect(answer.claim(1)).toBe(true);
  const push = (from: number, text: string[], now = 0, epoch = answer.epoch) =>
    answer.push({ response: id, epoch, from, ids: text.map((_, i) => 100 + from + i), text }, now);
  return { store, answer, push };
}

async function eventsOf(stream: ReadableStream<Uint8Array>): Promise<SessionEvent[]> {
  const text = await new Response(stream).text();
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as SessionEvent);
}
const words = (n: number) => Array.from({ length: n }, (_, i) => `w${i} `);

describe('tokens are stored', () => {
  /** How many are stored after each of `n` tokens, the first of them at `now`, each `ms` after the one before. */
  const stored = (n: number, now: number, ms: number) => {
    const { store, answer, push } = begun();
    answer.flush(now);
    const steps: number[] = [];
    for (let i = 0; i < n; i++) {
      const { committed } = push(i, ['x'], now + i * ms);
      expect(store.committed('r')).toBe(committed);
      if (committed !== (steps.at(-1) ?? 0)) steps.push(committed);
    }
    expect(answer.length).toBe(n);
    expect(store.tokens('r')).toEqual({
      ids: Array.from({ length: steps.at(-1)! }, (_, i) => 100 + i),
      text: new Array(steps.at(-1)!).fill('x'),
    });
    return steps;
  };

  it('32 at a time, later a quarter of what is stored, and never more than 64', () => {
    expect(stored(441, 1_000, 0)).toEqual([32, 64, 96, 128, 160, 200, 250, 313, 377, 441]);
  });

  it('when they are slow every quarter of a second, if they are a quarter of what is stored', () => {
    expect(stored(30, 1_000, 249)).toEqual([3, 5, 7, 9, 12, 15, 19, 24, 30]);
    expect(stored(12, 1_000, 250)).toEqual([2, 3, 4, 5, 7, 9, 12]);
  });

  it('under the lease that holds: a stale one changes nothing, a gap is told, known tokens are skipped', async () => {
    const { store, answer, push } = begun();
    const reading = eventsOf(answer.read(-1));
    push(0, ['a', 'b', 'c'], 10_000);
    expect(push(3, ['x'], 10_000, 0)).toEqual({ ok: false, why: 'stale', committed: 3 });
    expect(push(3, ['x'], 10_000, 2)).toEqual({ ok: false, why: 'stale', committed: 3 });
    expect(push(4, ['x'], 10_000)).toEqual({ ok: false, why: 'gap', committed: 3 });
    expect(push(0, ['x', 'x', 'x'], 10_000)).toEqual({ ok: true, committed: 3 });
    expect(push(1, ['x', 'x', 'd'], 10_000)).toEqual({ ok: true, committed: 3 });
    answer.end('completed', {});
    expect(push(4, ['x'], 10_000)).toEqual({ ok: false, why: 'stale', committed: 4 });
    expect(store.tokens('r')).toEqual({ ids: [100, 101, 102, 103], text: ['a', 'b', 'c', 'd'] });
    expect((await reading).map((e) => ('seq' in e ? [e.seq, e.index, e.text] : e.end))).toEqual([
      [0, 0, 'a'],
      [1, 1, 'b'],
      [2, 2, 'c'],
      [3, 3, 'd'],
      'completed',
    ]);
  });

  it('a new lease begins at what is stored: what was only delivered comes again and is told once', async () => {
    const { store, answer, push } = begun();
    answer.flush(0);
    push(0, words(32), 1); // stored
    push(32, ['lost ', '', 'too '], 2); // delivered
    const reading = eventsOf(answer.read(-1));
    expect([answer.length, store.committed('r')]).toEqual([35, 32]);
    for (const epoch of [0, 1]) expect(answer.claim(epoch)).toBe(false);
    expect(answer.length).toBe(35);
    expect(answer.claim(5)).toBe(true);
    expect([answer.epoch, answer.length, store.get('r')!.starts]).toEqual([5, 32, [0, 32]]);
    expect(push(32, ['x'], 3, 1)).toMatchObject({ why: 'stale' });
    push(32, ['lost ', '', 'too ', 'more '], 4);
    answer.end('incomplete', { finish: 'length' });
    expect(answer.claim(6)).toBe(false);
    const told = await reading;
    expect(told.flatMap((e) => ('seq' in e ? [e.seq] : []))).toEqual(Array.from({ length: 35 }, (_, i) => i));
    expect(told.at(-2)).toEqual({ seq: 34, index: 35, text: 'more ' });
    expect(told.at(-1)).toMatchObject({ end: 'incomplete', response: { finish: 'length', usage: { completion: 36 } } });
  });

  it('whatever the steps, leases and repeats are: each event once, in order, and the same for who comes late', async () => {
    const text = Array.from({ length: 90 }, (_, i) => (i % 4 === 3 ? '' : `${i} `));
    const step = fc.record({ back: fc.nat(5), n: fc.nat(12), ms: fc.nat(300), lease: fc.nat(9) });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 30 }), fc.nat(80), async (steps, after) => {
        const { store, answer, push } = begun();
        const reading = [eventsOf(answer.read(-1)), eventsOf(answer.read(after))];
        let [now, epoch, most] = [0, 1, 0];
        for (const s of steps) {
          now += s.ms;
          if (s.lease === 0) answer.claim(++epoch);
          const from = Math.max(0, answer.length - s.back);
          expect(push(from, text.slice(from, from + s.n), now).ok).toBe(true);
          most = Math.max(most, answer.length);
        }
        push(answer.length, text.slice(answer.length, most), now); // what a lost lease had told, its successor generates again
        answer.end('completed', { tail: 'end' });
        const { length } = answer;
        const all = [...text.slice(0, length).map((t, index) => ({ index, text: t })), { index: length, text: 'end' }];
        const told = all.filter((e) => e.text !== '').map((e, seq) => ({ seq, ...e }));
        const last = { end: 'completed', response: JSON.parse(JSON.stringify(store.get('r'))) };
        expect(await reading[0]).toEqual([...told, last]);
        expect(await reading[1]).toEqual([...told.slice(after + 1), last]);
        expect(await eventsOf(new Answer(store, 'r').read(after))).toEqual([...told.slice(after + 1), last]);
      }),
      { numRuns: 60 },
    );
  });
});

describe('the end', () => {
  it('stores what was only delivered, says when a whole answer was completed, and comes once', () => {
    const { store, answer, push } = begun();
    answer.flush(1_000);
    push(0, ['a', 'b'], 1_000);
    const usage = { prompt: 9, cached: 4, completion: 0 };
    const before = Math.floor(Date.now() / 1000);
    answer.end('completed', { usage, tail: '!' });
    const { completed, ...ended } = store.get('r')!;
    expect(ended).toMatchObject({ status: 'completed', usage: { prompt: 9, cached: 4, completion: 2 }, tail: '!', created: 5 });
    expect([before, before + 1]).toContain(completed);
    answer.end('failed', { error: { message: 'late' } });
    expect(store.get('r')).toMatchObject({ status: 'completed', error: null });
    expect(answer.open).toBe(false);
  });

  it.each(['failed', 'cancelled', 'incomplete'] as const)('of an answer that was not completed (%s) has no time', (status) => {
    const { store, answer } = begun();
    answer.end(status, {});
    expect(store.get('r')).toMatchObject({ status, completed: null, usage: { prompt: 0, cached: 0, completion: 0 } });
  });

  it('lets readers go; so does a close, which tells them no end', async () => {
    const { answer, push } = begun();
    const [left, stays] = [answer.read(-1), answer.read(-1)];
    expect(answer.readers).toBe(2);
    await left.cancel();
    expect(answer.readers).toBe(1);
    push(0, ['a']);
    answer.close();
    expect(answer.readers).toBe(0);
    expect(await eventsOf(stays)).toEqual([{ seq: 0, index: 0, text: 'a' }]);
    push(1, ['b']);
    answer.end('completed', {});
    expect(answer.readers).toBe(0);
    const late = answer.read(0);
    expect(answer.readers).toBe(0);
    expect((await eventsOf(late)).map((e) => ('seq' in e ? e.text : e.end))).toEqual(['b', 'completed']);
  });

  it('of a turn that is not there, or has ended before, is none', () => {
    const store = new ResponseStore(limits);
    expect(new Answer(store, 'none')).toMatchObject({ open: false, epoch: 0, length: 0 });
    expect(new Answer(store, 'none').events()).toEqual([]);
    const { store: kept, answer } = begun();
    answer.end('cancelled', {});
    expect(new Answer(kept, 'r')).toMatchObject({ open: false, epoch: 1 });
  });
});

it('a reader that is more than a mebibyte behind is given up, no earlier, and nobody else with it', async () => {
  const { answer } = begun();
  const [slow, quick] = [answer.read(-1), answer.read(-1)];
  const got = eventsOf(quick);
  // lines of 4096 bytes: 64 KiB of buffer and 1 MiB beyond it are 272 of them
  const fill = (index: number) => 'x'.repeat(4096 - JSON.stringify({ seq: index, index, text: '' }).length - 1);
  const push = async (i: number) => {
    answer.push({ response: 'r', epoch: 1, from: i, ids: [i], text: [fill(i)] }, 0);
    await Promise.resolve();
  };
  for (let i = 0; i < 272; i++) await push(i);
  const reader = slow.getReader();
  expect((await reader.read()).done).toBe(false); // so far it was only slow, and with that one line less
  await push(272);
  expect((await reader.read()).done).toBe(false);
  for (let i = 273; i < 276; i++) await push(i);
  await expect(reader.read()).rejects.toThrow('too slow');
  answer.end('completed', {});
  expect((await got).length).toBe(277);
});

describe('a line of a run', () => {
  const line = (store: ResponseStore, answer: Answer) => (l: Parameters<typeof applyLine>[2]) => applyLine(store, answer, l, 10_000);
  const start: RunLine & { type: 'start' } = { type: 'start', prompt: [1, 2, 3], cachedTokens: 2, fingerprint: 'f' };

  it('start: notes the prompt and what the client was spared, the first time; a second try changes neither', () => {
    const { store, answer } = begun();
    const take = line(store, answer);
    expect(take({ ...start, route: { to: 'npu' } as never })).toBe(false);
    const wanted = { fingerprint: 'f', recomputed: false, usage: { prompt: 3, cached: 2, completion: 0 }, route: { to: 'npu' } as never };
    expect(store.get('r')).toMatchObject(wanted);
    expect(store.prompt('r')).toEqual([1, 2, 3]);
    take({ ...start, prompt: [9, 9, 9], cachedTokens: 3, route: { to: 'cpu' } as never });
    expect(store.get('r')).toMatchObject(wanted);
    expect(store.prompt('r')).toEqual([1, 2, 3]);
  });

  it.each([
    ['f', false],
    ['other', true],
    [null, false],
  ])('start: whether the model is another one than before (%j): %j', (fingerprint, recomputed) => {
    const { store, answer } = begun();
    const before: StoredResponse = { ...newTurn(request('before'), [0, 0], 0), status: 'completed', fingerprint };
    store.insert('s', before);
    store.update('r', { previous: 'before' });
    line(store, answer)(start);
    expect(store.get('r')!.recomputed).toBe(recomputed);
  });

  it.each([
    ['stop', 'completed'],
    ['length', 'incomplete'],
  ] as const)('end by %s: the turn is %s', (finish, status) => {
    const { store, answer } = begun();
    const take = line(store, answer);
    take(start);
    expect(take({ type: 'tokens', from: 0, ids: [7], text: ['a'] })).toBe(false);
    expect(take({ type: 'end', finish, tail: 't', output: ['o'] as never })).toBe(true);
    expect(store.get('r')).toMatchObject({ status, finish, tail: 't', output: ['o'], usage: { prompt: 3, cached: 2, completion: 1 } });
    expect(store.tokens('r')).toEqual({ ids: [7], text: ['a'] });
  });

  it('error: a fault of the request ends the turn, one of the replica is thrown and leaves it open', () => {
    const { store, answer } = begun();
    const take = line(store, answer);
    expect(() => take({ type: 'error', status: 503, error: { message: 'gone' } })).toThrow('gone');
    expect(answer.open).toBe(true);
    expect(take({ type: 'error', status: 500, error: { message: 'wrong' } })).toBe(true);
    expect(store.get('r')).toMatchObject({ status: 'failed', error: { message: 'wrong' } });
  });
});

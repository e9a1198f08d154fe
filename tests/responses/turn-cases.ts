/** What every store of turns keeps to: a Session's in SQLite (tests/workerd/turns.test.ts), a process's in memory (turns.test.ts). */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { removeTurn } from '../../serving/responses/begin.ts';
import { branchTo, newTurn, type Turns } from '../../serving/responses/turns.ts';
import type { BeginRequest, Piece, ResponseStatus, StoredResponse } from '../../serving/responses/types.ts';

export type Store = Turns & {
  insert(turn: StoredResponse): void;
  erase(id: string): void;
  eraseTokens(id: string): void;
};

const turn = (id: string, previous?: string, more: Partial<StoredResponse> = {}): StoredResponse => {
  const item = { type: 'message', id: '', role: 'user', status: 'completed', content: [{ type: 'input_text', text: `of ${id}` }] };
  const from: BeginRequest = {
    ...{ id, previous, tenant: 't', model: 'm', input: [item as never], request: { q: 'ß' } as never, echo: { metadata: { a: '1' } } },
    priority: 3,
  };
  return { ...newTurn(from, [7, 4_294_967_295], 1_800_000_000_500), ...more };
};
const OVER: readonly ResponseStatus[] = ['completed', 'incomplete', 'failed', 'cancelled'];

/** `inStore` gives a new store for as long as `work` takes. */
export function turnCases(inStore: (work: (store: Store) => void) => Promise<void>): void {
  test('a turn comes back as it was put in, with what changed since; nobody else does', () =>
    inStore((store) => {
      store.insert(turn('a'));
      store.insert(turn('b', 'a'));
      expect(store.get('a')).toEqual(turn('a'));
      const change = { fingerprint: 'f', recomputed: true, tail: '…', usage: { prompt: 5, cached: 2, completion: 1 }, completed: 9 };
      store.update('b', { ...change, status: 'completed' });
      expect(store.get('b')).toEqual({ ...turn('b', 'a'), ...change, status: 'completed' });
      expect(store.get('a')).toEqual(turn('a'));
      expect(store.get('c')).toBeUndefined();
      store.update('c', change); // changes nothing
      expect(store.get('c')).toBeUndefined();
    }));

  test('the prompt is stored once, with the change that brings it', () =>
    inStore((store) => {
      store.insert(turn('a'));
      expect(store.prompt('a')).toEqual([]);
      store.update('a', { fingerprint: 'f' }, [1, 262_143, 0]);
      store.update('a', { fingerprint: 'g' }, [9]);
      store.update('a', { fingerprint: 'h' });
      expect([...store.prompt('a')]).toEqual([1, 262_143, 0]);
      expect(store.get('a')?.fingerprint).toBe('h');
      expect(store.prompt('c')).toEqual([]);
    }));

  test('only a newer lease takes a turn over, and none an ended one; each says from which token it went on', () =>
    inStore((store) => {
      store.insert(turn('a'));
      expect([store.claim('a', 2), store.claim('a', 2), store.claim('a', 1), store.claim('c', 9)]).toEqual([true, false, false, false]);
      store.commit({ response: 'a', epoch: 2, from: 0, ids: [1, 2, 3], text: ['x', '', 'y'] });
      expect(store.claim('a', 5)).toBe(true);
      expect(store.get('a')).toMatchObject({ status: 'in_progress', epoch: 5, starts: [0, 3] });
      for (const [i, status] of OVER.entries()) {
        store.insert(turn(`over ${i}`, undefined, { status }));
        expect([status, store.claim(`over ${i}`, 9)]).toEqual([status, false]);
      }
    }));

  test('tokens are taken under the lease alone: nothing twice, nothing over a gap, nothing after the end', () =>
    inStore((store) => {
      store.insert(turn('a'));
      store.claim('a', 1);
      const commit = (epoch: number, from: number, ids: number[]) =>
        store.commit({ response: 'a', epoch, from, ids, text: ids.map((id) => `${id}`) });
      expect(commit(1, 0, [10, 11])).toEqual({ ok: true, committed: 2 });
      expect(commit(1, 0, [10, 11])).toEqual({ ok: true, committed: 2 });
      expect(commit(1, 1, [11, 12])).toEqual({ ok: true, committed: 3 });
      expect(commit(1, 4, [14])).toEqual({ ok: false, why: 'gap', committed: 3 });
      expect(commit(0, 3, [13])).toEqual({ ok: false, why: 'stale', committed: 3 });
      expect(commit(1, 3, [])).toEqual({ ok: true, committed: 3 });
      expect(store.commit({ response: 'c', epoch: 1, from: 0, ids: [], text: [] })).toEqual({ ok: false, why: 'unknown', committed: 0 });
      store.update('a', { status: 'completed' });
      expect(commit(1, 3, [13])).toEqual({ ok: false, why: 'stale', committed: 3 });
      expect(store.tokens('a')).toEqual({ ids: [10, 11, 12], text: ['10', '11', '12'] });
      expect([store.committed('a'), store.committed('c')]).toEqual([3, 0]);
      store.compact?.('a');
      expect(store.tokens('a').ids).toEqual([10, 11, 12]);
    }));

  test('however it is cut and told again, the tokens are the same', () =>
    inStore((store) => {
      const told = fc.array(fc.tuple(fc.nat(39), fc.integer({ min: 1, max: 12 })), { maxLength: 30 });
      let n = 0;
      fc.assert(
        fc.property(told, (pieces) => {
          const id = `t${n++}`;
          const text: Piece[] = Array.from({ length: 40 }, (_, i) =>
            i % 5 === 4 ? '' : i % 7 === 0 ? [`${i}`, { logprob: -1 - i } as never] : `${i}`,
          );
          store.insert(turn(id));
          store.claim(id, 1);
          let have = 0;
          for (const [from, count] of pieces) {
            const ids = Array.from({ length: Math.min(count, 40 - from) }, (_, i) => 1000 + from + i);
            const got = store.commit({ response: id, epoch: 1, from, ids, text: text.slice(from, from + ids.length) });
            if (from > have) expect(got).toEqual({ ok: false, why: 'gap', committed: have });
            else expect(got).toEqual({ ok: true, committed: (have = Math.max(have, from + ids.length)) });
          }
          expect(store.tokens(id)).toEqual({ ids: Array.from({ length: have }, (_, i) => 1000 + i), text: text.slice(0, have) });
        }),
        { numRuns: 30, seed: 3 },
      );
    }));

  test('a conversation is the turns up to one; whoever loses one of them has none', () =>
    inStore((store) => {
      store.insert(turn('a'));
      store.insert(turn('b', 'a'));
      store.insert(turn('c', 'b'));
      store.insert(turn('other', 'a'));
      expect(branchTo(store, 'c')?.map((t) => t.id)).toEqual(['a', 'b', 'c']);
      expect(branchTo(store, 'other')?.map((t) => t.id)).toEqual(['a', 'other']);
      store.erase('b');
      expect(store.get('b')).toBeUndefined();
      expect([branchTo(store, 'b'), branchTo(store, 'c')]).toEqual([undefined, undefined]);
      expect(branchTo(store, 'other')).toHaveLength(2);
    }));

  test('what is removed is gone; in a conversation its place stays, empty', () =>
    inStore((store) => {
      store.insert(turn('a'));
      removeTurn(store, 'a');
      expect(store.get('a')).toBeUndefined();
      store.insert(turn('items', undefined, { request: null, status: 'completed' }));
      store.insert(turn('said', 'items', { status: 'completed', output: [{ a: 1 } as never] }));
      removeTurn(store, 'said');
      expect(store.get('said')).toMatchObject({ input: [], output: [], request: null, echo: null, tail: '' });
      expect(store.tokens('said')).toEqual({ ids: [], text: [] });
      expect(branchTo(store, 'said')).toHaveLength(2);
      removeTurn(store, 'nobody');
    }));
}

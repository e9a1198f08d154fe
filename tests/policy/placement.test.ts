import { expect, test } from 'vitest';
import { ChainCache, type Link } from '../../policy/chains.ts';
import { POLICY } from '../../policy/config.ts';
import { place } from '../../policy/placement.ts';
import { Queue } from '../../policy/queue.ts';

const chain = (...names: string[]): Link[] => names.map((hash, i) => ({ hash, tokens: (i + 1) * 100 }));
const nothing = () => {};
const ask = (id: string, links: Link[]) => ({
  id,
  tenant: 't',
  priority: 0,
  promptTokens: links.at(-1)?.tokens ?? 50,
  chain: links,
  restart: false,
});

test('a chain cache finds the longest prefix it was given', () => {
  const c = new ChainCache(1000);
  c.add(chain('a', 'b', 'c'));
  expect(c.match(chain('a', 'b', 'c', 'd'))).toBe(300);
  expect(c.match(chain('a', 'x'))).toBe(100);
  expect(c.match(chain('y'))).toBe(0);
  expect(c.tokens).toBe(300);
});

test('it forgets the least recently used leaf first and never a link before its descendants', () => {
  const c = new ChainCache(500);
  c.add(chain('a', 'b', 'c'));
  c.add(chain('a', 'x', 'y')); // a 100, then b c x y: 500
  c.add(chain('a', 'b', 'c')); // b and c are fresh again
  c.add(chain('a', 'q'));
  expect(c.match(chain('a', 'x', 'y'))).toBe(200); // y went
  expect(c.match(chain('a', 'b', 'c'))).toBe(300);
  const again = new ChainCache(500, c.save());
  expect(again.save()).toEqual(c.save());
  again.capacity = 100;
  expect(again.save()).toEqual([['a', 100]]);
});

test('the match wins until its backlog costs more than its pages save', () => {
  const rule = { kind: 'cache', uncachedWeight: 1, sequenceTokens: 0 } as const;
  const at = (backlog: number) =>
    place(
      rule,
      1000,
      [
        { id: 'cold', matched: 0, backlog: 0, running: 0 },
        { id: 'warm', matched: 800, backlog, running: 0 },
      ],
      0,
      0,
    ).id;
  expect(at(0)).toBe('warm');
  expect(at(800)).toBe('warm'); // a tie goes to the longer match
  expect(at(801)).toBe('cold');
});

test('streams that come at once go to idle replicas, unless a long prompt is held by one that runs little', () => {
  const at = (prompt: number, warm: { backlog: number; running: number }) =>
    place(
      POLICY.placement,
      prompt,
      [
        { id: 'warm', matched: prompt, ...warm },
        { id: 'idle', matched: 0, backlog: 0, running: 0 },
      ],
      0,
      0,
    ).id;
  for (const prompt of [10, 40, 200, 2000]) expect(at(prompt, { backlog: prompt, running: 1 })).toBe('idle'); // the same prompt, at the same time
  expect(at(40, { backlog: 0, running: 1 })).toBe('idle');
  expect(at(2000, { backlog: 0, running: 1 })).toBe('warm');
  expect(at(2000, { backlog: 0, running: 5 })).toBe('idle');
  expect(at(40, { backlog: 0, running: 0 })).toBe('warm');
});

test('two equal requests that come at once start on two replicas', () => {
  const q = new Queue(POLICY, ['a', 'b']);
  for (const id of ['1', '2']) q.arrive(ask(id, chain('system', 'question')), 0, nothing);
  expect(q.dispatch(0, () => 0).map((s) => s.replica)).toEqual(['a', 'b']);
});

test('what only wants the pages goes to whoever has them, though it computes and the other is idle', () => {
  const q = new Queue(POLICY, ['a', 'b']);
  q.arrive(ask('turn', chain('question')), 0, nothing);
  expect(q.dispatch(0, () => 0)[0]).toMatchObject({ replica: 'a' });
  q.arrive(ask('again', chain('question')), 1, nothing);
  expect(q.dispatch(1, () => 0)[0]).toMatchObject({ replica: 'b' });
  q.arrive({ ...ask('other', chain('x', 'y')), held: true }, 2, nothing);
  expect(q.dispatch(2, () => 0)[0].replica).toBe('a'); // nobody has them: the first
  const r = new Queue(POLICY, ['a', 'b']);
  r.arrive(ask('turn', chain('question')), 0, nothing);
  r.dispatch(0, () => 0);
  r.arrive({ ...ask('pages', chain('question', 'answer')), held: true }, 1, nothing);
  expect(r.dispatch(1, () => 0)[0]).toMatchObject({ replica: 'a', matched: 100 });
});

test('the other rules', () => {
  const three = ['a', 'b', 'c'].map((id, i) => ({ id, matched: 500 * i, backlog: 10 - i, running: i }));
  const by = (kind: 'round-robin' | 'random' | 'least-loaded' | 'thresholds', turn: number, random: number) =>
    place({ kind, uncachedWeight: 1, sequenceTokens: 2 }, 1000, three, turn, random).id;
  expect([0, 1, 2, 3].map((turn) => by('round-robin', turn, 0))).toEqual(['a', 'b', 'c', 'a']);
  expect([0, 0.5, 0.999].map((r) => by('random', 0, r))).toEqual(['a', 'b', 'c']);
  expect(by('least-loaded', 0, 0)).toBe('a');
  expect(by('thresholds', 0, 0)).toBe('c'); // it holds all of the prompt
  const rule = { kind: 'thresholds', uncachedWeight: 1, sequenceTokens: 1 } as const;
  const two = (matched: number, running: number) => [
    { id: 'idle', matched: 0, backlog: 0, running: 0 },
    { id: 'warm', matched, backlog: 0, running },
  ];
  expect(place(rule, 1000, two(400, 64), 0, 0).id).toBe('warm');
  expect(place(rule, 1000, two(300, 1), 0, 0).id).toBe('idle');
  expect(place(rule, 1000, two(400, 65), 0, 0).id).toBe('idle');
  expect(() => place({ kind: 'random', uncachedWeight: 1, sequenceTokens: 1 }, 1, [], 0, 0)).toThrow(/no candidate/);
});

test('the second turn goes where the first one ran, also when other replicas are idle', () => {
  const q = new Queue(POLICY, ['a', 'b', 'c']);
  q.arrive(ask('other', chain('z')), 0, nothing);
  q.arrive(ask('turn1', chain('s', 'u1')), 0, nothing);
  const leases = q.dispatch(0, Math.random);
  const home = leases.find((l) => l.id === 'turn1')!;
  for (const l of leases) q.release({ id: l.id, epoch: l.epoch, output: 5 }, 10);
  q.arrive(ask('turn2', chain('s', 'u1', 'a1', 'u2')), 20, nothing);
  const [second] = q.dispatch(20, Math.random);
  expect(second).toMatchObject({ replica: home.replica, matched: 200 });
});

test('a draining replica gets nothing new; a dead one gets one probe, and then work again', () => {
  const q = new Queue({ ...POLICY, slots: 2 }, ['a', 'b']);
  q.drain('b', true);
  q.arrive(ask('1', chain('s')), 0, nothing);
  const [one] = q.dispatch(0, Math.random);
  expect(one!.replica).toBe('a');
  expect(q.die('a', 100).lost).toEqual(['1']);
  q.arrive(ask('2', chain('s')), 101, nothing);
  q.arrive(ask('3', chain('s')), 101, nothing);
  expect(q.dispatch(102, Math.random)).toEqual([]);
  expect(q.nextDeadline()).toBe(1_100);
  const probe = q.dispatch(1_100, Math.random);
  expect(probe).toHaveLength(1);
  expect(probe[0]).toMatchObject({ replica: 'a', matched: 0 });
  q.heartbeat(
    'a',
    { incarnation: 'n', slots: 2, kvTokens: 1000, running: [{ id: '2', epoch: probe[0]!.epoch, output: 0 }], done: [] },
    1_200,
  );
  expect(q.dispatch(1_200, Math.random)).toHaveLength(1);
  q.drain('a', true);
  expect(q.arrive(ask('4', chain('s')), 1_300, nothing)).toMatchObject({ kind: 'refused', reason: 'draining' });
});

test('an absent replica gets nothing, whoever drains it; what it ran waits again or is lost, and it joins with a clean record', () => {
  const q = new Queue({ ...POLICY, slots: 2 }, ['a', 'b']);
  for (let i = 0; i < 5; i++) q.leave('b', i); // again and again: no breaker is left to wait for
  for (const id of ['1', '2', '3']) q.arrive(ask(id, chain('s')), 10, nothing);
  expect(q.dispatch(10, Math.random).map((l) => l.replica)).toEqual(['a', 'a']);
  q.drain('a', true);
  expect(q.arrive(ask('4', chain('s')), 20, nothing)).toMatchObject({ kind: 'queued' }); // it will be back
  q.join('b');
  expect(q.dispatch(21, Math.random).map((l) => l.replica)).toEqual(['b', 'b']);
  q.drain('b', true);
  expect(q.leave('b', 30).lost.sort()).toEqual(['3', '4']);
  q.join('b');
  expect(q.ledger.replicas.get('b')).toMatchObject({ draining: true, absent: false });
});

test('a replica that restarted loses what it ran; an epoch from before is stale', () => {
  const q = new Queue(POLICY, ['a']);
  q.arrive({ ...ask('1', chain('s')), restart: true }, 0, nothing);
  const [first] = q.dispatch(0, Math.random);
  const beat = (incarnation: string, running: { id: string; epoch: number; output: number }[]) =>
    q.heartbeat('a', { incarnation, slots: 4, kvTokens: 1000, running, done: [] }, 50);
  beat('one', [{ id: '1', epoch: first!.epoch, output: 3 }]);
  expect(beat('two', []).ended.orphaned).toEqual(['1']);
  q.arrive({ ...ask('1', chain('s')), restart: true }, 60, nothing);
  const [second] = q.dispatch(60, Math.random);
  expect(second!.epoch).toBeGreaterThan(first!.epoch);
  expect(beat('two', [{ id: '1', epoch: first!.epoch, output: 9 }]).abort).toEqual(['1']);
  expect(q.release({ id: '1', epoch: first!.epoch, output: 9 }, 70)).toBe(false);
  expect(q.release({ id: '1', epoch: second!.epoch, output: 9 }, 70)).toBe(true);
});

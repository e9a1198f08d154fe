/** Who rides in which step, and which pages it has: the scheduler by itself, without a model. */
import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { type GenerateRequest, GREEDY } from '../../engine/index.ts';
import { PAGE } from '../../engine/layout.ts';
import { PageNames, PagePool } from '../../engine/pages.ts';
import { Publisher } from '../../engine/publish.ts';
import { type Draft, type Limits, Scheduler, type Slice } from '../../engine/scheduler.ts';
import { Sequence } from '../../engine/sequence.ts';
import { Windows } from '../../engine/windows.ts';

const hash = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest();

/** Steps of sequences that are named by letters: each says who rides as `name:start+count`, with `/rows` where it has logits. */
class World {
  readonly pool: PagePool;
  readonly scheduler: Scheduler;
  readonly #publisher: Publisher;
  #order = 0;

  constructor(o: Partial<Limits> & { pages?: number; windows?: Windows } = {}) {
    const { pages = 64, windows, ...limits } = o;
    this.pool = new PagePool(pages, windows);
    const names = new PageNames(hash, { pack: 'p', kv: 'i8', numerics: 'n' }, undefined, this.pool);
    this.scheduler = new Scheduler(this.pool, names, { ...{ maxTokens: 64, maxSequences: 16, maxRows: 16, depth: 1 }, ...limits });
    this.#publisher = new Publisher(this.pool, names);
  }

  /** A prompt of so many ids that no other has, or these. */
  add(id: string, prompt: number | readonly number[], o: Partial<GenerateRequest> = {}): Sequence {
    const ids = typeof prompt === 'number' ? Array.from({ length: prompt }, (_, i) => id.charCodeAt(0) * 1000 + i) : prompt;
    const request = { ...{ id, prompt: ids, maxTokens: 1000, stopIds: [], salt: 's', sampling: GREEDY }, ...o };
    const seq = new Sequence(request, this.#order++);
    this.scheduler.add(seq);
    return seq;
  }

  /** Puts a step under way. */
  begin(budget = 64, draft: Draft = () => []): { said: string; end: () => void } {
    const slices = this.scheduler.schedule(budget, draft);
    for (const s of slices) s.seq.flying += s.count;
    const rows = (s: Slice) => (s.logits > 0 ? `/${s.logits}` : '');
    return {
      said: slices.map((s) => `${s.seq.request.id}:${s.start}+${s.count}${rows(s)}`).join(' '),
      end: () => {
        for (const s of slices) this.#end(s);
      },
    };
  }

  step(budget = 64, draft: Draft = () => []): string {
    const { said, end } = this.begin(budget, draft);
    end();
    return said;
  }

  /** None of its drafts was accepted. */
  #end({ seq, count, scores, start, draft }: Slice): void {
    seq.flying -= count;
    if (!this.scheduler.running.includes(seq)) return;
    seq.computed = start + count - draft.length;
    seq.scored += scores;
    if (seq.computed === seq.ids.length) seq.append(7);
    this.#publisher.whole(seq);
  }

  /** It ends; others may go on from what it leaves. */
  leave(seq: Sequence): void {
    this.#publisher.rest(seq);
    this.scheduler.remove(seq);
  }

  get running(): string {
    return this.scheduler.running.map((s) => s.request.id).join('');
  }
  get waiting(): string {
    return this.scheduler.waiting.map((s) => s.request.id).join('');
  }
}

/** So many steps. */
const steps = (w: World, n: number, budget?: number) => Array.from({ length: n }, () => w.step(budget));
const ids = (n: number, from = 1) => Array.from({ length: n }, (_, i) => from + i);

describe('a step holds', () => {
  it('prompts in order of arrival, up to its budget; then decodes first', () => {
    const w = new World();
    for (const id of ['a', 'b', 'c']) w.add(id, 20);
    expect(steps(w, 4, 32)).toEqual([
      'a:0+20/1 b:0+12',
      'a:20+1/1 b:12+8/1 c:0+20/1',
      'a:21+1/1 b:20+1/1 c:20+1/1',
      'a:22+1/1 b:21+1/1 c:21+1/1',
    ]);
    expect(w.step(2), 'no decode is cut by a budget').toBe('a:23+1/1 b:22+1/1 c:22+1/1');
  });

  it('sixteen tokens of prompts beside its decodes whatever the budget, and no more than fit it', () => {
    const w = new World({ maxTokens: 24 });
    for (const id of ['a', 'b', 'c']) w.add(id, 2);
    expect(w.step()).toBe('a:0+2/1 b:0+2/1 c:0+2/1');
    w.add('d', 100);
    expect(steps(w, 2, 1)).toEqual(['a:2+1/1 b:2+1/1 c:2+1/1 d:0+16', 'a:3+1/1 b:3+1/1 c:3+1/1 d:16+16']);
    expect(w.step(100)).toBe('a:4+1/1 b:4+1/1 c:4+1/1 d:32+21');
    expect(w.step(20)).toBe('a:5+1/1 b:5+1/1 c:5+1/1 d:53+17');
  });

  it('no more tokens than fit it, nor rows of logits: who has no row waits for the next', () => {
    const few = new World({ maxTokens: 4 });
    for (const id of 'abcdef') few.add(id, 1);
    expect(steps(few, 2)).toEqual(['a:0+1/1 b:0+1/1 c:0+1/1 d:0+1/1', 'a:1+1/1 b:1+1/1 c:1+1/1 d:1+1/1']);
    const rows = new World({ maxRows: 2 });
    for (const id of 'abc') rows.add(id, 5);
    expect(steps(rows, 2)).toEqual(['a:0+5/1 b:0+5/1', 'a:5+1/1 b:5+1/1']);
    rows.leave(rows.scheduler.running[0]);
    expect(steps(rows, 2)).toEqual(['b:6+1/1 c:0+5/1', 'b:7+1/1 c:5+1/1']);
    const ones = new World({ maxRows: 2 });
    for (const id of 'abc') ones.add(id, 1);
    expect(ones.step()).toBe('a:0+1/1 b:0+1/1');
    const mid = new World({ maxRows: 1 });
    mid.add('a', 5);
    mid.add('b', 100);
    expect(mid.step(32), 'amid a prompt no row is needed').toBe('a:0+5/1 b:0+27');
  });

  it('nobody who has failed or was given up', () => {
    const w = new World();
    const [a, b] = ['a', 'b', 'c'].map((id) => w.add(id, 3));
    w.step();
    a.fail(new Error('x'));
    b.aborted = true;
    expect(w.step()).toBe('c:3+1/1');
    w.scheduler.remove(a);
    w.scheduler.remove(b);
    expect([w.running, w.pool.referenced]).toEqual(['c', 1]);
  });

  it('of owners who got less first, in prompts and among those who wait', () => {
    const w = new World({ maxSequences: 3 });
    w.add('a', 40, { owner: 'x' });
    w.add('b', 40, { owner: 'x' });
    expect(w.step(16)).toBe('a:0+16');
    w.add('c', 40, { owner: 'x' });
    w.add('d', 40, { owner: 'y' });
    expect(w.step(16), 'level with who got least').toBe('a:16+16');
    expect([w.running, w.waiting]).toEqual(['abc', 'd']);
    w.leave(w.scheduler.running[2]);
    w.add('e', 40, { owner: 'x' });
    expect(steps(w, 3, 16)).toEqual(['d:0+16', 'a:32+8/1 b:0+8', 'a:40+1/1 d:16+16']);
    expect([w.running, w.waiting]).toEqual(['abd', 'e']);
  });
});

it('running is in order of arrival, whoever came in first', () => {
  const w = new World({ maxSequences: 2 });
  const a = w.add('a', 20, { owner: 'x' });
  w.step(16);
  w.add('b', 20, { owner: 'x' });
  w.add('c', 20, { owner: 'y' });
  w.scheduler.schedule(0, () => []);
  expect([w.running, w.waiting]).toEqual(['ab', 'c']);
  w.scheduler.preemptAll();
  w.step(16); // y is level, but got nothing since
  expect(w.running).toBe('ac');
  w.leave(a);
  w.step(16);
  expect(w.running).toBe('bc');
});

describe('drafts', () => {
  it('have what room decodes leave, of rows and of tokens, one after the other', () => {
    const w = new World({ maxRows: 10 });
    for (const id of 'abc') w.add(id, 4);
    w.step();
    const asked: number[][] = [];
    const draft: Draft = (_, room, rows, decodes) => {
      asked.push([room, rows, decodes]);
      return asked.length === 2 ? [] : [9, 9, 9].slice(0, room);
    };
    expect(w.step(64, draft)).toBe('a:4+4/4 b:4+1/1 c:4+4/4');
    expect(asked).toEqual([
      [7, 3, 3],
      [4, 6, 3],
      [4, 6, 3],
    ]);
    asked.length = 0;
    expect(w.step(5, draft)).toBe('a:5+3/3 b:5+1/1 c:5+1/1');
    expect(asked).toEqual([[2, 3, 3]]);
  });

  it('have pages', () => {
    const w = new World();
    const a = w.add('a', 14);
    w.step();
    expect([w.begin(64, () => [9, 9]).said, a.pages.length]).toEqual(['a:14+3/3', 2]);
  });

  it('are not asked for beside prompts, nor without room', () => {
    const w = new World({ maxRows: 2 });
    w.add('a', 4);
    w.step();
    const never: Draft = () => {
      throw new Error('asked');
    };
    const b = w.add('b', 40);
    expect(w.step(64, never)).toBe('a:4+1/1 b:0+40/1');
    expect(w.step(64, never)).toBe('a:5+1/1 b:40+1/1');
    w.leave(b);
    expect(w.step(1, never)).toBe('a:6+1/1');
    expect(w.step(2, () => [1])).toBe('a:7+2/2');
  });
});

describe('pages that are here', () => {
  it('are found, and what another computes right now is waited for and shared', () => {
    const w = new World();
    const prompt = ids(40);
    w.add('a', prompt);
    const b = w.add('b', prompt);
    expect(w.step()).toBe('a:0+40/1');
    expect(w.waiting).toBe('b');
    expect(w.step()).toBe('a:40+1/1 b:32+8/1');
    expect([b.cachedTokens, b.pages.slice(0, 2)]).toEqual([32, w.scheduler.running[0].pages.slice(0, 2)]);
    expect(w.pool.referenced).toBe(4);
  });

  it('are not waited for where the next may not be shared: a prompt’s last token is always computed', () => {
    const w = new World();
    const prompt = ids(32);
    w.add('a', prompt);
    w.add('b', prompt);
    expect(w.step(16)).toBe('a:0+16');
    expect(w.step(32)).toBe('a:16+16/1 b:16+16/1'); // of the second page nothing can be shared
    w.add('c', [...ids(16), ...ids(24, 500)]);
    w.add('d', ids(16));
    expect(w.step()).toBe('a:32+1/1 b:32+1/1 d:15+1/1 c:16+24/1');
  });

  it('another who goes another way waits for nobody, nor do others behind one who does', () => {
    const w = new World();
    w.add('a', ids(40));
    w.add('b', [...ids(20), ...ids(20, 500)]);
    w.add('c', 10);
    expect(w.step()).toBe('a:0+40/1 c:0+10/1');
    expect(w.step()).toBe('a:40+1/1 c:10+1/1 b:20+20/1'); // and four tokens more, of the beginning of a page
  });

  it('of decodes nobody waits for', () => {
    const w = new World();
    w.add('a', ids(17));
    w.step();
    w.add('b', ids(17));
    w.add('c', ids(17));
    expect(w.step()).toBe('a:17+1/1 b:16+1/1 c:16+1/1');
  });

  it('of one that has all but its last token nobody waits, though it came in the same step', () => {
    const w = new World();
    w.leave(w.add('z', 0));
    const a = w.add('a', ids(31));
    w.step();
    w.leave(a);
    w.add('b', ids(32));
    w.add('c', ids(48));
    expect(w.step()).toBe('b:31+1/1 c:31+17/1');
  });

  it('a page of which some tokens are the same is copied, and not begun where there is none to copy to', () => {
    const w = new World({ pages: 4 });
    const a = w.add('a', ids(26));
    w.step();
    w.leave(a); // one page, and one of ten tokens
    const [whole, part] = [0, 1];
    const b = w.add('b', [...ids(22), ...ids(8, 500)]);
    expect(w.step()).toBe('b:22+8/1');
    expect(w.scheduler.copies).toEqual([{ seq: b, from: part, to: 2 }]);
    expect([b.pages, b.cachedTokens, b.computed]).toEqual([[whole, 2], 16, 30]);
    w.step();
    expect(w.scheduler.copies).toEqual([]);
    const c = w.add('c', ids(17));
    expect(w.step()).toBe('b:31+1/1 c:16+1/1');
    expect(w.scheduler.copies).toEqual([]); // its last token is computed
    w.leave(c);
    const full = new World({ pages: 2 });
    full.leave(full.add('a', 0));
    const d = full.add('d', ids(20));
    full.step();
    full.leave(d);
    full.add('e', ids(20));
    expect(full.step()).toBe('e:19+1/1');
  });

  it('under other salts are others', () => {
    const w = new World();
    w.add('a', ids(40));
    w.add('b', ids(40), { salt: 't' });
    expect(w.step(100)).toBe('a:0+40/1 b:0+24');
    w.add('c', ids(40), { salt: 't' });
    expect(steps(w, 2)).toEqual(['a:40+1/1 b:24+16/1', 'a:41+1/1 b:40+1/1 c:32+8/1']);
  });
});

describe('where pages run out', () => {
  it('who does not fit waits, and nobody overtakes', () => {
    const w = new World({ pages: 5 });
    const a = w.add('a', 40);
    w.step();
    w.add('b', 40);
    w.add('c', 3);
    expect(w.step()).toBe('a:40+1/1');
    expect([w.running, w.waiting]).toEqual(['a', 'bc']);
    w.leave(a);
    expect(w.step()).toBe('b:0+40/1 c:0+3/1');
  });

  it('a page for the first token is counted, and pages that are found and nobody has are not counted twice', () => {
    const w = new World({ pages: 4 });
    w.add('a', 30);
    w.step();
    w.add('b', 32); // three pages
    expect(w.step()).toBe('a:30+1/1');
    const exact = new World({ pages: 4 });
    exact.add('a', 30);
    exact.step();
    exact.add('b', 31);
    expect(exact.step()).toBe('a:30+1/1 b:0+31/1');
    const found = new World({ pages: 6 });
    found.leave(found.add('z', ids(33)));
    const z = found.add('y', ids(33));
    found.step();
    found.leave(z); // two pages of it stay, and one that has begun
    found.add('a', 15);
    expect(found.step()).toBe('a:0+15/1');
    found.add('b', [...ids(32), ...ids(40, 500)]); // two are here, three more are to be had
    expect(found.step()).toBe('a:15+1/1 b:32+40/1');
    const short = new World({ pages: 5 });
    const y = short.add('y', ids(33));
    short.step();
    short.leave(y);
    short.add('a', 15);
    short.step();
    short.add('b', [...ids(32), ...ids(40, 500)]);
    expect(short.step()).toBe('a:15+1/1');
  });

  it('the youngest gives its own back and comes again in its order', () => {
    const w = new World({ pages: 4 });
    const [a, b, c] = ['a', 'b', 'c'].map((id) => w.add(id, 15));
    expect(w.step()).toBe('a:0+15/1 b:0+15/1 c:0+15/1');
    expect(w.step()).toBe('a:15+1/1 b:15+1/1 c:15+1/1');
    expect(w.step()).toBe('a:16+1/1 b:16+1/1');
    expect([w.running, w.waiting, w.scheduler.preemptions, c.computed, c.pages, c.names]).toEqual(['ab', 'c', 1, 0, [], []]);
    expect(c.ids).toHaveLength(17);
    w.add('d', 1);
    for (let i = 0; i < 14; i++) w.step();
    expect([w.running, w.waiting, w.scheduler.preemptions]).toEqual(['ab', 'cd', 1]);
    w.step(); // b and a want a third
    expect(w.step()).toBe('a:32+1/1');
    expect([w.running, w.waiting, w.scheduler.preemptions]).toEqual(['a', 'bcd', 2]);
    expect(b.ids).toHaveLength(33);
    w.leave(a);
    expect(w.step()).toMatch(/^b:/);
  });

  it('of the owner who got most, never the oldest; alone, the oldest itself', () => {
    const w = new World({ pages: 3 });
    w.add('a', 14, { owner: 'x' });
    w.add('b', 15, { owner: 'y' });
    const c = w.add('c', 10, { owner: 'x' });
    w.step();
    expect(steps(w, 2)).toEqual(['a:14+1/1 b:15+1/1 c:10+1/1', 'a:15+1/1 b:16+1/1']); // x has 27 of them, y 16
    expect([w.running, w.waiting]).toEqual(['ab', 'c']);
    expect(c.left).toBe(0);
    const alone = new World({ pages: 2 });
    const a = alone.add('a', 31);
    alone.step();
    expect(alone.step()).toBe('a:31+1/1');
    expect(alone.step()).toBe('');
    expect([alone.waiting, a.computed, alone.scheduler.preemptions]).toEqual(['a', 0, 1]);
  });

  it('who is alone is placed though there is no page for its first token', () => {
    const w = new World({ pages: 2 });
    w.add('a', 32);
    expect(steps(w, 2)).toEqual(['a:0+32/1', '']);
  });

  it('whose prompt is amid its chunks and gives way takes no page in that step', () => {
    const w = new World({ pages: 4 });
    for (const id of 'ab') w.add(id, 15);
    w.step();
    const c = w.add('c', 20);
    expect(w.step(18)).toBe('a:15+1/1 b:15+1/1 c:0+16');
    expect(w.step()).toBe('a:16+1/1 b:16+1/1');
    expect([w.running, w.waiting, c.pages, w.scheduler.preemptions]).toEqual(['ab', 'c', [], 1]);
  });

  it('all can be made to begin again', () => {
    const w = new World();
    for (const id of 'abc') w.add(id, 20);
    steps(w, 2);
    w.scheduler.preemptAll();
    expect([w.running, w.waiting, w.scheduler.preemptions, w.pool.referenced]).toEqual(['', 'abc', 3, 0]);
    expect(w.step()).toBe('a:16+6/1 b:16+6/1 c:16+6/1');
  });

  it('who cannot be placed fails alone', () => {
    const w = new World();
    const bad = w.add('a', [Number.NaN], { salt: 's' });
    Object.defineProperty(bad, 'shareable', {
      get() {
        throw new Error('x');
      },
    });
    w.add('b', 3);
    expect(w.step()).toBe('b:0+3/1');
    expect([String(bad.error), w.waiting]).toEqual(['Error: x', '']);
  });
});

describe('a prompt whose log-probabilities are wanted', () => {
  it('is computed row by row, finds no pages, and tells each once', () => {
    const w = new World({ maxRows: 6 });
    const a = w.add('a', ids(20));
    w.step();
    w.leave(a);
    const b = w.add('b', ids(20), { promptLogprobs: 0 });
    expect(steps(w, 3)).toEqual(['b:0+6/6', 'b:6+6/6', 'b:12+6/6']);
    expect([b.scored, b.cachedTokens]).toEqual([18, 0]);
    b.reported = true;
    w.scheduler.preemptAll();
    expect(w.step(), 'what was told is computed again without rows, or found').toBe('b:18+2/2');
    expect([b.scored, b.cachedTokens]).toEqual([19, 0]); // it was said
    const c = w.add('c', 20, { promptLogprobs: 0 });
    c.scored = 10; // its pages are gone
    expect(steps(w, 2)).toEqual(['b:20+1/1 c:0+15/5', 'b:21+1/1 c:15+5/5']);
    expect(c.scored).toBe(19);
    expect(w.step()).toBe('b:22+1/1 c:20+1/1');
  });

  it('waits for the row of its last token', () => {
    const w = new World({ maxRows: 4 });
    w.add('a', 4, { promptLogprobs: 0 });
    w.add('b', 3, { promptLogprobs: 0 });
    expect(steps(w, 2)).toEqual(['a:0+4/4', 'a:4+1/1 b:0+3/3']);
  });
});

describe('several steps under way', () => {
  it('chunks of a prompt follow each other, so that each place has some of it', () => {
    const w = new World({ depth: 4, maxTokens: 256 });
    w.add('a', 100);
    const under = Array.from({ length: 5 }, () => w.begin(256));
    expect(under.map((s) => s.said)).toEqual(['a:0+28', 'a:28+28', 'a:56+28', 'a:84+16/1', '']);
    for (const s of under) s.end();
    expect(w.begin(256).said).toBe('a:100+1/1');
  });

  it('of short prompts sixteen tokens at least, and with little budget left the next step takes more', () => {
    const w = new World({ depth: 4, maxTokens: 256 });
    w.add('a', 40);
    const first = w.begin(256);
    expect(first.said).toBe('a:0+16');
    expect(w.begin(31).said).toBe('');
    expect(w.begin(32).said).toBe('a:16+16');
  });

  it('decodes alternate, four together, in as many groups as there are steps', () => {
    const w = new World({ depth: 2, maxTokens: 256 });
    for (const id of 'abcdefgh') w.add(id, 1);
    const under = [w.begin(), w.begin(), w.begin()];
    expect(under.map((s) => s.said.replace(/:0\+1\/1/g, ''))).toEqual(['a b c d', 'e f g h', '']);
    under[0].end();
    const again = w.begin();
    expect(again.said).toBe('a:1+1/1 b:1+1/1 c:1+1/1 d:1+1/1');
    expect(w.begin().said).toBe('');
    under[1].end();
    expect(w.begin().said).toBe('e:1+1/1 f:1+1/1 g:1+1/1 h:1+1/1');
  });

  it('who comes while as many steps are under way as there are groups waits', () => {
    const w = new World({ depth: 2, maxSequences: 32, maxRows: 32 });
    for (const id of 'abcdefghijklmnop') w.add(id, 1);
    const under = Array.from({ length: 4 }, () => w.begin());
    expect(under[3].said).toBe('m:0+1/1 n:0+1/1 o:0+1/1 p:0+1/1');
    w.add('q', 1);
    expect(w.begin().said, 'four groups for two places').toBe('');
    under[0].end();
    expect(w.begin().said, 'of seventeen there are three').toBe('');
    under[1].end();
    expect(w.begin().said).toMatch(/^a:1\+1\/1 .* h:1\+1\/1$/);
    under[2].end();
    expect(w.begin().said).toMatch(/^i:1\+1\/1 .* q:0\+1\/1$/);
  });

  it('of five there are three and two, of nine three groups, which two places take in turn; on one core all are one', () => {
    const said = (n: number, depth: number, cores?: number) => {
      const w = new World({ depth, cores, maxTokens: 256 });
      for (const id of 'abcdefghijkl'.slice(0, n)) w.add(id, 1);
      return Array.from({ length: 4 }, () =>
        w
          .begin()
          .said.replace(/:0\+1\/1/g, '')
          .replaceAll(' ', ''),
      );
    };
    expect(said(4, 2)).toEqual(['abcd', '', '', '']);
    expect(said(5, 2)).toEqual(['abc', 'de', '', '']);
    expect(said(9, 3)).toEqual(['abc', 'def', 'ghi', '']);
    expect(said(9, 2)).toEqual(['abc', 'def', 'ghi', '']);
    expect(said(8, 5, 1), 'places that take turns').toEqual(['abcdefgh', '', '', '']);
    expect(said(8, 2, 16)).toEqual(['abcd', 'efgh', '', '']);
    expect(said(12, 1)).toEqual(['abcdefghijkl', '', '', '']);
  });

  it('who would need the pages of one under way waits until all have ended, and comes first then', () => {
    const w = new World({ depth: 2, pages: 3 });
    const [a, b] = ['a', 'b'].map((id) => w.add(id, id === 'a' ? 5 : 15));
    expect(w.step()).toBe('a:0+5/1 b:0+11');
    expect(w.step()).toBe('a:5+1/1 b:11+4/1');
    const decodes = w.begin();
    expect(decodes.said).toBe('a:6+1/1 b:15+1/1');
    const c = w.add('c', 14);
    const prompt = w.begin();
    expect(prompt.said).toBe('c:0+14/1');
    decodes.end();
    const others = w.begin();
    expect(others.said).toBe('a:7+1/1'); // b wants a page, c is under way
    others.end();
    expect([w.begin().said, w.running]).toEqual(['', 'abc']);
    prompt.end();
    expect(w.begin().said).toBe('b:16+1/1 a:8+1/1');
    expect([w.waiting, a.pages.length, b.pages.length, c.pages.length]).toEqual(['c', 1, 2, 0]);
  });

  it('what steps took is told to what chooses the groups', () => {
    const w = new World({ depth: 2, maxTokens: 64 });
    for (const id of 'abcdefgh') w.add(id, 1);
    const sizes = new Set<number>();
    for (let i = 0; i < 80; i++) {
      const s = w.begin();
      const n = s.said.split(' ').length;
      sizes.add(n);
      s.end();
      w.scheduler.measured(n === 8 ? 10 : 9, [n]); // four cost nearly what eight do
    }
    expect([...sizes].sort()).toEqual([4, 8]);
    expect(w.begin().said.split(' ')).toHaveLength(8);
  });
});

describe('with windows', () => {
  const world = (o: { pages?: number; size?: number; maxTokens?: number } = {}) => {
    const pages = o.pages ?? 16;
    return new World({ pages, maxTokens: o.maxTokens ?? 16, windows: new Windows(pages, o.size ?? 6, 17) }); // a page before
  };

  it('a sequence lets go of what it sees no more', () => {
    const w = world();
    const a = w.add('a', 80);
    const left: number[] = [];
    for (let i = 0; i < 6; i++) {
      w.step(16);
      left.push(a.left);
    }
    expect(left).toEqual([0, 0, 1, 2, 3, 4]);
    expect(w.pool.windows?.available).toBe(4);
    w.leave(a);
    expect([a.left, w.pool.windows?.available, w.pool.referenced]).toEqual([0, 6, 0]);
  });

  it('another goes on from the last page that it saw, and waits where places for its window are none', () => {
    const w = world();
    const a = w.add('a', ids(80));
    for (let i = 0; i < 6; i++) w.step(16);
    w.leave(a);
    const b = w.add('b', [...ids(80), ...ids(10, 900)]);
    expect(w.step(16)).toBe('b:80+10/1');
    expect([b.cachedTokens, b.left]).toEqual([80, 4]);
    const second = (size: number) => {
      const w = world({ size });
      w.add('a', 70);
      w.step(16);
      w.add('b', 70);
      w.add('c', 3); // does not overtake
      w.step(16);
      return w.running;
    };
    expect([second(3), second(4)]).toEqual(['a', 'abc']); // what it sees, what it computes at once, and one: three places
  });

  it('who is alone is placed, however few there are', () => {
    const w = world({ size: 2 });
    w.add('a', 40);
    expect(steps(w, 3, 16)).toEqual(['a:0+16', 'a:16+16', 'a:32+8/1']);
  });

  it.each([
    [17, 16, 20, 4, false], // two places are left: one has its page, two more are to be had
    [17, 16, 20, 5, true],
    [49, 48, 33, 6, true], // of three pages that it finds it sees the last: three places besides are left
    [49, 48, 33, 5, false],
  ])('after %i tokens another goes on from %i with %i more, where there are %# places', (before, same, more, size, placed) => {
    const w = world({ size });
    const a = w.add('a', ids(before));
    for (let i = 0; i < 4; i++) w.step(16);
    w.leave(a);
    w.add('x', 20);
    w.step(16);
    w.step(16);
    w.add('b', [...ids(same), ...ids(more, 900)]);
    w.step(16);
    expect(w.running).toBe(placed ? 'xb' : 'x');
  });

  it('a copy says where the parts that slide are', () => {
    const w = world();
    const a = w.add('a', ids(30));
    steps(w, 2, 16);
    w.leave(a);
    const b = w.add('b', [...ids(24), ...ids(4, 900)]);
    expect(w.step(16)).toBe('b:24+4/1');
    const { windows } = w.pool;
    const [copy] = w.scheduler.copies;
    expect(copy).toEqual({ seq: b, from: 1, to: 2, places: [windows?.of(1), windows?.of(2)] });
    expect(copy.places?.[0]).not.toBe(copy.places?.[1]);
  });
});

describe('a sequence', () => {
  const of = (o: Partial<typeof GREEDY>, generated?: number[]) =>
    new Sequence({ ...{ id: 'a', prompt: [5, 6, 5], maxTokens: 9, stopIds: [], salt: '' }, generated, sampling: { ...GREEDY, ...o } }, 0);

  it('counts its output where a penalty wants it, what was generated elsewhere too, and keeps its prompt’s ids for one', () => {
    const told = (seq: Sequence) => {
      for (const id of [7, 8]) seq.append(id);
      return [seq.counts && [...seq.counts], seq.promptIds && [...seq.promptIds]];
    };
    const counted = [
      [7, 3],
      [9, 1],
      [8, 1],
    ];
    expect(told(of({}, [7, 9, 7]))).toEqual([undefined, undefined]);
    expect(told(of({ frequency: 0.5 }, [7, 9, 7]))).toEqual([counted, undefined]);
    expect(told(of({ presence: -1 }, [7, 9, 7]))).toEqual([counted, undefined]);
    expect(told(of({ repetition: 1.1 }, [7, 9, 7]))).toEqual([counted, [5, 6]]);
    const fresh = [
      [7, 1],
      [8, 1],
    ];
    expect(told(of({ frequency: 0.5 }))).toEqual([fresh, undefined]);
  });

  it('knows how many tokens are generated, to come and to be told', () => {
    const seq = of({}, [7, 9]);
    expect([seq.ids, seq.promptLength, seq.generated, seq.pending, seq.prefills]).toEqual([[5, 6, 5, 7, 9], 3, 2, 5, true]);
    seq.computed = 3;
    seq.flying = 1;
    expect([seq.next, seq.pending, seq.prefills, seq.unscored, seq.shareable]).toEqual([4, 1, true, 0, 4]);
    const scored = new Sequence({ ...seq.request, promptLogprobs: 0 }, 0);
    expect([scored.unscored, scored.shareable]).toEqual([2, 0]);
    scored.scored = 1;
    expect([scored.unscored, scored.shareable]).toEqual([1, 1]);
    scored.scored = 2;
    expect([scored.unscored, scored.shareable]).toEqual([0, 4]);
  });

  it('keeps the first of what was thrown for it, and that something was', () => {
    const seq = of({});
    seq.fail(undefined);
    seq.fail(new Error('later'));
    expect(String(seq.error)).toBe('Error: nothing was thrown');
  });
});

it('pages of a sequence are so many', () =>
  expect([0, 1, 16, 17, 32].map((n) => Sequence.pagesFor(n))).toEqual([0, 1, 1, 2, 2].map((n) => (n * PAGE) / PAGE)));

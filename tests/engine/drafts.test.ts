/** What is drafted for a sequence from its own text, what is learned from it, and what a constraint lets pass: to the id. */
import { describe, expect, it } from 'vitest';
import { type Constraint, GREEDY } from '../../engine/index.ts';
import { Sequence } from '../../engine/sequence.ts';
import { allowed, draftTokens, learn, Speculation } from '../../engine/speculate.ts';

const sequence = (prompt: readonly number[], o: { generated?: readonly number[]; maxTokens?: number; constraint?: Constraint } = {}) =>
  new Sequence({ id: 'a', prompt, maxTokens: 100, stopIds: [], salt: '', sampling: GREEDY, ...o }, 0);

/** Rows cost nothing, so that all that may be drafted is; keeps what it was asked. */
class Asked extends Speculation {
  readonly asked: Parameters<Speculation['length']>[] = [];
  override length(...a: Parameters<Speculation['length']>): number {
    this.asked.push(a);
    return super.length(...a);
  }
}
const draft = (seq: Sequence, room = 100) => draftTokens(seq, room, new Speculation(0), 1, 1);

describe('drafted are the ids that followed the last three ids before', () => {
  it.each([
    ['seven at most', [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 1, 2, 3], [4, 5, 6, 7, 8, 9, 10]],
    ['up to the end', [1, 2, 3, 4, 1, 2, 3], [4, 1, 2, 3]],
    ['after the last time they were there', [1, 2, 3, 4, 1, 2, 3, 5, 1, 2, 3], [5, 1, 2, 3]],
    ['amid others', [9, 9, 1, 2, 3, 8, 7, 1, 2, 3], [8, 7, 1, 2, 3]],
    ['of one id again and again', [5, 5, 5, 5], [5]],
    ['none where only two of them are the same: the last', [9, 2, 3, 4, 1, 2, 3], []],
    ['the first and the last', [1, 9, 3, 4, 1, 2, 3], []],
    ['the first', [1, 2, 9, 4, 1, 2, 3], []],
    ['nor where nothing was there before', [1, 2, 3, 4], []],
    ['or too little', [3], []],
  ])('%s', (_, ids, drafted) => expect(draft(sequence(ids))).toEqual(drafted));

  it('as many as there is room for, and one less than may still be generated', () => {
    const ids = [1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3];
    expect(draft(sequence(ids), 2)).toEqual([4, 5]);
    expect(draft(sequence(ids), 0)).toEqual([]);
    expect(draft(sequence(ids, { maxTokens: 4 }))).toEqual([4, 5, 6]);
    expect(draft(sequence(ids, { maxTokens: 1 }))).toEqual([]);
    expect(draft(sequence(ids.slice(0, 9), { generated: [2, 3], maxTokens: 4 }))).toEqual([4]);
  });
});

describe('how likely a draft is', () => {
  const asked = (seq: Sequence, s = new Asked(0)) => {
    draftTokens(seq, 100, s, 4, 3);
    return s.asked.at(-1);
  };
  /** The n-gram 1 2 3 twice, each after so many ids that are the same. */
  const same = (n: number, before: number[] = [77]) => {
    const common = Array.from({ length: n }, (_, i) => 20 + i);
    return [...before, ...common, 1, 2, 3, 50, 60, ...common, 1, 2, 3];
  };

  it('is told by how far it matches beyond, eight ids at most', () => {
    for (const [n, p] of [
      [0, 0.65],
      [1, 0.69],
      [3, 0.77],
      [8, 0.97],
      [9, 0.97],
      [30, 0.97],
    ]) {
      expect(asked(sequence(same(n)))?.[0], `${n} ids`).toBeCloseTo(p, 9);
      expect(asked(sequence(same(n, [])))?.[0], `${n} ids from the beginning`).toBeCloseTo(p, 9);
    }
  });

  it('then by what was accepted, of what was tried', () => {
    const seq = sequence(same(2));
    learn(seq, 4, 2); // the fourth was behind the first miss
    expect(seq.acceptance).toBeCloseTo(0.65 * 0.75 + (2 / 3) * 0.25, 9);
    const before = seq.acceptance as number;
    expect(asked(seq)).toEqual([before, 7, 4, 3, false]);
    learn(seq, 4, 4);
    expect(seq.acceptance).toBeCloseTo(before * 0.75 + 0.25, 9);
    learn(seq, 1, 0);
    expect(seq.acceptance).toBeCloseTo((before * 0.75 + 0.25) * 0.75, 9);
  });

  it('and after 32 tokens without a draft one is tried again', () => {
    const seq = sequence([1, 2, 3, 4, 5, 1, 2, 3]);
    seq.acceptance = 0;
    const s = new Asked(0.5);
    for (let i = 0; i < 32; i++) expect(draftTokens(seq, 9, s, 1, 1)).toEqual([]);
    expect(s.asked.map((a) => a[4])).not.toContain(true);
    expect(draftTokens(seq, 9, s, 1, 1)).toEqual([4]);
    expect(draftTokens(seq, 9, s, 1, 1)).toEqual([]); // and counted from there
    expect(s.asked.slice(-2).map((a) => a[4])).toEqual([true, false]);
  });

  it('tokens without anything to draft from count, too', () => {
    const seq = sequence([1, 2, 3, 4, 5, 6, 7]);
    for (let i = 0; i < 33; i++) draft(seq);
    for (const id of [1, 2, 3]) seq.append(id);
    expect(asked(seq)?.[4]).toBe(true);
  });
});

describe('a constraint lets pass', () => {
  /** Allows the ids given at each place, all where none are; counts its copies. */
  class Steps implements Constraint {
    copies = 0;
    readonly #of: (readonly number[] | undefined)[];
    #at: number;
    constructor(of: (readonly number[] | undefined)[], at = 0) {
      this.#of = of;
      this.#at = at;
    }
    mask(): Uint32Array | null {
      const ids = this.#of[this.#at];
      if (!ids) return null;
      const mask = new Uint32Array(3);
      for (const id of ids) mask[id >> 5] |= 1 << (id & 31);
      return mask;
    }
    accept(id: number): void {
      if (id === 66) throw new Error('not this');
      this.#at++;
    }
    clone(): Constraint {
      this.copies++;
      return new Steps(this.#of, this.#at);
    }
  }
  const pass = (constraint: Constraint | undefined, drafted: readonly number[]) => allowed(sequence([1], { constraint }), drafted);

  it('what its masks allow, one after the other, up to the first that they do not', () => {
    expect(pass(new Steps([[5], [70], undefined, [9]]), [5, 70, 4, 9])).toEqual([5, 70, 4, 9]);
    expect(pass(new Steps([[5], [70], [8]]), [5, 70, 9, 8])).toEqual([5, 70]);
    expect(pass(new Steps([[5, 37], [70]]), [37, 6, 70])).toEqual([37]);
    expect(pass(new Steps([[5]]), [37])).toEqual([]);
  });

  it('all where there is none, and nothing where it cannot look ahead', () => {
    expect(pass(undefined, [5, 6])).toEqual([5, 6]);
    expect(pass({ mask: () => null, accept() {} }, [5, 6])).toEqual([]);
    expect(pass(new Steps([undefined, undefined]), [66, 6])).toEqual([]); // it will fail by itself when it gets there
  });

  it('and is itself left where it was, not copied for nothing', () => {
    const constraint = new Steps([[5], [6]]);
    expect(pass(constraint, [])).toEqual([]);
    expect(constraint.copies).toBe(0);
    expect([pass(constraint, [5, 6]), pass(constraint, [5, 6])]).toEqual([
      [5, 6],
      [5, 6],
    ]);
    expect(constraint.copies).toBe(2);
  });
});

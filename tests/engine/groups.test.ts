/** In how many groups sequences of a model in stages decode: what was fastest, found by trying. */
import { describe, expect, it } from 'vitest';
import { Groups } from '../../engine/groups.ts';

/** ms of a step of so many fours: it reads all weights, whoever rides in it. */
const step = (fours: number) => 45 + 40 * fours;
/** ms between two steps of `fours` in so many groups, in places with so many cores. */
const between = (fours: number, groups: number, cores: number) => step(fours / groups) / Math.min(groups, cores);

/** Steps in a machine of so many cores; how many were in so many groups. */
function decode(g: Groups, o: { fours: number; most: number; cores: number; steps: number }): number[] {
  const in_ = new Array<number>(o.most + 1).fill(0);
  for (let i = 0; i < o.steps; i++) {
    const groups = g.of(4 * o.fours, o.most);
    in_[groups]++;
    g.measure(between(o.fours, groups, o.cores), [(4 * o.fours) / groups]);
  }
  return in_;
}

describe('groups', () => {
  it.each([
    ['one core: one group', { fours: 2, most: 2, cores: 1 }, 1],
    ['two cores: two', { fours: 2, most: 2, cores: 2 }, 2],
    ['two cores for five stages: two of eight, not four of four', { fours: 4, most: 4, cores: 2 }, 2],
    ['a core each: as many as there may be', { fours: 4, most: 4, cores: 8 }, 4],
  ] as const)('%s', (_, o, best) => {
    const g = new Groups();
    decode(g, { ...o, steps: 512 }); // finds out, at first by many trials
    const in_ = decode(g, { ...o, steps: 2000 });
    expect(in_[best] / 2000, `of ${in_}`).toBeGreaterThan(0.85);
    if (o.most > 1) expect(in_[best], 'it looks again now and then').toBeLessThan(2000);
  });

  it('is as many as there may be until something was measured, and one where there is no choice', () => {
    const g = new Groups();
    expect([g.of(16, 4), g.of(8, 1), g.of(4, 4), g.of(12, 2)]).toEqual([4, 1, 1, 2]);
    g.measure(10, [4]);
    expect(g.of(16, 4)).toBe(4);
  });

  it('other work on the machine is found out', () => {
    const g = new Groups();
    const o = { fours: 2, most: 2, steps: 600 };
    decode(g, { ...o, cores: 2 });
    decode(g, { ...o, cores: 1 });
    expect(decode(g, { ...o, cores: 1 })[1]).toBeGreaterThan(500);
    decode(g, { ...o, cores: 2 });
    expect(decode(g, { ...o, cores: 2 })[2]).toBeGreaterThan(500);
  });

  it('what is known of so many sequences is kept while there are others', () => {
    const g = new Groups();
    for (let i = 0; i < 20; i++) {
      decode(g, { fours: 2, most: 2, cores: 1, steps: 14 });
      decode(g, { fours: 1, most: 1, cores: 1, steps: 14 });
    }
    expect(decode(g, { fours: 2, most: 2, cores: 1, steps: 80 })[1]).toBeGreaterThan(40);
  });
});

describe('step by step', () => {
  /** Runs of steps in the same number of groups, as [groups, steps], where `best` groups are fastest; `per` steps are measured together. */
  const runs = (best: number, most: number, steps: number, per = 1) => {
    const g = new Groups();
    const out: [groups: number, steps: number][] = [];
    for (let i = 0; i < steps; i++) {
      const groups = g.of(32, most);
      const last = out.at(-1);
      if (last?.[0] === groups) last[1]++;
      else out.push([groups, 1]);
      g.measure((10 + Math.abs(groups - best)) * per, new Array(per).fill(4));
    }
    return out;
  };

  // a trial is twelve steps after four that settle; one of a neighbour comes after half as many as there were, two at least and sixteen at most
  it.each([
    [3, 3, [3, 4 + 24, 2, 16, 3, 4 + 36, 2, 16, 3, 4 + 84, 2, 16, 3, 4 + 180, 2, 16, 3, 4 + 16 * 12, 2, 16, 3, 4 + 16 * 12]],
    [2, 3, [3, 28, 2, 16, 1, 16, 3, 16, 2, 40, 1, 16, 2, 16, 3, 16, 2, 88, 1, 16, 2, 40, 3, 16, 2, 148, 1, 16, 2, 40, 3, 16, 2, 148]],
    [1, 4, [4, 28, 3, 16, 2, 16, 1, 52, 2, 16, 1, 112, 2, 16, 1, 4 + 16 * 12, 2, 16, 1, 4 + 16 * 12]],
    [3, 4, [4, 28, 3, 16, 2, 16, 4, 16, 3, 40, 2, 16, 3, 16, 4, 16, 3, 88]],
  ])('%i of at most %i groups are best', (best, most, expected) => {
    const flat = runs(best, most, 1000).flat();
    expect(flat.slice(0, expected.length)).toEqual(expected);
  });

  it('steps that are measured together count as so many', () => {
    expect(runs(2, 2, 100, 5)).toEqual([
      [2, 6],
      [1, 3],
      [2, 9],
      [1, 3],
      [2, 21],
      [1, 3],
      [2, 45],
      [1, 3],
      [2, 7],
    ]);
  });

  it.each([1e6, 1e-3])('what the first four steps after a change took, %d ms, says nothing', (wild) => {
    const g = new Groups();
    const trial = (groups: number, ms: number, settles: boolean) => {
      for (let i = settles ? 0 : 4; i < 16; i++) {
        expect(g.of(8, 2)).toBe(groups);
        g.measure(i < 4 ? wild : ms, [4]);
      }
    };
    trial(2, 10, true);
    trial(2, 10, false);
    trial(1, 11, true);
    trial(2, 10, true);
    for (let i = 0; i < 3; i++) g.of(16, 1); // others, for a while
    expect(g.of(8, 2)).toBe(2);
    for (let i = 0; i < 4; i++) g.measure(wild, [4]);
    for (let i = 0; i < 11; i++) g.measure(10, [4]);
    expect(g.of(8, 2)).toBe(2);
  });

  it('a trial that is much slower than the best ends after four steps', () => {
    const g = new Groups();
    const at: number[] = [];
    for (let i = 0; i < 50; i++) {
      const groups = g.of(8, 2);
      at.push(groups);
      g.measure(groups === 2 ? 10 : 30, groups === 2 ? [4] : [8]);
    }
    const others = at.flatMap((groups, i) => (groups === 1 ? [i] : []));
    expect(others).toEqual([28, 29, 30, 31, 32, 33, 34, 35]);
  });

  it('rows decide, not steps: twice as many in less than twice the time are better', () => {
    const g = new Groups();
    const at: number[] = [];
    for (let i = 0; i < 52; i++) {
      const groups = g.of(8, 2);
      at.push(groups);
      g.measure(groups === 1 ? 19 : 10, groups === 1 ? [8] : [4]);
    }
    expect(at.slice(28)).toEqual(new Array(24).fill(1));
  });

  it('where there may be fewer than were best, the best of those', () => {
    const g = new Groups();
    for (let i = 0; i < 100; i++) {
      const groups = g.of(12, 3);
      g.measure(20 - groups, [4]);
    }
    expect([g.of(12, 3), g.of(12, 2), g.of(12, 1), g.of(12, 3)]).toEqual([3, 2, 1, 3]);
    for (let i = 0; i < 40; i++) {
      const groups = g.of(12, 2);
      expect(groups).toBeLessThan(3);
      g.measure(20 - groups, [4]);
    }
    expect(g.of(12, 2)).toBe(2);
  });
});

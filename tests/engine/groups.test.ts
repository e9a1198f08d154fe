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
    const groups = g.of(o.fours, o.most);
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
    decode(g, { ...o, steps: 64 }); // finds out
    const in_ = decode(g, { ...o, steps: 2000 });
    expect(in_[best] / 2000, `of ${in_}`).toBeGreaterThan(0.85);
    if (o.most > 1) expect(in_[best], 'it looks again now and then').toBeLessThan(2000);
  });

  it('is as many as there may be until something was measured, and one where there is no choice', () => {
    const g = new Groups();
    expect([g.of(4, 4), g.of(1, 1), g.of(3, 2)]).toEqual([4, 1, 2]);
    g.measure(10, [4]);
    expect(g.of(4, 4)).toBe(4);
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

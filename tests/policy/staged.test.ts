import { expect, test } from 'vitest';
import { hopsOf, simulateStaged } from '../../bench/simulate/staged.ts';

const cost = { step: 4, token: 10, headStep: 1, row: 2 };
const alone = { streams: 1, speculate: false, repeats: 0.8, cost };

test('one stream: a token takes exactly the work of all stages, a share of the head, and its hops', async () => {
  for (const [stages, hop] of [
    [1, 0],
    [2, 1],
    [5, 0.3],
  ]) {
    const { rate } = await simulateStaged({ ...alone, stages, hop });
    expect(1000 / rate).toBeCloseTo(cost.step + cost.token + (cost.headStep + cost.row) / stages + hopsOf(stages) * hop, 1);
  }
});

test('several streams keep several stages busy, and a long prompt does', async () => {
  const rate = async (stages: number) => (await simulateStaged({ ...alone, stages, hop: 0.3, streams: 16 })).rate;
  expect(await rate(4)).toBeGreaterThan(1.8 * (await rate(1)));
  const first = async (stages: number) => (await simulateStaged({ ...alone, stages, hop: 0.3, prompt: 512, output: 2 })).first;
  expect(await first(1)).toBeGreaterThan(1.6 * (await first(2)));
});

test('drafted tokens share the hops: the farther the stages, the more speculation gives', async () => {
  const gain = async (hop: number) => {
    const o = { ...alone, stages: 5, hop };
    return (await simulateStaged({ ...o, speculate: true })).rate / (await simulateStaged(o)).rate;
  };
  const [near, far] = [await gain(0.1), await gain(20)];
  expect(near).toBeGreaterThan(0.95);
  expect(far).toBeGreaterThan(1.3);
});

test.each([2, 5])(
  '%i stages on one machine: on one core they lose little, on two they gain, and no more than two cores give',
  async (stages) => {
    // as a model of half a billion parameters costs: a step of eight takes less than two of four
    const o = { ...alone, cost: { step: 28, token: 6.8, headStep: 15.5, row: 1.5 }, streams: 8, hop: 0.3, output: 200 };
    const rate = async (stages: number, cores: number) => (await simulateStaged({ ...o, stages, cores })).rate;
    const one = await rate(1, 1);
    const [slow, fast] = [await rate(stages, 1), await rate(stages, 2)];
    expect(slow / one, 'one group').toBeGreaterThan(0.93);
    expect(fast / one, 'two groups').toBeGreaterThan(1.1);
    expect(fast / one).toBeLessThan((2 * (43.5 + 8.3 * 8)) / (2 * (43.5 + 8.3 * 4)));
  },
);

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

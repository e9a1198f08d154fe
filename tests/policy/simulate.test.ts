import { describe, expect, test } from 'vitest';
import { fairness, loadCurve, placement } from '../../bench/simulate/experiments.ts';
import { replicasFor, scale } from '../../bench/simulate/scale.ts';
import { quantile, simulate } from '../../bench/simulate/simulate.ts';
import { absent, azure, mooncake, reuse } from '../../bench/simulate/traces.ts';
import { POLICY } from '../../policy/config.ts';

test('one request alone: found pages, prefill and decode take exactly the time they should', () => {
  const speed = { step: 10, prefill: 1, decode: 2, budget: 1000 };
  const request = { prompt: 1_500, output: 3, blocks: [1, 2], tenant: 't' };
  const setup = { replicas: 1, slots: 4, kvTokens: 8_192, speed, policy: POLICY, load: 1 };
  const r = simulate(
    [
      { ...request, at: 0 },
      { ...request, at: 10_000 },
    ],
    setup,
  );
  // 1,000 + 500 prompt tokens in two steps; then, with two blocks of 512 found, 476 tokens in one
  expect(r.ttft).toEqual([10 + 476, 10 + 1_000 + 10 + 500]);
  expect(r.makespan).toBe(10_000 + 486 + 2 * (10 + 2));
  expect(r.hitRate).toBeCloseTo(1_024 / 3_000);
});

test('a light tenant beside a flood: p95 at most twice what it is beside one stream, throughput at least 95 %', () => {
  const f = fairness();
  expect(f.besideFlood).toBeLessThanOrEqual(2 * f.besideOne);
  expect(f.togetherRate).toBeGreaterThanOrEqual(0.95 * f.aloneRate);
  expect(f.inOrder).toBeGreaterThan(20 * f.besideFlood);
});

test('ten users are one replica; a thousand on one are refused and not kept waiting; with as many as the rule says they are answered, in cells too', () => {
  expect(replicasFor(10)).toBe(1);
  const ten = scale(10, 1, 1, 60);
  expect([ten.refused, ten.p95 < 5]).toEqual([0, true]);
  const crowd = scale(1_000, 1, 1, 60);
  // a thousand keys with a request each: who would wait longer than a minute is told so at once
  expect(crowd.refused).toBeGreaterThan(0.7);
  expect(crowd.p95).toBeLessThan(1.5 * (POLICY.maxWaitMs / 1000));
  expect(crowd.limits["replicas' time"]).toBeGreaterThan(5);
  expect(crowd.waiting).toBeLessThanOrEqual(POLICY.maxQueue);
  const one = scale(1_000, replicasFor(1_000), 1, 60);
  const four = scale(1_000, replicasFor(1_000), 4, 60);
  for (const s of [one, four]) expect([s.refused, s.p95 < 5]).toEqual([0, true]);
  expect(four.calls).toBeLessThan(one.calls); // of the busiest queue
}, 60_000);

const noMooncake = absent('mooncake');
if (noMooncake) console.warn(`skipped: ${noMooncake}`);

describe.skipIf(noMooncake !== undefined)('Mooncake', () => {
  test('cache-aware placement hits more and answers sooner than round-robin and random, never more than the trace allows', () => {
    const trace = mooncake().slice(0, 1_500);
    const most = reuse(trace);
    const [cache, turns, random] = (['cache', 'round-robin', 'random'] as const).map((rule) => placement(trace, 1_048_576, rule));
    for (const r of [cache, turns, random]) expect(r!.ttft).toHaveLength(1_500);
    expect(cache!.hitRate).toBeGreaterThan(2 * turns!.hitRate);
    expect(cache!.hitRate).toBeGreaterThan(2 * random!.hitRate);
    expect(cache!.hitRate).toBeGreaterThan(0.7 * most);
    expect(cache!.hitRate).toBeLessThanOrEqual(most);
    for (const p of [0.5, 0.95]) expect(quantile(cache!.ttft, p)).toBeLessThan(quantile(turns!.ttft, p));
    const { wall: _w, tenants: _t, ...again } = placement(trace, 1_048_576, 'cache');
    expect(cache).toMatchObject(again); // the same input, the same result
  });

  test('one replica that holds everything hits exactly what the trace repeats', () => {
    const trace = mooncake().slice(0, 300);
    const speed = { step: 0, prefill: 0.0001, decode: 0.0001, budget: 1_000_000 };
    const setup = { replicas: 1, slots: 512, kvTokens: 1 << 24, speed, policy: { ...POLICY, backlogTokens: 1e9 }, load: 0.01 };
    const r = simulate(trace, setup);
    // blocks of a prompt that ends with a whole block keep one to compute
    const most = reuse(trace);
    expect(r.hitRate).toBeLessThanOrEqual(most);
    expect(r.hitRate).toBeGreaterThan(0.97 * most);
  });
});

const noAzure = absent('azure');
if (noAzure) console.warn(`skipped: ${noAzure}`);

test.skipIf(noAzure !== undefined)('Azure: every request is answered or refused, waits grow with the load', () => {
  const trace = azure().slice(0, 1_500);
  const [low, high] = [0.5, 3].map((load) => loadCurve(trace, load));
  for (const r of [low, high]) expect(r!.ttft.length + r!.refused).toBe(1_500);
  expect(low!.refused).toBe(0);
  expect(quantile(high!.ttft, 0.5)).toBeGreaterThan(10 * quantile(low!.ttft, 0.5));
});

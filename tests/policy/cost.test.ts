import { expect, test } from 'vitest';
import { costOf, costOfAnswer, PRICES, QUEUE_ROWS, TURN_CALLS, TURN_ROWS } from '../../policy/cost.ts';

test('an hour of a replica is what the pricing page counts of an object in memory', () => {
  // its example 2: 100 objects, 86,400,000 s, 11,059,200 GB-s
  const { hour } = costOf({ isolates: 1, packBytes: 0 });
  expect((hour / PRICES.gigabyteSecond) * (86_400_000 / 3600)).toBeCloseTo(11_059_200, 3);
});

test('a chat of ten seconds: computing, calls and rows, each by its price', () => {
  const cost = costOfAnswer({ computeMs: 4_000, isolates: 1, openMs: 10_000 });
  expect(cost.compute).toBeCloseTo(4 * 0.128 * 12.5e-6, 12);
  expect(cost.session).toBe(0);
  expect(cost.requests).toBeCloseTo(0.3e-6 + 15 * 0.15e-6, 12);
  expect(cost.rows).toBeCloseTo((QUEUE_ROWS + 1) * 1e-6, 12); // one when it ends, one after ten seconds
  expect(cost.usd).toBeCloseTo(cost.compute + cost.requests + cost.rows, 15);
});

test('stages compute together, and a stored turn pays for its session, its calls and its pages', () => {
  const chat = costOfAnswer({ computeMs: 1_000, isolates: 5, openMs: 3_000 });
  const stored = costOfAnswer({ computeMs: 1_000, isolates: 5, openMs: 3_000, session: { ms: 3_000, bytes: 3.5 * 2 ** 20 } });
  expect(chat.compute).toBeCloseTo(5 * 0.128 * 12.5e-6, 12);
  expect(stored.session).toBeCloseTo(3 * 0.128 * 12.5e-6, 12);
  expect(stored.rows - chat.rows).toBeCloseTo((TURN_ROWS + 1 + 4) * 1e-6, 12);
  expect(stored.requests - chat.requests).toBeCloseTo((TURN_CALLS + 2) * 0.15e-6, 12); // an alarm, and the lease that it asks for
});

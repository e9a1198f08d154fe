import { expect, test } from 'vitest';
import { again, isOverloaded, isRetryable } from '../../serving/retry.ts';

const error = (message: string, more: object) => Object.assign(new Error(message), more);

test.each([
  ['its object was reset', error('gone', { durableObjectReset: true, remote: true }), 2],
  ['it may be made again', error('a hiccup', { retryable: true }), 2],
  ['the connection broke', error('Network connection lost.', {}), 2],
  ['nothing is said of it', error('?', {}), 2],
  ['the object itself threw', error('id must be a string', { remote: true }), 1],
  ['it may be made again, but the object is overloaded', error('too many requests', { retryable: true, overloaded: true }), 1],
])('a call of an object that fails because %s', async (_, thrown, calls) => {
  let n = 0;
  const call = () => {
    n++;
    return Promise.reject(thrown);
  };
  const said = await again(call).catch((e: unknown) => e);
  expect(n).toBe(calls);
  if (isOverloaded(thrown)) expect(said).toMatchObject({ status: 503, code: 'overloaded', headers: { 'retry-after': '5' } });
  else expect(said).toBe(thrown);
  expect(isRetryable(thrown) && isOverloaded(thrown)).toBe(false);
});

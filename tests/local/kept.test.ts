/**
 * What must not be in the scripts that serve: workerd (1.20260426) keeps what these two make for as long as the object lives, outside of what a collector
 * sees: a request that ended for each `AbortSignal.any`, 7 KB, and a decoder for each `TextDecoderStream` whose reader was lost. A heap that grows
 * so shows after hours, and in no test of seconds; so the built scripts are looked at, with all that they import.
 */

import { getEventListeners } from 'node:events';
import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { build } from '../../cli/build.ts';
import { either } from '../../serving/either.ts';

beforeAll(() => build(() => {}, ['wasm', 'worker', 'stage', 'embedder']), 120_000);

describe.each(['worker', 'stage', 'embedder'] as const)('the script of the %s', (name) => {
  const code = () => readFileSync(new URL(`../../.build/${name}/index.js`, import.meta.url), 'utf8');

  it.each(['AbortSignal.any', 'new TextDecoderStream'])('has no %s', (what) => {
    expect(code().length).toBeGreaterThan(10_000);
    expect(code().includes(what), `${what}: serving/either.ts and serving/responses/ndjson.ts are in its place`).toBe(false);
  });
});

it('either signal aborts, with its reason, and nothing listens to one that has', () => {
  const [a, b] = [new AbortController(), new AbortController()];
  const both = either(a.signal, b.signal);
  expect(both.aborted).toBe(false);
  b.abort(new Error('gone'));
  expect([both.aborted, (both.reason as Error).message]).toEqual([true, 'gone']);
  expect(getEventListeners(b.signal, 'abort')).toEqual([]);
  expect(either(new AbortController().signal, b.signal).aborted).toBe(true);
});

/** Pages between a replica and its sessions: how many are on their way at once. What they hold: tests/e2e/session-pages.test.ts. */

import { concatBytes } from '@noble/hashes/utils.js';
import { afterEach, expect, it, vi } from 'vitest';
import type { Engine } from '../../engine/index.ts';
import { frame, parseFrames } from '../../serving/responses/frames.ts';
import { Gate } from '../../serving/run/gate.ts';
import { pullPages, pushPages } from '../../serving/run/session-pages.ts';

const BYTES = 200_000; // of a page: two are more than a piece
const PAGES = 5;
const name = (i: number) => i.toString(16).padStart(64, '0');
const page = (i: number) => new Uint8Array(BYTES).fill(i);

/** An engine that holds the first `held` pages of any prompt. */
function engineWith(held: number) {
  const there = new Set(Array.from({ length: held }, (_, i) => name(i)));
  const engine = {
    names: { chain: () => Array.from({ length: PAGES }, (_, i) => name(i)) },
    pool: {
      prefix: (names: string[]) => names.findIndex((n) => !there.has(n)) + (names.every((n) => there.has(n)) ? PAGES + 1 : 0),
      available: 99,
      has: (n: string) => there.has(n),
    },
    kv: { pageBytes: BYTES },
    exportPage: async (n: string) => (there.has(n) ? page(Number.parseInt(n, 16)) : undefined),
    importPage: (n: string) => there.add(n) !== undefined,
  } as unknown as Engine;
  return { engine, there };
}

afterEach(() => {
  vi.useRealTimers();
});

it('a crowd of sessions gets its pages two at a time, all of them and as they are', async () => {
  const { engine } = engineWith(PAGES);
  let open = 0;
  let most = 0;
  const got: number[] = [];
  const session = {
    missing: async (names: string[]) => names,
    fetch: async (_: string, init?: RequestInit) => {
      most = Math.max(most, ++open);
      const chunks: Uint8Array[] = [];
      const reader = (init!.body as ReadableStream<Uint8Array>).getReader();
      for (let r = await reader.read(); !r.done; r = await reader.read()) {
        expect(r.value.byteLength).toBeLessThan(256 << 10);
        chunks.push(r.value);
        await new Promise((next) => setTimeout(next, 1));
      }
      const frames = await parseFrames(concatBytes(...chunks));
      got.push(...frames.map((f) => f.payload[0] as number));
      open--;
      return new Response();
    },
  };
  const sent = await Promise.all(Array.from({ length: 12 }, () => pushPages(engine, session, [], 's')));
  expect(sent).toEqual(Array(12).fill(PAGES));
  expect([most, got.length, got.slice().sort().join('')]).toEqual([2, 60, [0, 1, 2, 3, 4].map((i) => String(i).repeat(12)).join('')]);
});

it('a crowd of prompts whose pages are elsewhere pulls them two at a time; what another brought is not pulled again', async () => {
  const { engine, there } = engineWith(1);
  let open = 0;
  let most = 0;
  let asked = 0;
  const session = {
    missing: async () => [],
    fetch: async (_: string, init?: RequestInit) => {
      most = Math.max(most, ++open);
      asked++;
      await new Promise((next) => setTimeout(next, 5));
      const { names } = JSON.parse(init!.body as string) as { names: string[] };
      const frames = await Promise.all(names.map((n) => frame(n, page(Number.parseInt(n, 16)))));
      open--;
      return new Response(concatBytes(...frames) as BodyInit);
    },
  };
  const taken = await Promise.all(Array.from({ length: 12 }, () => pullPages(engine, session, [], 's')));
  expect(there.size).toBe(PAGES);
  expect([most, asked]).toEqual([2, 2]);
  expect(taken.slice(2)).toEqual(Array(10).fill(0));
});

it('one that hangs holds up no other for longer than so long', async () => {
  vi.useFakeTimers();
  const gate = new Gate(1, 1_000);
  const done: string[] = [];
  void gate.through(() => new Promise(() => {}));
  const second = gate.through(async () => void done.push('second'));
  const third = gate.through(async () => void done.push('third'));
  await vi.advanceTimersByTimeAsync(999);
  expect(done).toEqual([]);
  await vi.advanceTimersByTimeAsync(1);
  await Promise.all([second, third]);
  expect(done).toEqual(['second', 'third']);
  const fails = expect(gate.through(() => Promise.reject(new Error('its own')))).rejects.toThrow('its own');
  await vi.advanceTimersByTimeAsync(1_000);
  await fails;
});

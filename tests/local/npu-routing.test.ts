/** The replica's adapter beside accelerators that are slow, fast, change or hang, on a clock of the test's own: what any sequence of prompts costs. */
import { createHash } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { decodeHead, decodeIds, encodeDone, encodePage, FrameReader } from '../../accelerator/protocol.ts';
import { PAGE, PAGE_VERSION } from '../../engine/layout.ts';
import { createReference } from '../../kernels/reference/index.ts';
import { Registry } from '../../openai/prometheus.ts';
import { ewma, observe } from '../../policy/ewma.ts';
import { ROUTE } from '../../policy/route.ts';
import type { EngineLoop } from '../../serving/run/loop.ts';
import { NpuAdapter, type NpuOptions, type RouteReport, routeHeader } from '../../serving/run/npu.ts';
import { noise, testEngine, tiny } from '../engine/random-model.ts';

const CHUNK = 256; // tokens an accelerator computes before it sends their pages
const LOCAL = 0.5; // prompt tokens a ms, here
const sha256 = (bytes: Uint8Array): Uint8Array => new Uint8Array(createHash('sha256').update(bytes).digest());
const wait = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** Tokens a ms, at this time for this request (counted from 0); 0: it hangs there. */
type Speed = (request: number, chunk: number) => number;

/** One replica and one accelerator. Pages hold nothing: how long they take is what is tested. */
class World {
  readonly engine = testEngine(createReference(), { pages: 400 });
  readonly loop = { prefill: ewma(0.3), prefillAt: 0 };
  requests = 0;
  asked: number[] = []; // tokens of each
  private readonly o: { speed: Speed; latencyMs: number; deviceSpeed: number };

  constructor(speed: Speed, latencyMs = 20, deviceSpeed = 50) {
    this.o = { speed, latencyMs, deviceSpeed };
  }

  adapter(force?: NpuOptions['force']): NpuAdapter {
    return new NpuAdapter({
      ...{ binding: { fetch: (_, init) => this.answer(init) }, numerics: this.engine.backend.numerics, secret: 's', force },
      ...{ engine: this.engine, loop: this.loop as EngineLoop, pack: 'p', registry: new Registry() },
    });
  }

  private async answer(init: RequestInit): Promise<Response> {
    const [head, ids] = new FrameReader().push(init.body as unknown as Uint8Array);
    const { salt, have } = decodeHead(head);
    const tokens = decodeIds(ids);
    const names = this.engine.names.chain(tokens, salt).slice(0, tokens.length / PAGE);
    const request = this.requests++;
    this.asked.push(tokens.length);
    const bytes = new Uint8Array(this.engine.kv.pageBytes);
    const { speed, latencyMs, deviceSpeed } = this.o;
    const gone = new Promise<void>((_, reject) => init.signal?.addEventListener('abort', () => reject(new Error('aborted'))));
    gone.catch(() => {});
    const body = new ReadableStream<Uint8Array>({
      async start(controller) {
        const work = async () => {
          await wait(latencyMs);
          const began = Date.now();
          for (let at = have, chunk = 0; at < names.length; at += CHUNK / PAGE, chunk++) {
            const pages = names.slice(at, at + CHUNK / PAGE);
            const rate = speed(request, chunk);
            await wait(rate > 0 ? (pages.length * PAGE) / rate : 1e9);
            for (const name of pages) controller.enqueue(encodePage({ version: PAGE_VERSION, name, sha256: sha256(bytes), bytes }));
          }
          const n = (names.length - have) * PAGE;
          const timing = { deviceMs: n / deviceSpeed, hostMs: Date.now() - began, queueMs: 0, tokens: n };
          controller.enqueue(encodeDone({ ...timing, pages: names.length - have, cached: 0 }));
          controller.close();
        };
        await Promise.race([work(), gone]).catch((error) => controller.error(error));
      },
    });
    return new Response(body);
  }

  /** Computes here what is missing of a prompt; ms. */
  async local(prompt: number[], salt: string): Promise<void> {
    const whole = Math.floor((prompt.length - 1) / PAGE);
    const names = this.engine.names.chain(prompt, salt).slice(0, whole);
    const missing = names.filter((name) => !this.engine.pool.has(name));
    const tokens = prompt.length - (whole - missing.length) * PAGE;
    await wait(tokens / LOCAL);
    for (const name of missing) this.engine.importPage(name, new Uint8Array(this.engine.kv.pageBytes));
    if (tokens < 16) return;
    this.loop.prefill = observe(this.loop.prefill, LOCAL, { alpha: 0.2, min: 1e-3, max: 1e5 });
    this.loop.prefillAt = Date.now();
  }
}

beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date'], now: 1_000_000 }));
afterEach(() => void vi.useRealTimers());

/** Sends prompts one after another; ms that each took to its pages, and what was said of it. */
async function send(w: World, adapter: NpuAdapter, lengths: number[], pauseMs = 100, stepMs = 5) {
  const next = noise(lengths.length);
  const reports: RouteReport[] = [];
  const took: number[] = [];
  const all = (async () => {
    for (const n of lengths) {
      const prompt = Array.from({ length: n }, () => Math.floor(((next() + 1) / 2) * tiny.vocab));
      const began = Date.now();
      reports.push(await adapter.prefill(prompt, 'salt', new AbortController().signal));
      await w.local(prompt, 'salt');
      took.push(Date.now() - began);
      await wait(pauseMs);
    }
  })();
  let done = false;
  void all.finally(() => (done = true));
  while (!done) await vi.advanceTimersByTimeAsync(stepMs);
  return { reports, took };
}

const total = (list: number[]): number => list.reduce((a, b) => a + b, 0);
const lengths = (n: number, seed: number): number[] => {
  const next = noise(seed);
  return Array.from({ length: n }, () => 260 + Math.floor(((next() + 1) / 2) * 700));
};

const accelerators: [string, Speed][] = [
  ['a fast one', () => 20],
  ['one twice as fast', () => 2 * LOCAL],
  ['one as fast', () => LOCAL],
  ['a slow one', () => LOCAL / 5],
  ['one that becomes slow', (r) => (r < 12 ? 10 : LOCAL / 20)],
  ['one that is slow, then fast', (r) => (r < 3 ? LOCAL / 4 : 10)],
  ['one that is fast to those that measure it only', (r) => (r < 2 ? 20 : LOCAL / 50)],
  ['one that changes all the time', (r) => (r % 3 === 0 ? LOCAL / 10 : 5)],
  ['one that hangs half-way', (r, chunk) => (r > 1 && chunk > 0 ? 0 : 20)],
  ['one that hangs at once, now and then', (r) => (r % 4 === 3 ? 0 : 20)],
];

describe('any sequence of prompts takes a tenth longer than without an accelerator, at most', () => {
  test.each(accelerators)('beside %s', async (_, speed) => {
    const w = new World(speed);
    const list = lengths(30, 7);
    const { took, reports } = await send(w, w.adapter(), list);
    const local = list.map((n) => n / LOCAL);
    for (let n = 1; n <= list.length; n++) expect(total(took.slice(0, n))).toBeLessThanOrEqual(1.1 * total(local.slice(0, n)) + 5 * n); // the clock goes in steps of 5 ms
    for (const [i, r] of reports.entries()) expect(took[i], JSON.stringify(r)).toBeLessThan(2.1 * local[i] + 10); // and no prompt waits long
    expect(w.asked[0]).toBe(PAGE); // it was tried, for nobody
    expect(reports[0]).toMatchObject({ place: 'local', why: 'probe', predicted: { local: null, npu: null, device: null } });
  });
});

test('a fast one is used, and saves what it can', async () => {
  const w = new World(() => 20);
  const list = lengths(20, 3);
  const { took, reports } = await send(w, w.adapter(), list);
  expect(reports.filter((r) => r.place === 'npu').length).toBeGreaterThan(15);
  expect(total(took)).toBeLessThan(0.4 * total(list.map((n) => n / LOCAL)));
  // and is measured against this host all the same: its last pages are left to it when that was long ago
  const before = w.loop.prefillAt;
  await send(w, w.adapter(), [900, 900], ROUTE.believeMs + 1, 100);
  expect(w.loop.prefillAt).toBeGreaterThan(before + ROUTE.believeMs);
});

test('a slow one is measured once, then again as doubt grows, and never waited for', async () => {
  const w = new World(() => LOCAL / 3);
  const { reports } = await send(w, w.adapter(), lengths(12, 5), 5_000, 50);
  expect(reports.every((r) => r.place === 'local' && r.took === 0)).toBe(true);
  expect(reports.filter((r) => r.why === 'probe')).toHaveLength(1);
  const later = new World(() => LOCAL / 3);
  const probes = (await send(later, later.adapter(), lengths(12, 5), 4 * ROUTE.believeMs, 500)).reports.filter((r) => r.why === 'probe');
  expect(probes.length).toBeGreaterThan(5);
});

test('what a real device would give stands beside it; with device-time that decides, and is waited for', async () => {
  const w = new World(() => LOCAL / 3, 20, 100); // simulating takes three times as long as computing here
  const auto = await send(w, w.adapter(), [800, 800, 800], 5_000);
  expect(auto.reports.at(-1)).toMatchObject({ place: 'local', why: 'slower' });
  const { local, npu, device } = auto.reports.at(-1)!.predicted;
  expect(local).toBeCloseTo(800 / LOCAL, -2);
  expect(npu).toBeGreaterThan(4_000);
  expect(device).toBeLessThan(60);
  expect(routeHeader(auto.reports.at(-1)!)).toMatch(/^local; why=slower; local=[\d.]+; npu=[\d.]+; device=[\d.]+; took=0; bytes=0$/);
  expect(routeHeader(auto.reports[0])).toMatch(/^local; why=probe; local=\?; npu=\?; device=\?; /);

  const real = await send(w, w.adapter('device-time'), [900, 900]);
  for (const [i, r] of real.reports.entries()) {
    expect(r).toMatchObject({ place: 'npu', why: 'faster' });
    expect(r.took).toBeGreaterThan(5_000); // the whole simulation was waited for
    expect(r.device, 'its own time and what the network took').toBeLessThan(60);
    expect(real.took[i]).toBeGreaterThanOrEqual(r.took);
  }
  const slower = new World(() => 100, 20, LOCAL / 2); // a device whose simulation is faster than itself is as slow as itself
  const waited = await send(slower, slower.adapter('device-time'), [800]);
  expect(waited.took[0]).toBeGreaterThan(784 / (LOCAL / 2));
});

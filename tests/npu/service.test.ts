/** The service and the replica's client against each other, on a real model of random weights: same pages as the reference, and every fault by its name. */
import { createHash } from 'node:crypto';
import { beforeAll, describe, expect, test } from 'vitest';
import { type NpuCall, NpuError, npuPrefill } from '../../accelerator/client.ts';
import { Prefiller } from '../../accelerator/prefiller.ts';
import { encodeFrame, encodeHead, encodeIds, FrameReader, type PrefillHead } from '../../accelerator/protocol.ts';
import { Recorder } from '../../accelerator/recorder.ts';
import { createService } from '../../accelerator/service.ts';
import type { Backend } from '../../engine/backend.ts';
import type { ModelConfig } from '../../engine/config.ts';
import { PAGE_VERSION } from '../../engine/layout.ts';
import { createReference } from '../../kernels/reference/index.ts';
import { createNpu } from '../../simulator/backend.ts';
import { device } from '../../simulator/device/index.ts';
import type { RunData } from '../../simulator/report/data.ts';
import { randomWeights } from '../engine/random-model.ts';
import { tileModules } from './modules.ts';

const c: ModelConfig = {
  ...{ family: 'llama', vocab: 200, hidden: 64, layers: 2, heads: 4, kvHeads: 2, headDim: 16, ffn: 96, context: 512 },
  ...{ normEps: 1e-5, ropeTheta: 10000, tied: true, qkvBias: false, qkNorm: false },
};
const hash = (bytes: Uint8Array): Uint8Array => new Uint8Array(createHash('sha256').update(bytes).digest());
const secret = 'a secret of the tests';
const ids = (n: number, seed = 1): number[] => Array.from({ length: n }, (_, i) => (i * 31 * seed + seed) % c.vocab);

const prefillerOn = (backend: Backend, chunk = 64): Prefiller =>
  new Prefiller({
    ...{ backend, config: c, weights: randomWeights(backend, c, 'w4'), kv: 'i8', pack: 'p', hash, chunk, context: c.context, pages: 64 },
  });

const modules = tileModules();
function service(o: { queue?: number; breathe?: () => Promise<void> } = {}) {
  const recorder = new Recorder();
  const npu = createNpu(device('edge-npu'), { modules, onLaunch: (launch) => recorder.add(launch) });
  const prefiller = prefillerOn(npu);
  const s = createService({
    ...{ device: device('edge-npu'), chips: 1, secret, hash, now: () => performance.now(), queue: o.queue },
    breathe: o.breathe ?? (() => new Promise((r) => setTimeout(r, 0))),
    open: async () => ({ prefiller, deviceUs: () => npu.deviceUs, recorder }),
  });
  return { ...s, prefiller };
}

const head = (more: Partial<PrefillHead> = {}): PrefillHead => ({
  pack: 'p',
  kv: 'i8',
  numerics: 'exact-1',
  salt: 's',
  have: 0,
  deadlineMs: 60_000,
  ...more,
});

interface Got {
  pages: Map<string, Uint8Array>;
  answer: Awaited<ReturnType<typeof npuPrefill>>;
}

/** Node forgets a request's signal when the request is collected, and an abort would go nowhere. */
const kept: Request[] = [];
function request(url: string, init: RequestInit): Request {
  const r = new Request(url, init);
  kept.push(r);
  return r;
}

async function call(
  s: { fetch(r: Request): Promise<Response>; prefiller: Prefiller },
  prompt: number[],
  more: Partial<NpuCall> = {},
): Promise<Got> {
  const pages = new Map<string, Uint8Array>();
  const h = more.head ?? head();
  const answer = await npuPrefill({
    ...{ npu: { fetch: (url, init) => s.fetch(request(url, init)) }, secret, head: h, ids: prompt, hash },
    ...{ names: s.prefiller.chain(prompt, h.salt), page: { version: PAGE_VERSION, bytes: s.prefiller.pageBytes } },
    pageOf: async () => undefined,
    onPage: (name, bytes) => void pages.set(name, bytes),
    ...more,
  });
  return { pages, answer };
}

describe('prefill', () => {
  let want: Map<string, Uint8Array>;
  const prompt = ids(150);
  beforeAll(async () => {
    want = new Map();
    for await (const p of prefillerOn(createReference(), 160).run(prompt, 0, 's')) want.set(p.name, p.bytes);
  });

  test('gives the reference its pages, whole ones only, with both clocks', async () => {
    const { pages, answer } = await call(service(), prompt);
    expect([...pages.keys()]).toEqual([...want.keys()]);
    expect(pages.size).toBe(9); // 150 tokens: 6 are left to the replica
    for (const [name, bytes] of want) expect(Buffer.compare(bytes, pages.get(name) as Uint8Array)).toBe(0);
    expect(answer.tokens).toBe(144);
    expect(answer.deviceMs).toBeGreaterThan(0);
    expect(answer.hostMs).toBeGreaterThan(0);
    expect(answer.deviceMs).not.toBe(answer.hostMs);
  });

  test('a second prompt with the same beginning computes what is new', async () => {
    const s = service();
    await call(s, prompt.slice(0, 80));
    const { answer, pages } = await call(s, prompt);
    expect(answer.cached).toBe(5);
    expect(answer.tokens).toBe(64);
    for (const [name, bytes] of want) expect(Buffer.compare(bytes, pages.get(name) as Uint8Array)).toBe(0);
  });

  test('ancestors that are missing are named, uploaded and used', async () => {
    const s = service();
    const { pages, answer } = await call(s, prompt, { head: head({ have: 4 }), pageOf: async (name) => want.get(name) });
    expect([...pages.keys()]).toEqual([...want.keys()].slice(4));
    for (const [name, bytes] of pages) expect(Buffer.compare(bytes, want.get(name) as Uint8Array)).toBe(0);
    expect(answer.uploaded).toBeGreaterThan(4 * s.prefiller.pageBytes);
  });

  test('another salt shares nothing', async () => {
    const s = service();
    await call(s, prompt);
    const { answer, pages } = await call(s, prompt, { head: head({ salt: 'other' }) });
    expect(answer.cached).toBe(0);
    for (const name of pages.keys()) expect(want.has(name)).toBe(false);
  });

  test('a damaged upload is refused and not used', async () => {
    const s = service();
    const damaged = async (name: string) => {
      const bytes = (want.get(name) as Uint8Array).slice();
      bytes[7] ^= 1;
      return bytes;
    };
    const wrongDigest: typeof hash = (bytes) => hash(bytes).map((b, i) => (i === 0 ? b ^ 1 : b));
    await expect(call(s, prompt, { head: head({ have: 2 }), pageOf: damaged, hash: wrongDigest })).rejects.toMatchObject({ status: 400 });
    expect(s.prefiller.has([...want.keys()][0])).toBe(false);
  });
});

describe('refusals', () => {
  const s = service();
  const status = async (prompt: number[], more: Partial<NpuCall>): Promise<number> =>
    call(s, prompt, more).then(
      () => 200,
      (e: NpuError) => e.status,
    );

  test('each by its status', async () => {
    expect(await status(ids(40), { secret: 'not the secret at all' })).toBe(401);
    expect(await status(ids(40), { head: head({ pack: 'other' }) })).toBe(422);
    expect(await status(ids(40), { head: head({ numerics: 'webgpu-1' }) })).toBe(422);
    expect(await status(ids(40), { head: head({ have: 3 }) })).toBe(400);
    expect(await status(ids(600), {})).toBe(400);
    expect(await status([...ids(40), 5000], {})).toBe(400);
    expect(await status(ids(40), { head: head({ have: 2 }) })).toBe(409); // nobody has those pages
    expect(await status(ids(40), { head: head({ deadlineMs: -1 }) })).toBe(400);
    expect((await s.fetch(new Request('https://npu/v1/device'))).status).toBe(401);
    expect(() =>
      createService({
        device: device('edge-npu'),
        chips: 1,
        secret: 'short',
        hash,
        now: Date.now,
        breathe: async () => {},
        open: async () => Promise.reject(),
      }),
    ).toThrow('NPU_SECRET');
  });

  test('bytes that follow no protocol get 400', async () => {
    const bodies = [
      new Uint8Array(0),
      new Uint8Array([1, 2, 3]),
      Uint8Array.from([255, 255, 255, 255, 1]),
      encodeFrame(9, new Uint8Array(2)),
      encodeHead(head()),
      new Uint8Array([...encodeHead(head()), ...encodeFrame(2, new Uint8Array(3))]),
      new Uint8Array([...encodeFrame(1, new TextEncoder().encode('[]')), ...encodeIds([1])]),
      new Uint8Array([...encodeHead(head()), ...encodeIds([1]), ...encodeFrame(3, new Uint8Array(10))]),
    ];
    for (const body of bodies) {
      const r = await s.fetch(
        new Request('https://npu/v1/prefill', { method: 'POST', body: body as BodyInit, headers: { authorization: `Bearer ${secret}` } }),
      );
      expect(r.status).toBe(400);
    }
  });
});

describe('queue', () => {
  test('is bounded: 429 with Retry-After; a caller that leaves frees its place and the device', async () => {
    let release: () => void = () => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const s = service({ queue: 1, breathe: () => held });
    const first = call(s, ids(60, 3));
    const leaver = new AbortController();
    const queued = async () => {
      const r = await s.fetch(new Request('https://npu/v1/device', { headers: { authorization: `Bearer ${secret}` } }));
      return ((await r.json()) as { queue: number }).queue;
    };
    await expect.poll(queued, { interval: 1 }).toBe(1);
    const second = call(s, ids(60, 5), { signal: leaver.signal });
    await expect.poll(queued, { interval: 1 }).toBe(2);
    await expect(call(s, ids(60, 7))).rejects.toMatchObject({ status: 429, refused: true });
    leaver.abort();
    await expect(second).rejects.toBeInstanceOf(NpuError);
    const third = call(s, ids(60, 11));
    release();
    expect((await first).pages.size).toBe(3);
    expect((await third).pages.size).toBe(3);
  });

  test('a caller that leaves while its prompt runs frees the device for the next', async () => {
    const s = service({ queue: 0, breathe: () => new Promise((r) => setTimeout(r, 60)) });
    const leaver = new AbortController();
    const prompt = ids(400, 3);
    let got = 0;
    const running = call(s, prompt, { signal: leaver.signal, onPage: () => void got++ });
    running.catch(() => {});
    await expect.poll(() => got, { interval: 5, timeout: 10_000 }).toBeGreaterThan(2);
    await expect(call(s, ids(40, 5)), 'the device is taken, and none may wait').rejects.toMatchObject({ status: 429 });
    leaver.abort();
    await expect(running).rejects.toBeInstanceOf(NpuError);
    await expect
      .poll(() =>
        call(s, ids(40, 5)).then(
          ({ pages }) => pages.size,
          () => 0,
        ),
      )
      .toBe(2);
    expect(got, 'it did not run to its end').toBeLessThan(25);
  });

  test('a deadline ends a prompt that waits (504) and one that runs', async () => {
    const slow = service({ breathe: () => new Promise((r) => setTimeout(r, 60)) });
    const running = call(slow, ids(300, 3), { head: head({ deadlineMs: 100 }) });
    const waiting = call(slow, ids(60, 5), { head: head({ deadlineMs: 20 }) });
    await expect(waiting).rejects.toMatchObject({ status: 504 });
    await expect(running).rejects.toThrow('deadline');
    expect((await call(slow, ids(40, 7))).pages.size).toBe(2);
  });
});

describe('a service that fails', () => {
  const good = service();
  const broken = (change: (r: Response) => Promise<Response>) => ({
    prefiller: good.prefiller,
    fetch: async (r: Request) => change(await good.fetch(r)),
  });
  const bytesOf = async (r: Response): Promise<Uint8Array> => new Uint8Array(await r.arrayBuffer());

  test.each([
    ['is down', async (r: Response) => r.body?.cancel().then(() => Promise.reject(new Error('connection refused'))) as Promise<Response>],
    ['answers 500', async (r: Response) => r.body?.cancel().then(() => new Response('oops', { status: 500 })) as Promise<Response>],
    [
      'answers garbage',
      async (r: Response) => r.body?.cancel().then(() => new Response(new Uint8Array(5000).fill(77))) as Promise<Response>,
    ],
    ['dies half-way', async (r: Response) => new Response((await bytesOf(r)).slice(0, 9000))],
    ['ends without its end', async (r: Response) => new Response((await bytesOf(r)).slice(0, -40))],
    [
      'flips a bit of a page',
      async (r: Response) => {
        const b = await bytesOf(r);
        b[5000] ^= 4;
        return new Response(b as BodyInit);
      },
    ],
    [
      'swaps the order of pages',
      async (r: Response) => {
        const frames = new FrameReader().push(await bytesOf(r)).map((f) => encodeFrame(f.type, f.payload));
        [frames[0], frames[1]] = [frames[1], frames[0]];
        return new Response(Buffer.concat(frames));
      },
    ],
    [
      'skips a page',
      async (r: Response) => {
        const frames = new FrameReader().push(await bytesOf(r)).map((f) => encodeFrame(f.type, f.payload));
        return new Response(Buffer.concat(frames.slice(0, -2).concat(frames.slice(-1))));
      },
    ],
  ] as [string, (r: Response) => Promise<Response>][])('one that %s gives NpuError, and only good pages', async (_, change) => {
    const prompt = ids(100, 13);
    const names = good.prefiller.chain(prompt, 's');
    const whole = await call(good, prompt);
    const got: string[] = [];
    const onPage = (name: string, bytes: Uint8Array) => {
      expect(Buffer.compare(bytes, whole.pages.get(name) as Uint8Array)).toBe(0);
      got.push(name);
    };
    await expect(call(broken(change), prompt, { onPage })).rejects.toBeInstanceOf(NpuError);
    expect(got).toEqual(names.slice(0, got.length));
  });
});

describe('simulate and device', () => {
  const s = service();
  const post = (body: unknown) =>
    s.fetch(
      new Request('https://npu/v1/simulate', {
        method: 'POST',
        body: JSON.stringify(body),
        headers: { authorization: `Bearer ${secret}` },
      }),
    );

  test('a shape without weights is timed', async () => {
    const r = (await (await post({ model: 'smollm2-135m', device: 'maia-200', prompt: 64, numbers: 'bf16' })).json()) as {
      us: number;
      bytes: { read: number };
    };
    expect(r.us).toBeGreaterThan(50);
    expect(r.bytes.read).toBeGreaterThan(100e6);
  });

  test.each([
    [{ model: 'gpt-9', device: 'maia-200', prompt: 64 }, 'model'],
    [{ model: 'smollm2-135m', device: 'x', prompt: 64 }, 'device'],
    [{ model: 'smollm2-135m', device: { name: 'odd' }, prompt: 64 }, 'device odd'],
    [{ model: 'smollm2-135m', device: 'maia-200', prompt: 0 }, 'prompt'],
    [{ model: 'smollm2-135m', device: 'maia-200', prompt: 1e9 }, 'prompt'],
    [{ model: 'smollm2-135m', device: 'maia-200', prompt: 64, numbers: 'int3' }, 'numbers'],
    [{ model: { family: 'llama' }, device: 'maia-200', prompt: 64 }, 'model config'],
  ])('%o is refused by name', async (body, name) => {
    const r = await post(body);
    expect(r.status).toBe(400);
    expect(((await r.json()) as { error: { message: string } }).error.message).toContain(name);
  });

  test('with report it comes with what a page draws, for prompts that are not too long', async () => {
    const { report } = (await (await post({ model: 'pebble', device: 'edge-npu', prompt: 32, report: true })).json()) as {
      report: RunData;
    };
    expect(report.summary.us).toBeGreaterThan(0);
    expect(report.points.reduce((n, p) => n + p.launches, 0)).toBe(report.summary.launches);
    expect(report.timeline.bars.every(([tile, queue, from, to]) => tile < 4 && queue < 4 && from <= to)).toBe(true);
    expect((await post({ model: 'smollm2-135m', device: 'edge-npu', prompt: 4097, report: true })).status).toBe(400);
  });

  test('the last prompt can be looked at: its launches add up to its device time', async () => {
    const own = service();
    const get = (path: string) => own.fetch(new Request(`https://npu${path}`, { headers: { authorization: `Bearer ${secret}` } }));
    expect((await get('/v1/report')).status).toBe(404);
    const { answer } = await call(own, ids(150));
    const report = (await (await get('/v1/report')).json()) as RunData & { tokens: number; deviceMs: number; hostMs: number };
    expect(report).toMatchObject({ tokens: 144, deviceMs: answer.deviceMs, device: { name: 'edge-npu' } });
    expect(report.summary.us / 1000).toBeCloseTo(answer.deviceMs, 6);
    await call(own, ids(150)); // all its pages are there: nothing is computed, nothing is shown in its place
    expect(await (await get('/v1/report')).json()).toMatchObject({ tokens: 144 });
    const trace = (await (await get('/v1/trace')).json()) as { traceEvents: unknown[] };
    expect(trace.traceEvents.length).toBeGreaterThan(50);
    expect((await own.fetch(new Request('https://npu/v1/report'))).status).toBe(401);
  });

  test('the device describes itself', async () => {
    const r = await s.fetch(new Request('https://npu/v1/device', { headers: { authorization: `Bearer ${secret}` } }));
    expect(await r.json()).toMatchObject({ device: { name: 'edge-npu' }, chips: 1, queue: 0, layout: PAGE_VERSION });
  });
});

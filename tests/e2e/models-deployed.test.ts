/**
 * The Worker as it is deployed, with two packs in its bucket and all its objects in one isolate: it holds one model at a time, and one of
 * two replicas computes. What is called, and for how long, is counted at every object (tests/e2e/counting.js).
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Miniflare, type MiniflareOptions } from 'miniflare';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { build, buildId, ROOT } from '../../cli/build.ts';
import { localPack, uploadPack } from '../../cli/packs.ts';
import { CHAT_CALLS, PRICES, TURN_CALLS } from '../../policy/cost.ts';
import { sessionName, sessionOf } from '../../serving/responses/ids.ts';
import type { SchedulerPort } from '../../serving/scheduler.ts';
import { missing } from './server.ts';

const ADMIN_KEY = 'for-operators';

describe.skipIf(missing)('two models of a deployed Worker', () => {
  let worker: Miniflare;
  let options: (build: 'this' | 'next') => MiniflareOptions;
  const persist = mkdtempSync(join(tmpdir(), 'turnstone-deployed-'));
  beforeAll(async () => {
    await build(() => {}, ['wasm', 'worker']);
    const from = join(ROOT, '.build/worker');
    const wasm = readdirSync(from).filter((f) => f.endsWith('.wasm'));
    const counting = readFileSync(join(ROOT, 'tests/e2e/counting.js'), 'utf8');
    const index = readFileSync(join(from, 'index.js'), 'utf8');
    const code = (index: string) => ({
      modules: [
        { type: 'ESModule' as const, path: 'counting.js', contents: counting },
        { type: 'ESModule' as const, path: 'index.js', contents: index },
        ...wasm.map((path) => ({ type: 'CompiledWasm' as const, path, contents: readFileSync(join(from, path)) })),
      ],
      compatibilityDate: '2026-04-01',
      compatibilityFlags: ['enable_request_signal'],
      bindings: { MODEL_ID: 'pebble', MODELS: 'base', PUBLIC: '1', REPLICAS: '2', REPLICAS_HERE: '1', ADMIN_KEY },
      r2Buckets: { PACKS: 'packs' },
    });
    const next = index.replaceAll(buildId(), '0'.repeat(16));
    expect(next).not.toBe(index);
    const objects = (scriptName?: string) =>
      Object.fromEntries(
        ['Replica', 'Session', 'Scheduler', 'Tenant'].map((className) => [
          className.toUpperCase(),
          { className, scriptName, useSQLite: true },
        ]),
      );
    /** Objects of one build or of the next, and beside their routes those of the next. */
    options = (build: 'this' | 'next') => ({
      ...{ cf: false, defaultPersistRoot: persist },
      workers: [
        { name: 'turnstone', ...code(build === 'this' ? index : next), durableObjects: objects() },
        { name: 'next', ...code(next), durableObjects: objects('turnstone') },
      ],
    });
    worker = new Miniflare(options('this'));
    const bucket = await worker.getR2Bucket('PACKS');
    await uploadPack(bucket, await localPack(undefined, () => {}));
    await uploadPack(bucket, await localPack(join(ROOT, 'models/pebble/base'), () => {}));
  });
  afterAll(async () => {
    await worker?.dispose();
    rmSync(persist, { recursive: true, force: true });
  });

  const ask = (model: string, more: object = {}) =>
    worker.dispatchFetch('http://turnstone/v1/completions', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ model, prompt: 'Who are you?', max_tokens: 12, temperature: 0, ...more }),
    });
  const text = async (model: string) => {
    const r = await ask(model);
    const body = (await r.json()) as { model: string; choices: { text: string }[] };
    expect([r.status, body.model], JSON.stringify(body)).toEqual([200, model]);
    return body.choices[0].text;
  };

  it('answer by name, one after the other, the same each time', async () => {
    const [pebble, base] = [await text('pebble'), await text('base')];
    expect(pebble).not.toBe(base);
    expect([await text('pebble'), await text('base')]).toEqual([pebble, base]);
    const { data } = (await (await worker.dispatchFetch('http://turnstone/v1/models')).json()) as { data: { id: string }[] };
    expect(data.map((m) => m.id)).toEqual(['pebble', 'base']);
  });

  it('are never in one isolate together: while one computes the other is refused, with the arithmetic', async () => {
    const expected = await text('base');
    const long = await ask('pebble', { max_tokens: 400, ignore_eos: true, stream: true });
    const reader = long.body!.getReader();
    await reader.read();
    const refused = await ask('base');
    expect([refused.status, refused.headers.get('retry-after')]).toEqual([503, '1']);
    expect(((await refused.json()) as { error: { message: string } }).error.message).toMatch(
      /^'base' is not loaded: this isolate computes with 'pebble', which holds \d+ of its 128 MiB \(weights \d+, KV \d+, scratch \d+, JavaScript \d+\)/,
    );
    let rest = '';
    for (let r = await reader.read(); !r.done; r = await reader.read()) rest += new TextDecoder().decode(r.value);
    expect(rest).toContain('"finish_reason":"length"');
    expect(await text('base')).toBe(expected);
  });

  const post = (path: string, body: object, headers: object = {}) =>
    worker.dispatchFetch(`http://turnstone${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: JSON.stringify(body),
    });

  type Calls = Record<string, { calls: number; ms: number; now: number }>;
  const calls = async (reset = false) =>
    (await (await worker.dispatchFetch(`http://turnstone/__calls${reset ? '?reset' : ''}`)).json()) as Calls;
  /** What another object or the route asks of an object; the rest are methods that it calls itself. */
  const ASKED =
    /^(Replica\.fetch|Session\.(fetch|begin|get|missing|alarm)|Scheduler\.(admit|heartbeat|release|lease|died|secret|alarm)|Tenant\.\w+)$/;
  const asked = (all: Calls) =>
    Object.fromEntries(Object.entries(all).flatMap(([name, { calls }]) => (ASKED.test(name) ? [[name, calls]] : [])));
  const sum = (counts: Record<string, number>) => Object.values(counts).reduce((a, b) => a + b, 0);

  it('a stored turn makes the calls that it is billed, none a token; the queue is in memory for neither', async () => {
    const turn = async (tokens: number, previous?: string) => {
      const body = { model: 'pebble', input: 'Who are you?', max_output_tokens: tokens, ignore_eos: true, temperature: 0, explain: true };
      const r = await post('/v1/responses', { ...body, previous_response_id: previous });
      return (await r.json()) as { id: string; turnstone: { cost: { requests: number } } };
    };
    const first = await turn(40); // the session is on its tenant's list, the isolate has the secret of ids
    await expect.poll(async () => (await calls())['Session.missing']?.calls).toBeGreaterThan(0);
    await calls(true);
    const from = performance.now();
    const second = await turn(1_500, first.id);
    const billedMs = performance.now() - from;
    await expect.poll(async () => asked(await calls())['Session.fetch']).toBeGreaterThanOrEqual(2); // its events, pages handed over; none is pulled that is here
    // three seconds after its begin, and each three while it runs
    await expect.poll(async () => (await calls())['Session.alarm']?.calls, { timeout: 5_000 }).toBeGreaterThan(0);
    const all = await calls();
    const seconds = (performance.now() - from) / 1000;
    const counted = sum(asked(all));
    expect(counted).toBeGreaterThan(CHAT_CALLS + TURN_CALLS - 4); // heartbeats that come within 15 ms are one
    expect(counted).toBeLessThanOrEqual(CHAT_CALLS + TURN_CALLS + Math.ceil(2 * seconds));
    const billed = (second.turnstone.cost.requests - PRICES.workerRequest) / PRICES.objectRequest;
    expect(Math.abs(billed - counted)).toBeLessThanOrEqual(4 + 2 * seconds);
    const queue = Object.entries(all).flatMap(([name, { ms }]) => (name.startsWith('Scheduler.') ? [ms] : []));
    expect(queue.reduce((a, b) => a + b)).toBeLessThan(billedMs / 10);
  });

  it('two replicas in one isolate: whoever comes second lends or is passed over, and nobody is refused', async () => {
    const expected = await text('pebble');
    await calls(true);
    const one = async (i: number) => {
      if (i % 4 === 3) {
        const r = await post('/v1/responses', { model: 'pebble', input: `Count to ${i}.`, max_output_tokens: 40, ignore_eos: true });
        const { status, output } = (await r.json()) as { status: string; output: unknown };
        return [r.status, r.ok && status === 'incomplete' ? 'said' : JSON.stringify(output)];
      }
      if (i % 2 === 0) return [200, await text('pebble')];
      const r = await ask('pebble', { prompt: `Once ${i}`, max_tokens: 40, ignore_eos: true, stream: true });
      return [r.status, (await r.text()).includes('"finish_reason":"length"') ? 'said' : 'broke off'];
    };
    const answers = await Promise.all(Array.from({ length: 24 }, (_, i) => one(i)));
    expect(answers).toEqual(answers.map((_, i) => [200, i % 2 === 0 ? expected : 'said']));
    const first = await calls();
    expect(first['Scheduler.died']?.calls).toBeGreaterThan(0); // both were placed on
    // the other one alone is placed on: it is lent the engine, pages and all
    const queues = await worker.getDurableObjectNamespace('SCHEDULER');
    const queue = queues.get(queues.idFromName('scheduler')) as unknown as SchedulerPort;
    await queue.absent('1', false); // or else it would be asked again a while later
    expect((await post('/admin/drain', { replica: '0', draining: true }, { authorization: `Bearer ${ADMIN_KEY}` })).status).toBe(200);
    for (let i = 0; i < 3; i++) expect(await text('pebble')).toBe(expected);
    expect((await worker.dispatchFetch('http://turnstone/v1/models')).status).toBe(200);
    expect((await post('/admin/drain', { replica: '0', draining: false }, { authorization: `Bearer ${ADMIN_KEY}` })).status).toBe(200);
    expect(await text('pebble')).toBe(expected);
  });

  const TOKENS = 200;
  const LONG = { temperature: 0, ignore_eos: true };
  /** A response that is stored and runs in the background. */
  const store = async (at: Pick<Miniflare, 'dispatchFetch'> = worker) => {
    const body = JSON.stringify({ model: 'pebble', input: 'Tell me a story.', max_output_tokens: TOKENS, background: true, ...LONG });
    const headers = { 'content-type': 'application/json' };
    const r = await at.dispatchFetch('http://turnstone/v1/responses', { method: 'POST', headers, body });
    return ((await r.json()) as { id: string }).id;
  };
  interface Stored {
    status: string;
    output: { content: { text: string }[] }[];
  }
  const stored = async (id: string) => (await (await worker.dispatchFetch(`http://turnstone/v1/responses/${id}`)).json()) as Stored;
  const ended = async (id: string) => {
    await expect.poll(async () => (await stored(id)).status, { timeout: 60_000 }).toBe('incomplete');
    return (await stored(id)).output[0].content[0].text;
  };
  /** A chat under way, and how it ends: `whole`, or the code of the error that it ends with. */
  const plain = async (stream: boolean) => {
    const r = await ask('pebble', { ...LONG, prompt: `Once ${stream}`, max_tokens: 3 * TOKENS, stream });
    const reader = r.body!.getReader();
    const first = stream ? ((await reader.read()).value as Uint8Array) : new Uint8Array();
    const end = async () => {
      let said = new TextDecoder().decode(first);
      for (let chunk = await reader.read(); !chunk.done; chunk = await reader.read()) said += new TextDecoder().decode(chunk.value);
      return said.includes('"finish_reason":"length"') ? 'whole' : /"code":"([a-z_]+)"/.exec(said)?.[1];
    };
    return end;
  };

  it('new code resets an object under its streams: stored answers go on with the same text, plain ones end with an error or whole', async () => {
    const expected = await ended(await store());
    for (const of of ['REPLICA', 'SESSION', 'SCHEDULER']) {
      const id = await store();
      const [streamed, told] = [plain(true), plain(false)];
      const end = await streamed;
      const names = {
        REPLICA: ['replica-0', 'replica-1'],
        SESSION: [sessionName('public', sessionOf(id) ?? '')],
        SCHEDULER: ['scheduler'],
      }[of];
      for (const name of names ?? []) {
        const said = await worker.dispatchFetch(`http://turnstone/__reset?of=${of}&name=${encodeURIComponent(name)}`);
        expect([said.status, await said.text()]).toEqual([200, expect.stringContaining('its code was updated')]);
      }
      const ends = [await end(), await (await told)()];
      if (of === 'REPLICA') expect(ends).toEqual(['replica_lost', 'replica_lost']);
      else expect(ends).toEqual(['whole', 'whole']);
      expect([of, await ended(id)]).toEqual([of, expected]);
    }
  });

  it('two builds side by side: routes of the next one use the objects of this one, and all of it goes on as the next', async () => {
    const expected = await ended(await store());
    const fetcher = await worker.getWorker('next');
    const next = { dispatchFetch: fetcher.fetch.bind(fetcher) } as unknown as Miniflare;
    expect(await ended(await store(next))).toBe(expected); // begun there, read here
    const here = await store();
    const there = await next.dispatchFetch(`http://turnstone/v1/responses/${here}?stream=true`);
    expect((await there.text()).match(/response\.output_text\.delta"/g)?.length).toBeGreaterThan(TOKENS / 4);
    const under = await store();
    await expect.poll(async () => (await stored(under)).status).toBe('in_progress');
    const end = plain(true).then((end) => end());
    end.catch(() => {}); // its connection ends with the process
    await worker.setOptions(options('next'));
    expect(await ended(under)).toBe(expected);
    expect(await ended(here)).toBe(expected);
  });
});

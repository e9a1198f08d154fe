/**
 * The Worker as it is deployed, with two packs in its bucket and all its objects in one isolate: it holds one model at a time, and one of
 * two replicas computes. What is called, and for how long, is counted at every object (tests/e2e/counting.js).
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Miniflare } from 'miniflare';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { build, ROOT } from '../../cli/build.ts';
import { localPack, uploadPack } from '../../cli/packs.ts';
import { CHAT_CALLS, PRICES, TURN_CALLS } from '../../policy/cost.ts';
import type { SchedulerPort } from '../../serving/scheduler.ts';
import { missing } from './server.ts';

const ADMIN_KEY = 'for-operators';

describe.skipIf(missing)('two models of a deployed Worker', () => {
  let worker: Miniflare;
  beforeAll(async () => {
    await build(() => {}, ['wasm', 'worker']);
    const from = join(ROOT, '.build/worker');
    const wasm = readdirSync(from).filter((f) => f.endsWith('.wasm'));
    worker = new Miniflare({
      modules: [
        { type: 'ESModule', path: 'counting.js', contents: readFileSync(join(ROOT, 'tests/e2e/counting.js'), 'utf8') },
        { type: 'ESModule', path: 'index.js', contents: readFileSync(join(from, 'index.js'), 'utf8') },
        ...wasm.map((path) => ({ type: 'CompiledWasm' as const, path, contents: readFileSync(join(from, path)) })),
      ],
      compatibilityDate: '2026-04-01',
      compatibilityFlags: ['enable_request_signal'],
      bindings: { MODEL_ID: 'pebble', MODELS: 'base', PUBLIC: '1', REPLICAS: '2', REPLICAS_HERE: '1', ADMIN_KEY },
      r2Buckets: ['PACKS'],
      durableObjects: {
        REPLICA: { className: 'Replica', useSQLite: true },
        SESSION: { className: 'Session', useSQLite: true },
        SCHEDULER: { className: 'Scheduler', useSQLite: true },
        TENANT: { className: 'Tenant', useSQLite: true },
      },
    });
    const bucket = await worker.getR2Bucket('PACKS');
    await uploadPack(bucket, await localPack(undefined, () => {}));
    await uploadPack(bucket, await localPack(join(ROOT, 'models/pebble/base'), () => {}));
  });
  afterAll(() => worker?.dispose());

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
    /^(Replica\.fetch|Session\.(fetch|begin|get|missing|alarm)|Scheduler\.(admit|heartbeat|release|lease|died|secret)|Tenant\.\w+)$/;
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
    const ms = performance.now() - from;
    await expect.poll(async () => asked(await calls())['Session.fetch']).toBeGreaterThanOrEqual(2); // its events, pages handed over; none is pulled that is here
    await expect.poll(async () => (await calls())['Session.alarm']?.calls, { timeout: 5_000 }).toBe(1); // three seconds after its begin
    const all = await calls();
    const billed = (second.turnstone.cost.requests - PRICES.workerRequest) / PRICES.objectRequest;
    expect(sum(asked(all))).toBeGreaterThan(CHAT_CALLS + TURN_CALLS - 4); // heartbeats that come within 15 ms are one
    expect(sum(asked(all))).toBeLessThanOrEqual(CHAT_CALLS + TURN_CALLS + Math.ceil(ms / 1000));
    expect(Math.abs(billed - sum(asked(all)))).toBeLessThanOrEqual(4 + ms / 1000);
    const queue = Object.entries(all).flatMap(([name, { ms }]) => (name.startsWith('Scheduler.') ? [ms] : []));
    expect(queue.reduce((a, b) => a + b)).toBeLessThan(ms / 10);
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
});

/** Traces of the routes, to a collector that listens: what is told, what never is, and that nobody waits for it. */
import { afterEach, expect, it, vi } from 'vitest';
import { readTraceparent } from '../../serving/trace/context.ts';
import { Hops } from '../../serving/trace/hops.ts';
import { droppedSpans, headersIn, openTrace } from '../../serving/trace/trace.ts';
import type { Env } from '../../worker/env.ts';
import { startCollector } from '../collector.ts';
import { app } from './app-of.ts';

const GIVEN = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
type Collector = Awaited<ReturnType<typeof startCollector>>;
let collector: Collector | undefined;
afterEach(() => collector?.stop());

/** What a replica was told, and a request of which all that goes on after it is awaited with `after`. */
async function ask(vars: Record<string, string>, headers: Record<string, string> = {}, replica?: () => Promise<Response>) {
  const told: Headers[] = [];
  const stub = {
    async fetch(_: string, init: RequestInit) {
      told.push(new Headers(init.headers));
      return replica ? replica() : new Response('data: a secret\n\n', { headers: { 'content-type': 'text/event-stream' } });
    },
  };
  const env = { REPLICA: { idFromName: (n: string) => n, get: () => stub }, PUBLIC: '1', MODEL_ID: 'pebble', ...vars } as unknown as Env;
  const later: Promise<unknown>[] = [];
  const context = { waitUntil: (work: Promise<unknown>) => void later.push(work) } as unknown as ExecutionContext;
  const body = JSON.stringify({ model: 'pebble', messages: [{ role: 'user', content: 'a secret' }] });
  const init = { method: 'POST', headers: { 'content-type': 'application/json', ...headers }, body };
  const response = await app.request('/v1/chat/completions', init, env, context);
  return { told, response, after: () => Promise.all(later) };
}

it('reads traceparent as W3C has it, and takes what is damaged for nothing', () => {
  expect(readTraceparent(GIVEN)).toEqual({ trace: '0af7651916cd43dd8448eb211c80319c', span: 'b7ad6b7169203331', sampled: true });
  expect(readTraceparent(GIVEN.replace(/01$/, '00'))?.sampled).toBe(false);
  expect(readTraceparent(GIVEN.replace(/^00/, '42').concat('-more'))?.sampled).toBe(true); // a later version, read as this one
  for (const bad of [
    ...['', 'nonsense', `${GIVEN}-more`, GIVEN.replace(/^00/, 'ff'), GIVEN.toUpperCase(), GIVEN.slice(1)],
    ...[GIVEN.replace('0af7651916cd43dd8448eb211c80319c', '0'.repeat(32)), GIVEN.replace('b7ad6b7169203331', '0'.repeat(16))],
  ])
    expect(readTraceparent(bad), bad).toBeUndefined();
});

it("tells of a request below its caller's span, to the end of the body, with the collector's headers and without content", async () => {
  collector = await startCollector();
  const vars = {
    OTEL_EXPORTER_OTLP_ENDPOINT: `${collector.url}/`,
    OTEL_EXPORTER_OTLP_HEADERS: 'authorization=Bearer%20token,x-team=a',
    OTEL_SERVICE_NAME: 'mine',
  };
  const { told, response, after } = await ask(vars, { traceparent: GIVEN });
  expect(await response.text()).toContain('a secret');
  await after();
  expect(collector.faults).toEqual([]);
  const [hop, request] = collector.spans;
  expect(request).toMatchObject({
    name: 'POST /v1/chat/completions',
    kind: 2,
    part: 'routes',
    service: 'mine',
    trace: '0af7651916cd43dd8448eb211c80319c',
  });
  expect(request.parent).toBe('b7ad6b7169203331');
  expect(request.attributes).toMatchObject({ 'http.response.status_code': 200, 'gen_ai.request.model': 'pebble' });
  expect(hop).toMatchObject({ name: 'replica', kind: 3, parent: request.id });
  expect(told[0].get('traceparent')).toBe(`00-${request.trace}-${hop.id}-01`);
  expect(response.headers.get('traceparent')).toBe(`00-${request.trace}-${request.id}-01`);
  expect(collector.headers[0]).toMatchObject({ authorization: 'Bearer token', 'x-team': 'a', 'content-type': 'application/json' });
  expect(collector.bodies.join()).not.toContain('secret');
});

it('draws who is traced, follows the caller who has drawn, and does nothing where no collector is set', async () => {
  collector = await startCollector();
  const none = { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url, OTEL_TRACES_SAMPLER_ARG: '0' };
  for (const [vars, headers] of [
    [none, {}],
    [{ OTEL_EXPORTER_OTLP_ENDPOINT: collector.url }, { traceparent: GIVEN.replace(/01$/, '00') }],
    [{}, { traceparent: GIVEN }],
  ] as const) {
    const { told, response, after } = await ask(vars, headers);
    await response.text();
    await after();
    expect([told[0].get('traceparent'), response.headers.get('traceparent')]).toEqual([null, null]);
  }
  expect(collector.bodies).toEqual([]);
  const { after, response } = await ask(none, { traceparent: GIVEN });
  await response.text();
  await after();
  expect(collector.spans).toHaveLength(2);
  const draws = Array.from({ length: 400 }, () => openTrace({ ...none, OTEL_TRACES_SAMPLER_ARG: '0.5' }, 'routes', null, true)).filter(
    Boolean,
  );
  expect(draws.length).toBeGreaterThan(120);
  expect(draws.length).toBeLessThan(280);
});

it('a fault is told as one, and an answer waits for no collector that hangs or is not there', async () => {
  const warn = vi.spyOn(console, 'warn').mockImplementation(() => {});
  const error = vi.spyOn(console, 'error').mockImplementation(() => {});
  try {
    collector = await startCollector();
    const broken = await ask({ OTEL_EXPORTER_OTLP_ENDPOINT: collector.url }, {}, () => Promise.reject(new Error('a secret of ours')));
    expect(broken.response.status).toBe(500);
    await broken.response.text();
    await broken.after();
    expect(collector.spans.map((s) => s.error)).toEqual(['Error', 'HTTP 500']);
    expect(collector.bodies.join()).not.toContain('secret');
    await collector.stop();
    const before = droppedSpans();
    const gone = await ask({ OTEL_EXPORTER_OTLP_ENDPOINT: collector.url });
    expect(await gone.response.text()).toContain('a secret');
    await gone.after();
    expect(droppedSpans() - before).toBe(2);
    collector = await startCollector({ hang: true });
    const vars = { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url };
    // sixteen at once are all that may wait; the others are let go of, and every answer is whole
    const many = await Promise.all(Array.from({ length: 40 }, () => ask(vars)));
    for (const { response } of many) expect(await response.text()).toContain('a secret');
    await vi.waitFor(() => expect(droppedSpans() - before).toBe(2 + 2 * 24));
    await collector.stop();
    await Promise.all(many.map((m) => m.after()));
    expect(droppedSpans() - before).toBe(2 + 2 * 40);
  } finally {
    warn.mockRestore();
    error.mockRestore();
  }
});

it('keeps no more spans than it may, and reads headers as OpenTelemetry has them', () => {
  const trace = openTrace({ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://collector' }, 'routes', GIVEN);
  const before = droppedSpans();
  for (let i = 0; i < 70; i++) trace?.span('s', 'internal', 0).end(1);
  expect(droppedSpans() - before).toBe(6);
  expect(headersIn('a=b=c, d=%2C')).toEqual({ a: 'b=c', d: ',' });
  expect(() => headersIn('nonsense')).toThrow('OTEL_EXPORTER_OTLP_HEADERS must be pairs');
});

it('calls of stages are counted for all that watch, each stage is told each trace once', () => {
  const hops = new Hops();
  const [a, b] = [hops.watch('a'), hops.watch('b')];
  expect([hops.tell('stage 1'), hops.tell('stage 1'), hops.tell('stage 1'), hops.tell('stage 2')]).toEqual(['a', 'b', undefined, 'a']);
  hops.called('stage 1', 10, 14);
  hops.called('stage 1', 20, 21);
  expect(a()).toEqual([{ stage: 'stage 1', calls: 2, ms: 5, start: 10, end: 21 }]);
  hops.called('stage 2', 30, 31);
  expect(b().map((h) => h.stage)).toEqual(['stage 1', 'stage 2']);
});

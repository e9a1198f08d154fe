/** What a server has counted outlives its replica's object, which is evicted when nobody asks for ten seconds. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { ROOT } from '../../cli/build.ts';
import { missing, startTestServer } from './server.ts';

const IDLE_MS = 13_000;
let server: Awaited<ReturnType<typeof startTestServer>>;
beforeAll(async () => {
  if (!missing) server = await startTestServer({});
});
afterAll(() => server?.stop());

const post = async (path: string, body: object) => {
  const r = await fetch(`${server.url}${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model: server.model, ...body }),
  });
  expect(r.status).toBe(200);
  return (await r.json()) as Record<string, unknown>;
};

/** Counters and histograms, by their line's beginning. */
async function counted(): Promise<Map<string, number>> {
  const text = await (await fetch(`${server.url}/metrics`)).text();
  const kinds = new Map([...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name, kind]) => [name, kind]));
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new Map(
    lines.flatMap((line): [string, number][] => {
      const name = /^[a-z0-9_]+/.exec(line)![0];
      const kind = kinds.get(name) ?? kinds.get(name.replace(/_(bucket|sum|count)$/, ''));
      return kind === 'gauge' ? [] : [[line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ') + 1))]];
    }),
  );
}

it.skipIf(missing)('counters and histograms stand still while nobody asks, and go on from there', { timeout: 60_000 }, async () => {
  const ask = () => post('/v1/completions', { prompt: 'Once', max_tokens: 8, ignore_eos: true });
  for (let i = 0; i < 3; i++) await ask();
  const before = await counted();
  const finished = [...before.keys()].find((line) => line.includes('request_success_total') && line.includes('"length"'))!;
  const first = [...before.keys()].find((line) => line.includes('time_to_first_token_seconds_count'))!;
  expect([before.get(finished), before.get(first)]).toEqual([3, 3]);
  await new Promise((resolve) => setTimeout(resolve, IDLE_MS));
  expect(await counted()).toEqual(before);
  await ask();
  const after = await counted();
  expect([after.get(finished), after.get(first)]).toEqual([4, 4]);
});

it.skipIf(missing)('every metric that the dashboard and the alerts ask for is one that the server has, with its labels', async () => {
  const text = await (await fetch(`${server.url}/metrics`)).text();
  const served = new Set([...text.matchAll(/^([a-z0-9_]+)[{ ]/gm)].map(([, name]) => name));
  const files = ['grafana.json', 'alerts.yml'].map((f) => readFileSync(join(ROOT, 'self-host/monitoring', f), 'utf8'));
  const asked = new Set(files.flatMap((f) => f.match(/\bturnstone_[a-z0-9_]+/g) ?? []));
  expect(asked.size).toBeGreaterThan(10);
  expect([...asked].filter((name) => !served.has(name))).toEqual([]);
  expect(text).toMatch(/^turnstone_request_success_total\{model_name="[^"]+",finished_reason="abort"\}/m);
  const { panels } = JSON.parse(files[0]) as { panels: { id: number; gridPos: object; targets: { expr: string }[] }[] };
  expect(new Set(panels.map((p) => JSON.stringify(p.gridPos))).size).toBe(panels.length);
  for (const { targets } of panels) for (const { expr } of targets) expect(expr).toContain('model_name=~"$model"');
});

it.skipIf(missing)('a completed response says when, stored or not; one that is cut does not', async () => {
  const began = Math.floor(Date.now() / 1000);
  for (const store of [true, false]) {
    const cut = await post('/v1/responses', { input: 'Hi', max_output_tokens: 1, store });
    expect(cut).toMatchObject({ status: 'incomplete', completed_at: null });
    const done = await post('/v1/responses', { input: 'Hi', max_output_tokens: 300, min_tokens: 1, store, stop: ['e', 'a', ' ', '.'] });
    expect(done.status).toBe('completed');
    expect(done.completed_at).toBeGreaterThanOrEqual(began);
    expect(done.completed_at).toBeLessThanOrEqual(Math.ceil(Date.now() / 1000));
    expect(done.completed_at).toBeGreaterThanOrEqual(done.created_at as number);
    if (!store) continue;
    const again = await (await fetch(`${server.url}/v1/responses/${done.id}`)).json();
    expect(again).toMatchObject({ completed_at: done.completed_at });
    const sse = await (await fetch(`${server.url}/v1/responses/${done.id}?stream=true`)).text();
    expect(sse).toContain(`"completed_at":${done.completed_at}`);
  }
});

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Server, startServer } from '../../cli/start.ts';

/** The same prompts with prefill on the accelerator's process, here, and where the estimate says: the same tokens and log-probabilities. */
describe('prefill on the accelerator', () => {
  const folder = mkdtempSync(join(tmpdir(), 'turnstone-npu-'));
  const servers = new Map<string, Server>();
  beforeAll(async () => {
    for (const npu of ['npu', 'local', 'auto'] as const) {
      servers.set(npu, await startServer({ port: 0, npu, persist: join(folder, npu), vars: { NPU_WAIT_MS: '60000' } }));
    }
  });
  afterAll(async () => {
    for (const s of servers.values()) await s.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  const words = ['fox', 'river', 'stone', 'bird', 'sand', 'wave', 'shore'];
  const prompt = (n: number) => Array.from({ length: n }, (_, i) => 300 + ((i * i * 7 + i * 13 + n) % 3000));
  const complete = async (server: Server, n: number | string) => {
    const body = {
      model: server.pack.id,
      prompt: typeof n === 'string' ? n : prompt(n),
      max_tokens: 16,
      temperature: 0,
      ignore_eos: true,
      logprobs: 5,
      explain: true,
    };
    const r = await fetch(`${server.url}/v1/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    const json = (await r.json()) as {
      choices: { text: string; logprobs: unknown }[];
      usage: { prompt_tokens_details: { cached_tokens: number } };
      turnstone: { route: { place: string; why: string; took: number; ttft: number } };
    };
    expect(r.status).toBe(200);
    const [{ text, logprobs }] = json.choices;
    return {
      text,
      logprobs,
      cached: json.usage.prompt_tokens_details.cached_tokens,
      route: json.turnstone.route,
      header: r.headers.get('x-turnstone-route'),
    };
  };
  const metric = async (server: Server, line: RegExp) => line.exec(await (await fetch(`${server.url}/metrics`)).text())?.[1];

  it.each([10, 100, 500, 1500])('%i tokens: the same answer to the last bit by every route', async (n) => {
    const local = await complete(servers.get('local')!, n);
    expect(local.route).toMatchObject({ place: 'local', why: 'forced' });
    for (const way of ['npu', 'auto']) {
      const got = await complete(servers.get(way)!, n);
      expect([way, got.text, got.logprobs]).toEqual([way, local.text, local.logprobs]);
      expect(got.cached).toBe(0);
      expect(got.header).toMatch(/^(npu|local); why=/);
      if (way === 'npu') expect(got.route).toMatchObject({ place: 'npu', why: 'forced' });
      expect(got.route.ttft).toBeGreaterThanOrEqual(got.route.took);
    }
    if (n === 500) expect(await metric(servers.get('npu')!, /npu_requests_total\{[^}]*result="ok"\} (\d+)/)).not.toBe('0');
  });

  it('a stored response and a completion of several prompts say where their prompts were computed', async () => {
    const { url, pack } = servers.get('npu')!;
    const post = (path: string, body: object) =>
      fetch(url + path, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ model: pack.id, explain: true, ...body }),
      });
    const input = Array.from({ length: 120 }, (_, i) => words[(i * i + i) % words.length]).join(' ');
    const response = await post('/v1/responses', { input, max_output_tokens: 16, store: true });
    const stored = (await response.json()) as { id: string; turnstone: { route: object } };
    expect(stored.turnstone.route).toMatchObject({ place: 'npu', why: 'forced' });
    const again = (await (await fetch(`${url}/v1/responses/${stored.id}`)).json()) as typeof stored;
    expect(again.turnstone.route).toEqual(stored.turnstone.route);
    const two = await post('/v1/completions', { prompt: ['one', 'two'], max_tokens: 16 });
    expect(two.headers.get('x-turnstone-route')).toMatch(/^local; why=several; /);
    expect(((await two.json()) as typeof stored).turnstone.route).toMatchObject({ place: 'local', why: 'several' });
  });

  it('a dead accelerator costs time only, and opens the breaker', async () => {
    const text = (i: number) => Array.from({ length: 300 }, (_, k) => words[(k * (i + 3) + k * k) % words.length]).join(' ');
    const server = servers.get('npu')!;
    await server.npu!.stop();
    for (let i = 0; i < 4; i++) {
      const got = await complete(server, text(i));
      expect(got.text).toBe((await complete(servers.get('local')!, text(i))).text);
      expect(got.route).toMatchObject({ place: 'local', why: 'failed' });
    }
    expect(Number(await metric(server, /npu_requests_total\{[^}]*result="failed"\} (\d+)/))).toBeGreaterThanOrEqual(3);
    expect(Number(await metric(server, /npu_breaker_transitions_total\{[^}]*to="open"\} (\d+)/))).toBeGreaterThanOrEqual(1);
  });
});

/** Several models in one server: each answers as it does alone, in whatever order they are loaded and unloaded. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ASKS, answerOf, answersAlone, mixed } from '../../bench/soak/mixed.ts';
import { ROOT } from '../../cli/build.ts';
import { bytesOf } from '../../cli/hub/known.ts';
import { type Server, startServer } from '../../cli/start.ts';
import { randomPeft } from '../models/random-peft.ts';
import { missing, startTestServer } from './server.ts';

const PATHS = { tuned: join(ROOT, 'models/pebble/hf'), base: join(ROOT, 'models/pebble/base') };
const known = Object.entries(PATHS).map(([id, path]) => ({ id, path, bytes: bytesOf(path), created: 1_700_000_000 }));
/** Larger than an isolate may be here. */
const LARGE = { id: 'large', path: PATHS.base, bytes: 1, created: 1_700_000_000 };

interface Entry {
  id: string;
  kind: string;
  state: string;
  created: number;
  max_model_len?: number;
}

describe.skipIf(missing)('several models in one server', () => {
  const folder = mkdtempSync(join(tmpdir(), 'turnstone-models-'));
  const alone = new Map<string, readonly string[]>();
  let server: Server;
  let url = '';
  beforeAll(async () => {
    for (const [id, path] of Object.entries(PATHS)) {
      const one = await startTestServer({}, undefined, 1, path);
      alone.set(id, await answersAlone(one.url, one.model));
      await one.stop();
    }
    server = await startServer({
      port: 0,
      persist: join(folder, 'state'),
      embedder: {},
      models: { known: () => [...known, { ...LARGE, path: join(folder, 'nothing') }], allMb: 200, keepAliveMs: 60_000 }, // one fits beside the first
      vars: { ALIASES: 'gpt-4o-mini=tuned, first=pebble', ADAPTERS_MB: '1' },
    });
    url = server.url;
    alone.set(server.pack.id, await answersAlone(url, server.pack.id));
    await server.embedder?.start();
  });
  afterAll(async () => {
    await server?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  const list = async () => ((await (await fetch(`${url}/v1/models`)).json()) as { data: Entry[] }).data;
  const stateOf = async (id: string) => (await list()).find((m) => m.id === id)?.state;
  const post = (path: string, body: object) =>
    fetch(url + path, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) });
  const metric = async (name: string, model: string) =>
    Number(new RegExp(`^${name}\\{model_name="${model}"\\} (\\d+)$`, 'm').exec(await (await fetch(`${url}/metrics`)).text())?.[1] ?? 0);

  it('are told apart by their answers', () => {
    const [one, ...others] = [...alone.values()];
    // all that are drawn; greedy ones of two formats of the same model may be the same
    for (const other of others) for (const [a, { temperature }] of ASKS.entries()) if (temperature > 0) expect(one[a]).not.toBe(other[a]);
  });

  it('are listed before they are loaded, chat and embedding models apart', async () => {
    const all = await list();
    expect(all.map((m) => [m.id, m.kind, m.state])).toEqual([
      ['pebble', 'chat', 'loaded'],
      ['tuned', 'chat', 'cold'],
      ['base', 'chat', 'cold'],
      ['large', 'chat', 'cold'],
      [expect.any(String), 'embedding', 'loaded'],
    ]);
    for (const m of all.slice(0, 4)) expect(m.created).toBeGreaterThan(1_600_000_000);
  });

  it('answer by name, by alias and by default; the least recently used makes room', async () => {
    expect(await answerOf(url, 'tuned', ASKS[0])).toBe(alone.get('tuned')?.[0]);
    expect(await stateOf('tuned')).toBe('loaded');
    const aliased = (await (await post('/v1/completions', { model: 'gpt-4o-mini', prompt: ASKS[0].prompt, max_tokens: 4 })).json()) as {
      model: string;
    };
    expect(aliased.model).toBe('tuned');
    const unnamed = (await (await post('/v1/completions', { prompt: ASKS[0].prompt, max_tokens: 4 })).json()) as { model: string };
    expect(unnamed.model).toBe('pebble');
    expect(await answerOf(url, 'first', ASKS[0])).toBe(alone.get('pebble')?.[0]);
    expect(await answerOf(url, 'base', ASKS[0])).toBe(alone.get('base')?.[0]);
    expect([await stateOf('tuned'), await stateOf('base')]).toEqual(['cold', 'loaded']);
    expect(await metric('turnstone_model_unloads_total', 'tuned')).toBe(1);
    expect(await metric('turnstone_model_loads_total', 'base')).toBe(1);
  });

  it('that is not there is refused with those that are; one that cannot be loaded with the reason', async () => {
    const unknown = await post('/v1/chat/completions', { model: 'smoll', messages: [{ role: 'user', content: 'hi' }] });
    expect([unknown.status, await unknown.text()]).toEqual([404, expect.stringContaining("serves 'pebble', 'tuned', 'base', 'large'")]);
    const broken = await post('/v1/tokenize', { model: 'large', prompt: 'hi' });
    expect(broken.status).toBe(503);
    expect(await broken.json()).toMatchObject({
      error: { code: 'model_unavailable', message: expect.stringContaining("'large' cannot be served") },
    });
  });

  it('is not unloaded in the middle of an answer', async () => {
    await answerOf(url, 'tuned', ASKS[0]);
    const long = await post('/v1/completions', {
      model: 'tuned',
      prompt: 'Once upon a time',
      max_tokens: 300,
      ignore_eos: true,
      stream: true,
    });
    const reader = long.body!.pipeThrough(new TextDecoderStream()).getReader();
    let text = (await reader.read()).value ?? '';
    let ended = false;
    const other = answerOf(url, 'base', ASKS[1]).then((answer) => {
      expect(ended).toBe(true);
      return answer;
    });
    for (let r = await reader.read(); !r.done; r = await reader.read()) text += r.value;
    ended = true;
    expect(text).toContain('"finish_reason":"length"');
    expect(text).not.toContain('"error"');
    expect(await other).toBe(alone.get('base')?.[1]);
  });

  it('go on with a stored response after its model was unloaded', async () => {
    const say = async (body: object) => {
      const r = await post('/v1/responses', { max_output_tokens: 8, temperature: 0, ...body });
      expect(r.status, await r.clone().text()).toBe(200);
      return (await r.json()) as { id: string; model: string; output_text: string; turnstone?: { recomputed?: boolean } };
    };
    const first = await say({ model: 'tuned', input: 'Who are you?' });
    expect(await stateOf('tuned')).toBe('loaded');
    await answerOf(url, 'base', ASKS[0]);
    expect(await stateOf('tuned')).toBe('cold');
    const next = await say({ previous_response_id: first.id, input: 'And where?' }); // names no model: the one before
    expect([next.model, next.turnstone]).toEqual(['tuned', undefined]);
    const other = await say({ model: 'pebble', previous_response_id: next.id, input: 'Why?' });
    expect([other.model, other.turnstone?.recomputed]).toEqual(['pebble', true]);
    expect(((await (await fetch(`${url}/v1/responses/${first.id}`)).json()) as { output_text: string }).output_text).toBe(
      first.output_text,
    );
  });

  it('answer clients that ask for all of them at random as they do alone', async () => {
    let x = 1;
    const random = () => (x = (x * 48271) % 2147483647) / 2147483647;
    const { answers, wrong } = await mixed({ url, alone, clients: 6, forMs: 6_000, random, embeddings: true });
    expect(wrong).toEqual([]);
    expect([...answers.keys()].sort()).toEqual(['base', 'embeddings', 'pebble', 'tuned']);
    console.log(
      `answers: ${[...answers].map((a) => a.join(' ')).join(', ')}; loads: tuned ${await metric('turnstone_model_loads_total', 'tuned')}`,
    );
  });

  it('have adapters that come and go while the server runs, whose conversations go on with them', async () => {
    const paths = { one: randomPeft(1), two: randomPeft(2) };
    const admin = async (what: string, body: object) => (await post(`/admin/models/adapters/${what}`, body)).status;
    const ask = { prompt: 'Once upon a time', max_tokens: 40, temperature: 0, ignore_eos: true };
    const complete = async (model: string) => {
      const r = await post('/v1/completions', { ...ask, model });
      return r.ok ? ((await r.json()) as { choices: { text: string }[] }).choices[0].text : r.status;
    };
    expect(await admin('load', { name: 'one', path: join(folder, 'nothing') })).toBe(400);
    expect(await admin('load', { name: 'one', path: paths.one })).toBe(200);
    expect(await admin('load', { model: 'tuned', name: 'two', path: paths.two })).toBe(200);
    expect((await list()).map((m) => m.id)).toEqual(expect.arrayContaining(['pebble:one', 'tuned:two']));
    const [plain, one, two] = [await complete('pebble'), await complete('first:one'), await complete('tuned:two')];
    expect(await stateOf('tuned')).toBe('loaded'); // for its adapter
    expect(new Set([plain, one, two, 404, 503]).size).toBe(5);

    const say = async (body: object) => {
      const r = await post('/v1/responses', { max_output_tokens: 20, temperature: 0, ...body });
      return (await r.json()) as { id: string; model: string; status: string; usage: { input_tokens_details: { cached_tokens: number } } };
    };
    const first = await say({ model: 'pebble:one', input: 'Once upon a time there was a small dog who lived by the sea.' });
    const next = await say({ previous_response_id: first.id, input: 'And then?' });
    expect([first.model, next.model, next.status]).toEqual(['pebble:one', 'pebble:one', 'incomplete']); // after 20 tokens
    expect(next.usage.input_tokens_details.cached_tokens).toBeGreaterThan(0);

    const running = complete('pebble:one');
    expect(await admin('unload', { name: 'one' })).toBe(200);
    expect(await running).toBe(one);
    await expect.poll(() => complete('pebble:one'), { timeout: 10_000 }).toBe(404);
    expect(await complete('pebble')).toBe(plain);
    expect(await admin('unload', { model: 'tuned', name: 'two' })).toBe(200);
    for (const path of Object.values(paths)) rmSync(path, { recursive: true });
  });

  it('stay loaded for as long as the last request says', async () => {
    expect((await post('/v1/completions', { model: 'tuned', prompt: 'hi', max_tokens: 1, keep_alive: 'soon' })).status).toBe(400);
    await post('/v1/completions', { model: 'tuned', prompt: 'hi', max_tokens: 1, keep_alive: 0 });
    await expect.poll(() => stateOf('tuned'), { timeout: 20_000 }).toBe('cold');
    expect(await metric('turnstone_model_requests_total', 'tuned')).toBeGreaterThan(0); // also of one that is not there now
  });

  it('computes again after its process was killed', async () => {
    await answerOf(url, 'tuned', ASKS[0]);
    process.kill(server.models?.pidOf('tuned') as number, 'SIGKILL');
    await pause(50);
    expect(await answerOf(url, 'tuned', ASKS[1])).toBe(alone.get('tuned')?.[1]);
  });
});

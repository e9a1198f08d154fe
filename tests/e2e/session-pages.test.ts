import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { SessionPort } from '../../durable-objects/session/port.ts';
import { cacheName, sessionName, sessionOf } from '../../serving/responses/ids.ts';
import { missing, startTestServer } from './server.ts';

type TestServer = Awaited<ReturnType<typeof startTestServer>>;
interface Answer {
  id: string;
  output_text: string;
  usage: { input_tokens: number; input_tokens_details: { cached_tokens: number } };
  turnstone?: { cost: { usd: number; compute: number; session: number } };
}

const KEYS = ['first-key-0001', 'second-key-002'];
const PAGE = 16;

describe.skipIf(missing)('KV pages that outlive their replica', () => {
  let server: TestServer;
  let tenants: string[] = [];
  beforeAll(async () => {
    server = await startTestServer({ API_KEYS: KEYS.join(',') });
    const { tenantOf } = await import('../../serving/auth.ts');
    tenants = (await Promise.all(KEYS.map((k) => tenantOf({ API_KEYS: KEYS.join(',') } as never, `Bearer ${k}`)))) as string[];
    await ask({ input: 'Hello.', max_output_tokens: 8 }); // kernels are compiled
  });
  afterAll(() => server.stop());

  async function ask(body: object, key = KEYS[0]): Promise<Answer> {
    const send = () =>
      fetch(`${server.url}/v1/responses`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', authorization: `Bearer ${key}` },
        body: JSON.stringify({ model: server.model, temperature: 0, ignore_eos: true, max_output_tokens: 24, ...body }),
      });
    // an idle connection may be closed by the server just as it is used again
    const r = await send().catch((error: Error & { cause?: { code?: string } }) => {
      if (error.cause?.code !== 'UND_ERR_SOCKET') throw error;
      return send();
    });
    const answer = (await r.json()) as Answer & { error?: unknown };
    if (!r.ok) throw new Error(JSON.stringify(answer));
    return answer;
  }

  const cached = (a: Answer) => a.usage.input_tokens_details.cached_tokens;

  async function statsOf(answer: Answer, tenant = tenants[0]) {
    const sessions = server.objects.namespace('SESSION');
    const name = sessionName(tenant, sessionOf(answer.id)!);
    return (sessions.get(sessions.idFromName(name)) as unknown as SessionPort).stats();
  }

  /** Pages are handed over off the client's path: waits until the session has so many. */
  async function pagesIn(answer: Answer, atLeast: number): Promise<number> {
    for (let i = 0; i < 200; i++) {
      const { pages } = await statsOf(answer);
      if (pages >= atLeast) return pages;
      await new Promise((r) => setTimeout(r, 50));
    }
    throw new Error(`the session has ${(await statsOf(answer)).pages} pages, not ${atLeast}`);
  }

  const story = (topic: string, words: number) =>
    `Here is what happened to ${topic}. ${Array.from({ length: words }, (_, i) => ['the bird', 'a stone', 'my friend', 'the sea', 'it was'][(i * 7 + topic.length) % 5]).join(' and ')}.`;

  /** Other prompts, until nothing is left of the earlier ones in the replica. */
  async function flush(): Promise<void> {
    const ready = (await (await fetch(`${server.url}/ready`)).json()) as { stats: { pages: { total: number } } };
    for (let used = 0, i = 0; used < ready.stats.pages.total * 1.2; i++) {
      const a = await ask({ input: story(`filler ${i} ${Math.random()}`, 300), store: false, max_output_tokens: 1 });
      used += a.usage.input_tokens / PAGE;
    }
  }

  it('a branch from turn 2 of 5 shares the pages of turns 1 and 2, and answers as if nothing had been kept', async () => {
    const turns: Answer[] = [];
    for (let i = 1; i <= 5; i++) turns.push(await ask({ input: story(`turn ${i}`, 20), previous_response_id: turns.at(-1)?.id }));
    const before = await pagesIn(turns[4], Math.floor(turns[4].usage.input_tokens / PAGE));
    await flush();
    const body = { input: story('the branch', 20), previous_response_id: turns[1].id };
    const branch = await ask(body);
    const shared = Math.floor(turns[1].usage.input_tokens / PAGE); // at least turn 2's prompt
    expect(cached(branch)).toBeGreaterThanOrEqual(shared * PAGE);
    const own = Math.floor((branch.usage.input_tokens + 24) / PAGE) - cached(branch) / PAGE;
    const after = await pagesIn(branch, before + own - 1);
    expect(after).toBeLessThanOrEqual(before + own); // copy on write: only what is new was added
    const anew = await ask({ ...body, store: false, cache_salt: 'apart' });
    expect(cached(anew)).toBe(0);
    expect(branch.output_text).toBe(anew.output_text);
  }, 300_000);

  it('two keys, one prompt: no page is shared', async () => {
    const body = { input: story('two keys', 60), store: true };
    const first = await ask(body);
    await pagesIn(first, Math.floor(first.usage.input_tokens / PAGE));
    const again = await ask(body);
    expect(cached(again)).toBeGreaterThan(0);
    const second = await ask(body, KEYS[1]);
    expect(cached(second)).toBe(0);
    expect(second.output_text).toBe(first.output_text);
    // nor can the other key reach the session
    const r = await fetch(`${server.url}/v1/responses/${first.id}`, { headers: { authorization: `Bearer ${KEYS[1]}` } });
    expect(r.status).toBe(404);
  }, 300_000);

  it('a chat with prompt_cache_key goes on from its pages on a replica that has forgotten them; another key of the same name does not', async () => {
    const messages = [{ role: 'user', content: story('the cached chat', 60) }];
    const chat = async (body: object, key = KEYS[0]) => {
      const r = await fetch(`${server.url}/v1/chat/completions`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', authorization: `Bearer ${key}` },
        body: JSON.stringify({ model: server.model, temperature: 0, ignore_eos: true, max_tokens: 24, messages, ...body }),
      });
      if (!r.ok) throw new Error(await r.text());
      const { choices, usage } = (await r.json()) as {
        choices: { message: { content: string } }[];
        usage: { prompt_tokens: number; prompt_tokens_details: { cached_tokens: number } };
      };
      return { text: choices[0].message.content, prompt: usage.prompt_tokens, cached: usage.prompt_tokens_details.cached_tokens };
    };
    const prompt_cache_key = 'a chat';
    const pages = async (tenant: string) => {
      const sessions = server.objects.namespace('SESSION');
      return (await (sessions.get(sessions.idFromName(cacheName(tenant, prompt_cache_key))) as unknown as SessionPort).stats()).pages;
    };
    const first = await chat({ prompt_cache_key });
    const whole = Math.floor(first.prompt / PAGE);
    for (let i = 0; (await pages(tenants[0])) < whole; i++) {
      if (i === 200) throw new Error(`only ${await pages(tenants[0])} of ${whole} pages were handed over`);
      await new Promise((r) => setTimeout(r, 50));
    }
    await flush();
    const again = await chat({ prompt_cache_key });
    expect(again.cached).toBeGreaterThanOrEqual(Math.floor((first.prompt - 1) / PAGE) * PAGE);
    expect(again.text).toBe(first.text);
    const turn = [...messages, { role: 'assistant', content: first.text }, { role: 'user', content: 'And then?' }];
    await flush();
    const next = await chat({ prompt_cache_key, messages: turn });
    expect(next.cached).toBeGreaterThanOrEqual((whole - 1) * PAGE);
    const without = await chat({ messages: turn, cache_salt: 'apart' });
    expect(without.cached).toBe(0);
    expect(next.text).toBe(without.text);
    const other = await chat({ prompt_cache_key }, KEYS[1]);
    expect(other.cached).toBe(0);
    expect(other.text).toBe(first.text);
  }, 300_000);

  it('1,000 tokens resumed on a replica that has forgotten them: same tokens, far sooner than computing them again', async () => {
    const samples = 3;
    const first: Answer[] = [];
    for (let i = 0; i < samples; i++) first.push(await ask({ input: story(`session ${i}`, 330), max_output_tokens: 8 }));
    for (const a of first) {
      expect(a.usage.input_tokens).toBeGreaterThan(900);
      await pagesIn(a, Math.floor(a.usage.input_tokens / PAGE));
    }
    await flush();
    let spent = 0;
    const times = { restored: [] as number[], warm: [] as number[], computed: [] as number[] };
    const timed = async (kind: keyof typeof times, body: object): Promise<Answer> => {
      const start = performance.now();
      const answer = await ask({ max_output_tokens: 1, store: true, ...body });
      times[kind].push(performance.now() - start);
      return answer;
    };
    for (const a of first) {
      const body = { input: 'And then?', previous_response_id: a.id };
      const rows = [(await statsOf(a)).rowsWritten];
      const restored = await timed('restored', { ...body, explain: true });
      rows.push((await statsOf(a)).rowsWritten);
      const warm = await timed('warm', { ...body, input: 'And after that?' });
      rows.push((await statsOf(a)).rowsWritten);
      expect(rows[1] - rows[0]).toBeLessThanOrEqual(60); // a cold replica
      expect(rows[2] - rows[1]).toBeLessThanOrEqual(30); // a warm one
      const { usd, compute, session } = restored.turnstone!.cost;
      expect(compute).toBeGreaterThan(0);
      expect(session).toBeGreaterThan(compute / 2); // a second of either costs the same
      expect(usd).toBeLessThan(1e-3);
      spent += usd;
      const computed = await timed('computed', { ...body, cache_salt: `apart ${a.id}` });
      expect(cached(restored)).toBeGreaterThanOrEqual(Math.floor(a.usage.input_tokens / PAGE) * PAGE);
      expect(cached(warm)).toBeGreaterThan(0);
      expect(cached(computed)).toBe(0);
      expect(restored.output_text).toBe(computed.output_text);
      await pagesIn(computed, 2 * Math.floor(a.usage.input_tokens / PAGE)); // nothing is handed over beside the next
    }
    const median = (list: number[]) => [...list].sort((x, y) => x - y)[list.length >> 1];
    const [restored, warm, computed] = [times.restored, times.warm, times.computed].map(median);
    const ms = (x: number) => `${x.toFixed(0)} ms`;
    console.log(
      `1,000 tokens, medians of whole requests: ${ms(restored)} restored from the session, ${ms(computed)} computed again, ${ms(warm)} with the pages still here; ` +
        `restoring took ${ms(restored - warm)}, computing ${ms(computed - warm)}`,
    );
    expect(restored).toBeLessThan(computed / 2);
    const headers = { authorization: `Bearer ${KEYS[0]}` };
    const metrics = await (await fetch(`${server.url}/metrics`, { headers })).text();
    expect(Number(/^turnstone_cost_dollars_total\{.*\} (\S+)$/m.exec(metrics)?.[1])).toBeGreaterThan(spent);
  }, 600_000);
});

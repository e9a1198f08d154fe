/** Two keys beside each other: what one asks for, in whatever form, does not make the other wait. */
import { setMaxListeners } from 'node:events';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { missing, startTestServer } from './server.ts';

const FLOOD = 'flood-key-0123456789';
const QUIET = 'quiet-key-0123456789';
/** A machine may be slow; without fairness the first token takes as long as everything before it, tens of seconds. */
const PATIENCE_MS = 4_000;

describe.skipIf(missing)('two keys', () => {
  let server: Awaited<ReturnType<typeof startTestServer>>;
  beforeAll(async () => {
    server = await startTestServer({ API_KEYS: `flood:${FLOOD},quiet:${QUIET}` });
    await firstToken(); // kernels are compiled
  });
  afterAll(() => server.stop());

  const post = (key: string, path: string, body: object, signal?: AbortSignal) =>
    fetch(`${server.url}${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${key}` },
      body: JSON.stringify({ model: server.model, ...body }),
      signal,
    });

  /** ms until the quiet key's first token. */
  async function firstToken(): Promise<number> {
    const began = performance.now();
    const answer = await post(QUIET, '/v1/completions', { prompt: 'Once', max_tokens: 2, stream: true, ignore_eos: true });
    expect(answer.status).toBe(200);
    for await (const chunk of answer.body!) if (new TextDecoder().decode(chunk).includes('"text"')) break;
    return performance.now() - began;
  }

  const floods: [string, string, (i: number) => object][] = [
    ['choices', '/v1/completions', (i) => ({ prompt: `Once ${i}`, n: 16, max_tokens: 250, ignore_eos: true })],
    [
      'prompts',
      '/v1/completions',
      (i) => ({ prompt: Array.from({ length: 32 }, (_, k) => `${i} ${k}`), max_tokens: 250, ignore_eos: true }),
    ],
    ['texts to tokenize', '/v1/tokenize', (i) => ({ prompt: `${i} ${'once upon a time '.repeat(400)}` })],
  ];
  it.each(floods)('a flood of %s on 64 connections', async (_, path, body) => {
    const over = new AbortController();
    setMaxListeners(0, over.signal);
    const statuses = new Set<number>();
    let answered = 0;
    const connection = async (i: number) => {
      while (!over.signal.aborted) {
        const answer = await post(FLOOD, path, body(i), over.signal);
        statuses.add(answer.status);
        await answer.text();
        answered++;
        if (answer.status === 429) await new Promise((r) => setTimeout(r, 500));
      }
    };
    const flood = Promise.allSettled(Array.from({ length: 64 }, (_, i) => connection(i)));
    // it runs: some were answered, refusals included, and others are on their way
    await expect.poll(() => answered, { interval: 20, timeout: 60_000 }).toBeGreaterThan(8);
    const times: number[] = [];
    for (let i = 0; i < 3; i++) times.push(await firstToken());
    over.abort();
    await flood;
    console.log(`first token beside the flood: ${times.map((t) => t.toFixed(0)).join(', ')} ms`);
    expect([...statuses].every((s) => s === 200 || s === 429)).toBe(true);
    expect(Math.max(...times)).toBeLessThan(PATIENCE_MS);
  });
});

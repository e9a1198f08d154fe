/** A conversation's pages leave the edge for their own tenant alone, and another engine goes on from them without computing them. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { decodeDone, decodeIds, FrameReader } from '../../accelerator/protocol.ts';
import type { Server } from '../../cli/start.ts';
import { folderPack } from '../../models/node/files.ts';
import { openModel, wasmMaker } from '../../serving/run/open.ts';
import { importConversation } from '../../web/src/device/pages.ts';
import { wasmModules } from '../kernels/modules.ts';
import { appOf, requestTo } from '../local/host.ts';
import { missing, startTestServer } from './server.ts';

describe.skipIf(missing)('a conversation goes on elsewhere', () => {
  let server: Server & { model: string };
  beforeAll(async () => {
    server = await startTestServer({ API_KEYS: 'ann:ann-has-a-key, ben:ben-has-a-key', REPLICAS: '2' });
  });
  afterAll(() => server?.stop());

  const question = Array.from({ length: 6 }, (_, i) => `Tom has ${i + 2} apples and Ann has ${i + 5} more.`).join(' ');
  const first = { role: 'user', content: question };
  const body = (messages: unknown[]) => JSON.stringify({ model: server.model, messages, max_tokens: 16, temperature: 0 });
  const post = (path: string, messages: unknown[], key = 'ann-has-a-key') =>
    fetch(server.url + path, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...(key && { authorization: `Bearer ${key}` }) },
      body: body(messages),
    });
  interface Answer {
    choices: { message: { content: string } }[];
    usage: { prompt_tokens: number; prompt_tokens_details: { cached_tokens: number } };
  }
  const frames = async (r: Response) => new FrameReader().push(new Uint8Array(await r.arrayBuffer()));

  it('with the same tokens, and only the new ones computed', async () => {
    const told = (await (await post('/v1/chat/completions', [first])).json()) as Answer;
    const so = [first, { role: 'assistant', content: told.choices[0].message.content }];
    const pages = await post('/v1/turnstone/pages', so);
    expect(pages.status).toBe(200);

    const maker = wasmMaker(wasmModules());
    const rt = await openModel({ source: folderPack(server.pack.folder), id: server.model, maker, memoryBytes: 96 << 20 });
    const bytes = new Uint8Array(await pages.arrayBuffer());
    const carried = importConversation(rt, bytes);
    expect(carried).toBeGreaterThanOrEqual(Math.floor(told.usage.prompt_tokens / 16) * 16);

    const next = [...so, { role: 'user', content: 'And how many is that?' }];
    const here = await appOf(rt).fetch(requestTo('/v1/chat/completions', body(next)));
    const { choices, usage } = (await here.json()) as Answer;
    expect(usage.prompt_tokens_details.cached_tokens).toBe(carried);
    expect(rt.engine.stats().prefix.hit).toBe(carried);
    const there = (await (await post('/v1/chat/completions', next)).json()) as Answer;
    expect(choices[0].message.content).toBe(there.choices[0].message.content);

    bytes[bytes.length >> 1] ^= 1;
    expect(() => importConversation(rt, bytes)).toThrow(/SHA-256/);
    expect(() => importConversation(rt, bytes.subarray(0, 300))).toThrow(/the stream ends inside a frame|break off/);
  });

  it('shows nothing of another tenant, and nothing without a key', async () => {
    await (await post('/v1/chat/completions', [first])).json();
    const own = await frames(await post('/v1/turnstone/pages', [first]));
    const other = await frames(await post('/v1/turnstone/pages', [first], 'ben-has-a-key'));
    expect(decodeDone(own.at(-1)!).pages).toBeGreaterThan(3);
    expect(decodeDone(other.at(-1)!)).toMatchObject({ pages: 0, tokens: 0 });
    expect(other).toHaveLength(3);
    expect(decodeIds(other[1])).toEqual(decodeIds(own[1]));
    expect((await post('/v1/turnstone/pages', [first], '')).status).toBe(401);
  });

  it('refuses what is too long or wrong, as a chat request is refused', async () => {
    const long = await post('/v1/turnstone/pages', [{ role: 'user', content: 'stone '.repeat(20_000) }]);
    expect(long.status).toBe(400);
    expect(((await long.json()) as { error: { code: string } }).error.code).toBe('context_length_exceeded');
    expect((await post('/v1/turnstone/pages', [])).status).toBe(400);
  });
});

/** Embeddings over HTTP: ONNX Runtime in workerd, in the process that `npm start` gives it. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import OpenAI, { type APIError } from 'openai';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { launchEmbedder } from '../../cli/embedder.ts';
import { type Server, startServer } from '../../cli/start.ts';
import { openHome } from '../../cli/workerd/home.ts';
import { programsOf, runProgram } from '../docs.ts';
import { DUNLIN, farthest, recorded, smallPack, temporary } from '../embedder/packs.ts';

describe('the server with its embedder', () => {
  let server: Server;
  let openai: OpenAI;
  beforeAll(async () => {
    server = await startServer({ port: 0, persist: temporary(), embedder: {}, vars: { API_KEYS: 'first:key-of-the-tests' } });
    openai = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: 'key-of-the-tests', maxRetries: 0 });
  });
  afterAll(() => server.stop());
  const want = recorded('dunlin');

  it('answers the first request, however soon it comes, and lists models meanwhile', async () => {
    expect((await openai.models.list()).data.map((m) => m.id)).toContain('pebble');
    const r = await openai.embeddings.create({ model: 'dunlin', input: 'Who are you?' });
    expect(r.data[0].embedding).toHaveLength(256);
    expect(await server.embedder?.start()).toBe('dunlin');
  });

  it("gives OpenAI's client PyTorch's vectors: its base64, and floats", async () => {
    const byDefault = await openai.embeddings.create({ model: 'dunlin', input: want.texts }); // the client asks for base64 and decodes
    const floats = await openai.embeddings.create({ model: 'dunlin', input: want.texts, encoding_format: 'float' });
    const vectors = floats.data.map((d) => d.embedding);
    expect(farthest(vectors, want.vectors)).toBeLessThan(1e-3);
    expect(
      farthest(
        byDefault.data.map((d) => d.embedding),
        vectors,
      ),
    ).toBeLessThan(1e-7);
    const tokens = want.ids.reduce((n, ids) => n + ids.length, 0);
    expect(floats.usage).toEqual({ prompt_tokens: tokens, total_tokens: tokens });
    expect(floats.data.map((d) => d.index)).toEqual(want.texts.map((_, i) => i));
    expect(floats.model).toBe('dunlin');
    const text = await openai.embeddings.create({ model: 'dunlin', input: 'x', encoding_format: 'base64' });
    expect(text.data[0].embedding).toBeTypeOf('string');
  });

  it('answers the program of docs/embeddings.md', async () => {
    const [program] = programsOf('docs/embeddings.md');
    const around = `import OpenAI from 'openai';\nconst [apiKey, texts] = ['key-of-the-tests', ['one', 'two']];\n${program}`;
    expect(await runProgram(`${around}\nconsole.log(data.length, data[0].embedding.length);`, server.url)).toBe('2 256\n');
  });

  it('takes token ids, and prefixes that the model declares', async () => {
    const ids = await openai.embeddings.create({ model: 'dunlin', input: want.ids, encoding_format: 'float' });
    expect(
      farthest(
        ids.data.map((d) => d.embedding),
        want.vectors,
      ),
    ).toBeLessThan(1e-3);
    const short = await openai.embeddings.create({ model: 'dunlin', input: want.texts[0], dimensions: 64, encoding_format: 'float' });
    const length = Math.hypot(...want.vectors[0].slice(0, 64));
    expect(farthest([short.data[0].embedding], [want.vectors[0].slice(0, 64).map((x) => x / length)])).toBeLessThan(2e-3);
  });

  it('scores documents by the cosine of their vectors, the best first', async () => {
    const [query, ...documents] = want.texts.slice(0, 5);
    const post = async (path: string, body: object) => {
      const headers = { 'content-type': 'application/json', authorization: 'Bearer key-of-the-tests' };
      const r = await fetch(`${server.url}${path}`, { method: 'POST', headers, body: JSON.stringify(body) });
      return { status: r.status, body: (await r.json()) as never };
    };
    const dot = (i: number) => want.vectors[0].reduce((s, x, d) => s + x * want.vectors[i + 1][d], 0);
    const cosines = documents.map((_, i) => dot(i));
    const score = await post('/v1/score', { model: 'dunlin', text_1: query, text_2: documents });
    const { data } = score.body as { data: { index: number; score: number }[] };
    for (const { index, score } of data) expect(Math.abs(score - cosines[index])).toBeLessThan(2e-3);
    const objects = documents.map((text) => ({ text }));
    const ranked = await post('/v1/rerank', { query, documents: objects, top_n: 3, return_documents: true });
    const { results, turnstone, usage } = ranked.body as {
      results: { index: number; relevance_score: number; document: object }[];
      turnstone: object;
      usage: { total_tokens: number };
    };
    const order = data.toSorted((a, b) => b.score - a.score).slice(0, 3);
    expect(results).toEqual(order.map(({ index, score }) => ({ index, relevance_score: score, document: objects[index] })));
    expect(turnstone).toEqual({ scored_by: 'cosine' });
    expect(usage.total_tokens).toBe(want.ids.slice(0, 5).reduce((n, ids) => n + ids.length, 0));
    const long = await post('/v1/rerank', { query, documents: ['x', 'a word '.repeat(600)] });
    expect(long).toMatchObject({ status: 400, body: { error: { code: 'context_length_exceeded', param: 'documents[1]' } } });
    expect(await post('/v1/rerank', { model: 'pebble', query, documents })).toMatchObject({ status: 404 });
  });

  it('is listed', async () => {
    const ids = [];
    for await (const m of openai.models.list()) ids.push(m.id);
    expect(ids).toEqual(['pebble', 'dunlin']);
    expect(await openai.models.retrieve('dunlin')).toMatchObject({ id: 'dunlin', object: 'model' });
  });

  it('refuses by name', async () => {
    const refused = (body: object, key = 'key-of-the-tests') =>
      new OpenAI({ baseURL: `${server.url}/v1`, apiKey: key, maxRetries: 0 }).embeddings.create(body as OpenAI.EmbeddingCreateParams).then(
        () => 'accepted',
        (e: APIError) => [e.status, e.code, e.param],
      );
    expect(await refused({ model: 'dunlin', input: 'x' }, 'another key')).toEqual([401, 'invalid_api_key', null]);
    expect(await refused({ model: 'text-embedding-3-small', input: 'x' })).toEqual([404, 'model_not_found', 'model']);
    expect(await refused({ model: 'dunlin', input: 'x', dimensions: 100 })).toEqual([400, 'invalid_value', 'dimensions']);
    expect(await refused({ model: 'dunlin', input: ['x', 'a word '.repeat(600)] })).toEqual([400, 'context_length_exceeded', 'input[1]']);
    expect(await refused({ model: 'dunlin', input: [[5], [20_000]] })).toEqual([400, 'invalid_value', 'input[1]']);
    expect(await refused({ model: 'dunlin', input: ['x', ''] })).toEqual([400, 'string_too_short', 'input[1]']);
  });

  it('chats while it embeds', async () => {
    const many = openai.embeddings.create({ model: 'dunlin', input: Array.from({ length: 256 }, (_, i) => `${want.texts[8]} ${i}`) });
    const chat = await openai.chat.completions.create({ model: 'pebble', max_tokens: 4, messages: [{ role: 'user', content: 'Hello' }] });
    expect(chat.choices[0].message.content).toBeTypeOf('string');
    expect((await many).data).toHaveLength(256);
  });
});

describe('a server whose embedder does not start', () => {
  it('chats, and says why there are no embeddings', async () => {
    const folder = temporary();
    const server = await startServer({ port: 0, persist: temporary(), embedder: { model: join(folder, 'nothing') } });
    try {
      const post = (path: string, body: object) =>
        fetch(`${server.url}${path}`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) });
      const chat = await post('/v1/chat/completions', { model: 'pebble', max_tokens: 2, messages: [{ role: 'user', content: 'Hello' }] });
      expect(chat.status).toBe(200);
      const refused = await post('/v1/embeddings', { input: 'x' });
      expect(refused.status).toBe(503);
      expect(((await refused.json()) as { error: object }).error).toMatchObject({
        code: 'embedder_not_running',
        message: expect.stringMatching(/nothing: there is no embedding pack; make one with turnstone pack/),
      });
    } finally {
      await server.stop();
    }
  });

  it('says that embeddings are off when there is no embedder', async () => {
    const server = await startServer({ port: 0, persist: temporary() });
    try {
      const headers = { 'content-type': 'application/json' };
      const r = await fetch(`${server.url}/v1/embeddings`, { method: 'POST', headers, body: '{"input":"x"}' });
      expect([r.status, ((await r.json()) as { error: { code: string } }).error.code]).toEqual([501, 'embeddings_off']);
    } finally {
      await server.stop();
    }
  });
});

describe('an embedder alone, in workerd', () => {
  const embed = async (
    options: { model?: string; memoryMb?: string },
    use: (post: (body: object) => Promise<{ status: number; body: unknown }>) => Promise<void>,
  ) => {
    const home = openHome();
    const embedder = launchEmbedder(home, options, Promise.resolve());
    try {
      await embedder.start();
      await use(async (body) => {
        const r = await embedder.fetch(new Request('https://embedder/v1/embeddings', { method: 'POST', body: JSON.stringify(body) }));
        return { status: r.status, body: await r.json() };
      });
    } finally {
      const pid = embedder.pid() as number;
      await embedder.stop();
      home.close();
      expect(() => process.kill(pid, 0)).toThrow(); // it is gone
    }
  };

  it('any pack: f32 within 1e-5 of PyTorch', async () => {
    const want = recorded('small');
    await embed({ model: await smallPack() }, async (post) => {
      const { body } = await post({ kind: 'embeddings', input: want.texts, encodingFormat: 'float' });
      expect(
        farthest(
          (body as { data: { embedding: number[] }[] }).data.map((d) => d.embedding),
          want.vectors,
        ),
      ).toBeLessThan(1e-5);
    });
  });

  it('too little memory: refused with the arithmetic', async () => {
    await embed({ model: DUNLIN, memoryMb: '48' }, async (post) => {
      const { status, body } = await post({ kind: 'embeddings', input: ['x'], encodingFormat: 'float' });
      expect(status).toBe(503);
      expect(body).toMatchObject({
        error: { code: 'model_not_loaded', message: expect.stringMatching(/needs [\d.]+ MB of 48\.0 MB: ONNX Runtime/) },
      });
    });
  });

  it('files that were changed after packing: refused by name', async () => {
    const folder = await smallPack();
    writeFileSync(join(folder, 'tokenizer.json'), '{}');
    await embed({ model: folder }, async (post) => {
      const { status, body } = await post({ kind: 'embeddings', input: ['x'], encodingFormat: 'float' });
      expect([status, (body as { error: { message: string } }).error.message]).toEqual([
        503,
        expect.stringMatching(/file "tokenizer\.json": has 2 bytes, model\.json says/),
      ]);
    });
  });
});

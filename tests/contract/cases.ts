/**
 * What every host of the API keeps to, whatever serves behind it: the Worker in workerd, a GPU host, the engine in a page. The cases
 * know a host by `send` alone.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

export interface Sent {
  method?: string;
  headers?: Record<string, string>;
  /** Text is sent as it is, anything else as JSON. */
  body?: unknown;
  signal?: AbortSignal;
}

export interface Served {
  model: string;
  /** Sends a request as it is; redirects are not followed. */
  send(path: string, sent?: Sent): Promise<Response>;
  /** Sequences that compute or wait. */
  busy(): Promise<number>;
  stop(): unknown;
}

/** What a host has no way to show. Each is the reason why its cases are skipped. */
export interface Lacks {
  /** Headers of a connection: Host, Origin, a body's announced length. */
  wire?: string;
  keys?: string;
  stored?: string;
  /** Other APIs than chats, completions and tokens. */
  formats?: string;
}

export const KEY = 'sk-contract-0123456789';
const MAX_BODY = 4 << 20;

interface Envelope {
  error: { message: string; type: string; param: string | null; code: string | null };
}

/** OpenAI's envelope with that status and code. */
async function refused(response: Response, status: number, code?: string): Promise<Envelope['error']> {
  const text = await response.text();
  expect([response.status, text]).toEqual([status, expect.stringContaining('"error"')]);
  const { error } = JSON.parse(text) as Envelope;
  expect(Object.keys(error).sort()).toEqual(['code', 'message', 'param', 'type']);
  if (code !== undefined) expect(error.code).toBe(code);
  return error;
}

const sequence = (sse: string): number[] => [...sse.matchAll(/"sequence_number":(\d+)/g)].map((m) => Number(m[1]));

export function contract(name: string, start: () => Promise<Served>, lacks: Lacks = {}): void {
  type Case = () => Promise<void>;
  /** A case that this host has no way to show, for that reason. */
  const unless = (why: string | undefined) => (title: string, run: Case) =>
    why ? test.skip(`${title} (skipped: ${why})`, run) : test(title, run);
  /** A case of hosts that lack something. */
  const where = (lack: string | undefined) => (title: string, run: Case) =>
    lack ? test(title, run) : test.skip(`${title} (outside the contract)`, run);
  describe(name, () => {
    let host: Served;
    beforeAll(async () => {
      host = await start();
    });
    afterAll(() => host?.stop());

    const send = (path: string, sent: Sent = {}): Promise<Response> =>
      host.send(path, { ...sent, headers: { authorization: `Bearer ${KEY}`, ...sent.headers } });
    const post = (path: string, body: unknown, headers: Record<string, string> = {}): Promise<Response> =>
      send(path, { method: 'POST', body, headers: { 'content-type': 'application/json', ...headers } });
    const chat = (more: object = {}) => ({
      ...{ model: host.model, messages: [{ role: 'user', content: 'What is 2 + 3?' }], temperature: 0, max_tokens: 8 },
      ...more,
    });

    describe('a body', () => {
      test('is JSON and says so', async () => {
        for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x'])
          await refused(await post('/v1/chat/completions', chat(), { 'content-type': type }), 415, 'unsupported_media_type');
        await refused(await post('/v1/chat/completions', '{"model":'), 400, 'invalid_json');
      });

      test('is read up to a depth', async () => {
        const deep = `${'['.repeat(101)}${']'.repeat(101)}`;
        const paths = ['/v1/chat/completions', '/v1/completions', '/v1/tokenize'];
        for (const path of lacks.formats ? paths : [...paths, '/v1/responses']) await refused(await post(path, deep), 400, 'json_too_deep');
      });

      // a connection may break while so much is still being written
      where(lacks.wire)('is read up to a size', async () => {
        await refused(await post('/v1/chat/completions', ' '.repeat(MAX_BODY + 1)), 413, 'payload_too_large');
      });

      unless(lacks.wire)('that is announced as too large is not waited for', async () => {
        const headers = { 'content-type': 'application/json', 'content-length': String(MAX_BODY + 1) };
        await refused(await send('/v1/chat/completions', { method: 'POST', headers, body: '{' }), 413, 'payload_too_large');
      });

      test('may be compressed, and names encodings that are read', async () => {
        await refused(await post('/v1/tokenize', '{}', { 'content-encoding': 'br' }), 415, 'unsupported_content_encoding');
      });

      test('is refused by the name of its field', async () => {
        expect(await refused(await post('/v1/chat/completions', chat({ temperature: 9 })), 400)).toMatchObject({
          type: 'invalid_request_error',
          param: 'temperature',
        });
        expect((await refused(await post('/v1/chat/completions', chat({ model: 'nobody' })), 404, 'model_not_found')).param).toBe('model');
        await refused(await post('/v1/chat/completions', chat({ logit_bias: { 999999: 1 } })), 400);
      });
    });

    describe('who asks', () => {
      unless(lacks.keys)('needs a key, whole', async () => {
        for (const authorization of ['', 'Bearer wrong', `Bearer ${KEY.slice(0, -1)}`, `Bearer ${KEY}x`, KEY])
          await refused(await post('/v1/chat/completions', chat(), { authorization }), 401, 'invalid_api_key');
        expect((await send('/v1/models', { headers: { authorization: '', 'x-api-key': KEY } })).status).toBe(200);
        expect((await send('/health', { headers: { authorization: '' } })).status).toBe(200);
      });

      unless(lacks.wire)('asks this machine by its own name', async () => {
        for (const evil of ['evil.example', '127.0.0.1.evil.example'])
          await refused(await send('/v1/models', { headers: { host: evil } }), 403, 'host_not_allowed');
      });

      unless(lacks.wire)('is no page of another origin', async () => {
        const headers = { origin: 'https://evil.example', 'access-control-request-method': 'POST' };
        await refused(await send('/v1/chat/completions', { method: 'OPTIONS', headers }), 403, 'origin_not_allowed');
        const answer = await send('/v1/models', { headers: { origin: 'https://evil.example' } });
        expect(answer.headers.get('access-control-allow-origin')).toBeNull();
      });

      test('cannot take a name that the server gives: two requests of one id, tenant and lease are two', async () => {
        const own = {
          'x-turnstone-request': 'mine',
          'x-turnstone-tenant': 'other',
          'x-turnstone-epoch': '1',
          'x-turnstone-replica': '0',
        };
        const both = await Promise.all([0, 1].map(() => post('/v1/chat/completions', chat(), own)));
        const answers = await Promise.all(both.map(async (r) => (await r.json()) as { id: string; object: string }));
        for (const { id, object } of answers) expect([object, id.includes('mine')]).toEqual(['chat.completion', false]);
        expect(answers[0].id).not.toBe(answers[1].id);
      });
    });

    describe('every answer', () => {
      test('has an id of its own, one that fails too', async () => {
        const answers = [
          await send('/v1/models'),
          await send('/health'),
          await post('/v1/chat/completions', '{'),
          await post('/v1/chat/completions', chat({ stream: true }), { 'x-request-id': 'mine' }),
          await send('/v1/nothing'),
        ];
        const ids = answers.map((r) => r.headers.get('x-request-id'));
        for (const id of ids) expect(id).toMatch(/^[0-9a-f]{32}$/);
        expect(new Set(ids).size).toBe(ids.length);
        await Promise.all(answers.map((r) => r.text()));
      });

      test('is data that nothing runs', async () => {
        const { headers } = await send('/v1/models');
        expect(headers.get('x-content-type-options')).toBe('nosniff');
        expect(headers.get('content-security-policy')).toContain("default-src 'none'");
      });
    });

    describe('a path', () => {
      test("that is nobody's is told so in the envelope", async () => {
        await refused(await send('/v1/nothing'), 404, 'not_found');
        await refused(await post('/v1/nothing', {}), 404, 'not_found');
        await refused(await post('/v1/responses/nothing', {}), 404, 'not_found');
      });

      test('says which methods it has', async () => {
        const response = await send('/v1/chat/completions');
        expect(response.headers.get('allow')).toContain('POST');
        await refused(response, 405, 'method_not_allowed');
      });

      test('is found under another spelling', async () => {
        const response = await send('//v1//models/');
        const found =
          response.status === 308 ? await send(new URL(response.headers.get('location')!, 'http://localhost').pathname) : response;
        expect(((await found.json()) as { object: string }).object).toBe('list');
      });
    });

    describe('a model', () => {
      test('is listed and found by its name', async () => {
        const { data } = (await (await send('/v1/models')).json()) as { data: { id: string }[] };
        expect(data.map((m) => m.id)).toContain(host.model);
        expect(await (await send(`/v1/models/${host.model}`)).json()).toMatchObject({ id: host.model, object: 'model' });
        await refused(await send('/v1/models/nobody'), 404, 'model_not_found');
      });

      test('counts its tokens and is measured', async () => {
        const counted = (await (await post('/v1/tokenize', { model: host.model, prompt: 'Hello' })).json()) as {
          tokens: number[];
          count: number;
        };
        expect(counted.tokens).toHaveLength(counted.count);
        const back = await post('/v1/detokenize', { model: host.model, tokens: counted.tokens });
        expect(await back.json()).toMatchObject({ prompt: expect.stringContaining('Hello') });
        expect(await (await send('/metrics')).text()).toContain('turnstone_');
        expect(await (await send('/ready')).json()).toMatchObject({ status: 'ready', model: host.model });
      });
    });

    describe('wire formats', () => {
      test("are OpenAI's chats and completions", async () => {
        expect(await (await post('/v1/chat/completions', chat())).json()).toMatchObject({ object: 'chat.completion' });
        expect(await (await post('/v1/completions', { model: host.model, prompt: 'Once', max_tokens: 4 })).json()).toMatchObject({
          object: 'text_completion',
        });
        const stream = await (await post('/v1/chat/completions', chat({ stream: true }))).text();
        expect(stream.endsWith('data: [DONE]\n\n')).toBe(true);
      });

      unless(lacks.formats)("are OpenAI's responses", async () => {
        const direct = { model: host.model, input: 'What is 2 + 3?', store: false, max_output_tokens: 8 };
        expect(await (await post('/v1/responses', direct)).json()).toMatchObject({ object: 'response', store: false });
      });

      unless(lacks.formats)("are Anthropic's messages, which are refused in their own form", async () => {
        const messages = [{ role: 'user', content: 'What is 2 + 3?' }];
        const answer = await post('/v1/messages', { model: host.model, messages, max_tokens: 8 });
        expect(await answer.json()).toMatchObject({ type: 'message', role: 'assistant' });
        const counted = await post('/v1/messages/count_tokens', { model: host.model, messages });
        expect(await counted.json()).toEqual({ input_tokens: expect.any(Number) });
        const wrong = await post('/v1/messages', { model: host.model, messages });
        expect([wrong.status, await wrong.json()]).toEqual([
          400,
          { type: 'error', error: expect.objectContaining({ type: 'invalid_request_error' }) },
        ]);
        const deep = await post('/v1/messages', `${'['.repeat(101)}${']'.repeat(101)}`);
        expect(await deep.json()).toMatchObject({ type: 'error' });
      });

      unless(lacks.formats)("are Ollama's chats, which are refused in their own form", async () => {
        const asked = { model: host.model, messages: [{ role: 'user', content: 'What is 2 + 3?' }], options: { num_predict: 8 } };
        const stream = await post('/api/chat', asked);
        expect(stream.headers.get('content-type')).toBe('application/x-ndjson');
        const lines = (await stream.text()).trimEnd().split('\n');
        expect(lines.map((line) => (JSON.parse(line) as { done: boolean }).done)).toEqual(lines.map((_, i) => i === lines.length - 1));
        const { models } = (await (await send('/api/tags')).json()) as { models: { name: string }[] };
        expect(models.map((m) => m.name)).toContain(`${host.model}:latest`);
        const wrong = await post('/api/chat', { ...asked, options: { mirostat: 2 } });
        expect([wrong.status, await wrong.json()]).toEqual([400, { error: expect.stringContaining('mirostat') }]);
        const deep = await post('/api/chat', `${'['.repeat(101)}${']'.repeat(101)}`);
        expect([deep.status, await deep.json()]).toEqual([400, { error: expect.stringContaining('deeper') }]);
        const keyless = await send('/api/tags', { headers: { authorization: '' } });
        expect(keyless.status).toBe(lacks.keys ? 200 : 401);
      });

      test('say what they took by the clock of who computed them, when asked', async () => {
        const timed = async (path: string, body: object) => {
          const answer = await (await post(path, body)).json();
          return (answer as { turnstone?: { timings?: Record<string, number> } }).turnstone?.timings;
        };
        const input = 'Tell me of a boat and of the wind.';
        const exact = { model: host.model, temperature: 0, ignore_eos: true };
        const timings = {
          prefill_tokens: expect.any(Number),
          prefill_ms: expect.any(Number),
          decode_tokens: 23,
          decode_ms: expect.any(Number),
        };
        const asked = { ...exact, explain: true };
        const chatted = await timed('/v1/chat/completions', { ...asked, messages: [{ role: 'user', content: input }], max_tokens: 24 });
        expect(chatted).toEqual(timings);
        expect(chatted!.decode_ms).toBeGreaterThan(0);
        for (const store of lacks.formats ? [] : lacks.stored ? [false] : [false, true]) {
          const response = { input, store, max_output_tokens: 24 };
          expect(await timed('/v1/responses', { ...asked, ...response })).toEqual(timings);
          expect(await timed('/v1/responses', { ...exact, ...response })).toBeUndefined();
        }
      });

      test('draw the same seed for the same Idempotency-Key', async () => {
        const warm = chat({ temperature: 1, max_tokens: 16, ignore_eos: true });
        const said = async (key: string) => {
          const { choices } = (await (await post('/v1/chat/completions', warm, { 'idempotency-key': key })).json()) as {
            choices: { message: { content: string } }[];
          };
          return choices[0].message.content;
        };
        expect(await said('one')).toBe(await said('one'));
        await refused(await post('/v1/chat/completions', chat(), { 'idempotency-key': 'x'.repeat(256) }), 400, 'invalid_idempotency_key');
      });
    });

    describe('a client that leaves', () => {
      const leaves = async (path: string, body: object, begun: (response: Promise<Response>) => Promise<unknown>) => {
        const leave = new AbortController();
        const headers = { 'content-type': 'application/json' };
        const response = send(path, { method: 'POST', body, headers, signal: leave.signal });
        response.catch(() => {});
        const held = await begun(response);
        await expect.poll(() => host.busy(), { interval: 5 }).toBeGreaterThan(0);
        leave.abort();
        if (held instanceof ReadableStreamDefaultReader) void held.cancel().catch(() => {});
        await expect.poll(() => host.busy()).toBe(0);
      };
      const reading = async (response: Promise<Response>) => {
        const reader = (await response).body!.getReader();
        await reader.read();
        return reader;
      };

      test('in the middle of a stream is not computed for', () =>
        leaves('/v1/chat/completions', chat({ stream: true, max_tokens: 1500, ignore_eos: true }), reading));

      unless(lacks.formats)('in the middle of a stream of lines neither', () =>
        leaves('/api/generate', { model: host.model, prompt: 'Once', raw: true, options: { num_predict: 1500 } }, reading),
      );

      test('while a whole answer is being made neither', () =>
        leaves('/v1/chat/completions', chat({ max_tokens: 1500, ignore_eos: true }), async () => undefined));
    });

    where(lacks.formats)('is asked by chats and completions alone', async () => {
      for (const path of ['/v1/responses', '/v1/embeddings']) await refused(await post(path, {}), 404, 'not_found');
    });

    describe.skipIf(lacks.stored)(lacks.stored ? `a stored response (skipped: ${lacks.stored})` : 'a stored response', () => {
      const create = () => ({ model: host.model, input: 'Tell me of a boat.', max_output_tokens: 24, temperature: 0 });

      test('has events whose numbers are the same for whoever comes back, byte for byte', async () => {
        const whole = await (await post('/v1/responses', { ...create(), stream: true })).text();
        const numbers = sequence(whole);
        expect(numbers).toEqual(numbers.map((_, i) => i));
        const id = /"id":"(resp_[0-9a-f]+)"/.exec(whole)![1];
        expect(await (await send(`/v1/responses/${id}?stream=true`)).text()).toBe(whole);
        const rest = await (await send(`/v1/responses/${id}?stream=true&starting_after=5`)).text();
        expect(whole.endsWith(rest)).toBe(true);
        expect(sequence(rest)[0]).toBe(6);
      });

      test('is gone on from, listed, cancelled and deleted', async () => {
        const first = (await (await post('/v1/responses', create())).json()) as { id: string };
        const next = { ...create(), input: 'And then?', previous_response_id: first.id };
        const second = (await (await post('/v1/responses', next)).json()) as { id: string };
        const { data } = (await (await send(`/v1/responses/${second.id}/input_items?order=asc`)).json()) as { data: { type: string }[] };
        expect(data.map((i) => i.type)).toEqual(['message', 'message', 'message']);
        expect((await post(`/v1/responses/${second.id}/cancel`, {})).status).toBe(200);
        expect(await (await send(`/v1/responses/${second.id}`, { method: 'DELETE' })).json()).toMatchObject({ deleted: true });
        await refused(await send(`/v1/responses/${second.id}`), 404, 'not_found');
        await refused(await send(`/v1/responses/resp_${'0'.repeat(64)}`), 404, 'not_found');
      });
    });
  });
}

/** Two keys beside each other on the real server: a request of one that goes wrong changes nothing for the other's stream. */
import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { listOf } from '../../durable-objects/tenant/port.ts';
import { missing, startTestServer } from './server.ts';

const OURS = 'ours:a-key-of-the-one';
const THEIRS = 'theirs:a-key-of-the-other';
const OPERATOR = 'a-key-of-the-operator';

describe.skipIf(missing)('one key’s faults', () => {
  let server: Awaited<ReturnType<typeof startTestServer>>;
  beforeAll(async () => {
    server = await startTestServer({ API_KEYS: `${OURS},${THEIRS}`, ADMIN_KEY: OPERATOR });
  });
  afterAll(() => server?.stop());

  const post = (key: string, path: string, body: object) =>
    fetch(`${server.url}${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${key.split(':')[1]}` },
      body: JSON.stringify({ model: server.model, ...body }),
    });
  /** The other key's stream, of which `attacks` come one after the other in the middle. */
  const stream = async (seed: number, attacks: () => Promise<unknown>): Promise<string> => {
    const r = await post(THEIRS, '/v1/completions', {
      prompt: 'Once',
      max_tokens: 300,
      temperature: 1,
      ignore_eos: true,
      stream: true,
      seed,
    });
    const reader = r.body!.pipeThrough(new TextDecoderStream()).getReader();
    let sse = (await reader.read()).value ?? '';
    await attacks();
    for (let { value, done } = await reader.read(); !done; { value, done } = await reader.read()) sse += value;
    expect(sse.endsWith('data: [DONE]\n\n')).toBe(true);
    return [...sse.matchAll(/^data: (\{.*)$/gm)].map((m) => JSON.parse(m[1]).choices[0]?.text ?? '').join('');
  };
  const messages = [{ role: 'user', content: 'Give the name and the age as JSON: Ann is 5 years old.' }];
  const strict = {
    type: 'json_schema',
    json_schema: { name: 's', schema: { type: 'object', properties: { ok: { type: 'boolean' } }, required: ['ok'] } },
  };

  it('that name tokens which the model lacks are 400s, whatever the route', async () => {
    const quiet = await stream(1, async () => {});
    const loud = await stream(1, async () => {
      for (const [path, body] of [
        ['/v1/completions', { prompt: 'x', max_tokens: 50 }],
        ['/v1/completions', { prompt: 'x', max_tokens: 50, stream: true }],
        ['/v1/chat/completions', { messages, n: 2 }],
        ['/v1/responses', { input: 'x' }],
        ['/v1/responses', { input: 'x', store: false }],
      ] as const) {
        for (const [param, more] of [
          ['logit_bias', { logit_bias: { '1048575': -100 } }],
          ['stop_token_ids', { stop_token_ids: [999_999] }],
        ] as const) {
          const r = await post(OURS, path, { ...body, ...more });
          expect([path, r.status]).toEqual([path, 400]);
          expect(await r.json()).toMatchObject({ error: { param } });
        }
      }
      const background = (await (
        await post(OURS, '/v1/responses', { input: 'x', background: true, logit_bias: { '1048575': 1 } })
      ).json()) as {
        id: string;
      };
      let shown = { status: '', error: null as unknown };
      for (let i = 0; i < 100 && shown.status !== 'failed'; i++) {
        await new Promise((resolve) => setTimeout(resolve, 20));
        const r = await fetch(`${server.url}/v1/responses/${background.id}`, {
          headers: { authorization: `Bearer ${OURS.split(':')[1]}` },
        });
        shown = (await r.json()) as typeof shown;
      }
      expect(shown).toMatchObject({ status: 'failed', error: { message: expect.stringContaining('outside the vocabulary') } });
    });
    expect(loud).toBe(quiet);
  });

  it('that are messages of megabytes are refused before they reach a replica, or are read', async () => {
    const say = async (bytes: number) => {
      const r = await post(OURS, '/v1/chat/completions', { messages: [{ role: 'user', content: 'x'.repeat(bytes) }] });
      const { error } = (await r.json()) as { error: { code: string } };
      return [r.status, error.code];
    };
    const quiet = await stream(4, async () => {});
    const loud = await stream(4, async () => {
      expect(await say(1 << 20)).toEqual([400, 'context_length_exceeded']);
      expect(await say(3 << 20)).toEqual([413, 'payload_too_large']);
    });
    expect(loud).toBe(quiet);
  });

  it('that leave nothing to be said end by the grammar', async () => {
    const quiet = await stream(2, async () => {});
    const loud = await stream(2, async () => {
      for (const more of [{ min_tokens: 90 }, { ignore_eos: true }, { min_tokens: 90, temperature: 0, stop: ['\n'] }]) {
        const r = await post(OURS, '/v1/chat/completions', { messages, response_format: strict, max_tokens: 100, ...more });
        expect(r.status).toBe(200);
        const { choices } = (await r.json()) as { choices: { finish_reason: string; message: { content: string } }[] };
        expect(choices[0].finish_reason).toBe('stop');
        if (!('stop' in more)) expect(JSON.parse(choices[0].message.content)).toEqual({ ok: expect.any(Boolean) });
      }
      const stored = await post(OURS, '/v1/responses', {
        input: messages[0].content,
        max_output_tokens: 100,
        min_tokens: 90,
        text: { format: { type: 'json_schema', name: 's', schema: strict.json_schema.schema } },
      });
      expect(await stored.json()).toMatchObject({ status: 'completed' });
    });
    expect(loud).toBe(quiet);
  });

  it('and is erased, with its responses, pages and place in the queue, while the other’s goes on', async () => {
    const input = 'Tell me of a fox and a crow that met at a well, at some length, and of what they said to each other.';
    const kept = async (key: string) =>
      ((await (await post(key, '/v1/responses', { input, max_output_tokens: 8 })).json()) as { id: string }).id;
    const get = (key: string, id: string) =>
      fetch(`${server.url}/v1/responses/${id}`, { headers: { authorization: `Bearer ${key.split(':')[1]}` } }).then((r) => r.status);
    const cached = async (key: string) => {
      const r = await post(key, '/v1/chat/completions', {
        messages: [{ role: 'user', content: input }],
        max_tokens: 8,
        prompt_cache_key: 'k',
      });
      return ((await r.json()) as { usage: { prompt_tokens_details: { cached_tokens: number } } }).usage.prompt_tokens_details
        .cached_tokens;
    };
    const admin = (path: string, method = 'GET') =>
      fetch(`${server.url}/admin/${path}`, { method, headers: { authorization: `Bearer ${OPERATOR}` } });
    const tenant = createHash('sha256').update('turnstone tenant of name\0ours').digest('hex').slice(0, 32);
    const count = () => listOf({ TENANT: server.objects.namespace('TENANT') as never }, tenant).count();

    const ours = [await kept(OURS), await kept(OURS)];
    const theirs = await kept(THEIRS);
    await cached(OURS);
    expect(await cached(OURS)).toBeGreaterThan(0);
    await expect.poll(count).toBeGreaterThanOrEqual(3); // the pages' comes after its answer
    let sse = '';
    const text = await stream(3, async () => {
      const running = await post(OURS, '/v1/completions', { prompt: 'Once', max_tokens: 1900, ignore_eos: true, stream: true });
      const erased = await admin('tenants/ours', 'DELETE');
      expect(erased.status).toBe(200);
      expect(await erased.json()).toMatchObject({ tenant: 'ours', left: 0, requests: 1 });
      sse = await running.text();
    });
    expect(text).toBe(await stream(3, async () => {}));
    expect(sse).toContain('"code":"lease_over"');
    expect(await Promise.all(ours.map((id) => get(OURS, id)))).toEqual([404, 404]);
    expect(await get(THEIRS, theirs)).toBe(200);
    expect(await count()).toBe(0);
    const { tenants } = (await (await admin('queue')).json()) as { tenants: { name: string }[] };
    expect(tenants.map((t) => t.name)).not.toContain(tenant);
    expect(await cached(OURS)).toBe(0); // nothing of it in the replica's memory either
    expect((await admin('tenants/nobody', 'DELETE')).status).toBe(200);
  });
});

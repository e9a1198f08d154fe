/** The clients that people use, against the real server: OpenAI's own and the AI SDK's. */

import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { APICallError, generateText, streamText } from 'ai';
import OpenAI, { toFile } from 'openai';
import { ResponsesWS } from 'openai/resources/responses/ws';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { connect, extended, toldOf } from '../../library/client.ts';
import { programsOf, runProgram } from '../docs.ts';
import { installClients, runClients } from './npm-clients.ts';
import { missing, startTestServer } from './server.ts';

const KEY = 'sk-test-0123456789';
const PROMPT = 'Once upon a time there was a little girl who lived near a big river with her old dog and two cats.';
const messages: OpenAI.ChatCompletionMessageParam[] = [{ role: 'user', content: PROMPT }];

let server: Awaited<ReturnType<typeof startTestServer>>;
let client: OpenAI;
let model: string;
const uninstalled = missing ?? installClients();

const get = async (path: string) => (await fetch(`${server.url}${path}`, { headers: { authorization: `Bearer ${KEY}` } })).text();

/** A metric's value, of the series that has `label` among its labels. */
async function metric(name: string, label = ''): Promise<number> {
  const line = (await get('/metrics')).split('\n').find((l) => l.startsWith(`${name}{`) && l.includes(label));
  return Number(line?.split(' ').at(-1));
}

async function eventually(what: () => Promise<boolean>): Promise<boolean> {
  for (let i = 0; i < 100; i++) {
    if (await what()) return true;
    await new Promise((r) => setTimeout(r, 50));
  }
  return false;
}

const aborted = () => metric('turnstone_request_success_total', 'finished_reason="abort"');

const idle = () =>
  eventually(async () => (await metric('turnstone_num_requests_running')) === 0 && (await metric('turnstone_kv_cache_usage_perc')) === 0);

describe.skipIf(missing !== null)(`clients${missing ? ` (skipped: ${missing})` : ''}`, () => {
  beforeAll(async () => {
    server = await startTestServer({ API_KEYS: `tester:${KEY}` });
    model = server.model;
    client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: KEY, maxRetries: 0 });
  }, 300_000);

  afterAll(() => server?.stop());

  describe('turnstone/client, beside openai', () => {
    const own = () => connect({ baseURL: `${server.url}/v1`, apiKey: KEY });

    it('extends requests, and reads what answers tell', async () => {
      const body = { model, messages, max_completion_tokens: 4, stream: false as const };
      const answer = await client.chat.completions.create(extended({ ...body, top_k: 1, explain: true }));
      const told = toldOf(answer);
      expect(told?.timings?.decode_tokens).toBeLessThanOrEqual(3);
      expect(told?.cost?.usd).toBeGreaterThan(0);
      expect(toldOf(await client.chat.completions.create(body))).toBeUndefined();
    });

    it('reads and writes tokens, prompts and pages', async () => {
      const ids = await own().tokenize(PROMPT, model);
      expect(await own().detokenize(ids, model)).toContain('a little girl');
      const chat = [{ role: 'user', content: PROMPT }];
      expect(await own().applyTemplate(chat, model)).toContain(PROMPT);
      expect((await own().tokenize(chat, model)).length).toBeGreaterThan(ids.length);
      expect((await own().pages(chat, model)).length).toBeGreaterThan(1000);
      await expect(own().tokenize('x', 'nobody')).rejects.toMatchObject({ name: 'TurnstoneError', status: 404, code: 'model_not_found' });
    });

    it('follows a stored response over connections that break', async () => {
      const whole = await client.responses.create({ model, input: PROMPT, temperature: 0, max_output_tokens: 200 });
      let connections = 0;
      const breaking = async (url: string, init?: RequestInit) => {
        const answer = await fetch(url, init);
        if (++connections > 2 || !answer.body) return answer;
        let read = 0;
        const cut = new TransformStream<Uint8Array, Uint8Array>({
          transform(chunk, controller) {
            controller.enqueue(chunk.subarray(0, 1500 - read)); // within an event
            read += chunk.length;
            if (read >= 1500) controller.error(new Error('broken'));
          },
        });
        return new Response(answer.body.pipeThrough(cut), answer);
      };
      let text = '';
      for await (const piece of connect({ baseURL: `${server.url}/v1`, apiKey: KEY, fetch: breaking }).follow(whole.id)) text += piece;
      expect(text).toBe(whole.output_text);
      expect(connections).toBe(3);
      await expect(own().follow('resp_nobody').next()).rejects.toMatchObject({ status: 404 });
    });
  });

  describe('openai', () => {
    it('lists and retrieves models', async () => {
      const list = await client.models.list();
      expect(list.data.map((m) => m.id)).toEqual([model]);
      expect(await client.models.retrieve(model)).toMatchObject({ id: model, object: 'model' });
      await expect(client.models.retrieve('nobody')).rejects.toMatchObject({ status: 404, code: 'model_not_found' });
    });

    const greedy = { temperature: 0, max_completion_tokens: 24 };

    it('chats: the stream joins to the whole answer', async () => {
      const whole = await client.chat.completions.create({ model, messages, ...greedy });
      expect(whole.choices[0].message.content!.length).toBeGreaterThan(0);
      const { usage } = whole;
      expect(usage!.total_tokens).toBe(usage!.prompt_tokens + usage!.completion_tokens);

      const stream = await client.chat.completions.create({
        model,
        messages,
        ...greedy,
        stream: true,
        stream_options: { include_usage: true },
      });
      let text = '';
      let finish: string | null = null;
      let last: OpenAI.ChatCompletionChunk | undefined;
      for await (const chunk of stream) {
        text += chunk.choices[0]?.delta.content ?? '';
        finish = chunk.choices[0]?.finish_reason ?? finish;
        last = chunk;
      }
      expect(text).toBe(whole.choices[0].message.content);
      expect(finish).toBe(whole.choices[0].finish_reason);
      expect(last!.usage).toMatchObject({ prompt_tokens: usage!.prompt_tokens, completion_tokens: usage!.completion_tokens });
    });

    it('finds the pages of a prompt it has seen, and gives the same answer', async () => {
      const ask = () => client.chat.completions.create({ model, messages: [{ role: 'user', content: `${PROMPT} ${PROMPT}` }], ...greedy });
      const first = await ask();
      const second = await ask();
      expect(second.usage!.prompt_tokens_details!.cached_tokens).toBeGreaterThanOrEqual(16);
      expect(second.choices[0].message.content).toBe(first.choices[0].message.content);
    });

    it('repeats itself with a seed, and gives n different choices', async () => {
      const ask = () => client.chat.completions.create({ model, messages, seed: 42, n: 3, temperature: 1, max_tokens: 16 });
      const [a, b] = await Promise.all([ask(), ask()]);
      const texts = a.choices.map((c) => c.message.content);
      expect(a.choices.map((c) => c.index)).toEqual([0, 1, 2]);
      expect(new Set(texts).size).toBeGreaterThan(1);
      expect(b.choices.map((c) => c.message.content)).toEqual(texts);
    });

    it('gives log-probabilities whose bytes join to the text', async () => {
      const { choices } = await client.chat.completions.create({ model, messages, ...greedy, logprobs: true, top_logprobs: 3 });
      const tokens = choices[0].logprobs!.content!;
      const bytes = tokens.flatMap((t) => t.bytes ?? []);
      expect(new TextDecoder().decode(Uint8Array.from(bytes)).trimStart()).toBe(choices[0].message.content!.trimStart());
      for (const t of tokens) {
        expect(t.top_logprobs).toHaveLength(3);
        expect(t.top_logprobs[0].logprob).toBe(t.logprob); // greedy
        expect(t.logprob).toBeLessThanOrEqual(0);
      }
    });

    it('stops before a stop string that spans tokens', async () => {
      const content = 'Tom has 34 shells. Nora gives Tom 28 more. How many shells does Tom have now?'; // a long answer
      const ask = { model, messages: [{ role: 'user' as const, content }], ...greedy };
      const whole = (await client.chat.completions.create(ask)).choices[0].message.content!;
      const stop = whole.slice(9, 20);
      expect(stop).toHaveLength(11);
      const stream = client.chat.completions.stream({ ...ask, stop });
      const final = await stream.finalChatCompletion();
      expect(final.choices[0]).toMatchObject({ finish_reason: 'stop', message: { content: whole.slice(0, whole.indexOf(stop)) } });
    });

    it('completes texts and token ids, one or several, echoed or not, streamed or not', async () => {
      const { prompt_tokens: n } = (await client.completions.create({ model, prompt: PROMPT, max_tokens: 1 })).usage!;
      const response = await fetch(`${server.url}/v1/tokenize`, {
        method: 'POST',
        headers: { authorization: `Bearer ${KEY}`, 'content-type': 'application/json' },
        body: JSON.stringify({ prompt: PROMPT }),
      });
      const { tokens } = (await response.json()) as { tokens: number[] };
      expect(tokens).toHaveLength(n);

      const options = { model, temperature: 0, max_tokens: 12 };
      const several = await client.completions.create({ ...options, prompt: [PROMPT, 'One day'] });
      const byIds = await client.completions.create({ ...options, prompt: tokens });
      expect(several.choices.map((c) => c.index)).toEqual([0, 1]);
      expect(byIds.choices[0].text).toBe(several.choices[0].text);
      const echoed = await client.completions.create({ ...options, prompt: 'One day', echo: true });
      expect(echoed.choices[0].text).toBe(`One day${several.choices[1].text}`);

      let text = '';
      for await (const chunk of await client.completions.create({ ...options, prompt: PROMPT, stream: true }))
        text += chunk.choices[0]?.text ?? '';
      expect(text).toBe(several.choices[0].text);
    });

    it('keeps to a JSON schema whatever the model would say', async () => {
      const schema = {
        type: 'object',
        properties: { color: { enum: ['red', 'green', 'blue'] }, big: { type: 'boolean' } },
        required: ['color', 'big'],
        additionalProperties: false,
      };
      const { choices } = await client.chat.completions.create({
        model,
        messages,
        n: 4,
        max_tokens: 200,
        response_format: { type: 'json_schema', json_schema: { name: 'ball', schema, strict: true } },
      });
      for (const c of choices) {
        const ball = JSON.parse(c.message.content!);
        expect(Object.keys(ball).sort()).toEqual(['big', 'color']);
        expect(['red', 'green', 'blue']).toContain(ball.color);
        expect(typeof ball.big).toBe('boolean');
        expect(c.finish_reason).toBe('stop');
      }
    });

    it('streams a tool call when it must call, and takes the result', async () => {
      const parameters = {
        type: 'object',
        properties: { city: { enum: ['Oslo', 'Rome'] } },
        required: ['city'],
        additionalProperties: false,
      };
      const tools: OpenAI.ChatCompletionTool[] = [{ type: 'function', function: { name: 'get_weather', parameters, strict: true } }];
      const options = { model, tools, max_tokens: 200 };
      const stream = client.chat.completions.stream({ ...options, messages, tool_choice: 'required', parallel_tool_calls: false });
      const { message, finish_reason } = (await stream.finalChatCompletion()).choices[0];
      expect(finish_reason).toBe('tool_calls');
      expect(message.tool_calls).toHaveLength(1);
      const [call] = message.tool_calls!;
      if (call.type !== 'function') throw new Error(call.type);
      expect(call.function.name).toBe('get_weather');
      expect(['Oslo', 'Rome']).toContain(JSON.parse(call.function.arguments).city);
      const result: OpenAI.ChatCompletionMessageParam = { role: 'tool', tool_call_id: call.id, content: 'Rain.' };
      const answer = await client.chat.completions.create({
        ...options,
        messages: [...messages, message, result],
        tool_choice: 'none',
        max_tokens: 8,
      });
      expect(answer.choices[0].finish_reason).not.toBe('tool_calls');
    });

    it('answers over a WebSocket, stored or not, as over HTTP', async () => {
      const asked = { model, input: PROMPT, temperature: 0, max_output_tokens: 12 };
      const wanted = await client.responses.create(asked);
      const ws = new ResponsesWS(client);
      const next = (more: object) =>
        new Promise<OpenAI.Responses.Response>((resolve, reject) => {
          for (const end of ['response.completed', 'response.incomplete'] as const)
            ws.once(end, (e: { response: OpenAI.Responses.Response }) => resolve(e.response));
          ws.once('error', reject);
          ws.send({ type: 'response.create', ...asked, ...more } as OpenAI.Responses.ResponsesClientEvent);
        });
      const stored = await next({});
      const unstored = await next({ store: false });
      expect([stored.output_text, unstored.output_text]).toEqual([wanted.output_text, wanted.output_text]);
      const goes = { input: 'And then?', previous_response_id: unstored.id, store: false };
      const on = await next(goes);
      expect(on.usage!.input_tokens).toBeGreaterThan(unstored.usage!.input_tokens);
      ws.close();
    });

    it('answers the program of docs/clients.md over its WebSocket', async () => {
      const [, program] = programsOf('docs/clients.md');
      expect(await runProgram(program, server.url, KEY)).toMatch(/\w/);
    });

    it('runs a batch whose answers are those of its requests one by one, embeddings too', async () => {
      const body = { model, messages, ...greedy };
      const wanted = await client.chat.completions.create(body);
      const run = async (endpoint: '/v1/chat/completions' | '/v1/embeddings', bodies: object[]) => {
        const lines = bodies.map((b, i) => JSON.stringify({ custom_id: `${i}`, method: 'POST', url: endpoint, body: b }));
        const file = await client.files.create({ purpose: 'batch', file: await toFile(Buffer.from(lines.join('\n')), 'in.jsonl') });
        const { id } = await client.batches.create({ input_file_id: file.id, endpoint, completion_window: '24h' });
        await expect.poll(async () => (await client.batches.retrieve(id)).status, { timeout: 120_000 }).toBe('completed');
        const done = await client.batches.retrieve(id);
        const text = await (await client.files.content(done.output_file_id!)).text();
        return text
          .trim()
          .split('\n')
          .map((l) => (JSON.parse(l) as { response: { body: unknown } }).response.body);
      };
      const chats = (await run('/v1/chat/completions', [body, body, body])) as OpenAI.ChatCompletion[];
      expect(chats.map((c) => c.choices[0].message.content)).toEqual(Array(3).fill(wanted.choices[0].message.content));
      const vectors = await client.models
        .list()
        .then(({ data }) => data.find((m) => (m as unknown as { kind: string }).kind === 'embedding'));
      if (vectors) {
        const [answer] = (await run('/v1/embeddings', [{ model: vectors.id, input: 'a' }])) as OpenAI.CreateEmbeddingResponse[];
        expect(answer.data[0].embedding.length).toBeGreaterThan(0);
      }
    });

    it('throws its own error classes, with the parameter and the code', async () => {
      const ask = (extra: object) =>
        client.chat.completions.create({ model, messages, ...extra } as OpenAI.ChatCompletionCreateParamsNonStreaming);
      const stranger = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: 'sk-wrong-0123456', maxRetries: 0 });
      await expect(stranger.models.list()).rejects.toBeInstanceOf(OpenAI.AuthenticationError);
      await expect(ask({ model: 'nobody' })).rejects.toBeInstanceOf(OpenAI.NotFoundError);
      await expect(ask({ temperature: 'hot' })).rejects.toMatchObject({ status: 400, param: 'temperature', code: 'invalid_type' });
      await expect(ask({ modalities: ['audio'] })).rejects.toMatchObject({
        status: 400,
        param: 'modalities',
        code: 'unsupported_parameter',
      });
      await expect(ask({ messages: [{ role: 'user', content: 'word '.repeat(20_000) }] })).rejects.toMatchObject({
        status: 400,
        code: 'context_length_exceeded',
      });
      await expect(ask({ max_tokens: 1 << 20, stream: true })).rejects.toMatchObject({ status: 400, code: 'context_length_exceeded' });
    });

    it('aborts: the sequence ends and its pages come back', async () => {
      const before = await aborted();
      const stream = await client.chat.completions.create({
        model,
        messages,
        stream: true,
        n: 4,
        ignore_eos: true,
      } as OpenAI.ChatCompletionCreateParamsStreaming);
      for await (const chunk of stream) if (chunk.choices[0]?.delta.content) break; // leaving the loop aborts
      expect(await eventually(async () => (await aborted()) === before + 4)).toBe(true);
      expect(await idle()).toBe(true);
    });
  });

  describe('ai', () => {
    const provider = () => createOpenAICompatible({ name: 'turnstone', baseURL: `${server.url}/v1`, apiKey: KEY, includeUsage: true });

    it('generates and streams the same text', async () => {
      const options = { model: provider()(model), prompt: PROMPT, temperature: 0, maxOutputTokens: 16, maxRetries: 0 };
      const whole = await generateText(options);
      expect(whole.text.length).toBeGreaterThan(0);
      const stream = streamText(options);
      let text = '';
      for await (const part of stream.textStream) text += part;
      expect(text).toBe(whole.text);
      expect((await stream.usage).outputTokens).toBe(whole.usage.outputTokens);
      expect(await stream.finishReason).toBe(whole.finishReason);
    });

    it('completes', async () => {
      const whole = await generateText({
        model: provider().completionModel(model),
        prompt: PROMPT,
        temperature: 0,
        maxOutputTokens: 8,
        maxRetries: 0,
      });
      expect(whole.text.length).toBeGreaterThan(0);
    });

    it('tells an error with its message', async () => {
      const failing = generateText({ model: provider()('nobody'), prompt: PROMPT, maxRetries: 0 });
      await expect(failing).rejects.toBeInstanceOf(APICallError);
      await expect(failing).rejects.toMatchObject({ statusCode: 404, message: expect.stringContaining('nobody') });
    });

    it('aborts', async () => {
      const before = await aborted();
      const abort = new AbortController();
      const stream = streamText({
        model: provider()(model),
        prompt: PROMPT,
        abortSignal: abort.signal,
        maxRetries: 0,
        providerOptions: { turnstone: { n: 4, ignore_eos: true } },
        onError: () => {},
      });
      for await (const part of stream.fullStream) if (part.type === 'text-delta') abort.abort();
      expect(await eventually(async () => (await aborted()) === before + 4)).toBe(true);
      expect(await idle()).toBe(true);
    });
  });

  const why = uninstalled ? ` (skipped: ${uninstalled})` : '';
  it.skipIf(uninstalled !== null)(`nine of npm's, with tools and the turn after, streams and typed answers${why}`, async () => {
    const rows = await runClients(server.url, model, KEY);
    expect(rows.filter((row) => !row.endsWith('| passes |'))).toEqual([]);
    expect(rows).toHaveLength(9);
  });
});

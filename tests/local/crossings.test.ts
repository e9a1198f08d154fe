/** One call into the replica a request, whatever the API: counted where the host hands it over. */
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { createApp } from '../../serving/app.ts';
import { inProcess } from '../../serving/in-process.ts';
import { Responses } from '../../serving/responses/memory-sessions.ts';
import type { Runtime } from '../../serving/run/runtime.ts';
import { openShipped, requestTo } from './host.ts';

let rt: Runtime;
let app: ReturnType<typeof createApp>;
let responses: Responses;
let crossings: string[] = [];
let loads = 0;
beforeAll(async () => {
  rt = await openShipped();
  const runtime = async () => {
    loads++;
    return rt;
  };
  responses = new Responses(runtime);
  const host = inProcess({ model: rt.served.id, runtime, responses, vars: { PUBLIC: '1' } });
  const counted: typeof host.replica = (name, model) => ({
    fetch: (url, init) => {
      crossings.push(`${init?.method ?? 'GET'} ${new URL(url).pathname}`);
      return host.replica(name, model).fetch(url, init);
    },
  });
  app = createApp({ ...host, replica: counted });
}, 60_000);
afterAll(() => {
  responses?.close();
  rt?.engine.backend.dispose();
});
beforeEach(() => {
  crossings = [];
  loads = 0;
});

const model = 'pebble';
const messages = [{ role: 'user', content: 'What is 2 + 3?' }];
const few = { model, messages, max_tokens: 4 };
const tools = [
  { type: 'function', function: { name: 'get_weather', parameters: { type: 'object', properties: { city: { type: 'string' } } } } },
];

it.each([
  ['/v1/chat/completions', few],
  ['/v1/chat/completions', { ...few, stream: true, n: 3 }],
  ['/v1/chat/completions', { ...few, tools, tool_choice: 'required', max_tokens: 40 }],
  ['/v1/chat/completions', { ...few, prompt_cache_key: 'a', explain: true }],
  ['/v1/completions', { model, prompt: ['Once', 'Twice'], max_tokens: 4, logprobs: 2 }],
  ['/v1/messages', few],
  ['/v1/messages/count_tokens', { model, messages }],
  ['/v1/responses', { model, input: 'What is 2 + 3?', store: false, max_output_tokens: 4 }],
  ['/api/chat', { model, messages, options: { num_predict: 4 } }],
  ['/api/generate', { model, prompt: 'Once', raw: true, options: { num_predict: 4 } }],
  ['/v1/tokenize', { model, prompt: 'Once' }],
  ['/v1/apply-template', { model, messages }],
  ['/v1/turnstone/pages', { model, messages }],
])('%s %j crosses once', async (path, body) => {
  const answer = await app.fetch(requestTo(path, body));
  expect([answer.status, (await answer.arrayBuffer()).byteLength > 0]).toEqual([200, true]);
  expect(crossings).toHaveLength(1);
});

it('a list of models crosses once, in each API that has one', async () => {
  for (const path of ['/v1/models', '/v1/models/pebble', '/api/tags', '/api/ps']) {
    crossings = [];
    expect((await app.fetch(requestTo(path))).status, path).toBe(200);
    expect(crossings, path).toEqual(['GET /v1/models']);
  }
});

it('a turn that is kept is one order to the engine, however many read it', async () => {
  const created = (await (
    await app.fetch(requestTo('/v1/responses', { model, input: 'What is 2 + 3?', background: true, max_output_tokens: 8 }))
  ).json()) as { id: string };
  const read = () => app.fetch(requestTo(`/v1/responses/${created.id}?stream=true`)).then((r) => r.text());
  const [one, other] = await Promise.all([read(), read()]);
  expect(one).toBe(other);
  expect(one).toMatch(/event: response\.(completed|incomplete)/);
  expect([crossings.length, loads]).toEqual([0, 1]); // the session asks the engine itself, once
});

it('what is refused does not cross at all', async () => {
  for (const [path, body] of [
    ['/v1/chat/completions', { ...few, temperature: 9 }],
    ['/v1/messages', { model, messages }],
    ['/v1/responses', { model, input: '', store: false, max_output_tokens: 0 }],
    ['/api/chat', { model, messages, options: { mirostat: 2 } }],
    ['/v1/chat/completions', { ...few, messages: [{ role: 'user', content: 'long '.repeat(40_000) }] }],
  ] as const)
    expect((await app.fetch(requestTo(path, body))).status).toBe(400);
  expect(crossings).toEqual([]);
});

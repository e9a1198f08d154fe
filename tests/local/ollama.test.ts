/** Ollama's API as its own client speaks it, on an engine of this process. */
import { Ollama } from 'ollama';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseOllamaChat } from '../../openai/requests/ollama.ts';
import type { ChatRequest } from '../../openai/requests/types.ts';
import type { Runtime } from '../../serving/run/runtime.ts';
import { appOf, openShipped, requestTo } from './host.ts';

let rt: Runtime;
let app: ReturnType<typeof appOf>;
let client: Ollama;
beforeAll(async () => {
  rt = await openShipped();
  app = appOf(rt);
  client = new Ollama({ host: 'http://localhost', fetch: (input, init) => app.fetch(new Request(input, init)) });
}, 60_000);
afterAll(() => rt?.engine.backend.dispose());

const model = 'pebble';
const messages = [{ role: 'user', content: 'What is 2 + 3?' }];
const options = { temperature: 0, num_predict: 16 };

/** What OpenAI's API says to the same. */
async function chatted(more: object = {}): Promise<string> {
  const body = { model, messages, temperature: 0, max_tokens: 16, ...more };
  const { choices } = (await (await app.fetch(requestTo('/v1/chat/completions', body))).json()) as {
    choices: { message: { content: string } }[];
  };
  return choices[0].message.content;
}

describe('chats', () => {
  it('are those of the other APIs, whole and in pieces', async () => {
    const wanted = await chatted();
    const whole = await client.chat({ model, messages, options });
    expect(whole).toMatchObject({
      model: 'pebble:latest',
      message: { role: 'assistant', content: wanted },
      done: true,
      done_reason: 'stop',
    });
    const pieces = [];
    for await (const piece of await client.chat({ model: 'pebble:latest', messages, options, stream: true })) pieces.push(piece);
    expect(pieces.map((p) => p.message.content).join('')).toBe(wanted);
    expect(pieces.map((p) => p.done)).toEqual([...Array(pieces.length - 1).fill(false), true]);
    expect(Number.isNaN(Date.parse(String(pieces[0].created_at)))).toBe(false);
  });

  it('say what they took, in ns', async () => {
    const { prompt_eval_count, eval_count, eval_duration, prompt_eval_duration, total_duration, done_reason } = await client.generate({
      ...{ model, prompt: 'Once upon a time a boat sailed', raw: true, options: { ...options, num_predict: 12 } },
    });
    expect([eval_count, done_reason]).toEqual([12, 'length']);
    expect(prompt_eval_count).toBeGreaterThan(5);
    expect(eval_duration).toBeGreaterThan(0);
    expect(total_duration).toBe(prompt_eval_duration + eval_duration);
  });

  it('are ended by a stop string, and have the form that is asked for', async () => {
    expect((await client.chat({ model, messages, options: { ...options, stop: ['5'] } })).message.content).not.toContain('5');
    const format = { type: 'object', properties: { sum: { type: 'integer' } }, required: ['sum'] };
    const { message } = await client.chat({ model, messages, format, options: { temperature: 0 } });
    expect(JSON.parse(message.content)).toEqual({ sum: expect.any(Number) });
    expect((await client.chat({ model, messages, format: 'json', options })).message.content).toMatch(/^\{/);
  });

  it('call tools, and go on from what these said', async () => {
    const parameters = { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] };
    const tools = [{ type: 'function', function: { name: 'get_weather', description: 'The weather in a city', parameters } }];
    const asked = { role: 'user', content: 'What is the weather in Lisbon?' };
    const { message } = await client.chat({ model, messages: [asked], tools, options: { temperature: 0 } });
    expect(message.tool_calls?.[0].function).toMatchObject({ name: 'get_weather', arguments: { city: 'Lisbon' } });
    const pieces = [];
    for await (const piece of await client.chat({ model, messages: [asked], tools, options: { temperature: 0 }, stream: true }))
      pieces.push(piece);
    expect(pieces.flatMap((p) => p.message.tool_calls ?? []).map((c) => c.function.arguments)).toEqual([{ city: 'Lisbon' }]);
    const result = { role: 'tool', tool_name: 'get_weather', content: '{"temperature": 19, "sky": "cloudy"}' };
    const after = await client.chat({ model, messages: [asked, message, result], tools, options: { temperature: 0 } });
    expect(after.message.content).toContain('19');
  });

  it('give results to calls by name, and those without in order', () => {
    const call = (name: string) => ({ function: { name, arguments: { x: 1 } } });
    const said = (...names: (string | undefined)[]) =>
      parseOllamaChat({
        messages: [
          { role: 'user', content: 'both' },
          { role: 'assistant', tool_calls: [call('one'), call('two')] },
          ...names.map((tool_name) => ({ role: 'tool', content: 'x', tool_name })),
        ],
      }) as ChatRequest;
    const ids = (r: ChatRequest) => r.messages.flatMap((m) => (m.role === 'tool' ? [m.toolCallId] : []));
    expect(ids(said('two', 'one'))).toEqual(['call_1_1', 'call_1_0']);
    expect(ids(said(undefined, undefined))).toEqual(['call_1_0', 'call_1_1']);
  });

  it('tell probabilities of the tokens', async () => {
    const body = { model, messages, options: { ...options, num_predict: 3 }, logprobs: true, top_logprobs: 2, stream: false };
    const { logprobs } = (await (await app.fetch(requestTo('/api/chat', body))).json()) as { logprobs: { top_logprobs: unknown[] }[] };
    expect(logprobs.map((l) => l.top_logprobs.length)).toEqual([2, 2, 2]);
  });
});

describe('generate', () => {
  it('is a chat of one turn, or with raw a text that goes on', async () => {
    const system = 'You are a parrot.';
    const wanted = await chatted({ messages: [{ role: 'system', content: system }, ...messages] });
    const { response } = await client.generate({ model, prompt: messages[0].content, system, options });
    expect(response).toBe(wanted);
    const body = { model, prompt: 'Once', max_tokens: 6, temperature: 0 };
    const { choices } = (await (await app.fetch(requestTo('/v1/completions', body))).json()) as { choices: { text: string }[] };
    const raw = [];
    for await (const p of await client.generate({
      model,
      prompt: 'Once',
      raw: true,
      options: { ...options, num_predict: 6 },
      stream: true,
    }))
      raw.push(p);
    expect(raw.map((p) => p.response).join('')).toBe(choices[0].text);
  });

  it('of nothing loads the model, or says that it may go', async () => {
    expect(await client.generate({ model, prompt: '' })).toMatchObject({ response: '', done: true, done_reason: 'load' });
    expect(await client.chat({ model, messages: [], keep_alive: 0 })).toMatchObject({ message: { content: '' }, done_reason: 'unload' });
  });
});

it('shows what is served', async () => {
  const { models } = await client.list();
  expect(models).toMatchObject([{ name: 'pebble:latest', model: 'pebble:latest', digest: expect.stringMatching(/^[0-9a-f]{64}$/) }]);
  expect((await client.ps()).models).toMatchObject([{ name: 'pebble:latest', context_length: rt.engine.plan.context }]);
  const shown = await client.show({ model });
  expect(shown).toMatchObject({ capabilities: ['completion', 'tools'], details: { family: rt.served.config.family } });
  expect(shown.model_info).toMatchObject({ [`${rt.served.config.family}.context_length`]: rt.engine.plan.context });
  expect((await client.version()).version).toMatch(/^\d+\.\d+\.\d+/);
});

it('refuses in its own form what it cannot do', async () => {
  await expect(client.chat({ model: 'nobody', messages })).rejects.toThrow("'nobody' does not exist here");
  await expect(client.show({ model: 'nobody' })).rejects.toThrow("'nobody' does not exist here");
  const refused = async (path: string, body: object): Promise<unknown> => {
    const response = await app.fetch(requestTo(path, body));
    return [response.status, await response.json()];
  };
  const told = (why: string) => [400, { error: expect.stringContaining(why) }];
  expect(await refused('/api/chat', { model, messages, options: { mirostat: 1 } })).toEqual(told('mirostat'));
  expect(await refused('/api/chat', { model, messages, options: { num_ctx: 'all' } })).toEqual(told('options.num_ctx'));
  expect(await refused('/api/chat', { model, messages: [{ role: 'user', content: 'x', images: ['aGk='] }] })).toEqual(told('reads text'));
  expect(await refused('/api/generate', { model, prompt: 'x', context: [1, 2] })).toEqual(told('/api/chat'));
  expect(await refused('/api/generate', { model, prompt: 'x', format: 'yaml' })).toEqual(told("'format'"));
  expect(await refused('/api/chat', { model, messages: [{ role: 'user', content: 'long '.repeat(9000) }] })).toEqual(told('context'));
  expect(await refused('/api/nothing', {})).toEqual([404, { error: expect.stringContaining('/api/nothing') }]);
});

/** Anthropic's own client against the real server. */

import Anthropic from '@anthropic-ai/sdk';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { missing, startTestServer } from './server.ts';

const KEY = 'sk-test-0123456789';
const tools: Anthropic.Tool[] = [
  {
    name: 'get_weather',
    description: 'The weather in a city.',
    input_schema: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'], additionalProperties: false },
    cache_control: { type: 'ephemeral' },
  },
];

describe.skipIf(missing !== null)(`Anthropic's client${missing ? ` (skipped: ${missing})` : ''}`, () => {
  let server: Awaited<ReturnType<typeof startTestServer>>;
  let client: Anthropic;
  let model: string;
  beforeAll(async () => {
    server = await startTestServer({ API_KEYS: `tester:${KEY}` });
    model = server.model;
    client = new Anthropic({ baseURL: server.url, apiKey: KEY, authToken: null, maxRetries: 0 });
  }, 300_000);
  afterAll(() => server?.stop());

  const asked = {
    system: [{ type: 'text' as const, text: 'Be brief.', cache_control: { type: 'ephemeral' as const } }],
    messages: [{ role: 'user' as const, content: 'Who are you?' }],
    max_tokens: 24,
    temperature: 0,
  };

  it('streams what the whole answer is, and counts the same tokens', async () => {
    const whole = await client.messages.create({ model, ...asked });
    expect(whole).toMatchObject({ type: 'message', role: 'assistant', model, content: [{ type: 'text' }] });
    const seen: string[] = [];
    const stream = client.messages.stream({ model, ...asked }).on('text', (text) => seen.push(text));
    const streamed = await stream.finalMessage();
    expect(streamed.content).toEqual(whole.content);
    expect(streamed.stop_reason).toBe(whole.stop_reason);
    expect(seen.join('')).toBe((whole.content[0] as Anthropic.TextBlock).text);
    const { input_tokens } = await client.messages.countTokens({ model, system: asked.system, messages: asked.messages });
    for (const { usage } of [whole, streamed]) expect(usage.input_tokens + (usage.cache_read_input_tokens ?? 0)).toBe(input_tokens);
  });

  it('says why it stopped', async () => {
    // more than the context has room for: the field is required, and agents give large numbers
    expect((await client.messages.create({ model, ...asked, max_tokens: 10_000 })).stop_reason).toBe('end_turn');
    expect((await client.messages.create({ model, ...asked, max_tokens: 2 })).stop_reason).toBe('max_tokens');
    const whole = await client.messages.create({ model, ...asked });
    const stop = (whole.content[0] as Anthropic.TextBlock).text.slice(3, 6);
    const stopped = await client.messages.create({ model, ...asked, stop_sequences: [stop] });
    expect(stopped).toMatchObject({ stop_reason: 'stop_sequence', stop_sequence: stop });
  });

  it('calls a tool, and goes on from its result', async () => {
    const first = { role: 'user' as const, content: 'What is the weather in Lisbon?' };
    const request = { model, tools, tool_choice: { type: 'any' as const }, messages: [first], max_tokens: 64, temperature: 0 };
    const called = await client.messages.create(request);
    expect(called).toMatchObject({
      stop_reason: 'tool_use',
      content: [{ type: 'tool_use', name: 'get_weather', input: { city: expect.any(String) } }],
    });
    const stream = client.messages.stream(request);
    const ids = (m: Anthropic.Message) => m.content.map((b) => ({ ...b, id: '' }));
    expect(ids(await stream.finalMessage())).toEqual(ids(called));
    const [use] = called.content as Anthropic.ToolUseBlock[];
    const result = { type: 'tool_result' as const, tool_use_id: use.id, content: '{"temperature": 19, "sky": "cloudy"}' };
    const last = await client.messages.create({
      ...request,
      tool_choice: { type: 'auto' },
      messages: [first, { role: 'assistant', content: called.content }, { role: 'user', content: [result] }],
    });
    expect(last).toMatchObject({ stop_reason: 'end_turn', content: [{ type: 'text' }] });
  });

  it('throws its own errors', async () => {
    const other = new Anthropic({ baseURL: server.url, apiKey: 'sk-other-key', authToken: null, maxRetries: 0 });
    await expect(other.messages.create({ model, ...asked })).rejects.toBeInstanceOf(Anthropic.AuthenticationError);
    await expect(client.messages.create({ model: 'nobody', ...asked })).rejects.toBeInstanceOf(Anthropic.NotFoundError);
    await expect(
      client.messages.create({ model, ...asked, messages: [{ role: 'user', content: 'word '.repeat(5000) }] }),
    ).rejects.toMatchObject({
      status: 400,
      error: { type: 'error', error: { type: 'invalid_request_error', message: expect.stringContaining('context') } },
    });
    const image = { type: 'image' as const, source: { type: 'url' as const, url: 'https://example.com/a.png' } };
    await expect(client.messages.create({ model, ...asked, messages: [{ role: 'user', content: [image] }] })).rejects.toThrow(
      /'image' are not supported/,
    );
  });
});

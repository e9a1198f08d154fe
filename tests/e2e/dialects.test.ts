/** Tool calls of a real model at `auto`, over HTTP: Qwen2.5-Coder writes bare JSON, now and then in a code block. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { realModel } from '../shared.ts';
import { startTestServer } from './server.ts';

const model = realModel('Qwen2.5-Coder-0.5B-Instruct.Q4_K_M.gguf');

const closed = (properties: Record<string, { type: string }>) => ({
  type: 'object',
  properties,
  required: Object.keys(properties),
  additionalProperties: false,
});
const tool = (name: string, description: string, properties: Record<string, { type: string }>) => ({
  type: 'function',
  function: { name, description, parameters: closed(properties) },
});
const tools = [
  tool('get_weather', 'Get the current weather of a city.', { city: { type: 'string' } }),
  tool('search_flights', 'Search flights between two cities.', { from: { type: 'string' }, to: { type: 'string' } }),
  tool('set_alarm', 'Set an alarm at a time of day.', { hour: { type: 'integer' }, minute: { type: 'integer' } }),
];
const weather = (city: string, question: string): [string, string, object] => [question, 'get_weather', { city }];
const flights = (from: string, to: string, question: string): [string, string, object] => [question, 'search_flights', { from, to }];
const alarm = (hour: number, minute: number, question: string): [string, string, object] => [question, 'set_alarm', { hour, minute }];
const prompts = [
  weather('Paris', 'What is the weather in Paris?'),
  weather('Tokyo', "What's the weather like in Tokyo right now?"),
  weather('London', 'Is it raining in London?'),
  weather('Oslo', 'How warm is it in Oslo?'),
  weather('Madrid', 'Tell me the weather in Madrid.'),
  weather('Berlin', 'I need the current weather of Berlin.'),
  weather('Rome', 'Check the weather in Rome, please.'),
  weather('Cairo', 'What is the weather in Cairo?'),
  flights('Oslo', 'Rome', 'Find flights from Oslo to Rome.'),
  flights('Berlin', 'Madrid', 'Search flights from Berlin to Madrid, please.'),
  flights('Paris', 'London', 'Which flights go from Paris to London?'),
  flights('Tokyo', 'Seoul', 'I want to fly from Tokyo to Seoul. Search flights.'),
  flights('Vienna', 'Athens', 'Show me flights from Vienna to Athens.'),
  flights('Lisbon', 'Dublin', 'Search for flights from Lisbon to Dublin.'),
  alarm(7, 30, 'Set an alarm for 7:30.'),
  alarm(6, 15, 'Set an alarm at 6:15 in the morning.'),
  alarm(9, 45, 'Please set an alarm for 9:45.'),
  alarm(22, 10, 'Set an alarm for 22:10.'),
  alarm(12, 5, 'Set an alarm at 12:05.'),
  alarm(8, 20, 'Set my alarm for 8:20.'),
];

interface Call {
  name: string;
  arguments: string;
}
interface Read {
  content: string;
  calls: Call[];
  finish: string;
}

describe.skipIf(model.missing)(`tool calls of ${model.name} at auto${model.missing ? ` (skipped: ${model.why})` : ''}`, () => {
  let server: Awaited<ReturnType<typeof startTestServer>>;
  beforeAll(async () => {
    server = await startTestServer({ MEMORY_MB: '900', CONTEXT: '1024', MAX_BATCH: '10' }, undefined, 1, model.path);
    await ask('Hi', false); // the tools' pages, which all of them share
  }, 240_000);
  afterAll(() => server?.stop());

  async function ask(content: string, stream: boolean): Promise<Read> {
    const messages = [{ role: 'user', content }];
    const response = await fetch(`${server.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ model: server.model, messages, tools, stream, temperature: 0, max_tokens: content === 'Hi' ? 1 : 100 }),
    });
    if (!stream) {
      const { choices } = (await response.json()) as {
        choices: { finish_reason: string; message: { content: string | null; tool_calls?: { function: Call }[] } }[];
      };
      const [{ message, finish_reason: finish }] = choices;
      return { content: message.content ?? '', calls: (message.tool_calls ?? []).map((c) => c.function), finish };
    }
    const read: Read = { content: '', calls: [], finish: '' };
    for (const line of (await response.text()).split('\n')) {
      if (!line.startsWith('data: {')) continue;
      const [choice] = (JSON.parse(line.slice(6)) as { choices: Chunk[] }).choices;
      read.content += choice.delta.content ?? '';
      read.finish = choice.finish_reason ?? read.finish;
      for (const { index, function: f } of choice.delta.tool_calls ?? []) {
        if (f.name) read.calls.push({ name: f.name, arguments: '' });
        read.calls[index].arguments += f.arguments;
      }
    }
    return read;
  }

  it.each([
    ['whole', 20, false],
    // as many as differ in tool and wording, for the tokens are those of the whole answers; STREAMED_PROMPTS=20 asks all
    ['streamed', Number(process.env.STREAMED_PROMPTS ?? 5), true],
  ])('%s answers to %i prompts are the calls, and nothing else', { timeout: 120_000 }, async (_, count, stream) => {
    const asked = Array.from({ length: count }, (_, i) => prompts[(i * prompts.length) / count]);
    const answers = await Promise.all(asked.map(([content]) => ask(content, stream)));
    const right = answers.map((a) => ({ ...a, calls: a.calls.map((c) => ({ ...c, arguments: JSON.parse(c.arguments) })) }));
    expect(right).toEqual(asked.map(([, name, args]) => ({ content: '', calls: [{ name, arguments: args }], finish: 'tool_calls' })));
  });

  it('a call that the limit cuts off does not look finished, and none of it is text', { timeout: 60_000 }, async () => {
    const response = await fetch(`${server.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({
        model: server.model,
        messages: [{ role: 'user', content: 'What is the weather in Paris?' }],
        tools,
        temperature: 0,
        max_tokens: 11,
      }),
    });
    const { choices } = (await response.json()) as { choices: { finish_reason: string; message: { content: string | null } }[] };
    expect([choices[0].finish_reason, choices[0].message.content ?? '']).toEqual(['length', '']);
  });
});

interface Chunk {
  delta: { content?: string | null; tool_calls?: { index: number; function: Partial<Call> }[] };
  finish_reason: string | null;
}

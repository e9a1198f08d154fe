/** Answers bound by vLLM's and llama.cpp's parameters, through OpenAI's own client, at temperature 1. */
import OpenAI from 'openai';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startHost } from './host.ts';

const model = 'pebble';
let client: OpenAI;
let stop: () => void;

beforeAll(async () => {
  const host = await startHost();
  client = new OpenAI({ baseURL: `${host.url}/v1`, apiKey: 'sk-test-0123456789', maxRetries: 0 });
  stop = host.stop;
});
afterAll(() => stop?.());

const schema = { type: 'object', properties: { n: { type: 'integer', minimum: 3, maximum: 5 } }, required: ['n'] };
const forms: [object, RegExp][] = [
  [{ guided_choice: ['positive', 'negative', 'it depends'] }, /^(positive|negative|it depends)$/],
  [{ structured_outputs: { choice: ['pear', 'fig'] } }, /^(pear|fig)$/],
  [{ guided_regex: '[a-f]{2}-\\d{3}' }, /^[a-f]{2}-\d{3}$/],
  [{ regex: '(ja|nein)!' }, /^(ja|nein)!$/],
  [{ guided_json: schema }, /^\{"n": [345]\}$/],
  [{ json_schema: schema }, /^\{"n": [345]\}$/],
  [{ response_format: { type: 'json_object', schema } }, /^\{"n": [345]\}$/],
  [{ grammar: 'root ::= "- " [a-z]{3} ("\\n- " [a-z]{3}){2}' }, /^- [a-z]{3}\n- [a-z]{3}\n- [a-z]{3}$/],
  [{ guided_grammar: 'root ::= ("é" | "日"){2}' }, /^[é日]{2}$/],
];

describe.each(forms)('%j', (extra, form) => {
  it('binds a chat, a completion and a response', async () => {
    for (const seed of [1, 2]) {
      const messages = [{ role: 'user' as const, content: 'Hello?' }];
      const chat = await client.chat.completions.create({ model, messages, seed, max_tokens: 40, ...extra });
      expect(chat.choices[0].message.content).toMatch(form);
      expect(chat.choices[0].finish_reason).toBe('stop');
      const completion = await client.completions.create({ model, prompt: 'Hello?', seed, max_tokens: 40, ...extra });
      expect(completion.choices[0].text).toMatch(form);
    }
    if ('response_format' in extra) return;
    const response = await client.responses.create({ model, input: 'Hello?', max_output_tokens: 40, ...extra });
    expect(response.output_text).toMatch(form);
  });
});

it('a tool may be called instead', async () => {
  const tools = [{ type: 'function' as const, function: { name: 'get_time', parameters: { type: 'object', properties: {} } } }];
  const ask = (tool_choice: 'auto' | 'required') =>
    client.chat.completions.create({
      ...{ model, tools, tool_choice, max_tokens: 60, messages: [{ role: 'user', content: 'What time is it?' }] },
      ...({ guided_choice: ['I do not know'] } as object),
    });
  const [{ message }] = (await ask('auto')).choices;
  expect(message.tool_calls?.[0] ?? message.content).toSatisfy((x) => x === 'I do not know' || x.function.name === 'get_time');
  expect((await ask('required')).choices[0].message.tool_calls).toHaveLength(1);
});

it.each([
  [{ guided_regex: '(?=a)' }, 'guided_regex'],
  [{ grammar: 'root ::= x' }, 'grammar'],
  [{ guided_json: { type: 'string', format: 'iri' } }, 'guided_json'],
  [{ structured_outputs: { grammar: '' } }, 'structured_outputs.grammar'],
])('%j is refused, naming it', async (extra, param) => {
  const refused = client.chat.completions.create({ model, messages: [{ role: 'user', content: 'x' }], ...(extra as object) });
  await expect(refused).rejects.toMatchObject({ status: 400, param });
});

describe('what of a schema no mask can enforce', () => {
  const loose = { type: 'object', properties: { id: { type: 'string', pattern: '(?=a)b', maxLength: 4 } }, required: ['id'] };
  const strict = false;
  const tools = [{ type: 'function' as const, function: { name: 'save', parameters: loose, strict } }];
  const response_format = { type: 'json_schema' as const, json_schema: { name: 's', schema: { type: 'string', format: 'iri' }, strict } };
  const messages = [{ role: 'user' as const, content: 'Hello?' }];
  const asked = { model, messages, max_tokens: 20 };
  const told = ['# format', '#/tools/0/parameters/properties/id pattern'];

  it('is told without strict, in a header and in whole answers', async () => {
    const { data, response } = await client.chat.completions.create({ ...asked, tools, response_format }).withResponse();
    expect((data as unknown as { turnstone: object }).turnstone).toEqual({ not_enforced: told });
    expect(decodeURI(response.headers.get('x-turnstone-not-enforced') ?? '')).toBe(told.join(', '));
    const stream = await client.chat.completions.create({ ...asked, tools, response_format, stream: true }).withResponse();
    expect(stream.response.headers.get('x-turnstone-not-enforced')).toBe(response.headers.get('x-turnstone-not-enforced'));
    for await (const chunk of stream.data) expect(chunk.choices).toHaveLength(1);
    for (const store of [true, false]) {
      const format = {
        type: 'json_schema' as const,
        name: 's',
        schema: { type: 'string', format: 'iri' } as Record<string, unknown>,
        strict,
      };
      const answer = await client.responses.create({ model, input: 'Hello?', max_output_tokens: 20, store, text: { format } });
      expect((answer as unknown as { turnstone: object }).turnstone).toEqual({ not_enforced: ['# format'] });
    }
    const plain = await client.chat.completions.create({ ...asked, response_format: { type: 'json_object' } }).withResponse();
    expect(plain.response.headers.has('x-turnstone-not-enforced')).toBe(false);
    expect(plain.data).not.toHaveProperty('turnstone');
  });

  it('is refused with strict, naming the place', async () => {
    const json_schema = { ...response_format.json_schema, strict: true };
    await expect(client.chat.completions.create({ ...asked, response_format: { type: 'json_schema', json_schema } })).rejects.toMatchObject(
      { status: 400, param: 'response_format', message: expect.stringContaining('format') },
    );
  });
});

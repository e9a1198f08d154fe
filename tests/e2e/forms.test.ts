/**
 * Whatever the shipped model samples at temperature 1 under a schema or a tool is valid, over HTTP.
 * 60 tries over 20 schemas; JSON_TRIES=500 for as many as that.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { schemas } from '../grammar/schemas.ts';
import { ajv } from '../grammar/validator.ts';
import { missing, startTestServer } from './server.ts';

const TRIES = Number(process.env.JSON_TRIES ?? 60);
const AT_ONCE = 8;
/** Forms whose length is bounded: under the two recursive ones a sampled answer may go on until max_tokens cuts it. */
const value = { type: 'integer', minimum: 0, maximum: 99 };
const closed = (properties: Record<string, unknown>) => ({
  type: 'object',
  properties,
  required: Object.keys(properties),
  additionalProperties: false,
});
const pair = closed({ left: value, right: value });
const forms: [name: string, schema: Record<string, unknown>][] = [
  ...schemas.filter(([, schema]) => !JSON.stringify(schema).includes('"$ref":"#')),
  ['a tree of two levels', closed({ left: pair, right: pair })],
  ['a chain of three', closed({ value, next: closed({ value, next: closed({ value, next: { type: 'null' } }) }) })],
];
const messages = [{ role: 'user', content: 'Fill in the form. My name is Clara, I am 41 years old and I live in Oslo.' }];

interface Answer {
  error?: { message: string };
  choices: {
    finish_reason: string;
    message: { content: string | null; tool_calls?: { function: { name: string; arguments: string } }[] };
    delta?: { tool_calls?: { function: { name?: string; arguments?: string } }[] };
  }[];
}

describe.skipIf(missing)('answers bound to a form, at temperature 1', () => {
  let server: Awaited<ReturnType<typeof startTestServer>>;
  beforeAll(async () => {
    server = await startTestServer({});
  });
  afterAll(() => server.stop());

  const post = (body: object) =>
    fetch(`${server.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ model: server.model, messages, temperature: 1, max_tokens: 1200, ...body }),
    });
  const ask = async (body: object): Promise<Answer['choices'][0]> => {
    const answer = (await (await post(body)).json()) as Answer;
    if (answer.error) throw new Error(answer.error.message);
    return answer.choices[0];
  };
  /** Runs `one(i)` for i below n, some at the same time. */
  const many = async (n: number, one: (i: number) => Promise<void>) => {
    let next = 0;
    const worker = async () => {
      while (next < n) await one(next++);
    };
    await Promise.all(Array.from({ length: AT_ONCE }, worker));
  };

  it(`${TRIES} tries over ${forms.length} schemas: each answer is valid`, { timeout: 30_000 + TRIES * 5_000 }, async () => {
    const texts = new Set<string>();
    expect(forms).toHaveLength(20);
    await many(TRIES, async (i) => {
      const [name, schema] = forms[i % forms.length];
      const { finish_reason, message } = await ask({
        seed: i,
        response_format: { type: 'json_schema', json_schema: { name: 'form', schema, strict: true } },
      });
      expect([name, finish_reason]).toEqual([name, 'stop']);
      const validate = ajv.compile(schema);
      expect([message.content, validate(JSON.parse(message.content ?? '')), validate.errors]).toEqual([message.content, true, null]);
      texts.add(message.content ?? '');
    });
    console.log(`${TRIES} answers over ${forms.length} schemas at temperature 1: all valid, ${texts.size} different`);
    expect(texts.size).toBeGreaterThan(TRIES / 3);
  });

  const parameters = schemas[0][1];
  const tools = [{ type: 'function', function: { name: 'save_person', description: 'Save a person.', parameters, strict: true } }];

  it('20 tool calls name the tool, with valid arguments', async () => {
    await many(20, async (i) => {
      const { finish_reason, message } = await ask({ seed: i, tools, tool_choice: 'required', parallel_tool_calls: false });
      expect(finish_reason).toBe('tool_calls');
      expect(message.tool_calls).toHaveLength(1);
      const call = message.tool_calls?.[0].function;
      expect(call?.name).toBe('save_person');
      expect([call?.arguments, ajv.validate(parameters, JSON.parse(call?.arguments ?? ''))]).toEqual([call?.arguments, true]);
    });
  });

  it('a streamed call has the deltas of the call that is not streamed', async () => {
    const options = { seed: 3, tools, tool_choice: 'required', parallel_tool_calls: false };
    const whole = (await ask(options)).message.tool_calls?.[0].function;
    const sse = await (await post({ ...options, stream: true })).text();
    const deltas = [...sse.matchAll(/^data: (\{.*)$/gm)].flatMap((m) => (JSON.parse(m[1]) as Answer).choices[0]?.delta?.tool_calls ?? []);
    expect(deltas.length).toBeGreaterThan(2);
    expect(deltas.map((d) => d.function.name ?? '').join('')).toBe(whole?.name);
    expect(deltas.map((d) => d.function.arguments ?? '').join('')).toBe(whole?.arguments);
  });
});

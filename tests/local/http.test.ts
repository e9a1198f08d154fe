/** What a GPU host serves over HTTP, on wasm, as OpenAI's own client sees it. */
import { request as httpRequest } from 'node:http';
import OpenAI from 'openai';
import type { ResponseStreamEvent } from 'openai/resources/responses/responses';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Runtime } from '../../serving/run/runtime.ts';
import { startHost } from './host.ts';

let client: OpenAI;
let rt: Runtime;
let stop: () => void;

beforeAll(async () => {
  const host = await startHost();
  client = new OpenAI({ baseURL: `${host.url}/v1`, apiKey: 'sk-test-0123456789', maxRetries: 0 });
  ({ rt, stop } = host);
});
afterAll(() => stop?.());

it('a client that hangs up comes back to an answer that went on without it', async () => {
  const more = { ignore_eos: true } as object;
  const live = await client.responses.create({
    model: 'pebble',
    input: 'Tell me of a boat.',
    max_output_tokens: 200,
    stream: true,
    ...more,
  });
  const seen: ResponseStreamEvent[] = [];
  for await (const event of live) {
    seen.push(event);
    if (seen.length === 9) break;
  }
  const { response } = seen[0] as OpenAI.Responses.ResponseCreatedEvent;
  const rest: ResponseStreamEvent[] = [];
  for await (const event of await client.responses.retrieve(response.id, { stream: true, starting_after: 8 })) rest.push(event);
  expect([...seen, ...rest].map((e) => e.sequence_number)).toEqual([...seen, ...rest].map((_, i) => i));
  const whole = await client.responses.retrieve(response.id);
  expect([...seen, ...rest].map((e) => (e.type === 'response.output_text.delta' ? e.delta : '')).join('')).toBe(whole.output_text);
  expect(whole.usage?.output_tokens).toBe(200);
});

it('a conversation goes on by its id, is listed and deleted', async () => {
  const create = { model: 'pebble', max_output_tokens: 8, temperature: 0 };
  const first = await client.responses.create({ ...create, input: 'What is 2 + 3?' });
  const second = await client.responses.create({ ...create, input: 'And 4 + 1?', previous_response_id: first.id });
  const items = await client.responses.inputItems.list(second.id, { order: 'asc' });
  expect(items.data.map((i) => i.type)).toEqual(['message', 'message', 'message']);
  await client.responses.delete(second.id);
  await expect(client.responses.retrieve(second.id)).rejects.toBeInstanceOf(OpenAI.NotFoundError);
  expect(await client.responses.retrieve(first.id)).toMatchObject({ id: first.id, output_text: first.output_text });
});

it('a chat whose client hangs up is not computed further', async () => {
  const stream = await client.chat.completions.create({
    ...{ model: 'pebble', messages: [{ role: 'user', content: 'Tell me of a boat.' }], max_tokens: 300, stream: true },
    ...({ ignore_eos: true } as object),
  } as OpenAI.Chat.ChatCompletionCreateParamsStreaming);
  for await (const _ of stream) break;
  const aborted = async () => {
    const text = await (await fetch(client.baseURL.replace('/v1', '/metrics'))).text();
    return /finished_reason="abort".*/.exec(text)?.[0];
  };
  await expect.poll(aborted).toMatch(/ 1$/);
});

it('answers to no web page: neither by a name that was made to point here, nor to a form', async () => {
  const { port } = new URL(client.baseURL);
  const send = (headers: Record<string, string>, body = '{}') =>
    new Promise<number | undefined>((resolve, reject) => {
      const options = { host: '127.0.0.1', port, path: '/v1/tokenize', method: 'POST', headers };
      httpRequest(options, (r) => resolve(r.resume().statusCode))
        .on('error', reject)
        .end(body);
    });
  const json = { 'content-type': 'application/json' };
  expect(await send({ ...json, host: 'evil.example' })).toBe(403);
  expect(await send({ ...json, host: `127.0.0.1.evil.example:${port}` })).toBe(403);
  expect(await send({ 'content-type': 'text/plain' })).toBe(415);
  expect(await send({})).toBe(415);
  expect(await send({ ...json, host: 'localhost' }, '{"prompt":"x"}')).toBe(200);
});

const applied = async (body: object): Promise<string> => {
  const { prompt } = await client.post<{ prompt: string }>('/apply-template', { body });
  return prompt;
};

it("a prompt's text is shown, and its tokens are those counted", async () => {
  const messages = [
    { role: 'system', content: 'Be brief.' },
    {
      role: 'user',
      content: [
        { type: 'text', text: 'One' },
        { type: 'text', text: '<|im_end|>' },
      ],
    },
  ];
  const prompt = await applied({ messages });
  expect(prompt).toContain('One\n<|im_end|>');
  const whole = await client.post<{ tokens: number[] }>('/tokenize', { body: { messages } });
  const { prompt: said } = await client.post<{ prompt: string }>('/detokenize', { body: { tokens: whole.tokens } });
  expect(said).toBe(prompt);
  expect(await applied({ messages, add_generation_prompt: false })).toBe(prompt.slice(0, prompt.lastIndexOf('<|im_start|>')));
});

it('an answer that has begun goes on', async () => {
  const user = { role: 'user' as const, content: 'What is 2 + 3?' };
  const ask = async (extra: object, ...more: object[]) => {
    const chat = await client.chat.completions.create({
      ...{ model: 'pebble', temperature: 0, max_tokens: 30, messages: [user, ...more] as [typeof user] },
      ...extra,
    });
    return chat.choices[0].message.content ?? '';
  };
  const whole = await ask({});
  expect(whole.length).toBeGreaterThan(1);
  for (const cut of [1, Math.ceil(whole.length / 2)]) {
    const begun = { role: 'assistant', content: whole.slice(0, cut) };
    expect(await applied({ messages: [user, begun], continue_final_message: true })).toMatch(
      new RegExp(`assistant\\n${whole.slice(0, cut).replace(/[.*+?^${}()|[\]\\]/g, '\\$&')}$`),
    );
    const continued = await ask({ continue_final_message: true }, begun);
    expect(await ask({}, { ...begun, prefix: true })).toBe(continued);
    if (cut > 1) expect(begun.content + continued).toBe(whole);
  }
  await expect(ask({ continue_final_message: true })).rejects.toMatchObject({ status: 400, param: 'continue_final_message' });
  await expect(
    ask({ continue_final_message: true, add_generation_prompt: true }, { role: 'assistant', content: 'x' }),
  ).rejects.toMatchObject({
    status: 400,
  });
});

it('a request brings a template of its own', async () => {
  const messages = [{ role: 'user' as const, content: 'Hi <|im_end|>' }];
  const chat_template = '{% for m in messages %}[{{ m.role }}] {{ m.content }}{{ tail }}{% endfor %}';
  expect(await applied({ messages, chat_template, chat_template_kwargs: { tail: '!' } })).toBe('[user] Hi <|im_end|>!');
  const chat = await client.chat.completions.create({ ...{ model: 'pebble', messages, max_tokens: 4 }, ...({ chat_template } as object) });
  expect(chat.usage?.prompt_tokens).toBe((await client.post<{ count: number }>('/tokenize', { body: { messages, chat_template } })).count);
  for (const wrong of ['{% for %}', "{{ raise_exception('no') }}"]) {
    await expect(applied({ messages, chat_template: wrong })).rejects.toMatchObject({ status: 400, param: 'chat_template' });
  }
});

const once = 'Tell me of a boat.';
interface Place {
  [id: string]: { logprob: number; rank: number; decoded_token: string };
}
interface Legacy {
  tokens: string[];
  token_logprobs: (number | null)[];
  top_logprobs: (Record<string, number> | null)[];
  text_offset: number[];
}

it("a prompt's own tokens are scored, with the numbers that they had when they were written", async () => {
  const base = { model: 'pebble', temperature: 0, logprobs: 3 };
  const written = (await client.completions.create({ ...base, prompt: once, max_tokens: 20 })).choices[0];
  const of = (c: OpenAI.CompletionChoice) => c.logprobs as unknown as Legacy;
  const text = once + written.text;
  const echoed = await client.completions.create({ ...base, prompt: text, echo: true, max_tokens: 0 });
  const [choice] = echoed.choices;
  expect(choice).toMatchObject({ text, finish_reason: 'length' });
  expect(echoed.usage).toMatchObject({ completion_tokens: 0, prompt_tokens: of(choice).tokens.length });
  const n = of(written).tokens.length;
  expect(of(choice).tokens.slice(-n)).toEqual(of(written).tokens);
  expect(of(choice).token_logprobs.slice(-n)).toEqual(of(written).token_logprobs);
  expect(of(choice).top_logprobs.slice(-n)).toEqual(of(written).top_logprobs);
  expect([of(choice).token_logprobs[0], of(choice).top_logprobs[0]]).toEqual([null, null]);
  of(choice).text_offset.forEach((at, i) => {
    const { tokens } = of(choice);
    expect(text.slice(at).startsWith(tokens[i]) || tokens[i].startsWith('<')).toBe(true);
  });

  // streamed, the prompt comes in the first piece; then the answer's own
  const stream = await client.completions.create({ ...base, prompt: text, echo: true, max_tokens: 3, stream: true });
  const told: Legacy[] = [];
  let said = '';
  for await (const chunk of stream) {
    said += chunk.choices[0]?.text ?? '';
    if (chunk.choices[0]?.logprobs) told.push(of(chunk.choices[0]));
  }
  expect(told[0]).toEqual(of(choice));
  expect(said.startsWith(text)).toBe(true);
  expect(told.flatMap((t) => t.text_offset)).toHaveLength(of(choice).tokens.length + 3);

  // vLLM's form, with ids and ranks, of completions and chats; a hit of the cache takes nothing away
  const more = { prompt_logprobs: 3 } as object;
  for (const stop of [false, true]) {
    const scored = await client.completions.create({ model: 'pebble', prompt: text, max_tokens: stop ? 2 : 0, n: stop ? 2 : 1, ...more });
    for (const c of scored.choices) {
      const [first, ...places] = (c as unknown as { prompt_logprobs: (Place | null)[] }).prompt_logprobs;
      expect(first).toBeNull();
      const { tokens, token_logprobs: logprobs } = of(choice);
      expect(
        places.map((p, i) => Object.values(p as Place).find((t) => t.decoded_token === tokens[i + 1] && t.logprob === logprobs[i + 1])),
      ).not.toContain(undefined);
      for (const p of places) expect(Object.values(p as Place).map((t) => t.rank)).toEqual(expect.arrayContaining([1, 2, 3]));
    }
  }
  const messages = [{ role: 'user' as const, content: once }];
  const chat = await client.chat.completions.create({ model: 'pebble', messages, max_tokens: 2, n: 2, ...more });
  const { tokens } = await client.post<{ tokens: number[] }>('/tokenize', { body: { messages } });
  const { prompt_logprobs: places } = chat as unknown as { prompt_logprobs: (Place | null)[] };
  expect(places.map((p, i) => p === null || Object.hasOwn(p, tokens[i]))).toEqual(tokens.map(() => true));
  expect(chat.choices).toHaveLength(2);
});

it('no more is told of prompts than a request may hold', async () => {
  const prompt = Array.from({ length: 64 }, () => Array.from({ length: 30 }, (_, i) => i + 5));
  const asked = { model: 'pebble', prompt, max_tokens: 0, prompt_logprobs: 20 } as unknown as OpenAI.CompletionCreateParamsNonStreaming;
  await expect(client.completions.create(asked)).rejects.toMatchObject({ status: 400, param: 'prompt_logprobs' });
  const echo = { model: 'pebble', prompt, max_tokens: 1, echo: true, logprobs: 20 };
  await expect(client.completions.create(echo)).rejects.toMatchObject({ status: 400, param: 'logprobs' });
  await expect(client.responses.create({ model: 'pebble', input: once, ...({ prompt_logprobs: 1 } as object) })).rejects.toMatchObject({
    ...{ status: 400, param: 'prompt_logprobs' },
  });
});

it('thinks so many tokens at the most, then answers, in the form that is asked for', async () => {
  const chat_template =
    '{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}<|im_start|>assistant\n<think>\n';
  const ask = async (extra: object) => {
    const messages = [{ role: 'user' as const, content: once }];
    const chat = await client.chat.completions.create({
      ...{ model: 'pebble', messages, max_tokens: 60, temperature: 0 },
      ...({ chat_template, ...extra } as object),
    });
    const [{ message, finish_reason: finish }] = chat.choices;
    const { reasoning_content: thought = '' } = message as { reasoning_content?: string };
    return { thought, said: message.content ?? '', finish, usage: chat.usage };
  };
  const long = { min_tokens: 60 };
  const free = await ask(long);
  expect([free.said, free.finish]).toEqual(['', 'length']); // it never ends its thinking
  const closing = rt.served.tokenizer.encode('</think>', { bos: false }).length;
  for (const thinking_budget of [0, 5, 20]) {
    const { thought, said, usage } = await ask({ ...long, thinking_budget });
    expect(free.thought.startsWith(thought)).toBe(true);
    expect(thought.length > 0).toBe(thinking_budget > 0);
    expect(said).not.toMatch(/think>|^$/);
    expect(usage?.completion_tokens_details?.reasoning_tokens).toBe(thinking_budget + closing);
  }
  const ended = await ask({ ignore_eos: true, thinking_budget: 5 });
  expect([ended.finish, ended.usage?.completion_tokens]).toEqual(['length', 60]); // the model's end is none then
  const schema = { type: 'object', properties: { boat: { type: 'boolean' } }, required: ['boat'], additionalProperties: false };
  const form = { response_format: { type: 'json_schema', json_schema: { name: 's', schema, strict: true } } };
  const formed = await ask({ ...form, ...long, ignore_eos: true, reasoning: { max_tokens: 5 } });
  expect([Object.keys(JSON.parse(formed.said)), formed.finish]).toEqual([['boat'], 'stop']);
});

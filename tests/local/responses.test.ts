/** Stored responses outside of Workers, on wasm: kept in memory, with the edge's objects, events and errors. */
import { Ajv2020 } from 'ajv/dist/2020.js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { localPack } from '../../cli/packs.ts';
import { DeviceLostError } from '../../kernels/webgpu/index.ts';
import { folderPack } from '../../models/node/files.ts';
import type { Caller } from '../../serving/responses/caller.ts';
import { createConversation, listItems } from '../../serving/responses/conversations.ts';
import { sessionName, sessionOf } from '../../serving/responses/ids.ts';
import { Responses } from '../../serving/responses/memory-sessions.ts';
import type { StoreLimits } from '../../serving/responses/memory-turns.ts';
import { explained } from '../../serving/run/device-fault.ts';
import { openModel, wasmMaker } from '../../serving/run/open.ts';
import type { Runtime } from '../../serving/run/runtime.ts';
import { wasmModules } from '../kernels/modules.ts';
import { appOf, requestTo } from './host.ts';

interface Answer {
  id: string;
  status: string;
  store: boolean;
  output: unknown[];
  output_text: string;
  usage: { input_tokens: number; input_tokens_details: { cached_tokens: number }; output_tokens: number };
  error?: { code: string; param: string; message: string };
}
interface Event {
  type: string;
  sequence_number: number;
  response?: Answer;
}

let rt: Runtime;
const opened: Responses[] = [];
const keeper = (limits?: Partial<StoreLimits>, runtime: () => Promise<Runtime> = async () => rt) => {
  const made = new Responses(runtime, limits);
  opened.push(made);
  return made;
};

/** A client of a host with those responses. */
function client(responses: Responses, key?: string) {
  const app = appOf(rt, responses, key === undefined ? { PUBLIC: '1' } : { API_KEYS: 'sk-one-0123456789,sk-two-0123456789' });
  const send = (method: string, path: string, body?: unknown) => {
    const headers: Record<string, string> = key === undefined ? {} : { authorization: `Bearer ${key}` };
    return app.fetch(new Request(requestTo(`/v1/responses${path}`, body, headers), { method }));
  };
  const json = async (method: string, path: string, body?: unknown) => (await (await send(method, path, body)).json()) as Answer;
  const ask = (input: string, extra: object = {}) =>
    json('POST', '', { model: 'pebble', input, temperature: 0, max_output_tokens: 12, ...extra });
  return { send, json, ask };
}

const eventsOf = (text: string): Event[] =>
  text
    .split('\n')
    .filter((line) => line.startsWith('data: '))
    .map((line) => JSON.parse(line.slice(6)) as Event);

/** Long enough to be caught in the middle: a stop token ends nothing. */
const LONG = { max_output_tokens: 300, ignore_eos: true };

beforeAll(async () => {
  const { folder } = await localPack(undefined, () => {});
  rt = await openModel({ source: folderPack(folder), id: 'pebble', maker: wasmMaker(wasmModules()), memoryBytes: 96 << 20 });
}, 60_000);
afterAll(() => {
  for (const r of opened) r.close();
});

/** The cases of Open Responses' compliance suite by their ids, and what it wants of every answer. */
describe('Open Responses', () => {
  const string = { type: 'string' };
  const number = { type: 'number' };
  const count = { type: 'integer' };
  const flag = { type: 'boolean' };
  const orNull = (schema: object) => ({ anyOf: [schema, { type: 'null' }] });
  const object = (properties: Record<string, object>) => ({ type: 'object', properties, required: Object.keys(properties) });
  const list = (items: object) => ({ type: 'array', items });
  const one = (...values: string[]) => ({ enum: values });
  const status = one('in_progress', 'completed', 'incomplete');
  const textPart = object({ type: one('output_text'), text: string, annotations: list({}), logprobs: list({}) });
  const items = {
    message: object({ type: one('message'), id: string, status, role: one('assistant'), content: list(textPart) }),
    function_call: object({ type: one('function_call'), id: string, call_id: string, name: string, arguments: string, status }),
  };
  const tokens = (detail: string) => object({ [detail]: count });
  const resource = object({
    ...{ id: string, object: one('response'), created_at: count, completed_at: orNull(count), status: string, model: string },
    ...{ incomplete_details: orNull(object({ reason: string })), error: orNull(object({ code: string, message: string })) },
    ...{ previous_response_id: orNull(string), instructions: orNull(string), output: list({ anyOf: Object.values(items) }) },
    tools: list(
      object({ type: one('function'), name: string, description: orNull(string), parameters: orNull(object({})), strict: orNull(flag) }),
    ),
    tool_choice: { anyOf: [one('none', 'auto', 'required'), object({ type: string })] },
    ...{ truncation: one('auto', 'disabled'), parallel_tool_calls: flag, text: object({ format: object({ type: string }) }) },
    ...{ top_p: number, temperature: number, presence_penalty: number, frequency_penalty: number, top_logprobs: count },
    reasoning: orNull(object({ effort: orNull(string), summary: orNull(string) })),
    usage: orNull(
      object({
        ...{ input_tokens: count, output_tokens: count, total_tokens: count },
        ...{ input_tokens_details: tokens('cached_tokens'), output_tokens_details: tokens('reasoning_tokens') },
      }),
    ),
    ...{ max_output_tokens: orNull(count), max_tool_calls: orNull(count), store: flag, background: flag, service_tier: string },
    ...{ metadata: {}, safety_identifier: orNull(string), prompt_cache_key: orNull(string) },
  });
  const at = { item_id: string, output_index: count };
  const part = { ...at, content_index: count };
  const events: Record<string, object> = {
    ...Object.fromEntries(['created', 'in_progress', 'completed'].map((e) => [`response.${e}`, { response: resource }])),
    'response.output_item.added': { output_index: count, item: { anyOf: Object.values(items) } },
    'response.output_item.done': { output_index: count, item: { anyOf: Object.values(items) } },
    'response.content_part.added': { ...part, part: textPart },
    'response.content_part.done': { ...part, part: textPart },
    'response.output_text.delta': { ...part, delta: string, logprobs: list({}) },
    'response.output_text.done': { ...part, text: string, logprobs: list({}) },
    'response.function_call_arguments.delta': { ...at, delta: string },
    'response.function_call_arguments.done': { ...at, arguments: string },
  };
  const ajv = new Ajv2020({ strict: false });
  const check = (schema: object, value: unknown) => {
    const validate = ajv.compile(schema);
    expect(validate(value), `${ajv.errorsText(validate.errors)}: ${JSON.stringify(value)}`).toBe(true);
  };
  const said = (role: string, content: unknown) => ({ type: 'message', role, content });
  const parameters = { type: 'object', properties: { location: { type: 'string', description: 'The city' } }, required: ['location'] };
  const tools = [{ type: 'function', name: 'get_weather', description: 'The weather at a place', parameters }];
  const weather = { input: [said('user', 'What is the weather in San Francisco?')], tools };
  const cases: [id: string, request: object, kind: string, streamed?: boolean][] = [
    ['basic-response', { input: [said('user', 'Say hello.')] }, 'message'],
    ['streaming-response', { input: [said('user', 'Count from 1 to 5.')] }, 'message', true],
    ['system-prompt', { input: [said('system', 'Speak as a pirate does.'), said('user', 'Say hello.')] }, 'message'],
    ['tool-calling', weather, 'function_call'],
    ['tool-calling-streaming', weather, 'function_call', true],
    [
      'multi-turn',
      { input: [said('user', 'My name is Ann.'), said('assistant', 'Hello, Ann.'), said('user', 'What is my name?')] },
      'message',
    ],
  ];

  it.each(cases)('%s', async (_, request, kind, stream = false) => {
    const answer = await client(keeper()).send('POST', '', { model: 'pebble', ...request, stream });
    expect(answer.status).toBe(200);
    const told = stream ? eventsOf(await answer.text()) : [];
    for (const e of told) check(object({ type: one(e.type), sequence_number: count, ...events[e.type] }), e);
    const response = stream ? told.at(-1)!.response! : ((await answer.json()) as Answer);
    check(resource, response);
    expect(response.status).toBe('completed');
    expect(response.output.map((item) => (item as { type: string }).type)).toContain(kind);
    if (!stream) return;
    const call = ['function_call_arguments.delta', 'function_call_arguments.done'];
    const want = ['created', 'output_item.added', ...(kind === 'message' ? ['output_text.delta'] : call), 'output_item.done', 'completed'];
    expect(told.map((e) => e.type)).toEqual(expect.arrayContaining(want.map((e) => `response.${e}`)));
  });

  it('image-input is refused by name: models here read text', async () => {
    const content = [{ type: 'input_image', image_url: 'data:image/png;base64,iVBORw0KGgo=' }];
    const answer = await client(keeper()).send('POST', '', { model: 'pebble', input: [said('user', content)] });
    expect(answer.status).toBe(400);
    expect(JSON.stringify(await answer.json())).toContain('input[0].content');
  });
});

describe('log-probabilities', () => {
  interface Score {
    token: string;
    logprob: number;
    bytes: number[];
    top_logprobs: unknown[];
  }
  const scores = (output: unknown[]) => (output as { content: { text: string; logprobs: Score[] }[] }[])[0].content[0];
  const asked = { include: ['message.output_text.logprobs'], top_logprobs: 2 };

  it('are of every token of the text, the same stored, streamed and unstored', async () => {
    const { ask, send } = client(keeper());
    const stored = await ask('What is 2 + 3?', asked);
    const { text, logprobs } = scores(stored.output);
    expect(logprobs.length).toBeGreaterThan(2);
    const bytes = Uint8Array.from(logprobs.flatMap((l) => l.bytes));
    expect(new TextDecoder().decode(bytes).startsWith(text)).toBe(true);
    for (const l of logprobs) {
      expect(l.logprob).toBeLessThanOrEqual(0);
      expect(l.top_logprobs).toHaveLength(2);
    }
    expect(stored).toMatchObject({ top_logprobs: 2 });
    const unstored = await ask('What is 2 + 3?', { ...asked, store: false });
    expect(scores(unstored.output).logprobs.slice(0, logprobs.length)).toEqual(logprobs);
    const events = eventsOf(await (await send('GET', `/${stored.id}?stream=true`)).text());
    const told = events.flatMap((e) => (e.type === 'response.output_text.delta' ? (e as unknown as { logprobs: Score[] }).logprobs : []));
    expect(told).toEqual(logprobs.slice(0, told.length));
    expect(scores(events.at(-1)!.response!.output)).toEqual({ ...scores(stored.output) });
    expect(scores((await ask('What is 2 + 3?')).output).logprobs).toEqual([]);
  });
});

describe('conversations of a local engine', () => {
  it('are kept in memory, go on with each response, and are gone with the oldest', async () => {
    const responses = keeper({ count: 4 });
    const caller: Caller = { tenant: 'public', session: (name) => responses.session(name), secret: async () => responses.secret };
    const items = [{ type: 'message' as const, id: '', role: 'user' as const, status: 'completed' as const, content: [] }];
    const make = async () => ((await (await createConversation(caller, { items, metadata: {} })).json()) as { id: string }).id;
    const conversation = await make();
    const { ask, json } = client(responses);
    const first = await ask('What is 2 + 3?', { conversation });
    expect(first.status).not.toBe('failed');
    const length = async () =>
      ((await (await listItems(caller, conversation, new Request('http://x/'))).json()) as { data: [] }).data.length;
    expect(await length()).toBe(3);
    await ask('And 3 + 3?', { conversation });
    await json('DELETE', `/${first.id}`);
    expect(await length()).toBe(3);
    await Promise.all([make(), make(), make()]);
    await expect(length()).rejects.toMatchObject({ status: 404 });
  });
});

describe('stored responses of a local engine', () => {
  it('are kept and gone on from, twice from the same one', async () => {
    const responses = keeper();
    const { ask, json } = client(responses);
    const first = await ask('The goat has 4 stones and the bird has 9 stones. What is 4 + 9?', { metadata: { a: 'b' } });
    expect(first).toMatchObject({ object: 'response', store: true, metadata: { a: 'b' } });
    expect(['completed', 'incomplete']).toContain(first.status);
    expect(first.usage.output_tokens).toBeGreaterThan(0);
    expect(await json('GET', `/${first.id}`)).toEqual(first);
    const second = await ask('And 2 + 3?', { previous_response_id: first.id });
    const branch = await ask('What is 7 + 1?', { previous_response_id: first.id });
    const again = await ask('And 2 + 3?', { previous_response_id: first.id });
    expect(second).toMatchObject({ previous_response_id: first.id });
    expect(sessionOf(second.id)).toBe(sessionOf(first.id));
    expect(again.output_text).toBe(second.output_text);
    expect(second.usage.input_tokens).toBeGreaterThan(first.usage.input_tokens + first.usage.output_tokens);
    const items = async (id: string) =>
      (await (await client(responses).send('GET', `/${id}/input_items?order=asc`)).json()) as { data: unknown[] };
    expect((await items(second.id)).data).toMatchObject([
      { role: 'user', content: [{ text: 'The goat has 4 stones and the bird has 9 stones. What is 4 + 9?' }] },
      ...first.output.map((o) => ({ id: (o as { id: string }).id, role: 'assistant' })),
      { role: 'user', content: [{ text: 'And 2 + 3?' }] },
    ]);
    expect((await items(branch.id)).data.at(-1)).toMatchObject({ content: [{ text: 'What is 7 + 1?' }] });
    // what nobody keeps can go on from what is kept, with the same tokens
    const direct = await ask('And 2 + 3?', { previous_response_id: first.id, store: false });
    expect(direct).toMatchObject({ store: false, output_text: second.output_text });
    expect(responses.store.stats).toMatchObject({ responses: 4, sessions: 1 });
  });

  it('tell a client that comes back exactly the events it missed', async () => {
    const { send, json } = client(keeper());
    const body = { model: 'pebble', input: 'Tell me of a boat.', temperature: 0, stream: true, ...LONG };
    const reader = (await send('POST', '', body)).body!.pipeThrough(new TextDecoderStream()).getReader();
    let seen = '';
    while (eventsOf(seen).length < 8) seen += (await reader.read()).value ?? '';
    await reader.cancel(); // the client leaves; the answer goes on
    const before = eventsOf(seen.slice(0, seen.lastIndexOf('\n\n') + 2));
    const { id } = before[0].response!;
    expect((await json('GET', `/${id}`)).status).toBe('in_progress');
    const rest = eventsOf(await (await send('GET', `/${id}?stream=true&starting_after=${before.length - 1}`)).text());
    const whole = eventsOf(await (await send('GET', `/${id}?stream=true`)).text());
    expect([...before, ...rest]).toEqual(whole);
    expect(whole.map((e) => e.sequence_number)).toEqual(whole.map((_, i) => i));
    expect(whole.at(-1)).toMatchObject({ type: 'response.incomplete', response: { usage: { output_tokens: 300 } } });
    expect(whole.at(-1)!.response).toEqual(await json('GET', `/${id}`));
    const late = eventsOf(await (await send('GET', `/${id}?stream=true&starting_after=${whole.length - 2}`)).text());
    expect(late).toEqual(whole.slice(-1));
    expect((await send('GET', `/${id}?stream=true&starting_after=x`)).status).toBe(400);
  });

  it('are cancelled: what was said stays, and the engine is free', async () => {
    const { ask, json } = client(keeper());
    const started = await ask('Tell me of a boat.', { ...LONG, background: true });
    expect(started.status).toBe('in_progress');
    await expect.poll(async () => (await json('GET', `/${started.id}`)).output_text).not.toBe('');
    const going = await client(opened.at(-1)!).ask('And then?', { previous_response_id: started.id });
    expect(going.error).toMatchObject({ param: 'previous_response_id', message: 'The previous response has not ended yet.' });
    const cancelled = await json('POST', `/${started.id}/cancel`);
    expect(cancelled).toMatchObject({ id: started.id, status: 'cancelled' });
    expect(cancelled.output_text).not.toBe('');
    expect(await json('GET', `/${started.id}`)).toEqual(cancelled);
    await expect.poll(() => rt.engine.busy).toBe(false);
    expect(cancelled.usage.output_tokens).toBeLessThan(300);
  });

  it('leave nothing when they are deleted, also while they run', async () => {
    const responses = keeper();
    const { ask, send, json } = client(responses);
    const first = await ask('What is 2 + 3?');
    const second = await ask('And 1 + 1?', { previous_response_id: first.id });
    expect(await json('DELETE', `/${first.id}`)).toEqual({ id: first.id, object: 'response', deleted: true });
    for (const [method, rest] of [
      ['GET', ''],
      ['DELETE', ''],
      ['POST', '/cancel'],
      ['GET', '/input_items'],
      ['GET', '?stream=true'],
    ]) {
      expect((await send(method, `/${first.id}${rest}`)).status).toBe(404);
    }
    // its conversation is no longer whole
    expect((await ask('More', { previous_response_id: second.id })).error).toMatchObject({ code: 'earlier_response_deleted' });
    const running = await ask('Tell me of a boat.', { ...LONG, background: true });
    expect((await send('DELETE', `/${running.id}`)).status).toBe(200);
    await expect.poll(() => rt.engine.busy).toBe(false);
    await json('DELETE', `/${second.id}`);
    expect(responses.store.stats).toEqual({ responses: 0, sessions: 0, bytes: 0 });
  });

  it("are their key's alone, and unknown ids are not found", async () => {
    const responses = keeper();
    const mine = client(responses, 'sk-one-0123456789');
    const { id } = await mine.ask('What is 2 + 3?');
    expect((await mine.send('GET', `/${id}`)).status).toBe(200);
    for (const other of [client(responses, 'sk-two-0123456789'), client(responses)]) {
      for (const [method, rest] of [
        ['GET', ''],
        ['GET', '?stream=true'],
        ['GET', '/input_items'],
        ['POST', '/cancel'],
        ['DELETE', ''],
      ]) {
        const refused = await other.send(method, `/${id}${rest}`);
        expect(refused.status).toBe(404);
        expect(await refused.json()).toMatchObject({ error: { code: 'not_found', param: 'response_id' } });
      }
      const going = await other.ask('And?', { previous_response_id: id });
      expect(going.error).toMatchObject({ code: 'previous_response_not_found' });
    }
    expect((await mine.send('GET', `/${id}`)).status).toBe(200);
    for (const unknown of ['resp_1', `resp_${'0'.repeat(48)}`]) expect((await mine.send('GET', `/${unknown}`)).status).toBe(404);
  });
});

describe('the store of a local engine', () => {
  const short = { max_output_tokens: 2 };

  it('drops the oldest, used ones last', async () => {
    const responses = keeper({ count: 3 });
    const { ask, send } = client(responses);
    const a = await ask('a', short);
    const b = await ask('b', short);
    const a2 = await ask('more', { ...short, previous_response_id: a.id });
    const c = await ask('c', short); // b's conversation was unused for longest
    const found = async () => Promise.all([a, b, a2, c].map(async ({ id }) => (await send('GET', `/${id}`)).status));
    expect(await found()).toEqual([200, 404, 200, 200]);
    await ask('d', short);
    expect(await found()).toEqual([404, 404, 200, 200]);
    expect((await ask('x', { ...short, previous_response_id: a2.id })).error).toMatchObject({ code: 'earlier_response_deleted' });
  });

  it('is bounded in bytes', async () => {
    const responses = keeper({ bytes: 30_000 });
    const { ask, send } = client(responses);
    const ids: string[] = [];
    for (let i = 0; i < 6; i++)
      ids.push((await ask(`What is ${i} + 1?`, { ...short, metadata: { a: 'x'.repeat(512), b: 'y'.repeat(512), c: 'z'.repeat(512) } })).id);
    expect(responses.store.stats.bytes).toBeLessThan(32_000);
    expect(responses.store.stats.responses).toBeLessThan(6);
    expect((await send('GET', `/${ids[0]}`)).status).toBe(404);
    expect((await send('GET', `/${ids[5]}`)).status).toBe(200);
    const big = await send('POST', '', { model: 'pebble', input: 'x'.repeat(20_000) });
    expect(big.status).toBe(429);
    expect(big.headers.get('retry-after')).toBe('1');
  });

  it('refuses what it could not bound: too many at once', async () => {
    const { ask, send } = client(keeper({ open: 1 }));
    const { id } = await ask('Tell me of a boat.', { ...LONG, background: true });
    expect((await send('POST', '', { model: 'pebble', input: 'hi' })).status).toBe(429);
    await send('DELETE', `/${id}`);
    expect((await send('POST', '', { model: 'pebble', input: 'hi', ...short })).status).toBe(200);
  });

  it('forgets a conversation when its time is over', async () => {
    const responses = keeper({ ttlMs: 400 });
    const { ask, send } = client(responses);
    const { id } = await ask('a', short);
    expect((await send('GET', `/${id}`)).status).toBe(200);
    await expect.poll(() => responses.store.stats, { timeout: 4000 }).toEqual({ responses: 0, sessions: 0, bytes: 0 }); // though nobody asks
    expect((await send('GET', `/${id}`)).status).toBe(404);
  });

  it('goes on after the engine was lost in the middle, with the same text and events', async () => {
    const body = { max_output_tokens: 40, ignore_eos: true, seed: 7, top_logprobs: 1 };
    const wanted = await client(keeper()).ask('Tell me of a boat.', { ...body, temperature: 1 });
    let reads = 0;
    const { folder } = await localPack(undefined, () => {});
    const maker = wasmMaker(wasmModules());
    const frail = await openModel({
      ...{ source: folderPack(folder), id: 'pebble', memoryBytes: 96 << 20 },
      maker: {
        ...maker,
        create(bytes) {
          const be = maker.create(bytes);
          return explained({
            ...be,
            read: (...a) => (++reads > 12 ? Promise.reject(new DeviceLostError('The GPU device was lost.')) : be.read(...a)),
          });
        },
      },
    });
    let tries = 0;
    const responses = keeper({}, async () => (tries++ === 0 ? frail : rt));
    const { ask, json, send } = client(responses);
    const got = await ask('Tell me of a boat.', { ...body, temperature: 1 });
    expect(tries).toBe(2);
    expect(got.output_text).toBe(wanted.output_text);
    const content = ({ output }: Answer) => (output as { content: object[] }[])[0].content;
    expect(content(got)).toEqual(content(wanted)); // log-probabilities too, whoever computed them
    expect(got.usage.output_tokens).toBe(40);
    const kept = await responses.session(sessionName('public', sessionOf(got.id)!)).get(got.id);
    expect(kept?.response.starts).toHaveLength(2);
    expect(kept?.response.starts[1]).toBeGreaterThan(0); // tokens of the first are not computed again
    const events = eventsOf(await (await send('GET', `/${got.id}?stream=true`)).text());
    expect(events.at(-1)!.response).toEqual(await json('GET', `/${got.id}`));

    const never = client(keeper({}, async () => frail));
    expect(await never.ask('Tell me of a boat.')).toMatchObject({ status: 'failed', error: { message: 'The GPU device was lost.' } });
  });

  it('fails a response that is longer than the context, as a bad request', async () => {
    const answer = await client(keeper()).send('POST', '', { model: 'pebble', input: 'stone '.repeat(30_000) });
    expect(answer.status).toBe(400);
    expect(await answer.json()).toMatchObject({ error: { code: 'context_length_exceeded' } });
  });

  it('is read through its own session alone', async () => {
    const responses = keeper();
    const { id } = await client(responses).ask('a', short);
    expect(await responses.session(sessionName('public', sessionOf(id)!)).get(id)).toBeDefined();
    expect(await responses.session(sessionName('other', sessionOf(id)!)).get(id)).toBeUndefined();
  });
});

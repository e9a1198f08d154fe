/** The Responses API over real sessions in workerd, mostly with OpenAI's own client. */

import { createHash } from 'node:crypto';
import { mkdtemp, readdir } from 'node:fs/promises';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { scheduler } from 'node:timers/promises';
import type { Miniflare } from 'miniflare';
import OpenAI from 'openai';
import type { ResponseStreamEvent } from 'openai/resources/responses/responses';
import { ResponsesWS } from 'openai/resources/responses/ws';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bundle } from './bundle.ts';
import { sessionServer } from './session-server.ts';

const KEY = 'sk-test-0123456789';
const OTHER = 'sk-other-012345678';
const WORDS = 'all the words that this answer has, one after another, until there are no more of them';

let server: Miniflare;
let url: string;
let client: OpenAI;
let folder: string;
const tenant = createHash('sha256').update(`turnstone tenant\0${KEY}`).digest('hex').slice(0, 32);

beforeAll(async () => {
  const persist = await mkdtemp(join(tmpdir(), 'turnstone-responses-'));
  folder = join(persist, '-Session');
  const contents = await bundle(new URL('stand-in-session.ts', import.meta.url));
  ({ server, url } = await sessionServer(contents, persist, { objects: { SOCKET: 'Socket' }, vars: { API_KEYS: `${KEY},${OTHER}` } }));
  // once more when the server closed an idle socket while this process stood still: no fault of the API's
  client = new OpenAI({ baseURL: `${url}v1`, apiKey: KEY, maxRetries: 1 });
});

afterAll(() => server?.dispose());

/** workerd lets an object with hibernatable sockets go after 10 s in which nothing was asked of it; the other tests fill them. */
const SLEEPS_MS = 11_500;
let since = 0;
let asleep: Promise<{ ws: ResponsesWS; self: string; first: OpenAI.Responses.Response }>;

const answered = (ws: ResponsesWS, more: object) =>
  new Promise<OpenAI.Responses.Response>((resolve, reject) => {
    ws.once('response.completed', (e) => resolve(e.response));
    ws.once('error', reject);
    ws.send({ type: 'response.create', model: 'm', input: 'hi', ...more } as OpenAI.Responses.ResponsesClientEvent);
  });

const whoIs = (ws: ResponsesWS) =>
  new Promise<string>((resolve) => {
    ws.once('event', (e) => resolve((e as unknown as { self: string }).self));
    ws.socket.send('who');
  });

beforeAll(async () => {
  const begin = async () => {
    const ws = new ResponsesWS(client);
    const first = await answered(ws, { store: false });
    const self = await whoIs(ws);
    since = Date.now();
    return { ws, self, first };
  };
  asleep = begin();
  await asleep;
});

const ask = (instructions: string, extra: Partial<OpenAI.Responses.ResponseCreateParams> = {}) =>
  client.responses.create({
    model: 'm',
    input: 'hi',
    instructions,
    ...extra,
    stream: false,
  } as OpenAI.Responses.ResponseCreateParamsNonStreaming);

async function told(stream: AsyncIterable<ResponseStreamEvent>): Promise<ResponseStreamEvent[]> {
  const events: ResponseStreamEvent[] = [];
  for await (const event of stream) events.push(event);
  return events;
}

const stream = async (instructions: string) => told(await client.responses.create({ model: 'm', input: 'hi', instructions, stream: true }));

const again = (id: string, after: number) => client.responses.retrieve(id, { stream: true, starting_after: after });

const joined = (events: ResponseStreamEvent[]) => events.map((e) => (e.type === 'response.output_text.delta' ? e.delta : '')).join('');

describe('a stored response', () => {
  it('is answered, kept, listed and deleted', async () => {
    const response = await ask(WORDS, { metadata: { a: 'b' } });
    expect(response).toMatchObject({ status: 'completed', output_text: WORDS, instructions: WORDS, metadata: { a: 'b' }, store: true });
    expect(response.usage).toMatchObject({ input_tokens: 3, output_tokens: 17 });
    expect(await client.responses.retrieve(response.id)).toMatchObject({ id: response.id, output: response.output });
    const items = await client.responses.inputItems.list(response.id);
    expect(items.data).toMatchObject([{ type: 'message', role: 'user', content: [{ type: 'input_text', text: 'hi' }] }]);
    await client.responses.delete(response.id);
    await expect(client.responses.retrieve(response.id)).rejects.toBeInstanceOf(OpenAI.NotFoundError);
  });

  it('streams, and its last event is the response as it is kept', async () => {
    const events = await stream(WORDS);
    expect(events.map((e) => e.sequence_number)).toEqual(events.map((_, i) => i));
    expect(joined(events)).toBe(WORDS);
    const last = events.at(-1)!;
    if (last.type !== 'response.completed') throw new Error(`ended with ${last.type}`);
    expect(await client.responses.retrieve(last.response.id)).toMatchObject(JSON.parse(JSON.stringify(last.response)));
  });

  it('goes on for a client that comes back, after the last event it has seen', async () => {
    const events = await stream(WORDS);
    const { response } = events[0] as OpenAI.Responses.ResponseCreatedEvent;
    for (const n of [0, 3, 9, events.length - 2, events.length - 1]) {
      expect(await told(await again(response.id, n))).toEqual(events.slice(n + 1));
    }
    const headers = { authorization: `Bearer ${KEY}`, 'last-event-id': '5' };
    const text = await (await fetch(`${url}v1/responses/${response.id}?stream=true`, { headers })).text();
    expect(text.startsWith('id: 6\n')).toBe(true);
  });

  it('goes on while it is being generated, without the client that asked', async () => {
    const live = await client.responses.create({ model: 'm', input: 'hi', instructions: `${WORDS} ${WORDS}`, stream: true });
    const seen: ResponseStreamEvent[] = [];
    for await (const event of live) {
      seen.push(event);
      if (seen.length === 8) break;
    }
    const { response } = seen[0] as OpenAI.Responses.ResponseCreatedEvent;
    const rest = await told(await again(response.id, 7));
    expect(joined([...seen, ...rest])).toBe(`${WORDS} ${WORDS}`);
  });

  it('is whole when the replica dies in the middle', async () => {
    const events = await stream(`one two three die four five`);
    expect(joined(events)).toBe('one two three die four five');
    expect(events.map((e) => e.sequence_number)).toEqual(events.map((_, i) => i));
  });

  it('goes on from an earlier one, and from the same one twice', async () => {
    const first = await ask('first');
    const second = await ask('{n} items before', { previous_response_id: first.id });
    const branch = await ask('{n} items before', { previous_response_id: first.id });
    const third = await ask('{n} items before', { previous_response_id: second.id });
    expect([second, branch, third].map((r) => r.output_text)).toEqual(['2 items before', '2 items before', '4 items before']);
    expect(third).toMatchObject({ previous_response_id: second.id });
    const items = await client.responses.inputItems.list(third.id, { order: 'asc', limit: 2 });
    expect(items.has_more).toBe(true);
    const texts = [];
    for await (const item of items) texts.push(item.type);
    expect(texts).toHaveLength(5);
  });

  it('says so when an earlier one was deleted', async () => {
    const first = await ask('first');
    const second = await ask('second', { previous_response_id: first.id });
    const third = await ask('third', { previous_response_id: second.id });
    await client.responses.delete(first.id);
    for (const id of [second.id, third.id]) {
      for (const more of [{}, { store: false }, { stream: true }]) {
        await expect(client.responses.create({ model: 'm', input: 'go on', previous_response_id: id, ...more })).rejects.toMatchObject({
          ...{ status: 400, code: 'earlier_response_deleted', param: 'previous_response_id' },
          message: expect.stringContaining(id),
        });
      }
      await expect(client.responses.inputItems.list(id)).rejects.toMatchObject({ status: 400, code: 'earlier_response_deleted' });
    }
    expect((await client.responses.retrieve(third.id)).output_text).toBe('third');
    await expect(client.responses.create({ model: 'm', input: 'go on', previous_response_id: first.id })).rejects.toMatchObject({
      code: 'previous_response_not_found',
    });
  });

  it("is nobody else's", async () => {
    const { id } = await ask('mine');
    const stranger = new OpenAI({ baseURL: `${url}v1`, apiKey: OTHER, maxRetries: 1 });
    await expect(stranger.responses.retrieve(id)).rejects.toBeInstanceOf(OpenAI.NotFoundError);
    await expect(stranger.responses.delete(id)).rejects.toBeInstanceOf(OpenAI.NotFoundError);
    await expect(stranger.responses.create({ model: 'm', input: 'x', previous_response_id: id })).rejects.toMatchObject({
      status: 400,
      code: 'previous_response_not_found',
    });
  });

  it('runs in the background, and can be cancelled', async () => {
    const started = await ask(WORDS, { background: true });
    expect(['queued', 'in_progress']).toContain(started.status);
    await expect.poll(async () => (await client.responses.retrieve(started.id)).status).toBe('completed');
    const long = await ask(Array(40).fill(WORDS).join(' '), { background: true });
    expect(await client.responses.cancel(long.id)).toMatchObject({ id: long.id, status: 'cancelled' });
    expect(await client.responses.retrieve(long.id)).toMatchObject({ status: 'cancelled' });
  });

  it('calls functions', async () => {
    const tools: OpenAI.Responses.FunctionTool[] = [{ type: 'function', name: 'f', parameters: { type: 'object' }, strict: false }];
    const { output } = await ask('Wait. <tool_call> {"name": "f", "arguments": {"a": 1}} </tool_call>', { tools });
    expect(output).toMatchObject([
      { type: 'message', content: [{ text: 'Wait.' }] },
      { type: 'function_call', name: 'f', arguments: '{"a": 1}', status: 'completed' },
    ]);
  });
});

const stranger = () => new OpenAI({ baseURL: `${url}v1`, apiKey: OTHER, maxRetries: 1 });

describe('references', () => {
  it('stand for items of earlier responses, and are kept as what they stand for', async () => {
    const first = await ask('first');
    const [said] = first.output;
    const [asked] = (await client.responses.inputItems.list(first.id)).data;
    const input = [
      { type: 'item_reference' as const, id: asked.id! },
      { id: said.id! } as never,
      { role: 'user' as const, content: 'and?' },
    ];
    expect((await ask('x', { input, store: false })).output_text).toBe('4 messages');
    const second = await ask('second', { input });
    const items = await client.responses.inputItems.list(second.id, { order: 'asc' });
    expect(items.data).toMatchObject([
      { role: 'user', content: [{ text: 'hi' }] },
      { role: 'assistant', content: [{ text: 'first' }] },
      { role: 'user', content: [{ text: 'and?' }] },
    ]);
  });

  it('to what is gone, never was, or is another key’s are 404', async () => {
    const first = await ask('first');
    const id = first.output[0].id!;
    const refer = (to: string, by = client) =>
      by.responses.create({ model: 'm', input: [{ type: 'item_reference', id: to }] }).catch((error: unknown) => error);
    const missing = { status: 404, param: 'input', code: 'not_found' };
    expect(await refer(id, stranger())).toMatchObject(missing);
    expect(await refer(id.replace(/_0$/, '_7'))).toMatchObject(missing);
    expect(await refer('msg_1')).toMatchObject(missing);
    await client.responses.delete(first.id);
    expect(await refer(id)).toMatchObject(missing);
  });
});

describe('conversations', () => {
  it('are made, changed, listed and deleted', async () => {
    const made = await client.conversations.create({ metadata: { a: 'b' }, items: [{ role: 'user', content: 'hello' }] });
    expect(made).toMatchObject({ object: 'conversation', metadata: { a: 'b' } });
    expect(await client.conversations.update(made.id, { metadata: { c: 'd' } })).toMatchObject({ id: made.id, metadata: { c: 'd' } });
    const added = await client.conversations.items.create(made.id, { items: [{ role: 'assistant', content: 'hi' }] });
    expect(added.data).toMatchObject([{ role: 'assistant', content: [{ type: 'output_text', text: 'hi' }] }]);
    const listed = [];
    for await (const item of client.conversations.items.list(made.id, { order: 'asc', limit: 1 })) listed.push(item.id!);
    expect(listed).toHaveLength(2);
    expect(listed[1]).toBe(added.first_id);
    expect(await client.conversations.items.retrieve(listed[0], { conversation_id: made.id })).toMatchObject({ role: 'user' });
    expect(await client.conversations.items.delete(listed[0], { conversation_id: made.id })).toMatchObject({ id: made.id });
    expect((await client.conversations.items.list(made.id)).data.map((i) => i.id)).toEqual([added.first_id]);
    expect(await client.conversations.delete(made.id)).toMatchObject({ deleted: true });
    await expect(client.conversations.retrieve(made.id)).rejects.toMatchObject({ status: 404 });
  });

  it('go on with each response, and hold what it was asked and what it said', async () => {
    const { id } = await client.conversations.create({ items: [{ role: 'user', content: 'my name is Ada' }] });
    const first = await ask('{n} items before', { conversation: id });
    const second = await ask('{n} items before', { conversation: { id } });
    expect([first, second].map((r) => r.output_text)).toEqual(['1 items before', '3 items before']);
    expect(second).toMatchObject({ conversation: { id }, previous_response_id: null });
    const { data } = await client.conversations.items.list(id, { order: 'asc' });
    expect(data.map((i) => ('content' in i ? (i.content as { text: string }[])[0].text : i.type))).toEqual([
      ...['my name is Ada', 'hi', '1 items before', 'hi', '3 items before'],
    ]);
    expect((await ask('x', { input: [{ type: 'item_reference', id: data[0].id! }], store: false })).output_text).toBe('2 messages');
  });

  it('are locked while a response runs; one that is cancelled or deleted leaves no trace', async () => {
    const { id } = await client.conversations.create({});
    const long = await ask(Array(40).fill(WORDS).join(' '), { conversation: id, background: true });
    await expect(ask('x', { conversation: id })).rejects.toMatchObject({ status: 409, code: 'conversation_locked' });
    await client.responses.cancel(long.id);
    const kept = await ask('{n} items before', { conversation: id });
    expect(kept.output_text).toBe('0 items before');
    await ask('{n} items before', { conversation: id });
    await client.responses.delete(kept.id);
    expect((await ask('{n} items before', { conversation: id })).output_text).toBe('2 items before');
  });

  it('are nobody else’s, and a guess is 404', async () => {
    const { id } = await client.conversations.create({});
    const other = stranger();
    await expect(other.conversations.retrieve(id)).rejects.toMatchObject({ status: 404 });
    await expect(other.conversations.items.list(id)).rejects.toMatchObject({ status: 404 });
    await expect(other.responses.create({ model: 'm', input: 'x', conversation: id })).rejects.toMatchObject({ status: 404 });
    await expect(ask('x', { conversation: 'conv_1' })).rejects.toMatchObject({ status: 404 });
    await expect(client.responses.retrieve(id.replace('conv_', 'resp_'))).rejects.toMatchObject({ status: 404 });
    await expect(client.responses.delete(id.replace('conv_', 'resp_'))).rejects.toMatchObject({ status: 404 });
  });
});

describe('what is asked about a conversation', () => {
  it('input tokens are counted over all that goes before', async () => {
    const first = await ask('first');
    const counted = await client.responses.inputTokens.count({
      model: 'm',
      input: 'more',
      previous_response_id: first.id,
      instructions: 'be',
    });
    expect(counted).toEqual({ object: 'response.input_tokens', input_tokens: 4 });
  });

  it('it is made short, and only the key that it was made for goes on with that', async () => {
    const first = await ask('first');
    const short = await client.responses.compact({ model: 'm', previous_response_id: first.id });
    expect(short).toMatchObject({ object: 'response.compaction', usage: { total_tokens: 2 } });
    expect(short.output.map((i) => i.type)).toEqual(['message', 'compaction']);
    const input = [...short.output, { role: 'user', content: 'go on' }] as OpenAI.Responses.ResponseInput;
    const next = await ask('next', { input });
    expect((await client.responses.inputItems.list(next.id, { order: 'asc' })).data).toMatchObject([
      { role: 'user', content: [{ text: 'hi' }] },
      { role: 'assistant', content: [{ text: 'Summary of the conversation so far:\n3 messages' }] },
      { role: 'user', content: [{ text: 'go on' }] },
    ]);
    await expect(stranger().responses.create({ model: 'm', input })).rejects.toMatchObject({
      status: 400,
      code: 'invalid_encrypted_content',
    });
  });
});

describe('a response that is not stored', () => {
  it('comes from the replica, with the history of a stored one', async () => {
    const alone = await ask('x', { store: false });
    expect(alone).toMatchObject({ output_text: '2 messages', store: false });
    const first = await ask('first');
    expect(await ask('x', { store: false, previous_response_id: first.id })).toMatchObject({ output_text: '4 messages' });
    await expect(client.responses.retrieve(alone.id)).rejects.toBeInstanceOf(OpenAI.NotFoundError);
  });
});

it('errors name the parameter', async () => {
  await expect(ask('x', { previous_response_id: 'resp_1' })).rejects.toMatchObject({ status: 400, param: 'previous_response_id' });
  await expect(ask('x', { temperature: 3 })).rejects.toMatchObject({ status: 400, param: 'temperature' });
  await expect(again('resp_1', 0)).rejects.toMatchObject({ status: 404 });
});

describe('an id that was not given out', () => {
  const objects = async () => (await readdir(folder).catch(() => [])).filter((f) => /^[0-9a-f]{64}\.sqlite$/.test(f)).length;
  it('wakes no object and leaves none, whatever asks for it: it is not even looked for', async () => {
    const { id } = await ask('x');
    const before = await objects();
    expect(before).toBeGreaterThan(0);
    const other = new OpenAI({ baseURL: `${url}v1`, apiKey: OTHER, maxRetries: 1 });
    const guesses = [`resp_${'0'.repeat(64)}`, `resp_${'0'.repeat(48)}`, id.slice(0, -1) + (id.endsWith('0') ? '1' : '0'), `${id}0`];
    for (const guess of guesses) {
      await expect(ask('x', { previous_response_id: guess })).rejects.toMatchObject({ status: 400, code: 'previous_response_not_found' });
      await expect(ask('x', { previous_response_id: guess, store: false })).rejects.toMatchObject({ status: 400 });
      await expect(again(guess, 0)).rejects.toMatchObject({ status: 404 });
      await expect(client.responses.retrieve(guess)).rejects.toMatchObject({ status: 404 });
      await expect(client.responses.delete(guess)).rejects.toMatchObject({ status: 404 });
      await expect(client.responses.cancel(guess)).rejects.toMatchObject({ status: 404 });
    }
    await expect(other.responses.retrieve(id)).rejects.toMatchObject({ status: 404 });
    expect(await objects()).toBe(before);
  });

  it('of a session that is gone makes no new one', async () => {
    const { id } = await ask('x');
    await client.responses.delete(id);
    await expect(ask('x', { previous_response_id: id })).rejects.toMatchObject({ status: 400, code: 'previous_response_not_found' });
    const namespace = await server.getDurableObjectNamespace('SESSION');
    const name = `${tenant}/${id.slice(5, 37)}`;
    const stats = await (namespace.get(namespace.idFromName(name)) as unknown as { stats(): Promise<object> }).stats();
    expect(stats).toMatchObject({ turns: 0, pages: 0, pageBytes: 0, running: 0 });
  });
});

describe('a WebSocket', () => {
  type Sent = OpenAI.Responses.ResponsesServerEvent & { stream_id?: string; status?: number };
  /** Sends events and gives back what comes until so many responses have ended or failed. */
  async function talk(sent: object[], ends = sent.length, options: object = {}): Promise<Sent[]> {
    const ws = new ResponsesWS(new OpenAI({ baseURL: `${url}v1`, apiKey: KEY, ...options }));
    const events: Sent[] = [];
    ws.on('error', () => {});
    for (const event of sent) ws.send(event as OpenAI.Responses.ResponsesClientEvent);
    for await (const said of ws) {
      if (said.type === 'error' && !said.error.error) throw said.error;
      if (said.type === 'close') break;
      if (said.type === 'error') events.push(said.error.error as Sent);
      if (said.type === 'message') events.push(said.message as Sent);
      if (events.filter((e) => /completed|incomplete|failed|^error$/.test(e.type)).length === ends) break;
    }
    ws.close();
    return events;
  }
  const create = (instructions: string, more: object = {}) => ({ type: 'response.create', model: 'm', input: 'hi', instructions, ...more });
  const ended = (events: Sent[]) => events.flatMap((e) => (e.type === 'response.completed' ? [e.response] : []));

  it('answers one request after another, with the events of a stream', async () => {
    const events = await talk([create('one two'), create('three')]);
    const [first, second] = ended(events);
    expect([first.output_text, second.output_text]).toEqual(['one two', 'three']);
    const told = await told_(first.id);
    expect(events.slice(0, told.length)).toEqual(told);
    expect(await client.responses.retrieve(second.id)).toMatchObject({ output_text: 'three' });
  });

  it('runs streams of different names side by side, each in its order', async () => {
    const slow = create(WORDS, { stream_id: 'slow' });
    const events = await talk([slow, { ...slow, instructions: 'after' }, create('quick', { stream_id: 'quick' })]);
    const texts = events.flatMap((e) => (e.type === 'response.completed' ? [[e.stream_id, e.response.output_text]] : []));
    expect(texts).toEqual([
      ['quick', 'quick'],
      ['slow', WORDS],
      ['slow', 'after'],
    ]);
  });

  it('goes on from any stored response, and from one that nobody stores while it is open', async () => {
    const first = await ask('first');
    const fork = (text: string) => create('{n} items before', { previous_response_id: first.id, input: text });
    expect(ended(await talk([fork('a'), fork('b')])).map((r) => r.output_text)).toEqual(['2 items before', '2 items before']);

    const ws = new ResponsesWS(client);
    ws.on('error', () => {});
    const next = (event: object) =>
      new Promise<OpenAI.Responses.Response>((resolve) => {
        ws.once('response.completed', (e) => resolve(e.response));
        ws.send(event as OpenAI.Responses.ResponsesClientEvent);
      });
    const warm = await next(create('x', { store: false, generate: false }));
    expect(warm).toMatchObject({ status: 'completed', output: [] });
    const one = await next(create('x', { store: false, previous_response_id: warm.id, input: 'more' }));
    expect(one).toMatchObject({ output_text: '3 messages', previous_response_id: warm.id });
    const two = await next(create('x', { store: false, previous_response_id: one.id, input: [{ role: 'user', content: 'and' }] }));
    expect(two.output_text).toBe('5 messages');
    ws.close();
    const gone = await talk([create('x', { previous_response_id: two.id })]);
    expect(gone).toMatchObject([
      { type: 'error', status: 400, code: 'previous_response_not_found', error: { param: 'previous_response_id' } },
    ]);
  });

  it('tells the rest of a response to who comes back, and ends one', async () => {
    const first = await ask(WORDS);
    const whole = await told_(first.id);
    expect(await talk([{ type: 'response.retrieve', response_id: first.id, starting_after: 6 }])).toEqual(whole.slice(7));
    const ws = new ResponsesWS(client);
    ws.on('error', () => {});
    const last = new Promise<OpenAI.Responses.Response>((resolve) => ws.once('response.incomplete', (e) => resolve(e.response)));
    ws.once('response.output_text.delta', (e) => {
      const response_id = `resp_${e.item_id.split('_')[1]}`;
      ws.send({ type: 'response.cancel', response_id } as never);
    });
    ws.send(create(Array(40).fill(WORDS).join(' ')) as OpenAI.Responses.ResponsesClientEvent);
    expect(await last).toMatchObject({ status: 'cancelled' });
    ws.close();
  });

  it('refuses what is wrong by an event, goes on after it, and wants a key', async () => {
    const events = await talk([create('x', { temperature: 9 }), create('x', { background: true }), { type: 'other' }, create('fine')]);
    // a message of no known type waits for nothing before it
    const refused = events.flatMap((e) => (e.type === 'error' ? [(e as { param?: string }).param] : []));
    expect(refused.sort()).toEqual(['background', 'temperature', 'type']);
    expect(ended(events)[0].output_text).toBe('fine');
    await expect(talk([create('x')], 1, { apiKey: 'sk-wrong-012345' })).rejects.toThrow('401');
    const page = await fetch(`${url}v1/responses`, { headers: { upgrade: 'websocket', authorization: `Bearer ${KEY}` } }).catch(() => null);
    expect(page?.status ?? 405).not.toBe(200);
  });

  it('lets no page of another origin in', async () => {
    const statusOf = (origin: string) =>
      new Promise<number>((resolve, reject) => {
        const handshake = {
          connection: 'Upgrade',
          upgrade: 'websocket',
          'sec-websocket-version': '13',
          'sec-websocket-key': btoa('0123456789abcdef'),
        };
        const asked = request(`${url}v1/responses`, { headers: { ...handshake, authorization: `Bearer ${KEY}`, origin } });
        asked.on('upgrade', (answer, socket) => resolve(answer.statusCode as number) ?? socket.destroy());
        asked.on('response', (answer) => resolve(answer.statusCode as number) ?? answer.resume());
        asked.on('error', reject).end();
      });
    expect([await statusOf('https://elsewhere.example'), await statusOf(new URL(url).origin)]).toEqual([403, 101]);
  });

  const told_ = async (id: string) => told(await again(id, -1));
});

describe('Idempotency-Key', () => {
  const post = async (key: string, body: object) => {
    const headers = { 'content-type': 'application/json', authorization: `Bearer ${KEY}`, 'idempotency-key': key };
    const answer = await fetch(`${url}v1/responses`, {
      method: 'POST',
      headers,
      body: JSON.stringify({ model: 'm', input: 'hi', ...body }),
    });
    return { ...((await answer.json()) as { id: string; status: string; error: { code: string } | null }) };
  };
  it('asked again with it, a response is the same one, also while it runs; another request is refused', async () => {
    const [a, b] = await Promise.all([post('one', { instructions: WORDS }), post('one', { instructions: WORDS })]);
    expect(a).toMatchObject({ status: 'completed' });
    expect(b.id).toBe(a.id);
    expect((await post('one', { instructions: WORDS })).id).toBe(a.id);
    expect(await post('one', { instructions: 'other' })).toMatchObject({ error: { code: 'idempotency_key_reused' } });
    const next = await post('one', { instructions: WORDS, previous_response_id: a.id });
    expect(next.id).not.toBe(a.id);
    expect((await post('one', { instructions: WORDS, previous_response_id: a.id })).id).toBe(next.id);
  });
});

it('a socket whose object slept goes on from a response that nobody stored', async () => {
  const { ws, self, first } = await asleep;
  await scheduler.wait(Math.max(0, since + SLEEPS_MS - Date.now()));
  expect(await whoIs(ws)).not.toBe(self);
  const next = await answered(ws, { store: false, previous_response_id: first.id, input: 'more' });
  expect(next).toMatchObject({ output_text: '3 messages', previous_response_id: first.id });
  ws.close();
});

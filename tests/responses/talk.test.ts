/** The Responses API over a socket (serving/responses/talk.ts), on an API that says what each test tells it. */
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { type Kept, Talk } from '../../serving/responses/talk.ts';

interface Asked {
  method: string;
  url: string;
  body: Record<string, unknown> | null;
  signal: AbortSignal;
}
type Said = Record<string, unknown> & { type?: string; response?: Record<string, unknown> };
let asked: Asked[];
let sent: Said[];
let kept: Kept[];
/** What the API answers, the next first. */
let answers: (Response | Promise<Response>)[];

const sse = (...events: object[]) => new Response(events.map((e) => `event: x\ndata: ${JSON.stringify(e)}\n\n`).join(''));
const response = (more: object = {}) => ({ id: 'resp_1', store: true, output: [{ type: 'message', content: 'said' }], ...more });
const done = (more: object = {}) =>
  sse({ type: 'response.created', response: response({ ...more, output: [] }) }, { type: 'response.completed', response: response(more) });
const user = (content: string) => ({ type: 'message', role: 'user', content });

function talk(before: Kept[] = []): Talk {
  kept = before;
  return new Talk({
    app: async (request) => {
      const text = await request.text();
      asked.push({ method: request.method, url: request.url, body: text === '' ? null : JSON.parse(text), signal: request.signal });
      const answer = answers.shift();
      if (!answer) throw new Error('asked once more than was foreseen');
      return answer;
    },
    send: (event) => void sent.push(event as Said),
    kept: before,
    keep: (k) => {
      kept = [...k];
    },
  });
}
const say = (t: Talk, message: object) => t.message(JSON.stringify(message));
const create = (more: object = {}) => ({ type: 'response.create', model: 'm', input: 'hi', ...more });
const error = (more: object) => ({ type: 'error', sequence_number: 0, ...more });
const told = (status: number, code: string | null, param: string | null) =>
  error({
    status,
    code,
    param,
    message: expect.any(String),
    error: { message: expect.any(String), type: expect.any(String), code, param },
  });

beforeEach(() => {
  [asked, sent, answers] = [[], [], []];
});

describe('response.create', () => {
  it('is the request that it holds, without what is of the socket', async () => {
    answers = [done()];
    await say(talk(), create({ stream_id: 's', stream: false, stream_options: {}, generate: true, background: false, temperature: 0 }));
    expect(asked).toMatchObject([
      { method: 'POST', url: 'http://localhost/v1/responses', body: { model: 'm', input: 'hi', temperature: 0, stream: true } },
    ]);
    expect(Object.keys(asked[0].body!).sort()).toEqual(['input', 'model', 'stream', 'temperature']);
    expect(sent).toEqual([
      { type: 'response.created', response: response({ output: [] }), stream_id: 's' },
      { type: 'response.completed', response: response(), stream_id: 's' },
    ]);
  });

  it('without a stream has events without one; what is no event is passed over', async () => {
    answers = [
      new Response(
        `: hello\n\nid: 1\ndata: ${JSON.stringify({ type: 'response.completed', response: response() })}\n\ndata: {"type":"late"}\n\n`,
      ),
    ];
    await say(talk(), create());
    expect(sent).toEqual([{ type: 'response.completed', response: response() }]);
    expect(kept).toEqual([]); // it is stored
  });

  it('that is not stored is gone on from while the socket is open', async () => {
    const t = talk();
    answers = [done({ store: false }), done({ id: 'resp_2', store: false, previous_response_id: null }), done({ id: 'resp_3' })];
    await say(t, create());
    const first = { id: 'resp_1', base: undefined, items: [user('hi'), ...response().output] };
    expect(kept).toEqual([first]);
    await say(t, create({ previous_response_id: 'resp_1', input: [user('more')] }));
    const items = [...first.items, user('more')];
    expect(asked[1].body).toEqual({ model: 'm', input: items, stream: true });
    expect(sent.slice(2).map((e) => e.response?.previous_response_id)).toEqual(['resp_1', 'resp_1']);
    expect(kept).toEqual([first, { id: 'resp_2', base: undefined, items: [...items, ...response().output] }]);
    await say(t, create({ previous_response_id: 'resp_2', input: undefined }));
    expect(asked[2].body).toEqual({ model: 'm', input: kept[1].items, stream: true });
    expect(kept).toHaveLength(2); // the third is stored
  });

  it('after a stored one names it, and so does what goes on from there', async () => {
    const t = talk();
    answers = [done({ store: false }), done({ id: 'resp_2', store: false })];
    await say(t, create({ previous_response_id: 'resp_0' }));
    expect(asked[0].body).toMatchObject({ previous_response_id: 'resp_0', input: 'hi' });
    expect(kept[0]).toEqual({ id: 'resp_1', base: 'resp_0', items: [user('hi'), ...response().output] });
    await say(t, create({ previous_response_id: 'resp_1', input: 'two' }));
    expect(asked[1].body).toMatchObject({ previous_response_id: 'resp_0', input: [...kept[0].items, user('two')] });
    expect(kept[1].base).toBe('resp_0');
  });

  it('that fails forgets what it went on from, as the API does', async () => {
    const t = talk([
      { id: 'resp_1', items: [] },
      { id: 'resp_9', items: [] },
    ]);
    answers = [
      sse({ type: 'response.failed', response: response({ id: 'resp_2', store: false }) }),
      sse({ type: 'response.failed', response: response() }),
    ];
    await say(t, create({ previous_response_id: 'resp_1' }));
    expect(kept).toEqual([{ id: 'resp_9', items: [] }]);
    await say(t, create({ previous_response_id: 'resp_0' }));
    expect(kept).toEqual([{ id: 'resp_9', items: [] }]);
  });

  it('with generate: false computes the prompt, and says nothing', async () => {
    const ended = response({ store: false, status: 'incomplete', incomplete_details: {}, output_text: 'x' });
    answers = [
      sse(
        { type: 'response.created', response: response({ output: [] }) },
        { type: 'response.output_text.delta' },
        { type: 'response.incomplete', response: ended },
      ),
    ];
    await say(talk(), create({ generate: false, text: { format: {} }, tool_choice: 'none' }));
    expect(asked[0].body).toEqual({ model: 'm', input: [user('hi')], store: false, max_output_tokens: 1, stream: true });
    const empty = { ...ended, status: 'completed', incomplete_details: null, output: [], output_text: '' };
    expect(sent).toEqual([
      { type: 'response.created', response: response({ output: [] }) },
      { type: 'response.completed', response: empty },
    ]);
    expect(kept).toEqual([{ id: 'resp_1', base: undefined, items: [user('hi')] }]);
    answers = [sse({ type: 'response.failed', response: ended })];
    sent = [];
    await say(talk(), create({ generate: false }));
    expect(sent).toEqual([{ type: 'response.failed', response: ended }]);
  });

  it('keeps eight that are not stored, of a MiB in all, the newest', async () => {
    const t = talk();
    for (let i = 0; i < 9; i++) {
      answers = [done({ id: `resp_${i}`, store: false })];
      await say(t, create());
    }
    expect(kept.map((k) => k.id)).toEqual([1, 2, 3, 4, 5, 6, 7, 8].map((i) => `resp_${i}`));
    answers = [
      done({ id: 'large', store: false, output: ['x'.repeat(1 << 20)] }),
      done({ id: 'half', store: false, output: ['x'.repeat(1 << 19)] }),
      done({ id: 'half2', store: false, output: ['x'.repeat(1 << 19)] }),
    ];
    await say(t, create());
    expect(kept).toEqual([]);
    await say(t, create());
    expect(kept.map((k) => k.id)).toEqual(['half']);
    await say(t, create());
    expect(kept.map((k) => k.id)).toEqual(['half2']);
  });
});

describe('response.retrieve', () => {
  it('tells the events of a stored one, from where it is asked', async () => {
    answers = [done(), done(), done()];
    const t = talk();
    await say(t, { type: 'response.retrieve', response_id: 'resp/1' });
    await say(t, { type: 'response.retrieve', response_id: 'resp_1', starting_after: 7, stream_id: 's' });
    await say(t, { type: 'response.retrieve', response_id: 'resp_1', starting_after: null });
    expect(asked.map(({ method, url, body }) => [method, url, body])).toEqual([
      ['GET', 'http://localhost/v1/responses/resp%2F1?stream=true&starting_after=-1', null],
      ['GET', 'http://localhost/v1/responses/resp_1?stream=true&starting_after=7', null],
      ['GET', 'http://localhost/v1/responses/resp_1?stream=true&starting_after=-1', null],
    ]);
    expect(sent.map((e) => e.stream_id)).toEqual([undefined, undefined, 's', 's', undefined, undefined]);
    expect(kept).toEqual([]);
  });
});

/** An answer whose events come when the test says so. */
function slow() {
  let controller!: ReadableStreamDefaultController<Uint8Array>;
  const body = new ReadableStream<Uint8Array>({ start: (c) => void (controller = c) });
  const event = (e: object) => controller.enqueue(new TextEncoder().encode(`data: ${JSON.stringify(e)}\n\n`));
  return { answer: new Response(body), event, end: () => controller.close() };
}
const begun = async (n: number) => expect.poll(() => sent.length).toBe(n);

describe('response.cancel', () => {
  it('ends one that nobody stores here, and says so', async () => {
    const [t, s] = [talk(), slow()];
    answers = [s.answer];
    const running = say(t, create({ stream_id: 's' }));
    s.event({ type: 'response.created', response: response({ store: false }) });
    await begun(1);
    await say(t, { type: 'response.cancel', response_id: 'resp_1' });
    await running;
    expect(asked).toHaveLength(1);
    expect(asked[0].signal.aborted).toBe(true);
    expect(sent[1]).toEqual({ type: 'response.incomplete', response: response({ store: false, status: 'cancelled' }), stream_id: 's' });
    expect(kept).toEqual([]);
  });

  it('asks the API for a stored one', async () => {
    const t = talk();
    const refusal = { error: { message: 'not found', type: 'invalid_request_error', code: 'not_found', param: 'response_id' } };
    answers = [Response.json({}), Response.json(refusal, { status: 404 })];
    await say(t, { type: 'response.cancel', response_id: 'resp_1' });
    expect(asked).toMatchObject([{ method: 'POST', url: 'http://localhost/v1/responses/resp_1/cancel', body: {} }]);
    expect(sent).toEqual([]);
    await say(t, { type: 'response.cancel', response_id: 'a/b', stream_id: 's' });
    expect(asked[1].url).toBe('http://localhost/v1/responses/a%2Fb/cancel');
    expect(sent).toEqual([error({ status: 404, ...refusal.error, type: 'error', error: refusal.error, stream_id: 's' })]);
    const s = slow();
    answers = [s.answer, Response.json({})];
    sent = [];
    const running = say(t, create()); // nothing is known of it yet
    answers.push(Response.json({}));
    await expect.poll(() => asked.length).toBe(3);
    await say(t, { type: 'response.cancel', response_id: 'resp_2' });
    expect([sent, asked.splice(3).map((a) => a.url)]).toEqual([[], ['http://localhost/v1/responses/resp_2/cancel']]);
    s.event({ type: 'response.created', response: response() });
    await begun(1);
    await say(t, { type: 'response.cancel', response_id: 'resp_1' });
    expect(asked[3].url).toContain('/resp_1/cancel');
    expect(asked[2].signal.aborted).toBe(false);
    s.event({ type: 'response.completed', response: response() });
    await running;
  });
});

describe('a socket', () => {
  it('that is gone ends what runs; what had not begun says nothing', async () => {
    const [t, a, b] = [talk(), slow(), slow()];
    answers = [a.answer, b.answer];
    const running = [say(t, create({ stream_id: 'a' })), say(t, create({ stream_id: 'b' }))];
    a.event({ type: 'response.created', response: response() });
    await begun(1);
    t.close();
    await Promise.all(running);
    expect(asked.map((x) => x.signal.aborted)).toEqual([true, true]);
    expect(sent.slice(1)).toEqual([{ type: 'response.incomplete', response: response({ status: 'cancelled' }), stream_id: 'a' }]);
  });

  it('answers requests of one stream one after the other, those of others beside', async () => {
    const t = talk();
    const parts = [slow(), slow(), slow()];
    answers = parts.map((p) => p.answer);
    const all = ['a', 'a', 'b'].map((stream_id, i) => say(t, create({ stream_id, input: `${i}` })));
    const inputs = () => asked.map((x) => x.body?.input);
    await expect.poll(inputs).toEqual(['0', '2']);
    const end = { type: 'response.completed', response: response() };
    parts[1].event(end);
    await all[2];
    expect(inputs()).toEqual(['0', '2']);
    parts[0].event(end);
    await all[0];
    await expect.poll(inputs).toEqual(['0', '2', '1']);
    parts[2].event(end);
    await all[1];
    answers = [done()];
    await say(t, create({ stream_id: 'a' })); // the row is over
    expect(asked).toHaveLength(4);
  });

  it('goes on in a stream whose request failed', async () => {
    const t = talk();
    answers = [Response.json({ error: { message: 'no', type: 'server_error', code: null, param: null } }, { status: 503 }), done()];
    await Promise.all([say(t, create()), say(t, create())]);
    expect(sent[0]).toEqual(told(503, null, null));
    expect(sent.at(-1)?.type).toBe('response.completed');
  });

  it('has 64 requests that run or wait, and no more', async () => {
    const [t, s] = [talk(), slow()];
    answers = [s.answer, ...Array.from({ length: 64 }, () => done())];
    const all = Array.from({ length: 64 }, () => say(t, create()));
    await say(t, create());
    expect(sent).toEqual([told(400, 'too_many_requests', 'type')]);
    s.event({ type: 'response.completed', response: response() });
    await Promise.all(all);
    await say(t, create());
    expect(sent.filter((e) => e.type === 'error')).toHaveLength(1);
    expect(asked).toHaveLength(65);
  });

  it.each<[string, string, string | null]>([
    ['{', 'invalid_json', null],
    ['7', 'invalid_type', null],
    ['{}', 'missing_required_parameter', 'type'],
    ['{"type": "response.delete"}', 'invalid_value', 'type'],
    ['{"type": "response.create", "stream_id": ""}', 'string_too_short', 'stream_id'],
    [`{"type": "response.create", "stream_id": "${'x'.repeat(65)}"}`, 'string_above_max_length', 'stream_id'],
    ['{"type": "response.create", "background": true}', 'unsupported_value', 'background'],
    ['{"type": "response.retrieve"}', 'missing_required_parameter', 'response_id'],
    ['{"type": "response.retrieve", "response_id": ""}', 'string_too_short', 'response_id'],
    [`{"type": "response.retrieve", "response_id": "${'x'.repeat(257)}"}`, 'string_above_max_length', 'response_id'],
    ['{"type": "response.retrieve", "response_id": "x", "starting_after": -2}', 'integer_below_min_value', 'starting_after'],
    ['{"type": "response.retrieve", "response_id": "x", "starting_after": 1000000000}', 'integer_above_max_value', 'starting_after'],
    ['{"type": "response.cancel"}', 'missing_required_parameter', 'response_id'],
    [`{"type": "response.cancel", "response_id": "${'x'.repeat(257)}"}`, 'string_above_max_length', 'response_id'],
  ])('is told what is wrong with %s', async (message, code, param) => {
    await talk().message(message);
    expect(sent).toEqual([told(400, code, param)]);
    expect(asked).toEqual([]);
  });

  it('is told of a fault without its cause, in the stream that it is of; of one that comes midway too', async () => {
    const log = vi.spyOn(console, 'error').mockImplementation(() => {});
    answers = [Promise.reject(new Error('secret'))];
    await say(talk(), create({ stream_id: 's' }));
    expect(sent).toEqual([{ ...told(500, 'internal_error', null), stream_id: 's' }]);
    expect(JSON.stringify(sent)).not.toContain('secret');
    expect(log).toHaveBeenCalledOnce();
    log.mockRestore();
    const envelope = { error: { message: 'ended', type: 'server_error', code: 'replica_lost', param: null } };
    answers = [sse({ type: 'response.created', response: response() }, envelope)];
    sent = [];
    await say(talk(), create());
    expect(sent.slice(1)).toEqual([error({ status: 503, message: 'ended', code: 'replica_lost', param: null, error: envelope.error })]);
    const own = { type: 'error', error: { message: 'own' } }; // an event that has a type is one
    answers = [sse(own, { type: 'response.completed', response: response() })];
    sent = [];
    await say(talk(), create());
    expect(sent[0]).toEqual(own);
  });
});

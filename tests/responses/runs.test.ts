/** A session's turns driven to their ends, with a queue and replicas that do as each test tells them and note what they are asked. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Runs } from '../../durable-objects/session/runs.ts';
import type { TurnStore } from '../../durable-objects/session/turns.ts';
import type { AdmitRequest, Progress } from '../../policy/ticket.ts';
import { Answer } from '../../serving/responses/answer.ts';
import { ResponseStore } from '../../serving/responses/memory-turns.ts';
import { newTurn } from '../../serving/responses/turns.ts';
import type { RunLine, RunOrder, StoredResponse } from '../../serving/responses/types.ts';

/** What a session's own store has beside what all have. */
class Turns extends ResponseStore {
  tries = 0;
  tried() {
    return ++this.tries;
  }
}

type Place = { kind: 'run'; replica: string; epoch: number } | { kind: 'wait' } | { kind: 'refused'; reason: string; retryAfter: number };
type Reply = Response | Error | ((signal: AbortSignal) => Response);
let places: (Place | Error)[];
let replies: Reply[];
let asked: { admitted: AdmitRequest[]; released: Progress[]; cancelled: string[]; orders: RunOrder[]; calls: string[]; later: number[] };
let lease: { state: string; epoch: number };
let load: Response[];
let epoch: number;

const run = (replica = '1'): Place => ({ kind: 'run', replica, epoch: ++epoch });
const start: RunLine = { type: 'start', prompt: [1, 2, 3], cachedTokens: 1, fingerprint: 'f' };
const tokens = (from: number, ...text: string[]): RunLine => ({ type: 'tokens', from, ids: text.map((_, i) => from + i), text });
const end: RunLine = { type: 'end', finish: 'stop', tail: '', output: [] };
const lines = (...list: RunLine[]) => new Response(list.map((l) => `${JSON.stringify(l)}\n`).join(''));

const next = <T>(list: (T | Error)[], what: string): T => {
  const v = list.shift();
  if (v === undefined) throw new Error(`${what}: asked once more than was foreseen`);
  if (v instanceof Error) throw v;
  return v;
};
const namespace = (object: (name: string) => object) => ({ idFromName: (n: string) => n, get: object });
const queues: string[] = [];
const scheduler = {
  admit: async (r: AdmitRequest) => {
    asked.admitted.push(r);
    return next(places, 'admit');
  },
  release: async (list: Progress[]) => asked.released.push(...list),
  cancel: async (id: string) => asked.cancelled.push(id) > 0,
  lease: async () => lease,
};
const env = {
  SCHEDULER: namespace((name) => {
    queues.push(name);
    return scheduler;
  }),
  REPLICA: namespace((name) => ({
    fetch: async (url: string, init: RequestInit) => {
      const headers = Object.fromEntries(new Headers(init.headers));
      asked.calls.push(
        `${init.method} ${url} of ${name}: ${headers['content-type']}, ${headers['x-turnstone-tenant']}, ${headers['x-turnstone-request']}`,
      );
      asked.orders.push(JSON.parse(init.body as string) as RunOrder);
      const reply = next(replies, 'replica');
      return typeof reply === 'function' ? reply(init.signal!) : reply;
    },
  })),
};

function session(more: Partial<StoredResponse> = {}, over: object = {}) {
  const turns = new Turns({ count: 9, bytes: 1 << 24, ttlMs: 1e9, open: 9 });
  const echo = { instructions: 'be brief', tools: [], previous_response_id: 'p' };
  const begun = newTurn(
    { id: 'r', tenant: 'ann', model: 'm', input: ['hi'] as never, request: { q: 1 } as never, echo, priority: 2 },
    [7, 9],
    Date.now(),
  );
  turns.insert('s', { ...begun, ...more });
  const answers = new Map<string, Answer>();
  const answer = (id: string) => {
    if (!answers.has(id)) answers.set(id, new Answer(turns, id));
    return answers.get(id)!;
  };
  const runs = new Runs({
    env: { ...env, ...over } as never,
    session: 'the object',
    turns: turns as unknown as TurnStore,
    answer,
    later: (ms) => void asked.later.push(ms),
  });
  return { turns, runs, answer, turn: () => turns.get('r')!, text: () => turns.tokens('r').text.join('') };
}

/** Backoffs pass at once, and are noted. */
let waits: number[];
let log: { mock: { calls: unknown[][] } }[];
beforeEach(() => {
  places = [];
  replies = [];
  load = [];
  asked = { admitted: [], released: [], cancelled: [], orders: [], calls: [], later: [] };
  lease = { state: 'running', epoch: 1 };
  epoch = 0;
  queues.length = 0;
  waits = [];
  const real = setTimeout;
  vi.stubGlobal('setTimeout', (f: () => void, ms: number) => {
    if (ms > 5_000) return real(f, ms); // the store's own
    waits.push(ms);
    return real(f, 0);
  });
  log = [vi.spyOn(console, 'error'), vi.spyOn(console, 'warn')].map((s) => s.mockImplementation(() => {}));
});
afterEach(() => {
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

describe('a turn', () => {
  it('gets a place by the length and beginning of its conversation, and its replica the whole order', async () => {
    const { runs, turns, turn, text } = session();
    const before = {
      ...newTurn({ id: 'p', tenant: 'ann', model: 'm', input: ['one'] as never, request: {} as never, echo: {}, priority: 0 }, [0, 0], 0),
      output: ['two'] as never,
      status: 'completed' as const,
    };
    turns.insert('s', before);
    turns.update('r', { previous: 'p' });
    places = [run('3')];
    replies = [lines(start, tokens(0, 'a', 'b'), end)];
    const decided = runs.decided('r');
    await runs.start('r');
    await decided;
    expect([turn().status, text(), turn().starts]).toEqual(['completed', 'ab', [0]]);
    const [admitted] = asked.admitted;
    expect(admitted).toMatchObject({ id: 'r', tenant: 'ann', priority: 2, restart: true });
    expect(admitted!.chain).toHaveLength(4); // the head, and one, two, hi
    expect(admitted!.promptTokens).toBe(admitted!.chain.at(-1)!.tokens);
    expect(asked.calls).toEqual(['POST https://replica/session/run of replica-3: application/json, ann, r']);
    expect(asked.orders).toEqual([
      {
        ...{ response: 'r', session: 'the object', replica: '3', tenant: 'ann', epoch: 1, model: 'm', request: { q: 1 } },
        ...{ history: ['one', 'two'], input: ['hi'], seed: [7, 9], prompt: [], generated: [] },
      },
    ]);
    expect(asked.released).toEqual([{ id: 'r', epoch: 1, output: 2, promptTokens: 3, cachedTokens: 1 }]);
    expect([waits, asked.later, runs.size]).toEqual([[], [], 0]);
  });

  it('has the same beginning whatever it goes on from by name; another tenant’s, model’s or instructions’ never', async () => {
    const first = async (more: Partial<StoredResponse>, instructions = 'be brief', previous = 'p') => {
      const { runs } = session({ ...more, echo: { instructions, tools: [], previous_response_id: previous } });
      places = [run()];
      replies = [lines(start, end)];
      await runs.start('r');
      return asked.admitted.at(-1)!.chain[0]!.hash;
    };
    const same = await first({});
    expect(await first({}, 'be brief', 'another')).toBe(same);
    const others = [await first({ tenant: 'bob' }), await first({ model: 'n' }), await first({}, 'be long')];
    expect(new Set([same, ...others]).size).toBe(4);
  });

  it('that runs is not run twice, and waits under one id as long as the queue says', async () => {
    const { runs, turn } = session();
    places = [{ kind: 'wait' }, { kind: 'wait' }, run()];
    replies = [lines(start, end)];
    const decided = runs.decided('r');
    const running = runs.start('r');
    expect([runs.has('r'), runs.size]).toEqual([true, 1]);
    await runs.start('r');
    await decided;
    await running;
    expect([turn().status, asked.admitted.length, runs.has('r')]).toEqual(['completed', 3, false]);
    expect(asked.admitted.every((a) => a.id === 'r')).toBe(true);
  });

  it('goes on elsewhere from its stored tokens when a replica goes away, after a while that doubles', async () => {
    const { runs, turn, text, turns } = session();
    places = [run('0'), run('1'), run('2'), run('3')];
    replies = [
      lines(start, tokens(0, 'a', 'b')), // ends without an end
      new Error('gone'),
      Response.json({ error: { message: 'busy' } }, { status: 503 }),
      lines(start, tokens(2, 'c'), end),
    ];
    await runs.start('r');
    expect([turn().status, text(), turn().starts, turn().epoch]).toEqual(['completed', 'abc', [0, 2, 2, 2], 4]);
    expect(asked.orders.map((o) => [o.replica, o.epoch, o.generated, o.prompt])).toEqual([
      ['0', 1, [], []],
      ['1', 2, [0, 1], [1, 2, 3]],
      ['2', 3, [0, 1], [1, 2, 3]],
      ['3', 4, [0, 1], [1, 2, 3]],
    ]);
    expect(asked.released.map((r) => [r.epoch, r.output, r.failed])).toEqual([
      [1, 2, true],
      [2, 2, true],
      [3, 2, true],
      [4, 3, undefined],
    ]);
    expect(waits).toEqual([100, 200, 400]); // the first go brought tokens
    expect(turns.tries).toBe(4);
  });

  it('is given up after five goes without a token, or ten over all its lives', async () => {
    const five = session();
    places = Array.from({ length: 9 }, () => run());
    replies = Array.from({ length: 9 }, () => new Error('gone'));
    await five.runs.start('r');
    expect([five.turn().status, asked.orders.length]).toEqual(['failed', 5]);
    expect(five.turn().error).toMatchObject({ type: 'server_error', message: expect.stringContaining('No replica') });
    const ten = session();
    ten.turns.tries = 10;
    await ten.runs.start('r');
    expect([ten.turn().status, asked.orders.length]).toEqual(['failed', 5]);
    expect(ten.turn().error).toMatchObject({ code: 'server_error' });
    const nine = session();
    nine.turns.tries = 9;
    replies = [lines(start, end)];
    await nine.runs.start('r');
    expect(nine.turn().status).toBe('completed');
  });

  it.each([
    [() => Response.json({ error: { message: 'refused' } }, { status: 400 }), 'refused'],
    [() => Response.json({ error: { message: 'broken' } }, { status: 500 }), 'broken'],
    [() => lines(start, { type: 'error', status: 500, error: { message: 'its own' } }), 'its own'],
  ])('that its replica cannot answer ends with the replica’s words, and gives the place back (%#)', async (reply, message) => {
    const { runs, turn } = session();
    places = [run()];
    replies = [reply()];
    await runs.start('r');
    expect(turn()).toMatchObject({ status: 'failed', error: { message } });
    expect(asked.released).toHaveLength(1);
    expect(asked.released[0]!.failed).toBeUndefined();
  });

  it('does nothing when it has ended, or is not there', async () => {
    const { runs } = session({ status: 'completed' });
    await runs.start('r');
    await runs.start('none');
    expect(asked).toMatchObject({ admitted: [], released: [], orders: [] });
  });

  it('that ran in another life gives that lease back first', async () => {
    const { runs, turn } = session({ epoch: 8, status: 'in_progress', starts: [0] });
    epoch = 8;
    places = [run()];
    replies = [lines(start, end)];
    await runs.start('r');
    expect(asked.released.map((r) => [r.epoch, r.output, r.failed])).toEqual([
      [8, 0, true],
      [9, 0, undefined],
    ]);
    expect([turn().status, turn().epoch]).toEqual(['completed', 9]);
  });

  it('under a lease that is over already runs nothing', async () => {
    const { runs, turn } = session({ epoch: 8, status: 'in_progress' });
    places = [{ kind: 'run', replica: '1', epoch: 8 }];
    await runs.start('r');
    expect([turn().status, asked.orders]).toEqual(['in_progress', []]);
  });

  it('stops reading when another lease takes it over, and changes nothing more', async () => {
    const { runs, turn, answer, text } = session();
    places = [run()];
    let send!: ReadableStreamDefaultController<Uint8Array>;
    replies = [() => new Response(new ReadableStream({ start: (c) => void (send = c) }))];
    const running = runs.start('r');
    await vi.waitFor(() => expect(asked.orders).toHaveLength(1));
    const put = (l: RunLine) => send.enqueue(new TextEncoder().encode(`${JSON.stringify(l)}\n`));
    put(start);
    put(tokens(0, 'a'));
    await vi.waitFor(() => expect(answer('r').length).toBe(1));
    answer('r').claim(5);
    put(tokens(1, 'b'));
    put(end);
    await running;
    expect([turn().status, text(), turn().epoch]).toEqual(['in_progress', 'a', 5]);
  });
});

describe('a queue that refuses', () => {
  const refusal: Place = { kind: 'refused', reason: 'queue_full', retryAfter: 9 };
  it('ends a turn that has said nothing, with when to ask again', async () => {
    const { runs, turn } = session();
    places = [refusal];
    expect(runs.refusal('r')).toBeUndefined();
    const decided = runs.decided('r').then(() => runs.refusal('r')); // known by then
    await runs.start('r');
    expect(await decided).toEqual({ reason: 'queue_full', retryAfter: 9 });
    expect(turn()).toMatchObject({
      status: 'failed',
      error: { type: 'rate_limit_error', code: 'queue_full', retry_after: 9, param: null },
    });
    expect(runs.refusal('r')).toEqual({ reason: 'queue_full', retryAfter: 9 });
    expect([asked.later, runs.refusal('none')]).toEqual([[], undefined]);
  });

  it('puts one off that has said something, as long as it is not old', async () => {
    for (const [age, later, status] of [
      [0, [9_000], 'in_progress'],
      [3_590, [9_000], 'in_progress'],
      [3_610, [], 'failed'],
    ] as const) {
      asked.later.length = 0;
      const { runs, turn } = session({ created: Math.floor(Date.now() / 1000) - age });
      places = [run(), refusal];
      replies = [lines(start, tokens(0, 'a'))];
      await runs.start('r');
      expect([asked.later, turn().status]).toEqual([[...later], status]);
      expect(runs.refusal('r')?.reason).toBe(status === 'failed' ? 'queue_full' : undefined);
    }
  });

  it('is not asked for the reason of another failure', async () => {
    const { runs } = session({ status: 'failed', error: { type: 'server_error', code: 'queue_full' } });
    expect(runs.refusal('r')).toBeUndefined();
    expect(session({ status: 'completed', error: { type: 'rate_limit_error' } }).runs.refusal('r')).toBeUndefined();
  });
});

describe('what throws', () => {
  const errors: [unknown, boolean][] = [
    [Object.assign(new Error('x'), { retryable: true }), true],
    [Object.assign(new Error('x'), { overloaded: true }), true],
    [Object.assign(new Error('x'), { durableObjectReset: true }), true],
    [new Error('Network connection lost.'), true],
    [new Error('The client Disconnected'), true],
    [new Error('internal error; reference = 1'), true],
    [new Error('SQLITE_FULL'), true],
    [Object.assign(new Error('x'), { retryable: 'true' }), false],
    [new Error('admit: priority must be an integer'), false],
  ];
  it.each(errors)('%s: it is waited for: %s', async (error, passes) => {
    const { runs, turn } = session();
    places = [error as Error];
    await runs.start('r');
    const wait = 'overloaded' in (error as object) ? 30_000 : 1_000; // what has too much to do is left alone
    expect([asked.later, turn().status]).toEqual(passes ? [[wait], 'queued'] : [[], 'failed']);
    if (!passes) expect(turn().error).toMatchObject({ message: 'The response could not be generated.' });
    expect(runs.has('r')).toBe(false);
  });

  it('is waited for an hour, no longer', async () => {
    const { runs, turn } = session({ created: Math.floor(Date.now() / 1000) - 3_610 });
    places = [new Error('SQLITE_FULL')];
    await runs.start('r');
    expect([asked.later, turn().status]).toEqual([[], 'failed']);
  });
});

describe('a model that must be loaded', () => {
  const launcher = {
    MODEL_ID: 'first',
    LAUNCHER: { fetch: async () => next(load, 'load') },
    MODEL_REPLICA: env.REPLICA,
  };
  const no = (status: number) => Response.json({ error: { message: 'no room', type: 'server_error', code: 'c', param: null } }, { status });

  it('has a queue and replicas of its own', async () => {
    const { runs, turn } = session({}, launcher);
    load = [new Response()];
    places = [run()];
    replies = [lines(start, end)];
    await runs.start('r');
    expect(turn().status).toBe('completed');
    expect(new Set(queues)).toEqual(new Set(['scheduler/m']));
    expect(asked.calls[0]).toContain('replica-1/m');
  });

  it('is asked for again when it does not fit now, and ends the turn when there is none', async () => {
    const busy = session({}, launcher);
    load = [no(503)];
    await busy.runs.start('r');
    expect([asked.later, busy.turn().status]).toEqual([[2_000], 'queued']);
    asked.later.length = 0;
    const old = session({ created: Math.floor(Date.now() / 1000) - 3_610 }, launcher);
    load = [no(503)];
    await old.runs.start('r');
    expect([asked.later, old.turn().status]).toEqual([[], 'failed']);
    const none = session({}, launcher);
    load = [no(404)];
    await none.runs.start('r');
    expect(none.turn()).toMatchObject({ status: 'failed', error: { message: 'no room', code: 'c' } });
    expect(asked.admitted).toEqual([]);
  });
});

describe('a turn that is stopped', () => {
  let leaves: AbortSignal;
  const hanging = (signal: AbortSignal) => {
    leaves = signal;
    return new Response(
      new ReadableStream({
        start(c) {
          c.enqueue(new TextEncoder().encode(`${JSON.stringify(start)}\n${JSON.stringify(tokens(0, 'a'))}\n`));
          signal.addEventListener('abort', () => c.error(signal.reason));
        },
      }),
    );
  };

  it('leaves its replica and the queue, and nothing is tried again', async () => {
    const { runs, turn, answer } = session();
    places = [run()];
    replies = [hanging];
    const running = runs.start('r');
    await vi.waitFor(() => expect(answer('r').length).toBe(1));
    answer('r').end('cancelled', {});
    await runs.stop('r');
    await running;
    expect([turn().status, asked.cancelled, asked.orders.length, asked.later]).toEqual(['cancelled', ['r'], 1, []]);
    expect(asked.released).toEqual([]);
    expect(log.flatMap((l) => l.mock.calls)).toEqual([]);
  });

  it('that does not run is taken out of the queue alone', async () => {
    const { runs } = session();
    await runs.stop('r');
    expect(asked).toMatchObject({ cancelled: ['r'], orders: [], released: [] });
  });

  it('while the queue is asked never reaches a replica', async () => {
    const { runs } = session();
    let answer!: (p: Place) => void;
    const asks = vi.spyOn(scheduler, 'admit').mockImplementation(() => new Promise<Place>((resolve) => void (answer = resolve)));
    const running = runs.start('r');
    await vi.waitFor(() => expect(asks).toHaveBeenCalled());
    await runs.stop('r');
    answer(run());
    await running;
    expect(asked.orders).toEqual([]);
  });

  it('by a lease that is over goes on elsewhere; one that holds is left alone', async () => {
    const { runs, turn, answer } = session();
    await runs.watch('r'); // nothing waits
    places = [run(), run()];
    replies = [hanging, lines(start, tokens(1, 'b'), end)];
    const running = runs.start('r');
    await vi.waitFor(() => expect(answer('r').length).toBe(1));
    lease = { state: 'running', epoch: 1 };
    await runs.watch('r');
    expect(leaves.aborted).toBe(false);
    lease = { state: 'waiting', epoch: 1 };
    await runs.watch('r');
    await running;
    expect([turn().status, asked.orders.map((o) => o.generated), turn().starts]).toEqual(['completed', [[], [0]], [0, 1]]);
  });

  it('by another lease than its own, too', async () => {
    const { runs, turn, answer } = session();
    places = [run(), run()];
    replies = [hanging, lines(start, tokens(1, 'b'), end)];
    const running = runs.start('r');
    await vi.waitFor(() => expect(answer('r').length).toBe(1));
    lease = { state: 'running', epoch: 2 };
    await runs.watch('r');
    await running;
    expect([turn().status, turn().epoch]).toEqual(['completed', 2]);
  });
});

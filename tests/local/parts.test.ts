/** The small parts of a replica, each to the letter, without an engine. */

import { concatBytes } from '@noble/hashes/utils.js';
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { Backend, Engine, StepEvent } from '../../engine/index.ts';
import { PAGE } from '../../engine/layout.ts';
import { DeviceLostError } from '../../kernels/webgpu/index.ts';
import type { Tokenizer } from '../../models/tokenizer/tokenizer.ts';
import { ApiError } from '../../openai/errors.ts';
import { LIMITS } from '../../openai/requests/generation.ts';
import type { Answer } from '../../openai/stream/answer.ts';
import type { Heartbeat } from '../../policy/ticket.ts';
import { frame, parseFrames } from '../../serving/responses/frames.ts';
import { AnswerWriter, type AnswerWriterOptions } from '../../serving/run/answer-writer.ts';
import { checkIds, outputLimit, promptBest, stopIdsOf } from '../../serving/run/checks.ts';
import { DEVICE_FAILED, explained, faultOf } from '../../serving/run/device-fault.ts';
import { inEnvelope } from '../../serving/run/dispatch.ts';
import { heartbeatsUntil, takesLong } from '../../serving/run/heartbeats.ts';
import { SequenceClock } from '../../serving/run/latency.ts';
import { logprobsOf, promptTokens } from '../../serving/run/logprobs.ts';
import { beatOf, isStream, Outlet } from '../../serving/run/outlet.ts';
import { leaseOf, Reporter } from '../../serving/run/report.ts';
import type { Runtime } from '../../serving/run/runtime.ts';
import { keptBytes, pullPages, pushPages } from '../../serving/run/session-pages.ts';
import { answerText, opened } from '../../serving/run/text.ts';
import { afterThinking, type Followed, FREE } from '../../serving/run/thinking.ts';
import { adapterNamed, fingerprintOf, withAdapter } from '../../serving/run/with-adapter.ts';
import { fault } from '../fault.ts';

afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

/** Tokens are these texts; those in brackets are control tokens, which have none. */
const TEXTS = ['a', 'b', ' ', '<think>', '</think>', '<tool_call>', '<', 'think', '>', 'é'.slice(0, 1)];
const SPECIAL = new Set([3, 4, 5]);
const tokenizer = {
  isSpecial: (id: number) => SPECIAL.has(id),
  idOf: (text: string) => (TEXTS.includes(text) ? TEXTS.indexOf(text) : undefined),
  bytesOf: (id: number) => new TextEncoder().encode(TEXTS[id]),
  decode: (ids: readonly number[]) => ids.map((id) => TEXTS[id]).join(''),
  encode: (text: string) => [...text].map((c) => TEXTS.indexOf(c)),
  stream: ({ start }: { start: boolean }) => ({
    push: (id: number) => (SPECIAL.has(id) ? '' : `${start ? '^' : ''}${TEXTS[id]}`),
    flush: () => '$',
  }),
} as unknown as Tokenizer;

describe('what only a replica can check', () => {
  const body = (more: object = {}) =>
    ({ sampling: { logitBias: [] as [number, number][] }, stopTokenIds: [] as number[], ...more }) as never;
  it('ids are of the vocabulary', () => {
    const served = { config: { vocab: 10 } } as never;
    const check = (more: object, prompt: number[] = []) => fault(() => checkIds(served, body(more), prompt));
    expect(check({ sampling: { logitBias: [[9, 1]] }, stopTokenIds: [9] }, [9])).toEqual(['none']);
    expect(
      check({
        sampling: {
          logitBias: [
            [9, 1],
            [10, 1],
          ],
        },
      }),
    ).toEqual([400, 'invalid_value', 'logit_bias']);
    expect(check({ stopTokenIds: [0, 10] })).toEqual([400, 'invalid_value', 'stop_token_ids']);
    expect(check({}, [10])).toEqual([400, 'invalid_value', 'prompt']);
  });

  it('so much is told of prompts, and no more', () => {
    const best = (more: object, ...lengths: number[]) =>
      promptBest(
        { n: 1, sampling: {}, ...more } as never,
        lengths.map((n) => Array(n).fill(0)),
      );
    expect([best({}), best({ echo: true }), best({ echo: false, sampling: { logprobs: 3 } })]).toEqual([undefined, undefined, undefined]);
    expect([best({ echo: true, sampling: { logprobs: 3 } }), best({ promptLogprobs: 2 }), best({ promptLogprobs: 0 })]).toEqual([3, 2, 0]);
    expect(best({ echo: true, sampling: { logprobs: 3 }, promptLogprobs: 5 })).toBe(5);
    const places = LIMITS.promptScores / 4;
    expect(best({ promptLogprobs: 3 }, places - 1, 1)).toBe(3);
    expect(fault(() => best({ promptLogprobs: 3 }, places, 1))).toEqual([400, 'invalid_value', 'prompt_logprobs']);
    expect(fault(() => best({ promptLogprobs: 3, n: 2 }, places / 2 + 1))).toEqual([400, 'invalid_value', 'prompt_logprobs']);
    expect(fault(() => best({ echo: true, sampling: { logprobs: 3 } }, places + 1))).toEqual([400, 'invalid_value', 'logprobs']);
  });

  it('ids that end an answer: the model’s, unless they are not to', () => {
    const of = (more: object) =>
      stopIdsOf({ stopIds: [1] }, { ignoreEos: false, stopTokenIds: [2], responseFormat: { type: 'text' }, ...more });
    expect([of({}), of({ ignoreEos: true }), of({ ignoreEos: true, tools: [] })]).toEqual([[1, 2], [2], [2]]);
    expect([of({ ignoreEos: true, tools: [{}] }), of({ ignoreEos: true, responseFormat: { type: 'regex' } })]).toEqual([
      [1, 2],
      [1, 2],
    ]);
  });

  it('the answer fits behind its prompt', () => {
    const limit = (more: object, prompt: number) =>
      outputLimit({ maxPrompt: 99 }, { maxTokens: undefined, maxTokensParam: 'max_tokens', ...more } as never, prompt, 'messages');
    expect([limit({}, 60), limit({}, 99), limit({ kind: 'completion' }, 60), limit({ kind: 'completion' }, 90)]).toEqual([40, 1, 16, 10]);
    expect([limit({ maxTokens: 40 }, 60), limit({ maxTokens: 0 }, 99), limit({ kind: 'completion', maxTokens: 40 }, 60)]).toEqual([
      40, 0, 40,
    ]);
    expect(fault(() => limit({}, 100))).toEqual([400, 'context_length_exceeded', 'messages']);
    expect(fault(() => limit({ maxTokens: 41 }, 60))).toEqual([400, 'context_length_exceeded', 'max_tokens']);
    expect([
      limit({ wire: 'anthropic', maxTokens: 41 }, 60),
      limit({ wire: 'anthropic', maxTokens: 5 }, 60),
      limit({ wire: 'anthropic' }, 60),
    ]).toEqual([40, 5, 40]);
  });
});

it('a sequence is timed: to its first token, then between tokens, which share the time that they came in', () => {
  const seen: [string, number][] = [];
  const histogram = (name: string) => ({ observe: (s: number) => void seen.push([name, s]) });
  const clock = new SequenceClock({ ttft: histogram('first'), interToken: histogram('next') } as never, 1_000);
  const event = (tokens: number, cachedTokens?: number) =>
    ({ request: 'x', tokens: Array(tokens).fill({ id: 1 }), cachedTokens }) as unknown as StepEvent;
  expect([clock.first, clock.timings]).toEqual([undefined, undefined]);
  clock.observe(event(1, 16), 1_500, 40);
  expect(clock.first).toBe(1_500);
  expect(clock.timings).toEqual({ prefill_tokens: 24, prefill_ms: 500, decode_tokens: 0, decode_ms: 0 });
  clock.observe(event(2), 1_700, 40);
  clock.observe(event(1), 1_750, 40);
  expect(seen).toEqual([
    ['first', 0.5],
    ['next', 0.1],
    ['next', 0.1],
    ['next', 0.05],
  ]);
  expect(clock.timings).toEqual({ prefill_tokens: 24, prefill_ms: 500, decode_tokens: 3, decode_ms: 250 });
});

describe('log-probabilities', () => {
  const a = { token: 'a', bytes: [97] };
  const b = { token: 'b', bytes: [98] };
  it('are told where they were asked for', () => {
    expect(logprobsOf(tokenizer, { id: 0 })).toBe(undefined);
    expect(logprobsOf(tokenizer, { id: 0, logprob: -1 })).toEqual({ ...a, logprob: -1, top: [] });
    expect(logprobsOf(tokenizer, { id: 0, logprob: -1, top: [{ id: 1, logprob: -0.5 }] } as never)).toEqual({
      ...a,
      logprob: -1,
      top: [{ ...b, logprob: -0.5 }],
    });
  });

  it('of a prompt are those of the second token and all after it', () => {
    const scores = [{ logprob: -2, rank: 4, top: [{ id: 0, logprob: -0.25 }] }] as never;
    expect(promptTokens(tokenizer, [0, 1], scores)).toEqual([
      { id: 0, offset: 0, text: a },
      { id: 1, offset: 2, text: b, scored: { logprob: -2, rank: 4, top: [{ id: 0, ...a, logprob: -0.25 }] } },
    ]);
  });
});

describe('the text of an answer', () => {
  it('begins inside of thinking that the prompt has opened', () => {
    expect(opened({ tokenizer }, [0, 3])?.[0]).toBe('<think>');
    expect(opened({ tokenizer }, [0, 3, 2])?.[0]).toBe('<think>');
    expect([opened({ tokenizer }, [3, 0]), opened({ tokenizer }, [])]).toEqual([undefined, undefined]);
  });

  it('shows tags of thinking in a chat, and those of calls where there are tools', () => {
    const read = (prompt: number[], form: { chat: boolean; tools: boolean }, ids: number[]) => {
      const stream = answerText({ tokenizer }, prompt, form);
      return [...ids.map((id) => stream.push(id)), stream.flush()];
    };
    const all = [0, 3, 4, 5];
    expect(read([0], { chat: false, tools: true }, all)).toEqual(['a', '', '', '', '$']);
    expect(read([0], { chat: true, tools: false }, all)).toEqual(['a', '<think>', '</think>', '', '$']);
    expect(read([0], { chat: true, tools: true }, all)).toEqual(['a', '<think>', '</think>', '<tool_call>', '$']);
    expect(read([0, 3], { chat: true, tools: true }, [0, 1])).toEqual(['<think>a', 'b', '$']);
    expect(read([3], { chat: true, tools: true }, [0, 1])).toEqual(['<think>^a', '^b', '$']); // nothing but control tokens is before it
  });
});

describe('what comes after thinking', () => {
  const served = { tokenizer, config: { vocab: 40 }, stopIds: [1, 33, 99] } as never;
  const mask = (bits: Uint32Array | null) =>
    bits && Array.from({ length: 40 }, (_, id) => id).filter((id) => bits[id >> 5] & (1 << (id & 31)));
  const ONLY = new Uint32Array([1, 0]);
  let accepted: number[][];
  const begin = (): Followed => {
    const mine: number[] = [];
    accepted.push(mine);
    const form: Followed = { mask: () => ONLY, accept: (id) => void mine.push(id), clone: () => form };
    return form;
  };
  const all = Array.from({ length: 40 }, (_, id) => id);
  const unended = all.filter((id) => id !== 1 && id !== 33);
  const came = (prompt: number[], ids: number[], budget?: number, from: () => Followed = begin) => {
    accepted = [];
    const c = afterThinking(served, prompt, from, budget);
    const then = (id: number) => {
      c.accept(id);
      return mask(c.mask());
    };
    return [mask(c.mask()), ...ids.map(then)];
  };

  it('is the form, which begins anew when the thinking has ended', () => {
    expect(came([0], [0, 1])).toEqual([[0], [0], [0]]);
    expect(accepted).toEqual([[0, 1]]);
    expect(came([0, 3], [0, 4, 0])).toEqual([unended, unended, [0], [0]]);
    expect(accepted).toEqual([[], [0]]);
    expect(came([0], [3, 0, 4, 1])).toEqual([[0], unended, unended, [0], [0]]);
    expect(accepted).toEqual([[3], [1]]);
    expect(came([0], [2, 6, 7, 8, 0])).toEqual([[0], [0], [0], [0], unended, unended]); // in pieces, behind white space
    expect(came([0], [0, 3, 0])).toEqual([[0], [0], [0], [0]]); // the answer has begun: a tag is text
    expect(came([0, 3], [6, 0, 6, 4, 0])).toEqual([unended, unended, unended, unended, [0], [0]]);
  });

  it('thinks as long as it may, then all that may come is what ends it', () => {
    expect(came([0, 3], [0, 0, 4, 0], 2)).toEqual([unended, unended, [4], [0], [0]]);
    expect(came([0, 3], [4], 0)).toEqual([[4], [0]]);
    const spelt = {
      tokenizer: { ...tokenizer, idOf: () => undefined, encode: () => [6, 7, 33] },
      config: { vocab: 40 },
      stopIds: [],
    } as never;
    accepted = [];
    const c = afterThinking(spelt, [0, 3], begin, 1);
    c.accept(0);
    const told = [mask(c.mask())];
    for (const id of [6, 7]) {
      c.accept(id);
      told.push(mask(c.mask()));
    }
    expect(told).toEqual([[6], [7], [33]]);
  });

  it('is free where nothing is asked of it, and each copy goes its own way', () => {
    expect(came([0, 3], [0, 4, 0], undefined, () => FREE)).toEqual([null, null, null, null]);
    accepted = [];
    const c = afterThinking(served, [0, 3], begin, 2);
    c.accept(0);
    const copy = c.clone();
    copy.accept(0);
    expect([mask(c.mask()), mask(copy.mask())]).toEqual([unended, [4]]);
    copy.accept(4);
    expect([mask(c.mask()), mask(copy.mask())]).toEqual([unended, [0]]);
  });
});

describe('an answer’s body', () => {
  const read = async (response: Response): Promise<string[]> => {
    const got: string[] = [];
    const reader = response.body!.getReader();
    void (async () => {
      for (let r = await reader.read(); !r.done; r = await reader.read()) got.push(new TextDecoder().decode(r.value));
      got.push('END');
    })().catch((e: Error) => got.push(`BROKEN ${e.message}`));
    await vi.advanceTimersByTimeAsync(0);
    return got;
  };
  const outlet = (type = 'text/event-stream') => {
    vi.useFakeTimers({ now: 10_000 });
    const gone = vi.fn();
    return { o: new Outlet(type, 10_000, gone), gone };
  };

  it('is written as it comes, at a pace', async () => {
    const { o } = outlet();
    o.write('open;');
    expect([o.isOpen, o.over]).toEqual([false, false]);
    const response = o.response();
    expect(Object.fromEntries(response.headers)).toEqual({ 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
    expect(o.isOpen).toBe(true);
    const got = await read(response);
    const came = async (ms: number, text: string, crowd?: number) => {
      await vi.advanceTimersByTimeAsync(ms);
      o.write(text);
      o.flush(crowd);
      await vi.advanceTimersByTimeAsync(0);
      return got.splice(0).join('|');
    };
    expect(got.splice(0)).toEqual(['open;']);
    o.begin();
    expect(await came(0, 'a')).toBe('a'); // the first text at once
    expect(await came(19, 'b')).toBe('');
    expect(await came(1, 'c')).toBe('bc');
    expect(await came(79, 'd', 200)).toBe('');
    expect(await came(1, 'e', 200)).toBe('de');
    expect(await came(49, 'f', 50)).toBe('');
    expect(await came(1, 'g', 50)).toBe('fg');
    expect(await came(249, '')).toBe('');
    expect(await came(1, '')).toBe(': wait\n\n');
    o.write('last');
    o.close();
    await vi.advanceTimersByTimeAsync(0);
    expect(got).toEqual(['last', 'END']);
    expect([o.isOpen, o.over]).toEqual([false, true]);
    o.flush();
  });

  it('that is one object comes at its end, with heartbeats before it', async () => {
    const { o } = outlet('application/json');
    const response = o.response();
    expect(Object.fromEntries(response.headers)).toEqual({
      ...{ 'content-type': 'application/json', 'cache-control': 'no-store, no-transform', 'content-encoding': 'identity' },
    });
    const got = await read(response);
    o.write('{');
    await vi.advanceTimersByTimeAsync(250);
    o.flush();
    o.write('}');
    o.close();
    await vi.advanceTimersByTimeAsync(0);
    expect(got).toEqual([' ', '{}', 'END']);
    const whole = outlet('application/json').o;
    whole.write('{}');
    whole.close();
    expect([await whole.response().text(), whole.response().headers.get('cache-control')]).toEqual(['{}', 'no-store']);
    expect(['application/json', 'application/x-ndjson', 'text/event-stream; x'].map((t) => [isStream(t), beatOf(t)])).toEqual([
      [false, ' '],
      [true, ' '],
      [true, ': wait\n\n'],
    ]);
  });

  it('is given up for a reader who takes nothing, or too little for too long', async () => {
    const most = 65_536 + (1 << 20);
    const fast = outlet();
    fast.o.response();
    fast.o.write('x'.repeat(most));
    fast.o.flush();
    expect(fast.gone).not.toHaveBeenCalled();
    fast.o.write('x');
    await vi.advanceTimersByTimeAsync(20);
    fast.o.flush();
    expect(fast.gone).toHaveBeenCalledOnce();
    const slow = outlet();
    slow.o.response();
    slow.o.write('x'.repeat(65_537));
    slow.o.flush();
    for (let s = 0; s < 30; s++) {
      await vi.advanceTimersByTimeAsync(1_000);
      slow.o.flush();
    }
    expect(slow.gone).not.toHaveBeenCalled();
    await vi.advanceTimersByTimeAsync(1_000);
    slow.o.flush();
    expect(slow.gone).toHaveBeenCalledOnce();
    const left = outlet();
    await left.o.response().body!.cancel();
    expect(left.gone).toHaveBeenCalledOnce();
  });

  it('may be broken off, with a reason or without', async () => {
    for (const why of [new Error('why'), undefined]) {
      const { o } = outlet();
      const got = await read(o.response());
      o.breakOff(why);
      await vi.advanceTimersByTimeAsync(0);
      expect([got, o.over, o.isOpen]).toEqual([why ? ['BROKEN why'] : [], true, false]);
    }
  });
});

describe('an answer that takes long', () => {
  it('is one after a quarter of a second', async () => {
    vi.useFakeTimers();
    const came = async (ms: number) => {
      const long = takesLong(new Promise((done) => setTimeout(done, ms)));
      await vi.advanceTimersByTimeAsync(1_000);
      return long;
    };
    expect([await came(249), await came(251)]).toEqual([false, true]);
    await expect(takesLong(Promise.reject(new Error('no')))).rejects.toThrow('no');
  });

  const options = (more: object = {}) => ({
    contentType: 'a/b',
    headers: { 'x-own': '1' },
    beat: '.',
    leave: vi.fn(),
    fail: (e: unknown) => `!${(e as Error).message}`,
    ...more,
  });
  it('has heartbeats before it, then is told as it comes', async () => {
    vi.useFakeTimers();
    let answer!: (r: Response) => void;
    const response = heartbeatsUntil(new Promise((done) => (answer = done)), options());
    expect(Object.fromEntries(response.headers)).toEqual({
      'content-type': 'a/b',
      'cache-control': 'no-store, no-transform',
      'content-encoding': 'identity',
      'x-own': '1',
    });
    const text = response.text();
    await vi.advanceTimersByTimeAsync(600);
    answer(new Response('answer'));
    await vi.advanceTimersByTimeAsync(300);
    expect(await text).toBe('...answer');
  });

  it('tells what went wrong, or breaks', async () => {
    vi.useFakeTimers();
    const failing = () => new Promise<Response>((_, no) => setTimeout(() => no(new Error('broke')), 10));
    const told = heartbeatsUntil(failing(), options()).text();
    await vi.advanceTimersByTimeAsync(300);
    expect(await told).toBe('.!broke');
    const broken = heartbeatsUntil(failing(), options({ fail: () => undefined }))
      .text()
      .catch((e: Error) => e.message);
    await vi.advanceTimersByTimeAsync(300);
    expect(await broken).toBe('broke');
  });

  it('is left when its client goes, or takes nothing for two seconds', async () => {
    vi.useFakeTimers();
    const gone = options();
    await heartbeatsUntil(new Promise(() => {}), gone).body!.cancel();
    expect(gone.leave).toHaveBeenCalledOnce();
    const silent = options();
    heartbeatsUntil(new Promise(() => {}), silent);
    await vi.advanceTimersByTimeAsync(2_000);
    expect(silent.leave).not.toHaveBeenCalled();
    await vi.advanceTimersByTimeAsync(500);
    expect(silent.leave).toHaveBeenCalledOnce();
  });
});

describe('the writer of an answer', () => {
  const writer = (more: Partial<AnswerWriterOptions> = {}) => {
    const said: unknown[][] = [];
    const note =
      (name: string) =>
      (...given: unknown[]) => {
        said.push([name, ...given]);
        return `${name};`;
      };
    const answer = {
      contentType: 'a/b',
      open: note('open'),
      echo: note('echo'),
      prompt: note('prompt'),
      push: note('push'),
      finish: note('finish'),
      close: note('close'),
      fail: note('fail'),
      stopped: (i: number) => i === 1,
    };
    return { said, w: new AnswerWriter({ answer: answer as unknown as Answer, choices: 4, n: 2, promptTokens: 9, ...more }) };
  };

  it('counts what was generated, and of each prompt what was cached once', () => {
    const { said, w } = writer({ extra: () => ({ x: 1 }) });
    expect([w.contentType, w.open(), w.settle()]).toEqual(['a/b', 'open;', '']);
    expect([0, 1, 2, 3].map((i) => w.begin(i, 4, []))).toEqual(['', '', '', '']);
    const scored = { token: 'x', bytes: [], logprob: 0, top: [] };
    expect([w.push(0, 7, 'x', undefined), w.push(1, 7, 'y', scored), w.generated]).toEqual(['push;', 'push;', 2]);
    expect([w.finish(0, 'length', 'r'), w.finish(1, 'length', '')]).toEqual(['push;finish;', 'push;finish;']);
    w.close();
    w.fail(new ApiError(500, 'x'));
    expect(said).toEqual([
      ['open'],
      ['push', 0, 'x', undefined],
      ['push', 1, 'y', [scored]],
      ['push', 0, 'r'],
      ['finish', 0, 'length'],
      ['push', 1, ''],
      ['finish', 1, 'stop'],
      ['close', { prompt: 9, completion: 2, cached: 8 }, { x: 1 }, expect.any(Number)],
      ['fail', expect.any(ApiError)],
    ]);
    expect(Math.abs((said[7][3] as number) - Date.now() / 1000)).toBeLessThan(60);
    const fewer = writer({ cachedTokens: 3 });
    for (const i of [0, 1, 2]) fewer.w.begin(i, 4, []);
    fewer.w.close();
    expect(fewer.said[0][1]).toMatchObject({ cached: 6 });
  });

  it('echoes prompts at once, or with their scores', () => {
    const echo = (i: number) => `p${i}`;
    const plain = writer({ echo });
    expect(plain.w.open()).toBe('open;echo;echo;echo;echo;');
    expect(plain.said.slice(1)).toEqual([0, 1, 2, 3].map((i) => ['echo', i, `p${i}`]));
    const both = writer({ echo, scored: (i) => [{ id: i }] as never });
    expect([both.w.open(), both.w.begin(1, 0, [])]).toEqual(['open;', 'echo;prompt;']);
    expect(both.said.slice(1)).toEqual([
      ['echo', 1, 'p1', [{ id: 1 }]],
      ['prompt', 1, [{ id: 1 }]],
    ]);
    expect(writer({ scored: () => [] }).w.begin(0, 0, [])).toBe('prompt;');
  });
});

describe('a lease', () => {
  it.each<[Record<string, string>, object | undefined]>([
    [
      { request: 'r', replica: '1', epoch: '7', slots: '2' },
      { id: 'r', replica: '1', epoch: 7, slots: 2 },
    ],
    [
      { request: 'r', replica: '1', epoch: '7', slots: '1' },
      { id: 'r', replica: '1', epoch: 7, slots: 1 },
    ],
    [
      { request: 'r', replica: '1', epoch: '0', slots: '0' },
      { id: 'r', replica: '1', epoch: 0, slots: undefined },
    ],
    [
      { request: 'r', replica: '1', epoch: '7' },
      { id: 'r', replica: '1', epoch: 7, slots: undefined },
    ],
    [{ replica: '1', epoch: '7' }, undefined],
    [{ request: 'r', epoch: '7' }, undefined],
    [{ request: 'r', replica: '1' }, undefined],
    [{ request: 'r', replica: '1', epoch: '7.5' }, undefined],
    [{ request: 'r', replica: '1', epoch: 'x' }, undefined],
  ])('%j', (given, lease) => {
    expect(leaseOf(new Headers(Object.entries(given).map(([k, v]) => [`x-turnstone-${k}`, v])))).toEqual(lease);
  });

  it('is told of at once, then each second; of a prompt that is done and of ends soon', async () => {
    vi.useFakeTimers({ now: 0 });
    const beats: [number, unknown, unknown, number][] = [];
    const send = async (_: string, b: Heartbeat) => {
      beats.push([Date.now(), b.running.map((p) => [p.id, p.output]), b.done.map((p) => p.id), b.lateMs ?? -1]);
      return { abort: [] };
    };
    const reporter = new Reporter({ slots: 1, kvTokens: 1, computed: () => undefined, send });
    const event = (request: string, n = 1) => reporter.event({ request, tokens: Array(n).fill({ id: 1 }) } as never);
    reporter.begin({ id: 'a/b', epoch: 1, replica: '0' }, () => {});
    await vi.advanceTimersByTimeAsync(14);
    expect(beats).toEqual([]);
    await vi.advanceTimersByTimeAsync(1);
    expect(beats).toEqual([[15, [['a/b', 0]], [], 0]]);
    await vi.advanceTimersByTimeAsync(100);
    event('a/b/0', 2);
    event('nobody/0');
    await vi.advanceTimersByTimeAsync(15);
    expect(beats[1]).toEqual([130, [['a/b', 2]], [], 0]);
    event('a/b/0');
    await vi.advanceTimersByTimeAsync(999);
    expect(beats).toHaveLength(2);
    await vi.advanceTimersByTimeAsync(1);
    expect(beats[2]).toEqual([1_130, [['a/b', 3]], [], 0]);
    reporter.end({ id: 'a/b', epoch: 2 }); // another lease's
    reporter.end({ id: 'a/b', epoch: 1 });
    await vi.advanceTimersByTimeAsync(15);
    expect(beats[3]).toEqual([1_145, [], ['a/b'], 0]);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(beats).toHaveLength(4);
  });

  it('that the queue has ended stops its request, and so does the server that ends, but for what sessions own', async () => {
    vi.useFakeTimers();
    const stopped: unknown[][] = [];
    const reporter = new Reporter({ slots: 1, kvTokens: 1, computed: () => undefined, send: async () => ({ abort: ['a', 'nobody'] }) });
    const begin = (id: string, epoch: number, owned = false) =>
      reporter.begin({ id, epoch, replica: '0' }, (why) => void stopped.push([id, epoch, why.code, why.headers['retry-after']]), owned);
    begin('a', 1);
    await vi.advanceTimersByTimeAsync(15);
    expect(stopped.splice(0)).toEqual([['a', 1, 'lease_over', undefined]]);
    begin('a', 1);
    expect(stopped).toEqual([]);
    begin('a', 2);
    expect(stopped.splice(0)).toEqual([['a', 1, 'lease_over', undefined]]);
    begin('b', 3, true);
    reporter.close();
    expect(stopped).toEqual([['a', 2, 'server_stopping', '5']]);
  });
});

describe('an adapter', () => {
  const held = { id: 'abcdef0123456789', release: vi.fn() };
  const shelf = { idOf: async (name: string) => `id of ${name}`, hold: async () => held };
  const rt = (adapters?: object) => ({ served: { id: 'm' }, adapters }) as unknown as Runtime;
  it('is what is named after the model', async () => {
    expect(await Promise.all([undefined, '', 'm'].map((name) => adapterNamed(rt(shelf), name)))).toEqual([undefined, undefined, undefined]);
    expect(await adapterNamed(rt(shelf), 'm:x:y')).toBe('id of x:y');
    await expect(adapterNamed(rt(shelf), 'n')).rejects.toMatchObject({ status: 404, code: 'model_not_found' });
    await expect(adapterNamed(rt(shelf), 'mm:x')).rejects.toMatchObject({ status: 404 });
    await expect(adapterNamed(rt(), 'm:x')).rejects.toMatchObject({ status: 400, param: 'model', code: 'adapters_unsupported' });
  });

  it('is let go where the work fails, and names what computed', async () => {
    expect(await withAdapter(rt(shelf), 'm:x', async (h) => h?.id)).toBe(held.id);
    expect(held.release).not.toHaveBeenCalled();
    await expect(withAdapter(rt(shelf), 'm:x', () => Promise.reject(new Error('no')))).rejects.toThrow('no');
    expect(held.release).toHaveBeenCalledOnce();
    await expect(withAdapter(rt(shelf), 'm', () => Promise.reject(new Error('no')))).rejects.toThrow('no');
    expect([fingerprintOf({ fingerprint: 'fp' }, undefined), fingerprintOf({ fingerprint: 'fp' }, held as never)]).toEqual([
      'fp',
      'fp-lora-abcdef012345',
    ]);
  });
});

describe('pages of a session', () => {
  const names = Array.from({ length: 10 }, (_, i) => `${i}`.repeat(64));
  const page = (i: number) => new Uint8Array(8).fill(i);
  /** An engine that has the first `first` pages, room for `room`, and pages of so many bytes as it says. */
  const engine = (first: number, room: number, pageBytes: number, most = names.length) => {
    const took: string[] = [];
    const of = {
      names: { chain: () => names },
      pool: { prefix: () => first, available: room, has: (n: string) => names.indexOf(n) < first },
      kv: { pageBytes },
      importPage: (name: string) => took.length < most && took.push(name) > 0,
      exportPage: async (name: string) => (names.indexOf(name) < most ? page(names.indexOf(name)) : undefined),
    } as unknown as Engine;
    return { of, took };
  };
  const asks = (serve: (wanted: string[]) => Promise<Uint8Array | null>) => {
    const asked: string[][] = [];
    const session = {
      missing: async () => [],
      fetch: async (_: string, init: RequestInit) => {
        const { names: wanted } = JSON.parse(init.body as string) as { names: string[] };
        asked.push(wanted);
        const bytes = await serve(wanted);
        return new Response(bytes as Uint8Array<ArrayBuffer>, { status: bytes ? 200 : 500 });
      },
    };
    return { asked, session };
  };
  const frames = async (wanted: string[]) => concatBytes(...(await Promise.all(wanted.map((n) => frame(n, page(names.indexOf(n)))))));
  const HALF = 1 << 20; // two of them in a piece

  it('are pulled from where the engine’s end, in pieces, as many as there is room for', async () => {
    for (const [first, room, pieces] of [
      [0, 5, [[0, 1], [2, 3], [4]]],
      [7, 9, [[7, 8], [9]]],
      [8, 9, [[8, 9]]],
      [0, 0, [[]]],
    ] as const) {
      const { of, took } = engine(first, room, HALF);
      const { asked, session } = asks(frames);
      expect(await pullPages(of, session, [], 's')).toBe(pieces.flat().length);
      expect(asked).toEqual(pieces.map((p) => p.map((i) => names[i])));
      expect(took).toEqual(pieces.flat().map((i) => names[i]));
    }
    const { asked, session } = asks(frames);
    expect([await pullPages(engine(10, 5, HALF).of, session, [], 's'), asked]).toEqual([0, []]);
    expect(await pullPages(engine(0, 3, 1 << 30).of, session, [], 's')).toBe(3);
    expect(asked.map((a) => a.length)).toEqual([1, 1, 1]);
  });

  it('end where one is missing, is another, or is not taken', async () => {
    const fewer = asks(async (wanted) => frames(wanted.slice(0, 1)));
    expect([await pullPages(engine(0, 9, HALF).of, fewer.session, [], 's'), fewer.asked.length]).toEqual([1, 1]);
    const other = asks(async (wanted) => frames([wanted[0], names[9]]));
    expect(await pullPages(engine(0, 9, HALF).of, other.session, [], 's')).toBe(1);
    expect(await pullPages(engine(0, 9, HALF, 3).of, asks(frames).session, [], 's')).toBe(3);
    const refusing = asks(async () => null);
    expect([await pullPages(engine(0, 9, HALF).of, refusing.session, [], 's'), refusing.asked.length]).toEqual([0, 1]);
  });

  it('are handed over where the session lacks them', async () => {
    const push = async (of: Engine, lacking: string[], turn?: string, ok = true) => {
      const put: [string, string, string[]][] = [];
      let asked: string[] = [];
      const session = {
        missing: async (n: string[]) => {
          asked = n;
          return lacking;
        },
        fetch: async (url: string, init: RequestInit) => {
          const bytes = new Uint8Array(await new Response(init.body).arrayBuffer());
          put.push([init.method as string, url, (await parseFrames(bytes)).map((f) => f.name)]);
          return new Response('no room', { status: ok ? 200 : 507 });
        },
      };
      return [await pushPages(of, session, [], 's', turn), asked, put];
    };
    const has = names.slice(0, 5);
    const lacking = names.slice(1, 4);
    const url = 'https://session/pages';
    expect(await push(engine(5, 0, 128 << 10).of, lacking)).toEqual([3, has, [['PUT', url, lacking]]]);
    expect(await push(engine(5, 0, 1 << 30).of, lacking, 'resp_1')).toEqual([3, has, [['PUT', `${url}?response=resp_1`, lacking]]]);
    expect(await push(engine(5, 0, 128 << 10, 3).of, lacking)).toEqual([2, has, [['PUT', url, names.slice(1, 3)]]]); // the third is gone by now
    expect(await push(engine(5, 0, 1).of, [])).toEqual([0, has, []]);
    expect(await push(engine(0, 0, 1).of, lacking)).toEqual([0, [], []]);
    await expect(push(engine(5, 0, 1).of, lacking, undefined, false)).rejects.toThrow('the session did not take the pages: no room');
    const { of } = engine(0, 0, 10);
    expect([keptBytes(of, 0), keptBytes(of, PAGE - 1), keptBytes(of, PAGE), keptBytes(of, 2 * PAGE + 1), keptBytes(of, -5)]).toEqual([
      0, 0, 10, 20, 0,
    ]);
  });
});

it('a fault of the GPU is told as it is, any other is none', async () => {
  const lost = new DeviceLostError('gone');
  const backend = (error: unknown) =>
    explained({ submit: () => Promise.reject(error), read: () => Promise.reject(error) } as unknown as Backend);
  for (const call of [backend(lost).submit(), backend(lost).read({} as never, 0, 4)]) {
    await expect(call).rejects.toMatchObject({
      status: 503,
      message: lost.message,
      type: 'service_unavailable_error',
      code: DEVICE_FAILED,
      cause: lost,
    });
  }
  const other = new Error('other');
  await expect(backend(other).submit()).rejects.toBe(other);
  expect([faultOf(lost), faultOf(new ApiError(503, 'x', { cause: lost })), faultOf(other), faultOf(new ApiError(503, 'x'))]).toEqual([
    lost,
    lost,
    undefined,
    undefined,
  ]);
});

it('what is thrown is told in the envelope; what was not foreseen is logged', async () => {
  const log = vi.spyOn(console, 'error').mockImplementation(() => {});
  const own = await inEnvelope(() => Promise.reject(new ApiError(429, 'no', { headers: { 'retry-after': '3' } })));
  expect([own.status, own.headers.get('retry-after'), ((await own.json()) as { error: { message: string } }).error.message]).toEqual([
    429,
    '3',
    'no',
  ]);
  expect(log).not.toHaveBeenCalled();
  expect((await inEnvelope(() => Promise.reject(new Error('x')))).status).toBe(500);
  expect(log).toHaveBeenCalledOnce();
  const fine = new Response();
  expect(await inEnvelope(async () => fine)).toBe(fine);
});

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ApiError } from '../../openai/errors.ts';
import { parseChat } from '../../openai/requests/chat.ts';
import { parseCompletion } from '../../openai/requests/completion.ts';
import type { Answer, TokenLogprobs } from '../../openai/stream/answer.ts';
import { createAnswer } from '../../openai/stream/create.ts';
import { check, missing } from './schema.ts';

const meta = { id: 'abc', model: 'm"odel', created: 1_700_000_000, fingerprint: 'fp_1' };
const usage = { prompt: 7, completion: 3, cached: 4 };
const messages = [{ role: 'user', content: 'hi' }];
const tools = [{ type: 'function', function: { name: 'f', parameters: { type: 'object' } } }];

const chat = (extra: object) => createAnswer(parseChat({ model: 'm', messages, ...extra }), meta);
const completion = (extra: object) => createAnswer(parseCompletion({ model: 'm', prompt: 'p', ...extra }), meta);

const scored = (text: string): TokenLogprobs => {
  const t = { token: text, bytes: [...new TextEncoder().encode(text)], logprob: -0.5 };
  return { ...t, top: [t, { token: 'x', bytes: [120], logprob: -Infinity }] };
};

/** Runs one choice after another through an answer. */
function drive(answer: Answer, choices: string[][], reason: 'stop' | 'length' = 'stop', logprobs = false): string {
  let out = answer.open();
  choices.forEach((pieces, i) => {
    for (const p of pieces) {
      out += answer.push(i, p, logprobs ? [scored(p)] : undefined);
      if (answer.stopped(i)) break;
    }
    out += answer.finish(i, answer.stopped(i) ? 'stop' : reason);
  });
  return out + answer.close(usage);
}

interface Chunk {
  object: string;
  usage?: unknown;
  choices: {
    index: number;
    text?: string;
    delta?: {
      role?: string;
      content?: string | null;
      tool_calls?: { index: number; id?: string; function: { name?: string; arguments: string } }[];
    };
    message?: { content: string | null; tool_calls?: { id: string; function: { name: string; arguments: string } }[] };
    logprobs: { content?: { token: string }[]; tokens?: string[]; text_offset?: number[] } | null;
    finish_reason: string | null;
  }[];
}

/** The JSON of every frame; the last must be [DONE]. */
function frames(sse: string): Chunk[] {
  const parts = sse.split('\n\n');
  expect(parts.pop()).toBe('');
  expect(parts.pop()).toBe('data: [DONE]');
  return parts.map((p) => {
    expect(p.startsWith('data: {')).toBe(true);
    return JSON.parse(p.slice(6));
  });
}

/** What a client puts together from the chunks of one choice. */
function joined(chunks: Chunk[], index: number) {
  const result = { text: '', calls: [] as { id: string; name: string; arguments: string }[], finish: '', tokens: [] as string[] };
  for (const c of chunks.flatMap((x) => x.choices).filter((x) => x.index === index)) {
    result.text += c.text ?? c.delta?.content ?? '';
    for (const t of c.delta?.tool_calls ?? []) {
      result.calls[t.index] ??= { id: t.id!, name: t.function.name!, arguments: '' };
      result.calls[t.index].arguments += t.function.arguments;
    }
    result.tokens.push(...(c.logprobs?.content?.map((t) => t.token) ?? c.logprobs?.tokens ?? []));
    if (c.finish_reason) result.finish = c.finish_reason;
  }
  return result;
}

const valid = (name: string, value: unknown) => {
  if (!missing) check(name, value);
};

describe('chat', () => {
  it('streams the role, the text, the reason and [DONE]', () => {
    const chunks = frames(drive(chat({ stream: true }), [['Hel', 'lo', ' "you"\n']]));
    for (const c of chunks) valid('CreateChatCompletionStreamResponse', c);
    expect(chunks[0].choices[0].delta).toEqual({ role: 'assistant', content: '', refusal: null });
    expect(chunks.at(-1)!.choices[0]).toEqual({ index: 0, delta: {}, logprobs: null, finish_reason: 'stop' });
    expect(joined(chunks, 0).text).toBe('Hello "you"\n');
    expect(chunks.every((c) => !('usage' in c))).toBe(true);
  });

  it('sends usage last, in a chunk without choices, and null before', () => {
    const chunks = frames(drive(chat({ stream: true, stream_options: { include_usage: true } }), [['a']]));
    for (const c of chunks) valid('CreateChatCompletionStreamResponse', c);
    expect(chunks.at(-1)).toMatchObject({
      choices: [],
      usage: { prompt_tokens: 7, completion_tokens: 3, total_tokens: 10, prompt_tokens_details: { cached_tokens: 4 } },
    });
    expect(chunks.slice(0, -1).every((c) => c.usage === null)).toBe(true);
  });

  it('cuts at a stop string across pieces and drops what follows', () => {
    const answer = chat({ stream: true, stop: ['END'], logprobs: true });
    const result = joined(frames(drive(answer, [['a', ' E', 'N', 'D', ' more']], 'length', true)), 0);
    expect(result).toMatchObject({ text: 'a ', finish: 'stop', tokens: ['a', ' E'] });
  });

  it('holds no character that a client could take for the end of a line, in text, calls and scores', () => {
    const breaks = '\u2028\u2029\u0085\v\f\x1c';
    const call = `<tool_call>{"name": "f", "arguments": {"a": "\u2028\u2029\u0085"}}</tool_call>`;
    const sse = drive(chat({ stream: true, tools, logprobs: true }), [[`a${breaks}`, call]], 'stop', true);
    for (const c of breaks) expect(sse).not.toContain(c);
    expect(joined(frames(sse), 0)).toMatchObject({ text: `a${breaks}`, calls: [{ arguments: '{"a": "\u2028\u2029\u0085"}' }] });
  });

  it('keeps choices apart by index', () => {
    const chunks = frames(drive(chat({ stream: true, n: 2 }), [['one'], ['two']], 'length'));
    expect([joined(chunks, 0).text, joined(chunks, 1).text, joined(chunks, 1).finish]).toEqual(['one', 'two', 'length']);
  });

  it('streams tool calls: id and name, then the arguments', () => {
    const text =
      'Wait.\n<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call>\n<tool_call>{"name": "f", "arguments": {}}</tool_call>';
    const chunks = frames(drive(chat({ stream: true, tools }), [[...text]]));
    for (const c of chunks) valid('CreateChatCompletionStreamResponse', c);
    const result = joined(chunks, 0);
    expect(result).toMatchObject({ text: 'Wait.', finish: 'tool_calls' });
    expect(result.calls).toEqual([
      { id: 'call_abc_0_0', name: 'f', arguments: '{"a": 1}' },
      { id: 'call_abc_0_1', name: 'f', arguments: '{}' },
    ]);
  });

  it('stops after the first call without parallel_tool_calls', () => {
    const answer = chat({ stream: true, tools, parallel_tool_calls: false });
    answer.push(0, '<tool_call>{"name": "f", "arguments": {');
    expect(answer.stopped(0)).toBe(false);
    answer.push(0, '}}');
    expect(answer.stopped(0)).toBe(true);
    expect(answer.finish(0, 'abort')).toContain('"finish_reason":"tool_calls"');
  });

  it.each([
    ['in the arguments', ['1'], '{"name": "f", "arguments": {"a": 1', '}}</tool_call>', '{"a": 1}'],
    ['in a string', ['b', ' "b'], '{"name": "f", "arguments": {"a": "', 'b"}}', '{"a": "b"}'],
    ['in the head', ['{', '"name"'], '{"name": "f", ', '"arguments": {}}', '{}'],
    ['at the end of the arguments', ['}'], '{"name": "f", "arguments": {"a": 1', '}}', '{"a": 1}'],
    ['after the arguments', ['</tool_call>'], '{"name": "f", "arguments": {"a": 1}}\n', '</tool_call>', '{"a": 1}'],
  ])('a stop string %s cuts no call', (_, stop, before, rest, args) => {
    const chunks = frames(drive(chat({ tools, stop, stream: true }), [[`Hm. <tool_call>${before}`, rest, ' and1bmore}']], 'stop'));
    expect(joined(chunks, 0)).toMatchObject({ calls: [{ name: 'f', arguments: args }], finish: 'tool_calls' });
    expect(joined(chunks, 0).text).toMatch(/^Hm\.( and)?$/); // in the text after it it counts again
  });

  it('a call that the limit cuts is not finished', () => {
    for (const before of ['{"name": "f", "arguments": {"a": 1', '\n<function=f>\n<parameter=a>\n1', '\n<function=f>\n<param']) {
      const chunks = frames(drive(chat({ tools, stream: true }), [[`<tool_call>${before}`]], 'length'));
      expect(joined(chunks, 0)).toMatchObject({ text: '', finish: 'length' });
      expect(() => JSON.parse(joined(chunks, 0).calls[0].arguments)).toThrow();
    }
  });

  it('arguments that are no JSON are not a finished call', () => {
    const text = '<tool_call>{"name": "f", "arguments": {"a": 1]}</tool_call>';
    expect(joined(frames(drive(chat({ stream: true, tools }), [[text]])), 0).finish).toBe('stop');
  });

  it('what is JSON by its form holds no calls', () => {
    const format = { type: 'json_object' };
    const text = '{"a": "<tool_call>{\\"name\\": 1}</tool_call>"}';
    const given = chat({ stream: true, tools, response_format: format });
    expect(joined(frames(drive(given, [[...text]])), 0)).toMatchObject({ text, calls: [], finish: 'stop' });
    const call = '<tool_call>{"name": "f", "arguments": {}}</tool_call>';
    expect(joined(frames(drive(chat({ stream: true, tools, response_format: format }), [[...call]])), 0).finish).toBe('tool_calls');
  });

  it('leaves tool_call tags in the text when no tools are given', () => {
    const text = '<tool_call>{"name": "f", "arguments": {}}</tool_call>';
    expect(joined(frames(drive(chat({ stream: true }), [[text]])), 0)).toMatchObject({ text, calls: [], finish: 'stop' });
  });

  it('gives a whole answer', () => {
    const whole = JSON.parse(drive(chat({ n: 2, logprobs: true, top_logprobs: 2 }), [['a', 'b'], ['c']], 'length', true));
    valid('CreateChatCompletionResponse', whole);
    expect(whole).toMatchObject({
      id: 'chatcmpl-abc',
      model: 'm"odel',
      system_fingerprint: 'fp_1',
      usage: { prompt_tokens_details: { cached_tokens: 4 } },
    });
    expect(whole.choices[0]).toMatchObject({ message: { role: 'assistant', content: 'ab' }, finish_reason: 'length' });
    expect(whole.choices[0].logprobs.content[0]).toEqual({
      token: 'a',
      logprob: -0.5,
      bytes: [97],
      top_logprobs: [
        { token: 'a', logprob: -0.5, bytes: [97] },
        { token: 'x', logprob: -9999, bytes: [120] },
      ],
    });
  });

  it('gives null content beside nothing but calls', () => {
    const whole = JSON.parse(drive(chat({ tools }), [['<tool_call>{"name": "f", "arguments": {}}</tool_call>']]));
    valid('CreateChatCompletionResponse', whole);
    expect(whole.choices[0].message).toMatchObject({ content: null, tool_calls: [{ id: 'call_abc_0_0', type: 'function' }] });
  });

  it('joins to the same from a stream as from a whole answer', () => {
    const piece = fc.oneof(
      fc.string({ maxLength: 4 }),
      fc.constantFrom('STOP', 'ST', 'OP', '<tool_call>', '{"name": "f", "arguments": {', '"a": 1', '}}', '</tool_call>', '\n'),
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 12 }), fc.boolean(), fc.boolean(), (pieces, withTools, parallel) => {
        const options = { stop: 'STOP', logprobs: true, ...(withTools ? { tools, parallel_tool_calls: parallel } : {}) };
        const stream = joined(frames(drive(chat({ ...options, stream: true }), [pieces], 'length', true)), 0);
        const [whole] = (JSON.parse(drive(chat(options), [pieces], 'length', true)) as Chunk).choices;
        expect(stream.text).toBe(whole.message!.content ?? '');
        expect(stream.calls).toEqual(whole.message!.tool_calls?.map((c) => ({ id: c.id, ...c.function })) ?? []);
        expect(stream.finish).toBe(whole.finish_reason);
        expect(stream.tokens).toEqual(whole.logprobs!.content!.map((t) => t.token));
      }),
      { numRuns: 2000 },
    );
  });
});

describe('completions', () => {
  it('streams and ends', () => {
    const chunks = frames(drive(completion({ stream: true, stop: 'X', stream_options: { include_usage: true } }), [['ab', 'cX', 'd']]));
    for (const c of chunks) valid('CreateCompletionResponse', { ...c, choices: [], usage: c.usage ?? undefined });
    expect(joined(chunks, 0)).toMatchObject({ text: 'abc', finish: 'stop' });
    expect(chunks.at(-1)).toMatchObject({ choices: [], usage: { total_tokens: 10 } });
  });

  it('gives a whole answer with offsets that count the echoed prompt, and no stop string in the prompt', () => {
    const answer = createAnswer(parseCompletion({ model: 'm', prompt: ['pX', 'q'], stop: 'X', echo: true, n: 1 }), meta);
    answer.echo(0, 'pX');
    answer.echo(1, 'q');
    const whole = JSON.parse(drive(answer, [['a', 'b'], ['c']]));
    valid('CreateCompletionResponse', whole);
    expect(whole.choices.map((c: { text: string }) => c.text)).toEqual(['pXab', 'qc']);
  });

  it('places log-probabilities in the text', () => {
    const whole = JSON.parse(drive(completion({ logprobs: 2 }), [['ab', '', 'c']], 'stop', true));
    valid('CreateCompletionResponse', whole);
    expect(whole.choices[0].logprobs).toEqual({
      tokens: ['ab', '', 'c'],
      token_logprobs: [-0.5, -0.5, -0.5],
      top_logprobs: [
        { ab: -0.5, x: -9999 },
        { '': -0.5, x: -9999 },
        { c: -0.5, x: -9999 },
      ],
      text_offset: [0, 2, 2],
    });
  });

  it('tells an error midway in the envelope, and that nothing follows', () => {
    const answer = completion({ stream: true });
    answer.push(0, 'a');
    const failed = answer.fail(new ApiError(500, 'broken', { code: 'x' }));
    expect(failed).toBe('data: {"error":{"message":"broken","type":"server_error","param":null,"code":"x"}}\n\ndata: [DONE]\n\n');
  });
});

it.skipIf(missing !== null)(`the schemas reject what is wrong${missing ? ` (skipped: ${missing})` : ''}`, () => {
  expect(() => check('CreateChatCompletionResponse', { id: 'x', object: 'chat.completion', created: 1, model: 'm' })).toThrow('choices');
  const chunk = {
    id: 'x',
    object: 'chat.completion.chunk',
    created: 1,
    model: 'm',
    choices: [{ index: 0, delta: { content: 1 }, finish_reason: null }],
  };
  expect(() => check('CreateChatCompletionStreamResponse', chunk)).toThrow('content');
});

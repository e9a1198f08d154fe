import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ApiError } from '../../openai/errors.ts';
import type { Item } from '../../openai/requests/item-types.ts';
import { itemMessages, withIds } from '../../openai/requests/items.ts';
import { parseResponses } from '../../openai/requests/responses.ts';
import { Choice } from '../../openai/stream/choice.ts';
import { createAnswer } from '../../openai/stream/create.ts';
import { ResponseEvents, responseObject } from '../../openai/stream/response-events.ts';
import { check, missing } from './schema.ts';

const meta = { id: 'abc', model: 'm', created: 1_700_000_000 };
const usage = { prompt: 7, completion: 3, cached: 4 };
const tool = { type: 'function', name: 'f', description: 'd', parameters: { type: 'object' }, strict: true };
const parse = (extra: object = {}) => parseResponses({ model: 'm', input: 'hi', ...extra });

const valid = (name: string, value: unknown) => {
  if (!missing) check(name, value);
};

const SCHEMA: Record<string, string> = {
  'response.created': 'ResponseCreatedEvent',
  'response.in_progress': 'ResponseInProgressEvent',
  'response.output_item.added': 'ResponseOutputItemAddedEvent',
  'response.content_part.added': 'ResponseContentPartAddedEvent',
  'response.output_text.delta': 'ResponseTextDeltaEvent',
  'response.output_text.done': 'ResponseTextDoneEvent',
  'response.content_part.done': 'ResponseContentPartDoneEvent',
  'response.function_call_arguments.delta': 'ResponseFunctionCallArgumentsDeltaEvent',
  'response.function_call_arguments.done': 'ResponseFunctionCallArgumentsDoneEvent',
  'response.output_item.done': 'ResponseOutputItemDoneEvent',
  'response.completed': 'ResponseCompletedEvent',
  'response.failed': 'ResponseFailedEvent',
};

interface Event {
  type: string;
  sequence_number: number;
  delta?: string;
  response?: { status: string; output: Item[]; output_text: string; usage: unknown };
}

function events(sse: string): Event[] {
  return sse
    .split('\n\n')
    .filter((block) => block !== '')
    .map((block) => {
      const [id, name, data] = block.split('\n');
      const event: Event = JSON.parse(data.slice('data: '.length));
      expect([id, name]).toEqual([`id: ${event.sequence_number}`, `event: ${event.type}`]);
      return event;
    });
}

function run(request: ReturnType<typeof parse>, pieces: string[], reason: 'stop' | 'length' = 'stop'): string {
  const answer = createAnswer(request, meta);
  let out = answer.open();
  for (const p of pieces) out += answer.push(0, p);
  return out + answer.finish(0, reason) + answer.close(usage);
}

describe('events', () => {
  it('tell a text from its beginning to its end', () => {
    const list = events(run(parse({ stream: true }), ['Hel', 'lo']));
    for (const e of list) valid(SCHEMA[e.type], e);
    expect(list.map((e) => e.type)).toEqual([
      'response.created',
      'response.in_progress',
      'response.output_item.added',
      'response.content_part.added',
      'response.output_text.delta',
      'response.output_text.delta',
      'response.output_text.done',
      'response.content_part.done',
      'response.output_item.done',
      'response.completed',
    ]);
    expect(list.map((e) => e.sequence_number)).toEqual(list.map((_, i) => i));
    const { response } = list.at(-1)!;
    valid('Response', response);
    expect(response).toMatchObject({
      id: 'resp_abc',
      status: 'completed',
      output_text: 'Hello',
      output: [{ type: 'message', status: 'completed', content: [{ type: 'output_text', text: 'Hello' }] }],
      usage: { input_tokens: 7, input_tokens_details: { cached_tokens: 4 }, output_tokens: 3, total_tokens: 10 },
    });
  });

  it('tell function calls with their arguments in pieces', () => {
    const text = 'Wait.\n<tool_call>{"name": "f", "arguments": {"a": 1}}</tool_call><tool_call>{"name": "f", "arguments": {}}</tool_call>';
    const list = events(run(parse({ stream: true, tools: [tool] }), [...text]));
    for (const e of list) valid(SCHEMA[e.type], e);
    const deltas = list.filter((e) => e.type === 'response.function_call_arguments.delta');
    expect(deltas.map((e) => e.delta).join('')).toBe('{"a": 1}{}');
    expect(list.at(-1)!.response!.output).toMatchObject([
      { type: 'message', content: [{ text: 'Wait.' }] },
      { type: 'function_call', id: 'fc_abc_1', call_id: 'call_abc_0', name: 'f', arguments: '{"a": 1}', status: 'completed' },
      { type: 'function_call', call_id: 'call_abc_1', arguments: '{}' },
    ]);
  });

  it('end as incomplete at the token limit, failed on an error', () => {
    const cut = events(run(parse({ stream: true }), ['a'], 'length')).at(-1)!;
    expect(cut).toMatchObject({
      type: 'response.incomplete',
      response: { status: 'incomplete', incomplete_details: { reason: 'max_output_tokens' } },
    });
    const answer = createAnswer(parse({ stream: true }), meta);
    answer.open();
    answer.push(0, 'a');
    const failed = events(answer.fail(new ApiError(500, 'broken'))).at(-1)!;
    valid(SCHEMA[failed.type], failed);
    expect(failed).toMatchObject({
      type: 'response.failed',
      response: { status: 'failed', error: { code: 'server_error', message: 'broken' } },
    });
  });

  it('hold no character that a client could take for the end of a line', () => {
    const text = 'a\u2028b\u2029c\u0085d';
    const sse = run(parse({ stream: true }), [text, text]);
    expect(sse).not.toMatch(/[\u0085\u2028\u2029]/);
    expect(events(sse).at(-1)!.response).toMatchObject({ output_text: text + text });
  });

  it('name a call that was cut by a stop string incomplete, a whole one completed', () => {
    const call = '<tool_call>{"name": "f", "arguments": {"a": 1';
    for (const [rest, status] of [
      ['STOP', 'incomplete'],
      ['}}</tool_call>STOP', 'completed'],
    ]) {
      const cut = events(run({ ...parse({ stream: true, tools: [tool] }), stop: ['STOP'] }, [call, rest])).at(-1)!;
      valid(SCHEMA[cut.type], cut);
      expect(cut.response?.output).toEqual([expect.objectContaining({ type: 'function_call', status })]);
    }
  });

  const piece = fc.oneof(
    fc.string({ minLength: 1, maxLength: 4 }),
    fc.constantFrom('<tool_call>', '{"name": "f", "arguments": {', '"a": 1', '}}', '</tool_call>', '\n'),
  );

  it('after any number are exactly those that were missed', () => {
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 12 }), fc.nat(60), (pieces, last) => {
        const tell = (after?: number) => {
          const choice = new Choice({ stop: [], tools: [{ name: 'f' }], parallelToolCalls: true });
          const told = new ResponseEvents({ ...meta, echo: {} }, after);
          const out = told.open() + pieces.map((p) => told.push(choice.push(p))).join('');
          return out + told.push(choice.finish()) + told.close({ status: 'completed', usage });
        };
        const all = tell();
        expect(tell(last)).toBe(
          all
            .split(/(?<=\n\n)/)
            .slice(last + 1)
            .join(''),
        );
      }),
    );
  });

  it('join to the whole answer', () => {
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
        const whole = JSON.parse(run(parse({ tools: [tool] }), pieces));
        expect(events(run(parse({ stream: true, tools: [tool] }), pieces)).at(-1)!.response).toEqual({ ...whole });
      }),
    );
  });
});

describe('the response object', () => {
  it('is valid at every time of its life', () => {
    const { echo } = parse({
      instructions: 'be brief',
      tools: [tool],
      tool_choice: { type: 'function', name: 'f' },
      text: { format: { type: 'json_schema', name: 's', schema: { type: 'object' }, strict: true } },
      metadata: { a: 'b' },
      temperature: 0.5,
    });
    for (const status of ['queued', 'in_progress', 'completed', 'incomplete', 'failed', 'cancelled'] as const) {
      const error = status === 'failed' ? { message: 'x', type: 'server_error' as const, param: null, code: null } : undefined;
      valid('Response', responseObject({ ...meta, echo }, { status, error, usage, completed: 1_700_000_001 }));
    }
  });
});

describe('parseResponses', () => {
  it('reads text, messages, calls and outputs, and makes a conversation of them', () => {
    const { input, instructions } = parse({
      instructions: 'be brief',
      input: [
        {
          role: 'user',
          content: [
            { type: 'input_text', text: 'a' },
            { type: 'input_text', text: 'b' },
          ],
        },
        {
          type: 'message',
          role: 'assistant',
          id: 'msg_1',
          status: 'completed',
          content: [{ type: 'output_text', text: 'wait', annotations: [] }],
        },
        { type: 'function_call', call_id: 'c1', name: 'f', arguments: '{}' },
        { type: 'function_call', call_id: 'c2', name: 'g', arguments: '{}' },
        { type: 'function_call_output', call_id: 'c1', output: 'one' },
        { type: 'function_call_output', call_id: 'c2', output: [{ type: 'input_text', text: 'two' }] },
      ],
    });
    expect(itemMessages(input, instructions)).toEqual([
      { role: 'system', content: 'be brief' },
      { role: 'user', content: 'a\nb' },
      {
        role: 'assistant',
        content: 'wait',
        toolCalls: [
          { id: 'c1', name: 'f', arguments: '{}' },
          { id: 'c2', name: 'g', arguments: '{}' },
        ],
      },
      { role: 'tool', content: 'one', toolCallId: 'c1' },
      { role: 'tool', content: 'two', toolCallId: 'c2' },
    ]);
    const items = withIds(input as Item[], 'resp_abc');
    expect(items.map((i) => i.id)).toEqual(['msg_abc_in0', 'msg_abc_in1', 'fc_abc_in2', 'fc_abc_in3', 'fco_abc_in4', 'fco_abc_in5']);
    valid('ResponseItemList', { object: 'list', data: items, has_more: false, first_id: items[0].id, last_id: items.at(-1)!.id });
  });

  it('takes an id alone for a reference, and anything with a role or content for a message', () => {
    const { input } = parse({ input: [{ id: 'msg_1' }, { type: 'item_reference', id: 'rs_1' }, { id: 'x', role: 'user', content: 'a' }] });
    expect(input).toMatchObject([
      { type: 'item_reference', id: 'msg_1' },
      { type: 'item_reference', id: 'rs_1' },
      { type: 'message', role: 'user' },
    ]);
    expect(itemMessages(input)).toEqual([{ role: 'user', content: 'a' }]);
    expect(() => parse({ input: [{ id: 5 }] })).toThrow('input[0].role');
    expect(() => parse({ conversation: 'c', previous_response_id: 'r' })).toThrow("'conversation' and 'previous_response_id'");
    expect(() => parse({ conversation: 'c', store: false })).toThrow("'conversation' needs 'store'");
  });

  it('reads tools, choices and formats in their flat form', () => {
    const request = parse({
      tools: [tool],
      tool_choice: { type: 'allowed_tools', mode: 'required', tools: [{ type: 'function', name: 'f' }] },
      text: { format: { type: 'json_schema', name: 's', schema: {} } },
      max_output_tokens: 20,
    });
    expect(request).toMatchObject({
      maxTokens: 20,
      n: 1,
      tools: [{ name: 'f', strict: true }],
      toolChoice: { mode: 'required', names: ['f'] },
      responseFormat: { type: 'json_schema', name: 's' },
    });
  });

  it.each([
    [{ input: undefined }, 'input', 'missing_required_parameter'],
    [{ input: [{ type: 'item_reference' }] }, 'input[0].id', 'missing_required_parameter'],
    [{ input: [{ type: 'compaction' }] }, 'input[0].encrypted_content', 'missing_required_parameter'],
    [{ input: [{ role: 'user', content: [{ type: 'input_image' }] }] }, 'input[0].content[0].type', 'unsupported_value'],
    [{ input: [{ type: 'function_call_output', output: 'x' }] }, 'input[0].call_id', 'missing_required_parameter'],
    [{ tools: [{ type: 'web_search' }] }, 'tools[0].type', 'unsupported_value'],
    [{ max_output_tokens: 0 }, 'max_output_tokens', 'integer_below_min_value'],
    [{ background: true, store: false }, 'background', 'invalid_value'],
    [{ include: [1] }, 'include[0]', 'invalid_type'],
    [{ top_logprobs: 21 }, 'top_logprobs', 'integer_above_max_value'],
    [{ metadata: { a: 1 } }, 'metadata', 'invalid_type'],
    [{ stream_options: { include_usage: true } }, 'stream_options', 'unknown_parameter'],
    [{ n: 2 }, 'n', 'unknown_parameter'],
    [{ truncation: 'some' }, 'truncation', 'invalid_value'],
  ])('refuses %j, naming the parameter', (extra, param, code) => {
    try {
      parse(extra);
    } catch (e) {
      expect(e).toMatchObject({ name: 'ApiError', status: 400, param, code });
      return;
    }
    throw new Error('was not refused');
  });

  it('takes what other servers’ answers leave: reasoning is dropped, empty arguments and outputs stay as they are meant', () => {
    const { input } = parse({
      input: [
        { role: 'user', content: 'hi' },
        { type: 'reasoning', id: 'rs_1', summary: [], encrypted_content: 'x' },
        { type: 'function_call', call_id: 'c', name: 'f', arguments: '' },
        { type: 'function_call_output', call_id: 'c', output: [] },
      ],
    });
    expect(input).toMatchObject([
      { type: 'message' },
      { type: 'function_call', arguments: '{}' },
      { type: 'function_call_output', output: '' },
    ]);
    expect(() => itemMessages(parse({ input: [{ type: 'reasoning', id: 'rs_1', summary: [] }] }).input)).toThrow('nothing to answer');
  });

  it('has nothing to answer when there is neither input nor history', () => {
    expect(() => itemMessages(parse({ input: [] }).input)).toThrow('nothing to answer');
  });
});

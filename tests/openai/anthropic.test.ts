import { describe, expect, it } from 'vitest';
import { ApiError, internalError } from '../../openai/errors.ts';
import { parseMessages } from '../../openai/requests/anthropic.ts';
import { createAnswer } from '../../openai/stream/create.ts';

const body = { model: 'm', max_tokens: 9, messages: [{ role: 'user', content: 'Hi' }] };
const parse = (extra: object) => parseMessages({ ...body, ...extra });

describe('a body of /v1/messages', () => {
  it('is the chat that it means', () => {
    const request = parse({
      system: [
        { type: 'text', text: 'a', cache_control: { type: 'ephemeral' } },
        { type: 'text', text: 'b' },
      ],
      stop_sequences: ['x'],
      thinking: { type: 'disabled' },
      metadata: { user_id: 'u' },
      messages: [
        { role: 'user', content: [{ type: 'text', text: 'Hi', cache_control: { type: 'ephemeral' } }] },
        {
          role: 'assistant',
          content: [
            { type: 'thinking', thinking: 't', signature: '' },
            { type: 'text', text: 'Wait.' },
            { type: 'tool_use', id: 'toolu_1', name: 'f', input: { a: 1 } },
          ],
        },
        {
          role: 'user',
          content: [
            { type: 'tool_result', tool_use_id: 'toolu_1', is_error: true, content: [{ type: 'text', text: 'no' }] },
            { type: 'text', text: 'So?' },
          ],
        },
      ],
    });
    expect(request).toMatchObject({ kind: 'chat', wire: 'anthropic', maxTokens: 9, stop: ['x'], templateArgs: { enable_thinking: false } });
    expect(request.messages).toEqual([
      { role: 'system', content: 'a\nb' },
      { role: 'user', content: 'Hi' },
      { role: 'assistant', content: 'Wait.', toolCalls: [{ id: 'toolu_1', name: 'f', arguments: '{"a":1}' }] },
      { role: 'tool', content: 'Error: no', toolCallId: 'toolu_1' },
      { role: 'user', content: 'So?' },
    ]);
  });

  it('chooses tools by that API’s words', () => {
    const tools = [{ name: 'f', input_schema: { type: 'object' } }];
    const choice = (tool_choice: object) => parse({ tools, tool_choice });
    expect(choice({ type: 'any' }).toolChoice).toEqual({ mode: 'required' });
    expect(choice({ type: 'tool', name: 'f' }).toolChoice).toEqual({ mode: 'required', names: ['f'] });
    expect(choice({ type: 'auto', disable_parallel_tool_use: true })).toMatchObject({
      toolChoice: { mode: 'auto' },
      parallelToolCalls: false,
    });
    expect(parse({ tools }).tools).toMatchObject([{ name: 'f', parameters: { type: 'object' } }]);
  });

  it.each([
    [{ max_tokens: undefined }, 'max_tokens'],
    [{ messages: [] }, 'messages'],
    [{ messages: [{ role: 'system', content: 'x' }] }, 'messages[0].role'],
    [{ messages: [{ role: 'user', content: [{ type: 'document' }] }] }, 'messages[0].content[0].type'],
    [{ tools: [{ type: 'web_search_20250305', name: 'web_search' }] }, 'tools[0].type'],
    [{ container: 'x' }, 'container'],
    [{ nonsense: 1 }, 'nonsense'],
  ])('%j is a 400 that names the field', (extra, param) => {
    try {
      parse(extra);
    } catch (error) {
      expect(error).toBeInstanceOf(ApiError);
      expect(error).toMatchObject({ status: 400, param });
      return;
    }
    expect.unreachable();
  });
});

describe('its answer', () => {
  const tools = [{ name: 'f', input_schema: { type: 'object' } }];
  const said = '<think>Hm.</think>Yes.\n<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call>';
  const tell = (stream: boolean, text = said, reason: 'stop' | 'length' = 'stop') => {
    const answer = createAnswer(parse({ tools, stream }), { id: 'x', model: 'm', created: 0 });
    return (
      answer.open() +
      [...text].map((c) => answer.push(0, c)).join('') +
      answer.finish(0, reason) +
      answer.close({ prompt: 9, cached: 4, completion: 5 })
    );
  };
  const content = [
    { type: 'thinking', thinking: 'Hm.', signature: '' },
    { type: 'text', text: 'Yes.' },
    { type: 'tool_use', id: 'toolu_x_0', name: 'f', input: { a: 1 } },
  ];
  const usage = { input_tokens: 5, cache_creation_input_tokens: 0, cache_read_input_tokens: 4, output_tokens: 5 };

  it('whole', () => {
    expect(JSON.parse(tell(false))).toEqual({
      ...{ id: 'msg_x', type: 'message', role: 'assistant', model: 'm', content, stop_reason: 'tool_use', stop_sequence: null, usage },
    });
  });

  it('as events: blocks one after the other, each closed before the next', () => {
    const events = tell(true)
      .split('\n\n')
      .filter(Boolean)
      .map((e) => JSON.parse(e.split('\ndata: ')[1]));
    expect(events.filter((e) => !e.type.endsWith('_delta')).map((e) => [e.type, e.index])).toEqual([
      ['message_start', undefined],
      ...[0, 1, 2].flatMap((i) => [
        ['content_block_start', i],
        ['content_block_stop', i],
      ]),
      ['message_stop', undefined],
    ]);
    expect(events.at(-2)).toEqual({ type: 'message_delta', delta: { stop_reason: 'tool_use', stop_sequence: null }, usage });
    const json = events.filter((e) => e.delta?.type === 'input_json_delta').map((e) => e.delta.partial_json);
    expect(JSON.parse(json.join(''))).toEqual({ a: 1 });
    expect(events.find((e) => e.content_block?.type === 'tool_use').content_block.input).toEqual({});
  });

  it('cut in a call does not look finished', () => {
    expect(JSON.parse(tell(false, said.slice(0, -20), 'length'))).toMatchObject({
      stop_reason: 'max_tokens',
      content: content.slice(0, 2).concat({ ...content[2], input: {} } as never),
    });
  });

  it('that fails midway ends in an error event', () => {
    const answer = createAnswer(parse({ stream: true }), { id: 'x', model: 'm', created: 0 });
    expect(answer.fail(internalError())).toMatch(/^event: error\ndata: \{"type":"error","error":\{"type":"api_error"/);
  });
});

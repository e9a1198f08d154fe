/** Every parameter at its bounds, and with what it is not: the error names it. And the events of a response, one by one. */
import { describe, expect, it } from 'vitest';
import { ApiError } from '../../openai/errors.ts';
import { Registry, servingMetrics } from '../../openai/prometheus.ts';
import { parseMessages } from '../../openai/requests/anthropic.ts';
import { parseChat } from '../../openai/requests/chat.ts';
import { parseCompletion } from '../../openai/requests/completion.ts';
import { EMBEDDING_LIMITS, parseEmbeddings } from '../../openai/requests/embeddings.ts';
import { LIMITS } from '../../openai/requests/generation.ts';
import { chatParameters, completionParameters, type Parameters, responsesParameters } from '../../openai/requests/parameters.ts';
import { parseResponses } from '../../openai/requests/responses.ts';
import { parseDetokenize, parseTokenize } from '../../openai/requests/tokenize.ts';
import { anthropicError } from '../../openai/stream/anthropic.ts';
import { createAnswer } from '../../openai/stream/create.ts';
import { namedKeysIn } from '../../policy/keys.ts';

const messages = [{ role: 'user', content: 'x' }];
type Parse = (extra: object) => unknown;
const chat: Parse = (extra) => parseChat({ model: 'm', messages, ...extra });
const completion: Parse = (extra) => parseCompletion({ model: 'm', prompt: 'x', ...extra });
const responses: Parse = (extra) => parseResponses({ model: 'm', input: 'x', ...extra });
const anthropic: Parse = (extra) => parseMessages({ model: 'm', max_tokens: 1, messages, ...extra });
const tokenize: Parse = (extra) => parseTokenize({ prompt: 'x', ...extra });
const embeddings: Parse = (extra) => parseEmbeddings({ input: 'x', ...extra });

function wrong(parse: () => unknown): { param: string | null; code: string | null } {
  try {
    parse();
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    expect(error.status).toBe(400);
    expect(error.message.length).toBeGreaterThan(10);
    return { param: error.param, code: error.code };
  }
  return { param: 'none', code: 'accepted' };
}

describe('a number', () => {
  const shared: [name: string, lo: number, hi: number, step: number][] = [
    ['temperature', 0, 2, 0.001],
    ['top_p', 0, 1, 0.001],
    ['min_p', 0, 1, 0.001],
    ['frequency_penalty', -2, 2, 0.001],
    ['presence_penalty', -2, 2, 0.001],
    ['repetition_penalty', 0.01, 10, 0.001],
    ['top_k', -1, LIMITS.tokenId, 1],
    ['min_tokens', 0, LIMITS.maxTokens, 1],
    ['priority', -1000, 1000, 1],
    ['seed', -(2 ** 63), 2 ** 63, 2 ** 12],
  ];
  it.each<[string, Parse, [string, number, number, number][]]>([
    ['chat', chat, [...shared, ['n', 1, 16, 1], ['max_tokens', 1, LIMITS.maxTokens, 1], ['max_completion_tokens', 1, LIMITS.maxTokens, 1]]],
    ['completion', completion, [...shared, ['n', 1, 16, 1], ['max_tokens', 1, LIMITS.maxTokens, 1], ['logprobs', 0, 20, 1]]],
    ['responses', responses, [...shared, ['max_output_tokens', 1, LIMITS.maxTokens, 1]]],
    ['embeddings', embeddings, [['dimensions', 1, EMBEDDING_LIMITS.dimensions, 1]]],
  ])('of %s is taken at both its bounds and refused beyond them, by its name', (_, parse, list) => {
    for (const [name, lo, hi, step] of list) {
      for (const ok of [lo, hi, null, undefined]) expect(() => parse({ [name]: ok }), `${name} ${ok}`).not.toThrow();
      const kind = Number.isInteger(lo) && step >= 1 ? 'integer' : 'decimal';
      expect(wrong(() => parse({ [name]: lo - step }))).toEqual({ param: name, code: `${kind}_below_min_value` });
      expect(wrong(() => parse({ [name]: hi + step }))).toEqual({ param: name, code: `${kind}_above_max_value` });
      for (const v of [
        '1',
        [],
        {},
        true,
        Number.NaN,
        ...(kind === 'integer' ? [(lo + hi) / 2 + 0.5 - ((lo + hi) % 2 === 0 ? 0 : 0.25)] : []),
      ]) {
        expect(
          wrong(() => parse({ [name]: v })),
          `${name} ${v}`,
        ).toEqual({ param: name, code: 'invalid_type' });
      }
    }
  });

  it('of top_logprobs needs logprobs', () => {
    for (const n of [0, 20]) expect(() => chat({ logprobs: true, top_logprobs: n })).not.toThrow();
    expect(wrong(() => chat({ logprobs: true, top_logprobs: 21 }))).toEqual({ param: 'top_logprobs', code: 'integer_above_max_value' });
    expect(wrong(() => chat({ logprobs: false, top_logprobs: 1 })).param).toBe('top_logprobs');
    expect(() => chat({ top_logprobs: 0 })).not.toThrow();
  });
});

describe('a text', () => {
  const list: [Parse, string, number, number, (s: string) => unknown, string?][] = [
    [chat, 'model', 1, 256, (s) => s],
    [chat, 'prompt_cache_key', 1, 256, (s) => s],
    [chat, 'cache_salt', 1, 256, (s) => s],
    [chat, 'stop', 1, 256, (s) => s],
    [chat, 'stop', 1, 256, (s) => ['a', s], 'stop[1]'],
    [chat, 'chat_template', 1, 65_536, (s) => s],
    [responses, 'previous_response_id', 1, 256, (s) => s],
    [completion, 'guided_regex', 1, 65_536, (s) => s],
    [completion, 'grammar', 1, 65_536, (s) => s],
    [completion, 'guided_choice', 0, 4096, (s) => ['a', s], 'guided_choice[1]'],
    [tokenize, 'model', 1, 256, (s) => s],
    [embeddings, 'model', 1, 256, (s) => s],
    [embeddings, 'input', 1, 1 << 18, (s) => s],
    [embeddings, 'input', 1, 1 << 18, (s) => ['a', s], 'input[1]'],
  ];
  it.each(list)('of its least and its most length is taken, another refused by name (%# %s)', (parse, name, min, max, of, param = name) => {
    for (const n of [min, max]) expect(() => parse({ [name]: of('x'.repeat(n)) })).not.toThrow();
    if (min > 0) expect(wrong(() => parse({ [name]: of('') }))).toEqual({ param, code: 'string_too_short' });
    expect(wrong(() => parse({ [name]: of('x'.repeat(max + 1)) }))).toEqual({ param, code: 'string_above_max_length' });
    expect(wrong(() => parse({ [name]: of(7 as never) })).param).toBe(param);
  });
});

describe('a list', () => {
  const many = <T>(n: number, of: (i: number) => T) => Array.from({ length: n }, (_, i) => of(i));
  const tool = (i: number) => ({ type: 'function', function: { name: `f${i}` } });
  const list: [string, Parse, string, number, (i: number) => unknown, string?][] = [
    ['chat', chat, 'stop', 4, () => 'x'],
    ['chat', chat, 'stop_token_ids', 64, (i) => i],
    ['chat', chat, 'messages', 2048, () => messages[0]],
    ['chat', chat, 'tools', 128, tool],
    ['responses', responses, 'tools', 128, (i) => ({ type: 'function', name: `f${i}` })],
    ['responses', responses, 'include', 16, () => 'x'],
    ['anthropic', anthropic, 'tools', 128, (i) => ({ name: `f${i}`, input_schema: {} })],
    ['anthropic', anthropic, 'messages', 2048, () => messages[0]],
    ['completion', completion, 'prompt', 64, () => 'x'],
    ['completion', completion, 'guided_choice', 1000, () => 'x'],
    ['embeddings', embeddings, 'input', 2048, () => 'x'],
    ['embeddings', embeddings, 'input', 8192, (i) => i],
  ];
  it.each(list)('of %s: %s%s has as many as it may, and no more', (_, parse, name, most, of) => {
    expect(() => parse({ [name]: many(most, of) })).not.toThrow();
    expect(wrong(() => parse({ [name]: many(most + 1, of) }))).toEqual({ param: name, code: 'array_above_max_length' });
    for (const v of [{ a: 1 }, true])
      expect(
        wrong(() => parse({ [name]: v })),
        `${name} ${v}`,
      ).toEqual({ param: name, code: 'invalid_type' });
  });

  it('of ids has ids, each of which names itself', () => {
    const cases: [() => unknown, string][] = [
      [() => chat({ stop_token_ids: [0, LIMITS.tokenId + 1] }), 'stop_token_ids[1]'],
      [() => chat({ stop_token_ids: [-1] }), 'stop_token_ids[0]'],
      [() => completion({ prompt: [0, LIMITS.tokenId, LIMITS.tokenId + 1] }), 'prompt[2]'],
      [() => completion({ prompt: [[1], [2, 0.5]] }), 'prompt[1][1]'],
      [() => parseDetokenize({ tokens: [3, -1] }), 'tokens[1]'],
      [() => embeddings({ input: [[1], [LIMITS.tokenId + 1]] }), 'input[1][0]'],
      [() => embeddings({ input: [[1], 'x'] }), 'input[1]'],
    ];
    for (const [parse, param] of cases) expect(wrong(parse).param).toBe(param);
    expect(() => chat({ stop_token_ids: [0, LIMITS.tokenId] })).not.toThrow();
  });
});

describe('what a request may carry', () => {
  const read = (parameters: Parameters) => Object.keys(parameters).filter((name) => parameters[name] === 'read');
  it.each<[string, Parameters, Parse]>([
    ['chat', chatParameters, chat],
    ['completion', completionParameters, completion],
    ['responses', responsesParameters, responses],
  ])('is checked: no parameter of %s that is read takes everything, and each names itself', (_, parameters, parse) => {
    for (const name of read(parameters)) {
      const verdicts = [7.5, -1e9, true, { some: [{}] }, [[{}]], ''].map((v) => wrong(() => parse({ [name]: v })));
      const refused = verdicts.filter((v) => v.code !== 'accepted');
      expect(refused.length, name).toBeGreaterThan(2);
      // an unknown key inside is told of what holds it; a form names itself
      for (const { param } of refused) expect(param, name).toMatch(new RegExp(`^${name}(\\b|$)`));
    }
  });

  it.each<[object, string]>([
    [{ chat_template_kwargs: { messages: 1 } }, 'chat_template_kwargs'],
    ...[
      'tools',
      'add_generation_prompt',
      'bos_token',
      'eos_token',
      'documents',
      'chat_template',
      '__proto__',
      'A',
      '1a',
      `a${'b'.repeat(64)}`,
    ].map((key): [object, string] => [{ chat_template_kwargs: JSON.parse(`{"${key}": 1}`) }, 'chat_template_kwargs']),
    [{ chat_template_kwargs: Object.fromEntries(Array.from({ length: 17 }, (_, i) => [`a${i}`, 1])) }, 'chat_template_kwargs'],
    [{ chat_template_kwargs: { a: 'x'.repeat(4097) } }, 'chat_template_kwargs.a'],
    [{ chat_template_kwargs: { a: null } }, 'chat_template_kwargs.a'],
    [{ messages: [{ role: 'assistant', content: 'x', audio: {} }] }, 'messages[0].audio'],
    [{ messages: [{ role: 'assistant', content: 'x', function_call: {} }] }, 'messages[0].function_call'],
    [{ messages: [{ role: 'user', content: 'x', name: '' }] }, 'messages[0].name'],
    [{ messages: [{ role: 'tool', content: 'x', tool_call_id: 'x'.repeat(257) }] }, 'messages[0].tool_call_id'],
    [{ messages: [{ role: 'assistant', content: 'x', reasoning_content: 1 }] }, 'messages[0].reasoning_content'],
    [{ messages: [{ role: 'assistant', content: [{ type: 'refusal', refusal: 1 }] }] }, 'messages[0].content[0].refusal'],
    [{ messages: [{ role: 'assistant', tool_calls: [{ id: 'c', type: 'custom' }] }] }, 'messages[0].tool_calls[0].type'],
    [{ messages: [{ role: 'assistant', tool_calls: [{ id: '', function: {} }] }] }, 'messages[0].tool_calls[0].id'],
    [
      { messages: [{ role: 'assistant', tool_calls: [{ id: 'c', function: { name: 'a b' } }] }] },
      'messages[0].tool_calls[0].function.name',
    ],
    [
      { messages: [{ role: 'assistant', tool_calls: [{ id: 'c', function: { name: 'a', arguments: {} } }] }] },
      'messages[0].tool_calls[0].function.arguments',
    ],
    [
      { messages: [{ role: 'assistant', content: 'x' }], continue_final_message: true, add_generation_prompt: true },
      'continue_final_message',
    ],
    [{ continue_final_message: true }, 'continue_final_message'],
    [{ messages: [{ role: 'user', content: 'x', prefix: true }] }, 'messages[0].prefix'],
    [{ tools: [{ type: 'function', function: { name: 'f', description: 'x'.repeat(16_385) } }] }, 'tools[0].function.description'],
    [{ tools: [{ type: 'function', function: { name: 'f', strict: 1 } }] }, 'tools[0].function.strict'],
    [{ tools: [{ type: 'function', function: { name: 'x'.repeat(65) } }] }, 'tools[0].function.name'],
    [{ tool_choice: { type: 'custom' } }, 'tool_choice.type'],
    [
      { tool_choice: { type: 'allowed_tools', allowed_tools: { mode: 'none', tools: [{ function: { name: 'f' } }] } } },
      'tool_choice.allowed_tools.mode',
    ],
    [{ tool_choice: { type: 'allowed_tools', allowed_tools: { mode: 'auto', tools: [] } } }, 'tool_choice.allowed_tools.tools'],
    [
      { tool_choice: { type: 'allowed_tools', allowed_tools: { mode: 'auto', tools: [{}] } } },
      'tool_choice.allowed_tools.tools[0].function',
    ],
    [{ response_format: { type: 'json_schema', json_schema: { name: 'a b' } } }, 'response_format.json_schema.name'],
    [{ response_format: { type: 'json_schema', json_schema: { name: 'a', strict: 'x' } } }, 'response_format.json_schema.strict'],
    [{ response_format: { type: 'json_object', schema: 'x' } }, 'response_format.schema'],
    [{ stream: true, stream_options: { include_usage: 'x' } }, 'stream_options.include_usage'],
    [{ guided_json: 'x'.repeat(65_537) }, 'guided_json'],
    [{ structured_outputs: { json_object: 'x' } }, 'structured_outputs.json_object'],
    [{ structured_outputs: { regex: '' } }, 'structured_outputs.regex'],
  ])('chat (%#): what is wrong is named', (extra, param) => expect(wrong(() => chat(extra)).param).toBe(param));

  it.each<[object, string]>([
    [{ reasoning: { effort: 'much' } }, 'reasoning.effort'],
    [{ metadata: Object.fromEntries(Array.from({ length: 17 }, (_, i) => [`k${i}`, 'v'])) }, 'metadata'],
    [{ metadata: { ['x'.repeat(65)]: 'v' } }, 'metadata'],
    [{ metadata: { k: 'x'.repeat(513) } }, 'metadata'],
    [{ tools: [{ type: 'web_search' }] }, 'tools[0].type'],
    [{ text: { format: { type: 'xml' } } }, 'text.format.type'],
    [{ text: { format: { type: 'json_schema', name: 'a b' } } }, 'text.format.name'],
    [{ stream_options: { include_usage: true } }, 'stream_options'],
    [{ background: true, store: false }, 'background'],
    [{ tool_choice: { type: 'function', name: 'f' } }, 'tool_choice'],
    [{ input: [{ type: 'message', role: 'tool', content: 'x' }] }, 'input[0].role'],
    [{ input: [{ type: 'function_call', call_id: '', name: 'f', arguments: '' }] }, 'input[0].call_id'],
    [{ input: [{ type: 'function_call', call_id: 'c', name: 'f g', arguments: '' }] }, 'input[0].name'],
    [{ input: [{ type: 'function_call_output', call_id: 'c', output: {} }] }, 'input[0].output'],
    [{ input: [{ type: 'computer_call' }] }, 'input[0].type'],
  ])('responses (%#): what is wrong is named', (extra, param) => expect(wrong(() => responses(extra)).param).toBe(param));

  it.each<[object, string]>([
    [{ system: [{ type: 'image' }] }, 'system[0].type'],
    [{ system: [{ type: 'text', text: 1 }] }, 'system[0].text'],
    [{ thinking: { type: 'much' } }, 'thinking.type'],
    [{ tool_choice: { type: 'all' } }, 'tool_choice.type'],
    [{ tool_choice: { type: 'auto', disable_parallel_tool_use: 1 } }, 'tool_choice.disable_parallel_tool_use'],
    [{ messages: [{ role: 'user', content: [{ type: 'tool_use', id: 'x', name: 'f', input: {} }] }] }, 'messages[0].content[0].type'],
    [{ messages: [{ role: 'assistant', content: [{ type: 'tool_result', tool_use_id: 'x' }] }] }, 'messages[0].content[0].type'],
    [{ messages: [{ role: 'assistant', content: [{ type: 'tool_use', id: 'x', name: 'f', input: [] }] }] }, 'messages[0].content[0].input'],
    [{ messages: [{ role: 'user', content: [{ type: 'text' }] }] }, 'messages[0].content[0].text'],
    [{ messages: [{ role: 'user', content: Array(1025).fill({ type: 'text', text: 'x' }) }] }, 'messages[0].content'],
  ])('anthropic (%#): what is wrong is named', (extra, param) => expect(wrong(() => anthropic(extra)).param).toBe(param));

  it('at its bounds is taken', () => {
    const fine: [Parse, object][] = [
      [chat, { chat_template_kwargs: Object.fromEntries(Array.from({ length: 16 }, (_, i) => [`a${i}`, 'x'.repeat(4096)])) }],
      [chat, { chat_template_kwargs: { [`a${'b'.repeat(63)}`]: true, b: 1 } }],
      [chat, { tools: [{ type: 'function', function: { name: 'x'.repeat(64), description: 'x'.repeat(16_384), strict: true } }] }],
      [chat, { messages: [{ role: 'assistant', content: 'x', audio: null, function_call: null, name: 'n'.repeat(256) }] }],
      [
        chat,
        {
          messages: [
            { role: 'user', content: 'x' },
            { role: 'assistant', content: 'x', prefix: true },
          ],
        },
      ],
      [chat, { messages: [{ role: 'assistant', tool_calls: Array(128).fill({ id: 'c', function: { name: 'f', arguments: '' } }) }] }],
      [chat, { logit_bias: { 0: -100, [LIMITS.tokenId]: 100 } }],
      [responses, { metadata: Object.fromEntries(Array.from({ length: 16 }, (_, i) => [`${i}`.padEnd(64, 'k'), 'x'.repeat(512)])) }],
      [responses, { stream: true, stream_options: { include_obfuscation: true } }],
      [anthropic, { messages: [{ role: 'user', content: Array(1024).fill({ type: 'text', text: 'x' }) }] }],
    ];
    for (const [parse, extra] of fine) expect(() => parse(extra)).not.toThrow();
  });
});

describe('the events of a response', () => {
  const said = '<think>Hm.</think>Yes.\n<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call>';
  const told = (text: string, reason: 'stop' | 'length' = 'stop') => {
    const request = parseResponses({ model: 'm', input: 'x', stream: true, tools: [{ type: 'function', name: 'f', parameters: {} }] });
    const answer = createAnswer(request, { id: 'x', model: 'm', created: 7 });
    expect(answer.contentType).toBe('text/event-stream; charset=utf-8');
    const sse = answer.open() + answer.push(0, text) + answer.finish(0, reason) + answer.close({ prompt: 1, completion: 2, cached: 0 });
    return sse
      .split('\n\n')
      .filter((e) => e !== '')
      .map((e, i) => {
        const [id, name, data] = e.split('\n') as [string, string, string];
        const event = JSON.parse(data.slice(6)) as Record<string, unknown> & { type: string };
        expect([id, name, event.sequence_number]).toEqual([`id: ${i}`, `event: ${event.type}`, i]);
        return event;
      });
  };

  it('tell each item from its beginning to its end, in OpenAI’s names', () => {
    const events = told(said);
    const item = (first: string[]) => ['output_item.added', ...first, 'output_item.done'];
    expect(events.map((e) => e.type)).toEqual(
      [
        ...['created', 'in_progress'],
        ...item(['content_part.added', 'reasoning_text.delta', 'reasoning_text.done', 'content_part.done']),
        ...item(['content_part.added', 'output_text.delta', 'output_text.done', 'content_part.done']),
        ...item(['function_call_arguments.delta', 'function_call_arguments.done']),
        'completed',
      ].map((name) => `response.${name}`),
    );
    expect(events.map((e) => e.output_index)).toEqual([
      undefined,
      undefined,
      ...Array(6).fill(0),
      ...Array(6).fill(1),
      ...Array(4).fill(2),
      undefined,
    ]);
    const ids = events.map((e) => e.item_id).filter((id) => id !== undefined);
    expect(new Set(ids)).toEqual(new Set(['rs_x_0', 'msg_x_1', 'fc_x_2']));
    expect(events.find((e) => e.type.endsWith('arguments.done'))).toMatchObject({ name: 'f', arguments: '{"a": 1}' });
    expect(events.filter((e) => e.type.endsWith('part.done')).map((e) => (e.part as { text: string }).text)).toEqual(['Hm.', 'Yes.']);
    const { response } = events.at(-1) as unknown as { response: { output: { type: string; status: string }[]; output_text: string } };
    expect(response.output.map((i) => [i.type, i.status])).toEqual([
      ['reasoning', 'completed'],
      ['message', 'completed'],
      ['function_call', 'completed'],
    ]);
    expect(response.output_text).toBe('Yes.');
  });

  it('end with what was cut: the last item and the response are incomplete', () => {
    const events = told('Yes, and', 'length');
    expect(events.at(-1)!.type).toBe('response.incomplete');
    expect(events.at(-1)!.response).toMatchObject({
      incomplete_details: { reason: 'max_output_tokens' },
      output: [{ status: 'incomplete' }],
    });
    const cut = told(said.slice(0, -16), 'length');
    expect(cut.at(-1)!.response).toMatchObject({ output: [{ status: 'completed' }, { status: 'completed' }, { status: 'incomplete' }] });
  });
});

describe('answers', () => {
  it('say what they are', () => {
    const of = (request: Parameters3[0]) => createAnswer(request, { id: 'x', model: 'm', created: 0 }).contentType;
    type Parameters3 = Parameters2<typeof createAnswer>;
    type Parameters2<F extends (...a: never[]) => unknown> = F extends (...a: infer P) => unknown ? P : never;
    for (const stream of [true, false]) {
      const type = stream ? 'text/event-stream; charset=utf-8' : 'application/json';
      for (const request of [
        parseChat({ messages, stream }),
        parseCompletion({ prompt: 'x', stream }),
        parseResponses({ input: 'x', stream }),
        parseMessages({ model: 'm', max_tokens: 1, messages, stream }),
      ]) {
        expect(of(request)).toBe(type);
      }
    }
  });

  it('of Anthropic’s API name errors by their status', () => {
    const type = (status: number) => (anthropicError(status, 'why') as { error: { type: string; message: string } }).error;
    expect([400, 401, 403, 404, 413, 429, 503, 405, 499, 500, 502].map((s) => type(s).type)).toEqual([
      ...['invalid_request_error', 'authentication_error', 'permission_error', 'not_found_error', 'request_too_large', 'rate_limit_error'],
      ...['overloaded_error', 'invalid_request_error', 'invalid_request_error', 'api_error', 'api_error'],
    ]);
    expect(type(400).message).toBe('why');
  });
});

describe('keys', () => {
  it.each<[string | undefined, { name?: string; key: string }[]]>([
    [undefined, []],
    ['12345678', [{ name: undefined, key: '12345678' }]],
    [
      ' ann : 12345678 , ,bob:abcdefgh',
      [
        { name: 'ann', key: ' 12345678' },
        { name: 'bob', key: 'abcdefgh' },
      ],
    ],
    [':12345678', [{ name: undefined, key: '12345678' }]],
    ['ann:with:colons', [{ name: 'ann', key: 'with:colons' }]],
  ])('%j are %j', (secret, keys) => expect(namedKeysIn(secret)).toEqual(keys));

  it.each([' ', ',', '1234567', 'ann:1234567', '12345678,ann:12345678'])('%j are a mistake', (secret) => {
    expect(() => namedKeysIn(secret)).toThrow(/^API_KEYS/);
  });
});

describe('metrics', () => {
  it('have their names, help and first values', () => {
    const lines = servingMetrics('m').registry.render().split('\n');
    const names = ['num_requests_running', 'num_requests_waiting', 'kv_cache_usage_perc', 'prompt_tokens_total', 'generation_tokens_total'];
    names.push('prefix_cache_queries_total', 'prefix_cache_hits_total', 'num_preemptions_total', 'request_success_total');
    const histograms = ['time_to_first_token_seconds', 'inter_token_latency_seconds', 'e2e_request_latency_seconds'];
    for (const name of [...names, ...histograms]) {
      expect(lines.find((l) => l.startsWith(`# HELP turnstone_${name} `))).toMatch(/ [A-Z].*\.$/);
      if (name !== 'request_success_total' && names.includes(name)) expect(lines).toContain(`turnstone_${name}{model_name="m"} 0`);
    }
    for (const name of histograms) {
      const bounds = lines.flatMap((l) => new RegExp(`^turnstone_${name}_bucket\\{model_name="m",le="([^"]+)"\\} 0$`).exec(l)?.[1] ?? []);
      expect(bounds.length).toBeGreaterThan(17);
      expect(bounds.at(-1)).toBe('+Inf');
    }
  });

  it('take over a total, which never falls, and say infinities as Prometheus does', () => {
    const r = new Registry();
    const c = r.counter('c_total', 'C.');
    c.total(5);
    c.total(3);
    const g = r.gauge('g', 'G.');
    g.set(Number.NEGATIVE_INFINITY, { a: '1' });
    g.set(Number.POSITIVE_INFINITY, { a: '2' });
    expect(r.render()).toBe(
      '# HELP c_total C.\n# TYPE c_total counter\nc_total 5\n# HELP g G.\n# TYPE g gauge\ng{a="1"} -Inf\ng{a="2"} +Inf\n',
    );
  });
});

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ApiError } from '../../openai/errors.ts';
import { parseChat } from '../../openai/requests/chat.ts';
import { parseCompletion } from '../../openai/requests/completion.ts';
import { templateMessages, templateTools } from '../../openai/requests/messages.ts';
import { choiceSeed, resolveSampling } from '../../openai/requests/sampling.ts';
import { parseDetokenize, parseTokenize } from '../../openai/requests/tokenize.ts';

const user = { role: 'user', content: 'hi' };
const chat = (extra: object = {}) => parseChat({ model: 'm', messages: [user], ...extra });
const completion = (extra: object = {}) => parseCompletion({ model: 'm', prompt: 'p', ...extra });
const tool = (name: string) => ({ type: 'function', function: { name, description: 'd', parameters: { type: 'object' } } });

function refusal(run: () => unknown): { status: number; param: string | null; code: string | null; message: string } {
  try {
    run();
  } catch (e) {
    if (e instanceof ApiError) return { status: e.status, param: e.param, code: e.code, message: e.message };
    throw e;
  }
  throw new Error('was not refused');
}

describe('parseChat', () => {
  it('fills in what was not given', () => {
    expect(chat()).toEqual({
      kind: 'chat',
      model: 'm',
      messages: [{ role: 'user', content: 'hi', name: undefined }],
      stream: false,
      includeUsage: false,
      n: 1,
      maxTokens: undefined,
      maxTokensParam: 'max_tokens',
      stop: [],
      stopTokenIds: [],
      ignoreEos: false,
      sampling: { logitBias: [] },
      promptCacheKey: undefined,
      cacheSalt: undefined,
      priority: 0,
      explain: false,
      tools: [],
      toolChoice: { mode: 'none' },
      parallelToolCalls: true,
      responseFormat: { type: 'text' },
      templateArgs: {},
    });
  });

  it('remembers what the limit of tokens was called', () => {
    expect(chat({ max_tokens: 5 })).toMatchObject({ maxTokens: 5, maxTokensParam: 'max_tokens' });
    expect(chat({ max_completion_tokens: 5 })).toMatchObject({ maxTokens: 5, maxTokensParam: 'max_completion_tokens' });
  });

  it('takes what other servers’ answers leave in a conversation', () => {
    const past = (args: unknown, content: unknown = []) => [
      { role: 'user', content: 'hi' },
      { role: 'assistant', content: null, tool_calls: [{ id: 'c', type: 'function', function: { name: 'f', arguments: args } }] },
      { role: 'tool', tool_call_id: 'c', content },
    ];
    for (const args of ['', ' \n', '{}']) {
      const { messages } = chat({ messages: past(args) });
      expect(messages[1]).toMatchObject({ toolCalls: [{ arguments: args === '' || args === ' \n' ? '{}' : args }] });
      expect(templateMessages(messages)[1]).toMatchObject({ tool_calls: [{ function: { arguments: {} } }] });
      expect(messages[2]).toMatchObject({ role: 'tool', content: '' });
    }
  });

  it('survives a crossing as JSON', () => {
    const full = chat({ tools: [tool('f')], seed: -1, stop: 'x', logit_bias: { 5: -100 }, max_completion_tokens: 9, temperature: 0 });
    expect(resolveSampling(JSON.parse(JSON.stringify(full)).sampling, {}, () => [0, 0])).toEqual({
      temperature: 0,
      topP: 1,
      topK: 0,
      minP: 0,
      repetition: 1,
      frequency: 0,
      presence: 0,
      minTokens: 0,
      logitBias: [[5, -100]],
      seed: [0xffffffff, 0xffffffff],
      logprobs: undefined,
    });
  });

  it('reads every role, text parts and past calls, and hands them to templates in their form', () => {
    const { messages } = chat({
      messages: [
        { role: 'developer', content: 'be brief' },
        {
          role: 'user',
          name: 'ann',
          content: [
            { type: 'text', text: 'a' },
            { type: 'text', text: 'b' },
          ],
        },
        { role: 'assistant', content: null, tool_calls: [{ id: 'c1', type: 'function', function: { name: 'f', arguments: '{"x":1}' } }] },
        { role: 'tool', tool_call_id: 'c1', content: '2' },
        { role: 'assistant', content: null, refusal: 'no' },
      ],
    });
    expect(templateMessages(messages)).toEqual([
      { role: 'system', content: 'be brief' },
      { role: 'user', name: 'ann', content: 'a\nb' },
      { role: 'assistant', content: '', tool_calls: [{ id: 'c1', type: 'function', function: { name: 'f', arguments: { x: 1 } } }] },
      { role: 'tool', content: '2', tool_call_id: 'c1', name: 'f' },
      { role: 'assistant', content: 'no' },
    ]);
  });

  it('reads tools and every form of tool_choice', () => {
    const tools = [tool('f'), tool('g')];
    expect(templateTools(chat({ tools }).tools)[0]).toEqual({
      type: 'function',
      function: { name: 'f', description: 'd', parameters: { type: 'object' } },
    });
    const choice = (tool_choice: unknown) => chat({ tools, tool_choice }).toolChoice;
    expect(choice(undefined)).toEqual({ mode: 'auto' });
    expect(choice('required')).toEqual({ mode: 'required' });
    expect(choice({ type: 'function', function: { name: 'g' } })).toEqual({ mode: 'required', names: ['g'] });
    expect(
      choice({ type: 'allowed_tools', allowed_tools: { mode: 'auto', tools: [{ type: 'function', function: { name: 'f' } }] } }),
    ).toEqual({
      mode: 'auto',
      names: ['f'],
    });
  });

  it('reads response formats', () => {
    const schema = { type: 'object', properties: { a: { type: 'string' } } };
    expect(chat({ response_format: { type: 'json_schema', json_schema: { name: 's', schema, strict: true } } }).responseFormat).toEqual({
      type: 'json_schema',
      name: 's',
      description: undefined,
      schema,
      strict: true,
    });
  });

  it('counts logprobs: off, of the chosen token alone, of the best ones too', () => {
    expect(chat().sampling.logprobs).toBeUndefined();
    expect(chat({ logprobs: true }).sampling.logprobs).toBe(0);
    expect(chat({ logprobs: true, top_logprobs: 20 }).sampling.logprobs).toBe(20);
  });

  it.each([
    [{ messages: undefined }, 'messages', 'missing_required_parameter'],
    [{ model: 3 }, 'model', 'invalid_type'],
    [{ messages: [] }, 'messages', 'array_too_short'],
    [{ messages: Array(2049).fill(user) }, 'messages', 'array_above_max_length'],
    [{ messages: [user, 'x'] }, 'messages[1]', 'invalid_type'],
    [{ messages: [{ role: 'robot', content: '' }] }, 'messages[0].role', 'invalid_value'],
    [{ messages: [{ role: 'function', name: 'f', content: '' }] }, 'messages[0].role', 'unsupported_value'],
    [{ messages: [{ role: 'user' }] }, 'messages[0].content', 'missing_required_parameter'],
    [{ messages: [{ role: 'user', content: { a: 1 } }] }, 'messages[0].content', 'invalid_type'],
    [{ messages: [{ role: 'user', content: [{ type: 'text', text: 7 }] }] }, 'messages[0].content[0].text', 'invalid_type'],
    [
      { messages: [{ role: 'user', content: [{ type: 'image_url', image_url: { url: '' } }] }] },
      'messages[0].content[0].type',
      'unsupported_value',
    ],
    [{ messages: [{ role: 'user', content: [{ type: 'input_audio' }] }] }, 'messages[0].content[0].type', 'unsupported_value'],
    [{ messages: [{ role: 'assistant' }] }, 'messages[0].content', 'invalid_value'],
    [{ messages: [{ role: 'tool', content: 'x' }] }, 'messages[0].tool_call_id', 'missing_required_parameter'],
    [{ temperature: 2.1 }, 'temperature', 'decimal_above_max_value'],
    [{ temperature: '1' }, 'temperature', 'invalid_type'],
    [{ top_p: -0.1 }, 'top_p', 'decimal_below_min_value'],
    [{ n: 0 }, 'n', 'integer_below_min_value'],
    [{ n: 17 }, 'n', 'integer_above_max_value'],
    [{ n: 1.5 }, 'n', 'invalid_type'],
    [{ max_tokens: 0 }, 'max_tokens', 'integer_below_min_value'],
    [{ max_tokens: 3, max_completion_tokens: 4 }, 'max_completion_tokens', 'invalid_value'],
    [{ stop: '' }, 'stop', 'string_too_short'],
    [{ stop: ['a', 'b', 'c', 'd', 'e'] }, 'stop', 'array_above_max_length'],
    [{ stop: ['a', 'x'.repeat(257)] }, 'stop[1]', 'string_above_max_length'],
    [{ logit_bias: { a: 1 } }, 'logit_bias', 'invalid_value'],
    [{ logit_bias: { '-1': 1 } }, 'logit_bias', 'invalid_value'],
    [{ logit_bias: { 5: 101 } }, 'logit_bias.5', 'decimal_above_max_value'],
    [{ logit_bias: Object.fromEntries(Array.from({ length: 301 }, (_, i) => [i, 0])) }, 'logit_bias', 'object_above_max_properties'],
    [{ top_logprobs: 3 }, 'top_logprobs', 'invalid_value'],
    [{ logprobs: true, top_logprobs: 21 }, 'top_logprobs', 'integer_above_max_value'],
    [{ stream: 'yes' }, 'stream', 'invalid_type'],
    [{ stream_options: { include_usage: true } }, 'stream_options', 'invalid_value'],
    [{ stream: true, stream_options: { other: 1 } }, 'stream_options', 'unknown_parameter'],
    [{ tools: Array.from({ length: 129 }, (_, i) => tool(`f${i}`)) }, 'tools', 'array_above_max_length'],
    [{ tools: [tool('f'), tool('f')] }, 'tools', 'invalid_value'],
    [{ tools: [tool('f g')] }, 'tools[0].function.name', 'invalid_value'],
    [{ tools: [{ type: 'custom', custom: { name: 'f' } }] }, 'tools[0].type', 'unsupported_value'],
    [{ tools: [{ type: 'function', function: { name: 'f', parameters: 'x' } }] }, 'tools[0].function.parameters', 'invalid_type'],
    [{ tool_choice: 'required' }, 'tool_choice', 'invalid_value'],
    [{ tools: [tool('f')], tool_choice: { type: 'function', function: { name: 'h' } } }, 'tool_choice', 'invalid_value'],
    [{ response_format: { type: 'xml' } }, 'response_format.type', 'invalid_value'],
    [{ response_format: { type: 'json_schema' } }, 'response_format.json_schema', 'missing_required_parameter'],
    [
      { response_format: { type: 'json_schema', json_schema: { name: 's', schema: { a: 'x'.repeat(70_000) } } } },
      'response_format.json_schema.schema',
      'invalid_value',
    ],
    [{ chat_template_kwargs: { messages: 1 } }, 'chat_template_kwargs', 'invalid_value'],
    [{ chat_template_kwargs: { a: {} } }, 'chat_template_kwargs.a', 'invalid_value'],
  ])('refuses %j, naming the parameter', (extra, param, code) => {
    expect(refusal(() => chat(extra))).toMatchObject({ status: 400, param, code });
  });

  it("may name no model: it is for the server's first", () => {
    expect(chat({ model: undefined }).model).toBe('');
    expect(chat({ model: null }).model).toBe('');
  });

  it.each([null, 'x', 3, [user], undefined])('refuses %j as a body', (body) => {
    expect(refusal(() => parseChat(body))).toMatchObject({ status: 400, param: null });
  });

  it('never fails with anything but an ApiError, and never quotes more than a little', () => {
    const keys = [
      'model',
      'messages',
      'tools',
      'tool_choice',
      'response_format',
      'stop',
      'logit_bias',
      'stream_options',
      'n',
      'seed',
      'x'.repeat(900),
    ];
    const body = fc.dictionary(fc.constantFrom(...keys), fc.jsonValue());
    fc.assert(
      fc.property(body, (b) => {
        try {
          parseChat({ model: 'm', messages: [user], ...b });
        } catch (e) {
          expect(e).toBeInstanceOf(ApiError);
          expect((e as ApiError).message.length).toBeLessThan(400);
          expect((e as ApiError).status).toBe(400);
        }
      }),
      { numRuns: 3000 },
    );
  });
});

describe('parseCompletion', () => {
  it('takes a prompt in its four forms, an empty one too', () => {
    expect(completion({ prompt: '' }).prompts).toEqual(['']);
    expect(completion({ prompt: ['a', 'b'] }).prompts).toEqual(['a', 'b']);
    expect(completion({ prompt: [1, 2] }).prompts).toEqual([[1, 2]]);
    expect(completion({ prompt: [[1], [2, 3]] }).prompts).toEqual([[1], [2, 3]]);
  });

  it.each([
    [{ prompt: undefined }, 'prompt', 'missing_required_parameter'],
    [{ prompt: {} }, 'prompt', 'invalid_type'],
    [{ prompt: [] }, 'prompt', 'array_too_short'],
    [{ prompt: [1, 'a'] }, 'prompt[1]', 'invalid_type'],
    [{ prompt: [1, -1] }, 'prompt[1]', 'integer_below_min_value'],
    [{ prompt: [[1, 2.5]] }, 'prompt[0][1]', 'invalid_type'],
    [{ prompt: Array(9).fill('a'), n: 16 }, 'n', 'invalid_value'],
    [{ best_of: 3 }, 'best_of', 'unsupported_parameter'],
    [{ suffix: 'x' }, 'suffix', 'unsupported_parameter'],
    [{ echo: true, max_tokens: 0 }, 'max_tokens', 'integer_below_min_value'],
    [{ prompt_logprobs: 0, stream: true }, 'prompt_logprobs', 'invalid_value'],
    [{ prompt_logprobs: -1 }, 'prompt_logprobs', 'integer_below_min_value'],
    [{ prompt_logprobs: 21 }, 'prompt_logprobs', 'integer_above_max_value'],
    [{ messages: [] }, 'messages', 'unknown_parameter'],
  ])('refuses %j, naming the parameter', (extra, param, code) => {
    expect(refusal(() => completion(extra))).toMatchObject({ status: 400, param, code });
  });
});

describe('tokenize and detokenize', () => {
  it('takes text or messages, not both', () => {
    expect(parseTokenize({ prompt: 'x' })).toMatchObject({ text: 'x', addSpecialTokens: true });
    expect(parseTokenize({ messages: [user] })).toMatchObject({ messages: [user], kind: 'tokenize' });
    expect(refusal(() => parseTokenize({})).param).toBe('prompt');
    expect(refusal(() => parseTokenize({ prompt: 'x', messages: [user] })).param).toBe('prompt');
    expect(parseDetokenize({ tokens: [1, 2] }).tokens).toEqual([1, 2]);
    expect(refusal(() => parseDetokenize({ tokens: ['a'] })).param).toBe('tokens[0]');
  });
});

describe('sampling', () => {
  it("takes the client's word, then the model's, then OpenAI's", () => {
    const { sampling } = chat({ temperature: 0.3 });
    expect(resolveSampling(sampling, { temperature: 0.7, topK: 40 }, () => [1, 2])).toMatchObject({
      temperature: 0.3,
      topK: 40,
      topP: 1,
      seed: [1, 2],
    });
    const open = { temperature: 1, topP: 1, topK: 0, minP: 0, repetition: 1, frequency: 0, presence: 0, minTokens: 0 };
    expect(resolveSampling(chat({}).sampling, {}, () => [1, 2])).toMatchObject(open);
    expect(resolveSampling(chat({ top_p: 0.5 }).sampling, {}, () => [1, 2])).toMatchObject({ ...open, topP: 0.5 });
    expect(resolveSampling(chat({ top_p: 0, top_k: -1 }).sampling, {}, () => [1, 2])).toMatchObject({ temperature: 0, topP: 1, topK: 0 });
  });

  it("gives every choice a seed of its own, the first the request's", () => {
    const seeds = Array.from({ length: 16 }, (_, i) => choiceSeed([7, 9], i));
    expect(seeds[0]).toEqual([7, 9]);
    expect(new Set(seeds.map(String)).size).toBe(16);
    for (const half of seeds.flat()) expect(Number.isInteger(half) && half >= 0 && half < 2 ** 32).toBe(true);
  });
});

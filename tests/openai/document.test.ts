/** What is published and what is answered, to the letter: what changes in it shows in the diff of the fixtures (`-u` writes them). */
import { expect, it } from 'vitest';
import { ApiError } from '../../openai/errors.ts';
import { openApi } from '../../openai/openapi/document.ts';
import { parseMessages } from '../../openai/requests/anthropic.ts';
import { parseChat } from '../../openai/requests/chat.ts';
import { parseCompletion } from '../../openai/requests/completion.ts';
import { parseOllamaChat } from '../../openai/requests/ollama.ts';
import { parseResponses } from '../../openai/requests/responses.ts';
import type { ChatRequest } from '../../openai/requests/types.ts';
import type { TokenLogprobs } from '../../openai/stream/answer.ts';
import { createAnswer } from '../../openai/stream/create.ts';
import { OllamaAnswer } from '../../openai/stream/ollama.ts';

it('/openapi.json is what is written', async () => {
  await expect(`${JSON.stringify(openApi(), null, 1)}\n`).toMatchFileSnapshot('../fixtures/openapi.json');
});

const meta = { id: 'x', model: 'm', created: 1_700_000_000, fingerprint: 'fp' };
const messages = [{ role: 'user', content: 'hi' }];
const schema = { type: 'object', properties: { a: { type: 'integer' } } };
const tools = [{ type: 'function', function: { name: 'f', parameters: schema } }];
const scored = (token: string): TokenLogprobs => {
  const own = { token, bytes: [...new TextEncoder().encode(token)], logprob: -0.25 };
  return { ...own, top: [own, { token: '?', bytes: [63], logprob: Number.NEGATIVE_INFINITY }] };
};

/** Forms of the API, each with the fields that ask for tools, scores and a stop string in it. */
const FORMS = {
  chat: (more: { stop: string[]; stream: boolean }) =>
    createAnswer(parseChat({ messages, tools, logprobs: true, top_logprobs: 2, ...usageOf(more), ...more }), meta),
  completion: (more: { stop: string[]; stream: boolean }) =>
    createAnswer(parseCompletion({ prompt: 'p', logprobs: 2, ...usageOf(more), ...more }), meta),
  responses: ({ stream }: { stream: boolean }) =>
    createAnswer(
      parseResponses({
        input: 'hi',
        stream,
        tools: [{ type: 'function', name: 'f', parameters: schema }],
        top_logprobs: 2,
        metadata: { k: 'v' },
      }),
      meta,
    ),
  messages: ({ stop, stream }: { stop: string[]; stream: boolean }) =>
    createAnswer(
      parseMessages({ model: 'm', max_tokens: 9, messages, stream, stop_sequences: stop, tools: [{ name: 'f', input_schema: schema }] }),
      meta,
    ),
  ollama: ({ stop, stream }: { stop: string[]; stream: boolean }) =>
    new OllamaAnswer(parseOllamaChat({ model: 'm', messages, tools, stream, options: { stop }, logprobs: true }) as ChatRequest, meta),
};
const usageOf = ({ stream }: { stream: boolean }) => (stream ? { stream_options: { include_usage: true } } : {});

const SAID: Record<string, [pieces: string[], reason: 'stop' | 'length']> = {
  'a text': [['One', ' two', ''], 'stop'],
  'a text that the limit cuts': [['One', ' t'], 'length'],
  'a text that a stop string ends': [['One', ' E', 'ND', ' two'], 'length'],
  'thoughts, a text and two calls': [
    [
      '<think>Hm',
      '.</think>',
      'So.\n',
      '<tool_call>{"name": "f", "arg',
      'uments": {"a": 1}}</tool_call>',
      '<tool_call>{"name": "f"}',
      '</tool_call>',
    ],
    'stop',
  ],
  'a call that the limit cuts': [['<tool_call>{"name": "f", "arguments": {"a"', ': '], 'length'],
  nothing: [[], 'stop'],
};

it.each(Object.keys(FORMS) as (keyof typeof FORMS)[])('answers in the form of %s are what is written', async (form) => {
  let out = '';
  for (const [what, [pieces, reason]] of Object.entries(SAID)) {
    for (const stream of [true, false]) {
      const answer = FORMS[form]({ stop: ['END'], stream });
      out += `── ${what}, ${stream ? 'streamed' : 'whole'}: ${answer.contentType}\n${answer.open()}`;
      for (const p of pieces) out += answer.push(0, p, [scored(p)]);
      out += answer.finish(0, answer.stopped(0) ? 'stop' : reason);
      out += `${answer.close({ prompt: 7, completion: 5, cached: 4, reasoning: 2 }, { turnstone: { timings: { prefill_ms: 1, decode_ms: 2 } } }, 1_700_000_009)}\n`;
    }
  }
  for (const stream of [true, false]) {
    const answer = FORMS[form]({ stop: [], stream });
    out += `── broken, ${stream ? 'streamed' : 'whole'}\n${answer.open()}${answer.push(0, 'One', [scored('One')])}`;
    out += `${answer.fail(new ApiError(503, 'It broke.', { code: 'broken', param: 'p' }))}\n`;
  }
  await expect(out).toMatchFileSnapshot(`../fixtures/answers-${form}.txt`);
});

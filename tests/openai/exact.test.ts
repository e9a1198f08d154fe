/** What is answered, to the letter: forms that no schema of OpenAI's holds, and the small functions that all of them share. */
import { describe, expect, it } from 'vitest';
import { PagesLost } from '../../engine/paged.ts';
import type { Dialect, Head } from '../../openai/dialects/dialect.ts';
import { gemma } from '../../openai/dialects/gemma.ts';
import { python } from '../../openai/dialects/python.ts';
import { writeCalls } from '../../openai/dialects/write.ts';
import { functionHead, xml } from '../../openai/dialects/xml.ts';
import {
  ApiError,
  asApiError,
  clip,
  contextOverflow,
  isIsolateTaken,
  isolateTaken,
  isTransient,
  methodNotAllowed,
  modelNotFound,
  modelUnavailable,
  outputOverflow,
  payloadTooLarge,
  rateLimited,
  refused,
  serverOverloaded,
  unauthorized,
} from '../../openai/errors.ts';
import { BATCH_LIMITS, BATCH_URLS, parseBatch, parseFile, parseLines } from '../../openai/requests/batches.ts';
import { parseChat } from '../../openai/requests/chat.ts';
import { parseCompletion } from '../../openai/requests/completion.ts';
import { array, bodyObject, boolean, identifier, integer, number, object, oneOf, optional, string } from '../../openai/requests/fields.ts';
import { itemMessages, readInput, responseOfItem, withIds } from '../../openai/requests/items.ts';
import { templateMessages, templateTools } from '../../openai/requests/messages.ts';
import { parseOllamaChat, parseOllamaGenerate } from '../../openai/requests/ollama.ts';
import { parseRerank, parseScore } from '../../openai/requests/rerank.ts';
import { choiceSeed, resolveSampling, samplingFields } from '../../openai/requests/sampling.ts';
import type { ChatRequest, CompletionRequest } from '../../openai/requests/types.ts';
import { rerankResponse, scoreResponse } from '../../openai/rerank.ts';
import type { PromptToken, TokenLogprobs } from '../../openai/stream/answer.ts';
import { createAnswer } from '../../openai/stream/create.ts';
import { finishReason, frame, oneLine, promptLogprobs, usageObject } from '../../openai/stream/frames.ts';
import { OllamaAnswer, ollamaError, ollamaName } from '../../openai/stream/ollama.ts';
import { fault } from '../fault.ts';

describe('errors', () => {
  it.each<[ApiError, number, string, string | null, string | null, Record<string, string>]>([
    [contextOverflow(10, 7, 5), 400, 'invalid_request_error', 'context_length_exceeded', 'messages', {}],
    [contextOverflow(10, 7, 5, 'prompt'), 400, 'invalid_request_error', 'context_length_exceeded', 'prompt', {}],
    [outputOverflow(10, 7, 5, 'max_tokens'), 400, 'invalid_request_error', 'context_length_exceeded', 'max_tokens', {}],
    [unauthorized(), 401, 'authentication_error', 'invalid_api_key', null, { 'www-authenticate': 'Bearer' }],
    [modelNotFound('x'), 404, 'invalid_request_error', 'model_not_found', 'model', {}],
    [methodNotAllowed('PUT', '/a', 'GET'), 405, 'invalid_request_error', 'method_not_allowed', null, { allow: 'GET' }],
    [payloadTooLarge(5), 413, 'invalid_request_error', 'payload_too_large', null, {}],
    [rateLimited(0), 429, 'rate_limit_error', 'rate_limit_exceeded', null, { 'retry-after': '1' }],
    [rateLimited(1.2), 429, 'rate_limit_error', 'rate_limit_exceeded', null, { 'retry-after': '2' }],
    [serverOverloaded(), 503, 'service_unavailable_error', 'server_overloaded', null, { 'retry-after': '1' }],
    [serverOverloaded('x', 2.5), 503, 'service_unavailable_error', 'server_overloaded', null, { 'retry-after': '3' }],
    [modelUnavailable('why'), 503, 'service_unavailable_error', 'model_unavailable', null, {}],
    [isolateTaken(), 503, 'service_unavailable_error', 'isolate_taken', null, { 'retry-after': '1', 'x-turnstone-elsewhere': '1' }],
    [new ApiError(500, 'x'), 500, 'server_error', null, null, {}],
    [new ApiError(499, 'x'), 499, 'invalid_request_error', null, null, {}],
  ])('%s', (error, status, type, code, param, headers) => {
    expect([error.status, error.type, error.code, error.param, error.headers]).toEqual([status, type, code, param, headers]);
    expect(error.envelope()).toEqual({ error: { message: error.message, type, param, code } });
  });

  it.each([
    [contextOverflow(10, 7, 5), "This model's context is 10 tokens, but 12 were requested (7 in the prompt, 5 to generate)."],
    [contextOverflow(10, 7, 5, 'x', 'at least '), 'but at least 12 were requested (at least 7 in the prompt, 5 to generate).'],
    [outputOverflow(10, 7, 5, 'n'), "'n' is 5, but after a prompt of 7 tokens this model's context of 10 has room for 3."],
    [modelNotFound('x'), "The model 'x' does not exist here. See GET /v1/models."],
    [modelNotFound('x', 'y'), "The model 'x' does not exist here. This server serves 'y'."],
    [modelNotFound('x', ['y', 'z']), "The model 'x' does not exist here. This server serves 'y', 'z'."],
    [rateLimited(2), 'Too many requests. Try again in 2 s.'],
    [serverOverloaded(), 'The server is overloaded. Try again later.'],
  ])('say %s', (error, told) => {
    expect(error.message).toContain(told);
  });

  it.each([
    ['queue_full', 429, 'The queue is full. Try again in 3 s.'],
    ['too_slow', 429, 'The wait would be too long. Try again in 3 s.'],
    ['rate_limit', 429, 'Too many requests. Try again in 3 s.'],
    ['concurrency_limit', 429, 'Too many requests at once. Try again in 3 s.'],
    ['draining', 503, 'The server is being replaced. Try again later.'],
    ['erased', 503, 'What is kept of this key is being erased. Try again later.'],
  ] as const)('of the queue: %s is %i', (reason, status, message) => {
    const error = refused({ reason, retryAfter: 2.1 });
    expect([error.status, error.message, error.headers['retry-after']]).toEqual([status, message, '3']);
  });

  it('are told apart, and what is none becomes one', () => {
    expect([502, 503, 504, 429].map(isTransient)).toEqual([false, true, false, false]);
    expect([isolateTaken(), serverOverloaded(), undefined, null, {}].map(isIsolateTaken)).toEqual([true, false, false, false, false]);
    const [own, lost, other] = [new ApiError(400, 'x'), new PagesLost('gone'), new Error('secret')];
    expect(asApiError(own)).toBe(own);
    expect(asApiError(lost)).toMatchObject({ status: 503, message: 'A part of the model is being started again. Try again later.' });
    expect(asApiError(other)).toMatchObject({ status: 500, code: 'internal_error', cause: other });
    expect(asApiError(other).message).not.toContain('secret');
    expect('cause' in own).toBe(false);
    expect([clip('x'.repeat(64)), clip('x'.repeat(65)), clip('abc', 2)]).toEqual(['x'.repeat(64), `${'x'.repeat(64)}…`, 'ab…']);
  });
});

describe('a field', () => {
  it.each<[() => unknown, string, string, string | null]>([
    [() => bodyObject(undefined), "The request's body must be a JSON object, but it is nothing.", 'invalid_type', null],
    [() => bodyObject(null), "The request's body must be a JSON object, but it is null.", 'invalid_type', null],
    [() => bodyObject([]), "The request's body must be a JSON object, but it is an array.", 'invalid_type', null],
    [() => object(1.5, 'a'), "Invalid type for 'a': expected an object, but got a decimal instead.", 'invalid_type', 'a'],
    [() => object(null, 'a'), "Invalid type for 'a': expected an object, but got null instead.", 'invalid_type', 'a'],
    [() => object([], 'a'), "Invalid type for 'a': expected an object, but got an array instead.", 'invalid_type', 'a'],
    [() => object(undefined, 'a'), "Missing required parameter: 'a'.", 'missing_required_parameter', 'a'],
    [() => array({}, 'a', 0, 1), "Invalid type for 'a': expected an array, but got an object instead.", 'invalid_type', 'a'],
    [() => array([], 'a', 1, 2), "Invalid 'a': expected at least 1 element, got 0.", 'array_too_short', 'a'],
    [() => array([1], 'a', 2, 2), "Invalid 'a': expected at least 2 elements, got 1.", 'array_too_short', 'a'],
    [() => array([1, 2, 3], 'a', 1, 2), "Invalid 'a': expected at most 2 elements, got 3.", 'array_above_max_length', 'a'],
    [() => string(7, 'a'), "Invalid type for 'a': expected a string, but got an integer instead.", 'invalid_type', 'a'],
    [() => string('', 'a', 1), "Invalid 'a': the string is empty or too short (at least 1).", 'string_too_short', 'a'],
    [() => string('abc', 'a', 1, 2), "Invalid 'a': the string is 3 long, at most 2.", 'string_above_max_length', 'a'],
    [() => boolean('x', 'a'), "Invalid type for 'a': expected a boolean, but got a string instead.", 'invalid_type', 'a'],
    [() => number(true, 'a', 0, 1), "Invalid type for 'a': expected a number, but got a boolean instead.", 'invalid_type', 'a'],
    [() => number(Number.NaN, 'a', 0, 1), "Invalid type for 'a': expected a number, but got a decimal instead.", 'invalid_type', 'a'],
    [() => number(-1, 'a', 0, 1), "Invalid 'a': -1 is below the minimum of 0.", 'decimal_below_min_value', 'a'],
    [() => number(2, 'a', 0, 1), "Invalid 'a': 2 is above the maximum of 1.", 'decimal_above_max_value', 'a'],
    [() => integer(0.5, 'a', 0, 1), "Invalid type for 'a': expected an integer, but got a decimal instead.", 'invalid_type', 'a'],
    [() => integer(-1, 'a', 0, 1), "Invalid 'a': -1 is below the minimum of 0.", 'integer_below_min_value', 'a'],
    [() => integer(2, 'a', 0, 1), "Invalid 'a': 2 is above the maximum of 1.", 'integer_above_max_value', 'a'],
    [() => oneOf(7, 'a', ['x']), "Invalid type for 'a': expected a string, but got an integer instead.", 'invalid_type', 'a'],
    [() => oneOf('z', 'a', ['x', 'y']), "Invalid value for 'a': 'z'. Supported: 'x', 'y'.", 'invalid_value', 'a'],
    [() => identifier('a b', 'a'), "Invalid 'a': 'a b' may hold only letters, digits, _ and -.", 'invalid_value', 'a'],
    [() => identifier('', 'a'), "Invalid 'a': the string is empty or too short (at least 1).", 'string_too_short', 'a'],
    [() => identifier('x'.repeat(65), 'a'), "Invalid 'a': the string is 65 long, at most 64.", 'string_above_max_length', 'a'],
    [
      () => string('x'.repeat((1 << 22) + 1), 'a'),
      "Invalid 'a': the string is 4194305 long, at most 4194304.",
      'string_above_max_length',
      'a',
    ],
  ])('%# that is wrong is told so', (read, message, code, param) => {
    expect(read).toThrow(expect.objectContaining({ status: 400, message, code, param }));
  });

  it('that is right is given as it is', () => {
    const [o, a] = [{ x: 1 }, [1, 2]];
    expect(bodyObject(o)).toBe(o);
    expect(object(o, 'a')).toBe(o);
    expect([array(a, 'a', 2, 2), array([], 'a', 0, 0)]).toEqual([a, []]);
    expect([string('', 'a'), string('ab', 'a', 2, 2), string('x'.repeat(1 << 22), 'a').length]).toEqual(['', 'ab', 1 << 22]);
    expect([boolean(false, 'a'), boolean(true, 'a')]).toEqual([false, true]);
    expect([number(0, 'a', 0, 1), number(1, 'a', 0, 1), integer(0, 'a', 0, 1), integer(1, 'a', 0, 1)]).toEqual([0, 1, 0, 1]);
    expect([oneOf('y', 'a', ['x', 'y']), identifier('aZ09_-', 'a'), identifier('x'.repeat(64), 'a').length]).toEqual(['y', 'aZ09_-', 64]);
    const asked: unknown[] = [];
    expect([undefined, null, 0, '', false].map((v) => optional(v, (x) => asked.push(x)))).toEqual([undefined, undefined, 1, 2, 3]);
  });
});

describe('scores of pairs', () => {
  const scored = { id: 'id', model: 'm', scores: [0.5, 2, 0.5, -1], tokens: 9, scoredBy: 'cosine' as const };
  it('come best first, equal ones in their order, as many as are asked for', () => {
    const request = parseRerank({ query: 'q', documents: ['a', { text: 'b' }, 'c', 'd'], top_n: 3 });
    const answer = rerankResponse(scored, request);
    expect(answer).toEqual({
      ...{ id: 'id', model: 'm', usage: { prompt_tokens: 9, total_tokens: 9 }, turnstone: { scored_by: 'cosine' } },
      results: [
        { index: 1, relevance_score: 2 },
        { index: 0, relevance_score: 0.5 },
        { index: 2, relevance_score: 0.5 },
      ],
    });
    const whole = rerankResponse(scored, parseRerank({ query: 'q', documents: ['a', 'b', 'c', 'd'], return_documents: true })).results;
    expect(whole.map((r) => [r.index, r.document])).toEqual([
      [1, { text: 'b' }],
      [0, { text: 'a' }],
      [2, { text: 'c' }],
      [3, { text: 'd' }],
    ]);
  });

  it('come in order where they are only scored', () => {
    const { created, ...answer } = scoreResponse({ ...scored, scores: [0.5, 2] });
    expect(Math.abs(created - Date.now() / 1000)).toBeLessThan(60);
    expect(Number.isInteger(created)).toBe(true);
    expect(answer).toEqual({
      ...{ id: 'id', object: 'list', model: 'm', usage: { prompt_tokens: 9, total_tokens: 9 }, turnstone: { scored_by: 'cosine' } },
      data: [
        { index: 0, object: 'score', score: 0.5 },
        { index: 1, object: 'score', score: 2 },
      ],
    });
  });

  it('are asked for in these ways', () => {
    expect(parseRerank({ model: 'm', query: 'q', documents: ['a', 'b'] })).toEqual({
      ...{ kind: 'rerank', model: 'm', query: 'q', documents: ['a', 'b'], topN: 2, returnDocuments: false },
    });
    expect(parseScore({ text_1: 'a', text_2: ['b', 'c'] })).toEqual({
      kind: 'score',
      model: undefined,
      first: ['a', 'a'],
      second: ['b', 'c'],
    });
    expect(parseScore({ text_1: ['a', 'x'], text_2: ['b', 'c'] })).toMatchObject({ first: ['a', 'x'], second: ['b', 'c'] });
    expect(parseScore({ text_1: ['a'], text_2: 'b' })).toMatchObject({ first: ['a'], second: ['b'] });
    const rerank = (more: object) => fault(() => parseRerank({ query: 'q', documents: ['a'], ...more }));
    expect(rerank({ query: undefined })).toEqual([400, 'missing_required_parameter', 'query']);
    expect(rerank({ query: '' })).toEqual([400, 'string_too_short', 'query']);
    expect(rerank({ documents: [] })).toEqual([400, 'array_too_short', 'documents']);
    expect(rerank({ documents: ['a', ''] })).toEqual([400, 'string_too_short', 'documents[1]']);
    expect(rerank({ documents: [{ text: 1 }] })).toEqual([400, 'invalid_type', 'documents[0].text']);
    expect(rerank({ documents: [1] })).toEqual([400, 'invalid_type', 'documents[0]']);
    expect(rerank({ top_n: 0 })).toEqual([400, 'integer_below_min_value', 'top_n']);
    expect(rerank({ return_documents: 1 })).toEqual([400, 'invalid_type', 'return_documents']);
    expect(rerank({ model: '' })).toEqual([400, 'string_too_short', 'model']);
    expect(rerank({ max_tokens_per_doc: 5 })).toEqual([400, 'unsupported_parameter', 'max_tokens_per_doc']);
    expect(rerank({ max_chunks_per_doc: 5 })).toEqual([400, 'unsupported_parameter', 'max_chunks_per_doc']);
    expect(rerank({ truncate_prompt_tokens: 5 })).toEqual([400, 'unsupported_parameter', 'truncate_prompt_tokens']);
    expect(rerank({ rank_fields: ['title'] })).toEqual([400, 'unsupported_parameter', 'rank_fields']);
    expect(rerank({ rank_fields: ['text'], user: 'u', top_n: 1 })).toEqual(['none']);
    const score = (text_1: unknown, text_2: unknown) => fault(() => parseScore({ text_1, text_2 }));
    expect(score(['a', 'b'], ['c'])).toEqual([400, 'invalid_value', 'text_1']);
    expect(score(['a', 'b'], ['c', ''])).toEqual([400, 'string_too_short', 'text_2[1]']);
    expect(score([], 'c')).toEqual([400, 'array_too_short', 'text_1']);
    expect(score('a', undefined)).toEqual([400, 'missing_required_parameter', 'text_2']);
  });
});

describe('a batch', () => {
  const hour = 3600;
  const day = 24 * hour;
  const asked = { input_file_id: 'file-1', endpoint: '/v1/responses', completion_window: '24h' };
  it('is asked for with its file, endpoint and window', () => {
    for (const endpoint of ['/v1/chat/completions', '/v1/completions', '/v1/responses', '/v1/embeddings']) {
      expect(parseBatch({ ...asked, endpoint })).toEqual({
        inputFile: 'file-1',
        endpoint,
        window: day,
        metadata: null,
        outputLife: 30 * day,
      });
    }
    expect(BATCH_URLS).toHaveLength(4);
    expect(parseBatch({ ...asked, metadata: null, output_expires_after: null })).toMatchObject({ metadata: null, outputLife: 30 * day });
    const whole = { ...asked, metadata: { a: 'b' }, output_expires_after: { anchor: 'created_at', seconds: hour } };
    expect(parseBatch(whole)).toMatchObject({ metadata: { a: 'b' }, outputLife: hour });
    const life = (seconds: unknown, anchor: unknown = 'created_at') =>
      fault(() => parseBatch({ ...asked, output_expires_after: { anchor, seconds } }));
    expect(life(30 * day)).toEqual(['none']);
    expect(life('3600')).toEqual(['none']);
    expect(life(hour - 1)).toEqual([400, 'integer_below_min_value', 'output_expires_after.seconds']);
    expect(life(30 * day + 1)).toEqual([400, 'integer_above_max_value', 'output_expires_after.seconds']);
    expect(life(hour, 'now')).toEqual([400, 'invalid_value', 'output_expires_after.anchor']);
    const wrong = (more: object) => fault(() => parseBatch({ ...asked, ...more }));
    expect(wrong({ output_expires_after: 5 })).toEqual([400, 'invalid_type', 'output_expires_after']);
    expect(wrong({ completion_window: '1h' })).toEqual([400, 'invalid_value', 'completion_window']);
    expect(wrong({ endpoint: '/v1/models' })).toEqual([400, 'invalid_value', 'endpoint']);
    expect(wrong({ input_file_id: '' })).toEqual([400, 'string_too_short', 'input_file_id']);
    expect(wrong({ input_file_id: 'x'.repeat(128) })).toEqual(['none']);
    expect(wrong({ input_file_id: 'x'.repeat(129) })).toEqual([400, 'string_above_max_length', 'input_file_id']);
    expect(wrong({ other: 1 })[0]).toBe(400);
  });

  it("has a file, with a name and a life of the client's or its own", () => {
    expect(parseFile({ purpose: 'batch' })).toEqual({ filename: 'upload.jsonl', purpose: 'batch', life: 30 * day });
    const life = (anchor?: string, seconds?: unknown) =>
      parseFile({ purpose: 'batch', 'expires_after[anchor]': anchor, 'expires_after[seconds]': seconds }, 'in.jsonl');
    expect(life('created_at', '3600')).toEqual({ filename: 'in.jsonl', purpose: 'batch', life: hour });
    expect(fault(() => life(undefined, hour))).toEqual([400, 'missing_required_parameter', 'expires_after.anchor']);
    expect(fault(() => life('created_at'))).toEqual([400, 'missing_required_parameter', 'expires_after.seconds']);
    expect(fault(() => life('created_at', 'x'))).toEqual([400, 'invalid_type', 'expires_after.seconds']);
    expect(fault(() => parseFile({ purpose: 'fine-tune' }))).toEqual([400, 'invalid_value', 'purpose']);
    expect(fault(() => parseFile({ purpose: 'batch', more: 1 }))[0]).toBe(400);
    expect(parseFile({ purpose: 'batch' }, 'x'.repeat(256)).filename).toBe(`${'x'.repeat(255)}…`);
    expect(parseFile({ purpose: 'batch' }, 'x'.repeat(255)).filename).toBe('x'.repeat(255));
  });

  const line = (id: unknown, more: object = {}) =>
    JSON.stringify({ custom_id: id, method: 'POST', url: '/v1/completions', body: { model: 'm' }, ...more });
  const read = (...lines: string[]) => parseLines(lines.join('\n'), '/v1/completions');
  it('has lines, each a request', () => {
    expect(read('', line('a'), ' ', line('b', { body: { stream: false } }), '')).toEqual({
      lines: [
        { customId: 'a', body: '{"model":"m"}' },
        { customId: 'b', body: '{"stream":false}' },
      ],
      errors: [],
    });
  });

  it.each([
    ['no JSON', '{', 'invalid_json_line', null],
    ['no object', '7', 'invalid_type', 'line'],
    ['no id', line(undefined), 'missing_required_parameter', 'custom_id'],
    ['an empty id', line(''), 'string_too_short', 'custom_id'],
    ['a long id', line('x'.repeat(513)), 'string_above_max_length', 'custom_id'],
    ['another method', line('a', { method: 'GET' }), 'invalid_value', 'method'],
    ['another url', line('a', { url: '/v1/responses' }), 'mismatched_url', 'url'],
    ['no body', line('a', { body: 'x' }), 'invalid_type', 'body'],
    ['a stream', line('a', { body: { stream: true } }), 'unsupported_value', 'body.stream'],
    ['one in the background', line('a', { body: { background: true } }), 'unsupported_value', 'body.background'],
    ['an id twice', line('first'), 'duplicate_custom_id', 'custom_id'],
  ])('tells of a line with %s, by its number', (_, wrong, code, param) => {
    const { lines, errors } = read(line('first'), '', wrong, line('x'.repeat(512)));
    expect(errors).toEqual([{ code, message: expect.stringMatching(/.{10}/), line: 3, param }]);
    expect(lines).toHaveLength(2);
  });

  it('is bounded in lines, their length, and what is told of them', () => {
    expect(read('', ' ')).toEqual({
      lines: [],
      errors: [{ code: 'empty_file', message: 'The file holds no requests.', line: null, param: 'input_file_id' }],
    });
    expect(read('{').errors.map((e) => e.code)).toEqual(['invalid_json_line']);
    const bare = line('a', { body: { pad: '' } }).length;
    const padded = (n: number) => line('a', { body: { pad: 'x'.repeat(n - bare) } });
    expect(read(padded(BATCH_LIMITS.lineBytes)).errors).toEqual([]);
    expect(read(padded(BATCH_LIMITS.lineBytes + 1)).errors).toMatchObject([{ code: 'line_too_long', line: 1, param: null }]);
    expect(read(...Array(150).fill('{')).errors).toHaveLength(100);
    const many = Array.from({ length: BATCH_LIMITS.lines + 5 }, (_, i) => line(`${i}`));
    expect(read(...many.slice(0, BATCH_LIMITS.lines)).errors).toEqual([]);
    expect(read(...many).errors).toMatchObject([{ code: 'too_many_requests', line: BATCH_LIMITS.lines + 1 }]);
    const { fileBytes, bytes, files, batches, lineBytes } = BATCH_LIMITS;
    expect([fileBytes, bytes, files, batches, lineBytes]).toEqual([8 << 20, 64 << 20, 256, 64, 1 << 20]);
  });
});

describe('calls as families write them', () => {
  const one = [{ name: 'f', arguments: '{"a":1,"b":"x<escape>","c":[true,null,"y"],"d":{"e":false,"g":"z"}}' }];
  const two = [
    { name: 'f', arguments: '{"a":1}' },
    { name: 'g', arguments: '{}' },
  ];
  const plain = (dialect: string, calls: typeof two) => writeCalls(dialect, calls).replace(/[^\x20-\x7e\n]/g, '');
  it.each([
    ['hermes', '<tool_call>\n{"name": "f", "arguments": {"a":1}}\n</tool_call>\n<tool_call>\n{"name": "g", "arguments": {}}\n</tool_call>'],
    ['nobody', '<tool_call>\n{"name": "f", "arguments": {"a":1}}\n</tool_call>\n<tool_call>\n{"name": "g", "arguments": {}}\n</tool_call>'],
    ['llama', '{"name": "f", "parameters": {"a":1}}; {"name": "g", "parameters": {}}'],
    ['mistral', '[TOOL_CALLS] [{"name": "f", "arguments": {"a":1}}, {"name": "g", "arguments": {}}]'],
    ['mistral-args', '[TOOL_CALLS]f[ARGS]{"a":1}[TOOL_CALLS]g[ARGS]{}'],
    ['granite', '<|tool_call|>[{"name": "f", "arguments": {"a":1}}, {"name": "g", "arguments": {}}]'],
    ['json', '{"name": "f", "arguments": {"a":1}}\n{"name": "g", "arguments": {}}'],
    ['python', '<|tool_call_start|>[f(a=1), g()]<|tool_call_end|>'],
    ['gemma', '<start_function_call>call:f{a:1}<end_function_call><start_function_call>call:g{}<end_function_call>'],
    [
      'xml',
      '<tool_call>\n<function=f>\n<parameter=a>\n1\n</parameter>\n</function>\n</tool_call>\n<tool_call>\n<function=g>\n</function>\n</tool_call>',
    ],
  ])('%s', (dialect, wanted) => {
    expect(plain(dialect, two)).toBe(wanted);
    expect(plain(dialect, [])).toBe(
      { mistral: '[TOOL_CALLS] []', granite: '<|tool_call|>[]', python: '<|tool_call_start|>[]<|tool_call_end|>' }[dialect] ?? '',
    );
  });

  it('with every kind of value', () => {
    expect(plain('python', one)).toContain('[f(a=1, b="x<escape>", c=[True, None, "y"], d={"e": False, "g": "z"})]');
    expect(plain('gemma', one)).toContain(
      '{a:1,b:<escape>x<escape><escape>,c:[true,null,<escape>y<escape>],d:{e:false,g:<escape>z<escape>}}',
    );
    expect(plain('xml', one)).toContain('<parameter=b>\nx<escape>\n</parameter>\n<parameter=c>\n[true,null,"y"]\n</parameter>\n');
    for (const none of ['null', '7', 'broken']) expect(plain('python', [{ name: 'f', arguments: none }])).toContain('[f()]');
  });

  it('a bare function is a call where it was offered', () => {
    const offered = new Map([['f', new Set<string>()]]);
    expect(xml.head('f>\n', offered, false)).toMatchObject({ at: 2, name: 'f' });
    expect(xml.head('g>\n', offered, false)).toBe(null);
    expect(xml.head('f', offered, false)).toBe('more');
    expect(xml.head('f f>', offered, false)).toBe(null);
    expect(xml.head(`${'x'.repeat(256)}`, offered, false)).toBe('more');
    expect(xml.head(`${'x'.repeat(257)}`, offered, false)).toBe(null);
    expect(xml.tail('\n</tool_call> more')).toEqual({ at: 13, next: 'text' });
    expect(xml.tail('\n</tool')).toBe('more');
    expect(xml.tail(' text')).toEqual({ at: 0, next: 'text' });
    expect(functionHead(' <function=f>')).toMatchObject({ at: 13, name: 'f' });
    expect(functionHead(' <func')).toBe('more');
    expect(functionHead(' <f>')).toBe(null);
    const { next } = xml.head('f>', offered, false) as { next: (t: string, first: boolean, texts: ReadonlySet<string>) => unknown };
    const texts = new Set(['s']);
    expect(next('\n<parameter=s>\n1\n</parameter>', true, texts)).toEqual({ at: 29, name: 's', json: '"1"' });
    expect(next('<parameter=n>1</parameter>', true, texts)).toEqual({ at: 26, name: 'n', json: '1' });
    expect(next('<parameter=n>TRUE</parameter>', true, texts)).toMatchObject({ json: 'true' });
    expect(next('<parameter=n>None</parameter>', true, texts)).toMatchObject({ json: 'null' });
    expect(next('<parameter=n>nonesuch</parameter>', true, texts)).toMatchObject({ json: '"nonesuch"' });
    expect(next(' </function>', false, texts)).toEqual({ at: 12, end: true });
    for (const more of ['', '</func', '<param', '<parameter=', '<parameter=n', '<parameter=n>', '<parameter=n>1</par']) {
      expect(next(more, false, texts), more).toBe('more');
    }
    expect(next('x', false, texts)).toBe(null);
    expect(next('<parameter>', false, texts)).toBe(null);
  });

  const none = new Map<string, ReadonlySet<string>>();
  it.each([
    [gemma, 'x', { at: 0, next: 'text' }],
    [gemma, ' <end_function_call>x', { at: 20, next: 'text' }],
    [gemma, ' <end_fun', 'more'],
    [python, ']<|tool_call_end|>x', { at: 18, next: 'text' }],
    [python, ' } ] <|tool_call_end|>x', { at: 22, next: 'text' }],
    [python, ' }, g', { at: 3, next: 'call' }],
    [python, ';', { at: 1, next: 'call' }],
    [python, ']<|tool', 'more'],
    [python, ']x', { at: 1, next: 'text' }],
  ])('%# after a call', (dialect, text, wanted) => {
    expect(dialect.tail(text)).toEqual(wanted);
  });

  it.each<[Dialect, string, unknown]>([
    [gemma, 'call:f{', { at: 7, name: 'f' }],
    [gemma, ' call: f.g-h{', { at: 13, name: 'f.g-h' }],
    ...['', 'c', 'ca', 'cal', 'call', 'call:', ' call: f'].map((text): [Dialect, string, unknown] => [gemma, text, 'more']),
    ...['calls', 'call:f(', 'x', `call:${'f'.repeat(257)}`].map((text): [Dialect, string, unknown] => [gemma, text, null]),
    [python, '[f(', { at: 3, name: 'f' }],
    [python, ' [ f.g-h(', { at: 9, name: 'f.g-h' }],
    [python, 'f(', { at: 2, name: 'f' }],
    ...['', ' ', '[', ' [ f', 'f'].map((text): [Dialect, string, unknown] => [python, text, 'more']),
    ...['[[f(', 'f g(', `[${'f'.repeat(257)}`].map((text): [Dialect, string, unknown] => [python, text, null]),
  ])('%# the head of a call', (dialect, text, wanted) => {
    const head = dialect.head(text, none, false);
    if (typeof wanted === 'object' && wanted !== null) expect(head).toMatchObject(wanted);
    else expect(head).toBe(wanted);
  });

  /** What a call's arguments are, one after the other; what is left when no more can be read. */
  const argumentsOf = (dialect: Dialect, head: string, text: string): unknown[] => {
    const { next } = dialect.head(head, none, false) as Head;
    const got: unknown[] = [];
    for (let at = 0; ; ) {
      const a = next?.(text.slice(at), got.length === 0, new Set());
      if (!a || a === 'more') return [...got, a ?? null];
      if ('end' in a) return [...got, text.slice(at + a.at)];
      got.push([a.name, a.json]);
      at += a.at;
    }
  };
  it.each<[Dialect, string, string, unknown[]]>([
    [
      gemma,
      'call:f{',
      'a:1, b :x y,c:{},d:[],e:{k:1,l:[2]}}.',
      [['a', '1'], ['b', '"x y"'], ['c', '{}'], ['d', '[]'], ['e', '{"k": 1, "l": [2]}'], '.'],
    ],
    [gemma, 'call:f{', '}.', ['.']],
    [gemma, 'call:f{', 'a:<escape>}<escape>}', [['a', '"}"'], '']],
    ...['', 'a', 'a:', 'a:1', 'a:<esc', 'a:<escape>x', 'a:[', 'a:[1', 'a:[1,', 'a:{', 'a:{k', 'a:{k:', 'a:{k:1'].map(
      (text): [Dialect, string, string, unknown[]] => [gemma, 'call:f{', text, ['more']],
    ),
    ...['<', 'a<', 'a:[1}', 'a:{k}', 'a:{k:1]', `${'a'.repeat(257)}:1`, `a:${'['.repeat(66)}`].map(
      (text): [Dialect, string, string, unknown[]] => [gemma, 'call:f{', text, [null]],
    ),
    [gemma, 'call:f{', `a:${'['.repeat(64)}${']'.repeat(64)}}`, [['a', `${'['.repeat(64)}${']'.repeat(64)}`], '']],
    [gemma, 'call:f{', 'a:1b:2}', [['a', '"1b:2"'], '']],
    [
      python,
      'f(',
      'a=1, b = "x",c=[1,(2,)],d={},e={"k": None}).',
      [['a', '1'], ['b', '"x"'], ['c', '[1, [2]]'], ['d', '{}'], ['e', '{"k": null}'], '.'],
    ],
    [python, 'f(', ' ).', ['.']],
    [python, 'f(', String.raw`a='\n\r\t\b\f\0\'\"\\\x41\u00e9\q')`, [['a', JSON.stringify('\n\r\t\b\f\0\'"\\Aéq')], '']],
    ...['', ' ', 'a', 'a=', 'a =', 'a=1', 'a="x', "a='x\\", 'a=[', 'a=[1', 'a={', 'a={"k"', 'a={"k":'].map(
      (text): [Dialect, string, string, unknown[]] => [python, 'f(', text, ['more']],
    ),
    ...['=1', 'a b', 'a=yes)', 'a=[1)', 'a={1}', 'a={"k" 1}', `${'a'.repeat(257)}=1`, `a=${'['.repeat(66)}`].map(
      (text): [Dialect, string, string, unknown[]] => [python, 'f(', text, [null]],
    ),
    [python, 'f(', 'a=True b=1)', [['a', 'true'], null]],
  ])('%# its arguments', (dialect, head, text, wanted) => {
    expect(argumentsOf(dialect, head, text)).toEqual(wanted);
  });
});

describe('sampling', () => {
  const OPENAI = { temperature: 1, topP: 1, topK: 0, minP: 0, repetition: 1, frequency: 0, presence: 0, minTokens: 0 };
  const draw = () => [7, 8] as const;
  const given = parseChat({ messages: [{ role: 'user', content: 'x' }] }).sampling;
  it("is the client's, else the model's, else OpenAI's", () => {
    expect(resolveSampling(given, {}, draw)).toEqual({ ...OPENAI, logitBias: [], seed: [7, 8], logprobs: undefined });
    const model = { temperature: 0.5, topP: 0.6, topK: 7, minP: 0.1, repetition: 1.1, frequency: 0.2, presence: 0.3, minTokens: 2 };
    expect(resolveSampling(given, model, draw)).toMatchObject(model);
    const client = { temperature: 0.4, topP: 0.5, topK: 6, minP: 0.2, repetition: 1.2, frequency: 0.3, presence: 0.4, minTokens: 3 };
    expect(resolveSampling({ ...given, ...client, seed: [1, 2] }, model, draw)).toMatchObject({ ...client, seed: [1, 2] });
    expect(resolveSampling({ ...given, topK: -1 }, {}, draw).topK).toBe(0);
    expect(resolveSampling({ ...given, topP: 0 }, {}, draw)).toMatchObject({ topP: 1, temperature: 0 });
  });

  it('is told under the names of requests', () => {
    const off = { temperature: 1, top_p: 1, top_k: 0, min_p: 0, repetition_penalty: 1, frequency_penalty: 0, presence_penalty: 0 };
    expect(samplingFields({})).toEqual(off);
    expect(samplingFields({ temperature: 0.5, topP: 0.6, topK: 7, minP: 0.1, repetition: 1.1, frequency: 0.2, presence: 0.3 })).toEqual({
      ...{ temperature: 0.5, top_p: 0.6, top_k: 7, min_p: 0.1 },
      ...{ repetition_penalty: 1.1, frequency_penalty: 0.2, presence_penalty: 0.3 },
    });
  });

  it('has a seed for each choice', () => {
    expect(choiceSeed([1, 2], 0)).toEqual([1, 2]);
    // splitmix64's increment is 0x9e3779b97f4a7c15
    expect(choiceSeed([0, 0], 1)).toEqual([0x7f4a7c15, 0x9e3779b9]);
    expect(choiceSeed([0, 0], 2)).toEqual([0xfe94f82a, 0x3c6ef372]);
    expect(choiceSeed([0xffffffff, 0], 1)).toEqual([0x7f4a7c14, 0x9e3779ba]);
  });
});

describe('items', () => {
  it('name the response that they are of', () => {
    const id = '0123456789abcdef'.repeat(4);
    for (const item of [`msg_${id}_0`, `fc_${id}_12`, `rs_${id}_in3`, `fcos_${id}_in123456`])
      expect(responseOfItem(item)).toBe(`resp_${id}`);
    for (const item of [
      ...[`m_${id}_0`, `messa_${id}_0`, `MSG_${id}_0`, `msg_${id.slice(1)}_0`, `msg_${id}0_0`, `msg_${id.replace('0', 'g')}_0`],
      ...[`msg_${id}_`, `msg_${id}_1234567`, `msg_${id}_x`, `msg_${id}_in`, `xmsg_-msg_${id}_0`, `msg_${id}_0 `, ''],
    ])
      expect(responseOfItem(item), item).toBe(undefined);
  });

  it('have the ids of the response that they came with', () => {
    const items = readInput([
      { role: 'user', content: 'hi' },
      { type: 'function_call', call_id: 'c', name: 'f', arguments: '{}' },
      { type: 'function_call_output', call_id: 'c', output: '' },
    ]);
    expect(withIds(items as never, 'resp_abc').map((i) => i.id)).toEqual(['msg_abc_in0', 'fc_abc_in1', 'fco_abc_in2']);
    expect(itemMessages(items)).toEqual([
      { role: 'user', content: 'hi' },
      { role: 'assistant', content: '', toolCalls: [{ id: 'c', name: 'f', arguments: '{}' }] },
      { role: 'tool', content: '', toolCallId: 'c' },
    ]);
    expect(itemMessages(items, 'be kind')[0]).toEqual({ role: 'system', content: 'be kind' });
    expect(fault(() => itemMessages(readInput([])))).toEqual([400, 'invalid_value', 'input']);
    expect(itemMessages(readInput([{ id: 'msg_1' }]))).toEqual([]);
    expect(readInput([{ type: 'reasoning', summary: [] }])).toEqual([]);
    expect(fault(() => readInput([{ type: 'image' }]))).toEqual([400, 'unsupported_value', 'input[0].type']);
  });
});

it('messages are what templates print: arguments as objects where they are one, else as they came', () => {
  const { messages: read } = parseChat({
    messages: [
      { role: 'developer', content: 'd', name: 'n' },
      { role: 'assistant', content: 'a', reasoning_content: 'r' },
      {
        role: 'assistant',
        tool_calls: ['{"a": 1}', '[1]', '7', 'null', '"x"', '{', ''].map((args) => ({ id: 'c', function: { name: 'f', arguments: args } })),
      },
      { role: 'tool', content: 't', tool_call_id: 'c' },
      { role: 'tool', content: 't', tool_call_id: 'other' },
      { role: 'assistant', refusal: 'no' },
    ],
  });
  expect(templateMessages(read)).toEqual([
    { role: 'system', content: 'd', name: 'n' },
    { role: 'assistant', content: 'a', reasoning_content: 'r' },
    {
      ...{ role: 'assistant', content: '' },
      tool_calls: [{ a: 1 }, [1], '7', 'null', '"x"', '{', {}].map((args) => ({
        id: 'c',
        type: 'function',
        function: { name: 'f', arguments: args },
      })),
    },
    { role: 'tool', content: 't', tool_call_id: 'c', name: 'f' },
    { role: 'tool', content: 't', tool_call_id: 'other', name: undefined },
    { role: 'assistant', content: 'no' },
  ]);
  expect(
    templateTools([
      { name: 'f', parameters: { a: 1 } },
      { name: 'g', description: 'd', parameters: {} },
    ] as never),
  ).toEqual([
    { type: 'function', function: { name: 'f', parameters: { a: 1 } } },
    { type: 'function', function: { name: 'g', description: 'd', parameters: {} } },
  ]);
});

const meta = { id: 'abc', model: 'm', created: 1_700_000_000 };
const usage = { prompt: 7, completion: 3, cached: 4 };

describe("Ollama's", () => {
  const tools = [{ type: 'function', function: { name: 'f', parameters: { type: 'object' } } }];
  const chat = (more: object = {}) =>
    new OllamaAnswer(parseOllamaChat({ model: 'm', messages: [{ role: 'user', content: 'x' }], ...more }) as ChatRequest, meta);
  const generate = (more: object = {}) =>
    new OllamaAnswer(parseOllamaGenerate({ model: 'm', prompt: 'x', ...more }) as ChatRequest | CompletionRequest, meta);
  const head = { model: 'm:latest', created_at: '2023-11-14T22:13:20.000Z' };
  const ending = { total_duration: 3_500_000, load_duration: 0, prompt_eval_count: 7, prompt_eval_duration: 1_500_000 };
  const end = { done: true, done_reason: 'stop', ...ending, eval_count: 3, eval_duration: 2_000_000 };
  const extra = { turnstone: { timings: { prefill_ms: 1.5, decode_ms: 2 } } };
  const said = (text: string): unknown[] => {
    const lines = text.split('\n');
    expect(lines.pop()).toBe('');
    return lines.map((l) => JSON.parse(l));
  };
  const scored: TokenLogprobs = { token: 'a', bytes: [97], logprob: -0.5, top: [] };
  const told = { token: 'a', logprob: -0.5, bytes: [97], top_logprobs: [] };

  it('stream is a line of JSON for each piece, the last with what it took', () => {
    const answer = chat({ options: { stop: 'END' } });
    expect(answer.contentType).toBe('application/x-ndjson');
    expect(answer.open()).toBe('');
    expect(said(answer.push(0, 'a'))).toEqual([{ ...head, message: { role: 'assistant', content: 'a' }, done: false }]);
    expect(answer.push(0, '')).toBe('');
    expect(answer.push(0, 'EN')).toBe('');
    expect(said(answer.finish(0, 'length'))).toEqual([{ ...head, message: { role: 'assistant', content: 'EN' }, done: false }]);
    expect(said(answer.close(usage, extra))).toEqual([
      { ...head, message: { role: 'assistant', content: '' }, ...end, done_reason: 'length' },
    ]);
  });

  it('whole answer is one object', () => {
    const answer = chat({ stream: false, logprobs: true });
    expect(answer.contentType).toBe('application/json');
    expect(answer.push(0, '<think>hm</think>', [scored]) + answer.push(0, 'b') + answer.finish(0, 'stop')).toBe('');
    const whole = answer.close(usage, extra);
    expect(whole).not.toContain('\n');
    expect(JSON.parse(whole)).toEqual({ ...head, message: { role: 'assistant', content: 'b', thinking: 'hm' }, logprobs: [told], ...end });
    const timeless = chat({ stream: false });
    timeless.finish(0, 'stop');
    const none = { total_duration: 0, load_duration: 0, prompt_eval_duration: 0, eval_duration: 0 };
    expect(JSON.parse(timeless.close(usage))).toEqual({ ...head, message: { role: 'assistant', content: '' }, ...end, ...none });
  });

  it('text of generate has no role', () => {
    for (const more of [{}, { raw: true }]) {
      const answer = generate(more);
      expect(said(answer.push(0, 'a'))).toEqual([{ ...head, response: 'a', done: false }]);
      answer.finish(0, 'stop');
      expect(said(answer.close(usage, extra))).toEqual([{ ...head, response: '', ...end }]);
    }
    expect(said(generate({ raw: true }).push(0, '<think>'))).toMatchObject([{ response: '<think>' }]);
  });

  it('calls are told when they are whole, with those before them', () => {
    const call = '<tool_call>{"name": "f", "arguments": {"a": 1}}</tool_call>';
    const answer = chat({ tools });
    const lines = said([...`${call}\n${call}`].map((c) => answer.push(0, c)).join('') + answer.finish(0, 'stop'));
    const of = (index: number) => ({ id: `call_abc_${index}`, function: { index, name: 'f', arguments: { a: 1 } } });
    const message = (index: number) => ({ role: 'assistant', content: '', tool_calls: [of(index)] });
    expect(lines).toEqual([0, 1].map((i) => ({ ...head, message: message(i), done: false })));
    const whole = chat({ tools, stream: false });
    whole.push(0, `Hm.\n${call}<tool_call>{"name": "f"}</tool_call>`);
    whole.finish(0, 'stop');
    const { message: got, done_reason } = JSON.parse(whole.close(usage)) as { message: object; done_reason: string };
    const bare = { id: 'call_abc_1', function: { index: 1, name: 'f', arguments: {} } };
    expect([got, done_reason]).toEqual([{ role: 'assistant', content: 'Hm.', tool_calls: [of(0), bare] }, 'stop']);
    const cut = chat({ tools });
    expect(cut.push(0, '<tool_call>{"name": "f", "arguments": {"a": ') + cut.finish(0, 'length')).toBe('');
    expect(said(cut.close(usage, extra))).toMatchObject([{ message: { role: 'assistant', content: '' }, done_reason: 'length' }]);
  });

  it('probabilities are of the tokens of the line', () => {
    const answer = chat({ logprobs: true });
    expect(said(answer.push(0, 'a', [scored]))).toEqual([
      { ...head, message: { role: 'assistant', content: 'a' }, logprobs: [told], done: false },
    ]);
    answer.push(0, '', [scored]);
    answer.finish(0, 'stop');
    expect(said(answer.close(usage))).toMatchObject([{ logprobs: [told] }]);
  });

  it('errors are an object with the reason, alone or as a last line', () => {
    const error = new ApiError(500, 'broken');
    expect(ollamaError(500, 'broken')).toEqual({ error: 'broken' });
    expect(chat().fail(error)).toBe('{"error":"broken"}\n');
    expect([ollamaName('m'), ollamaName('m:x')]).toEqual(['m:latest', 'm:x']);
  });

  const messages = [{ role: 'user', content: 'x' }];
  const parsed = (more: object) => parseOllamaChat({ model: 'm', messages, ...more }) as ChatRequest;
  it('requests are those of chats under other names', () => {
    const options = { temperature: 0.5, top_p: 0.6, top_k: 7, min_p: 0.1, seed: 3, num_predict: 9, stop: ['a'], repeat_penalty: 1.1 };
    const r = parsed({ model: 'm:latest', options: { ...options, presence_penalty: 0.2, frequency_penalty: 0.3, num_ctx: 1, num_gpu: 1 } });
    expect(r).toMatchObject({ kind: 'chat', wire: 'ollama', model: 'm', stream: true, maxTokens: 9, stop: ['a'], explain: true });
    expect(r.sampling).toMatchObject({
      temperature: 0.5,
      topP: 0.6,
      topK: 7,
      minP: 0.1,
      seed: [3, 0],
      repetition: 1.1,
      presence: 0.2,
      frequency: 0.3,
    });
    for (const num_predict of [-2, -1, 0, undefined, null]) expect(parsed({ options: { num_predict } }).maxTokens).toBe(undefined);
    expect(parsed({ options: { num_predict: 1 }, stream: false, keep_alive: '5m' })).toMatchObject({
      maxTokens: 1,
      stream: false,
      keepAliveMs: 300_000,
    });
    expect([parsed({}).responseFormat, parsed({ format: '' }).responseFormat, parsed({ format: 'json' }).responseFormat]).toEqual([
      ...[{ type: 'text' }, { type: 'text' }, { type: 'json_object' }],
    ]);
    expect(parsed({ format: { type: 'object' } }).responseFormat).toMatchObject({ type: 'json_schema', param: 'format' });
  });

  it('generate is a chat, a completion where it is raw, or nothing but a load', () => {
    const of = (more: object) => parseOllamaGenerate({ model: 'm', prompt: 'p', ...more });
    expect(of({})).toMatchObject({ kind: 'chat', wire: 'ollama-generate', messages: [{ role: 'user', content: 'p' }] });
    expect((of({ system: 's' }) as ChatRequest).messages).toMatchObject([
      { role: 'system', content: 's' },
      { role: 'user', content: 'p' },
    ]);
    const raw = of({ raw: true, logprobs: true, top_logprobs: 3 });
    expect(raw).toMatchObject({ kind: 'completion', wire: 'ollama-generate', sampling: { logprobs: 3 } });
    expect(of({ raw: true, logprobs: true })).toMatchObject({ sampling: { logprobs: 0 } });
    expect((of({ raw: true }) as CompletionRequest).sampling.logprobs).toBe(undefined);
    expect(of({ prompt: '', keep_alive: 0 })).toEqual({ kind: 'load', wire: 'ollama-generate', model: 'm', keepAliveMs: 0 });
    expect(of({ prompt: null, model: undefined })).toEqual({ kind: 'load', wire: 'ollama-generate', model: '', keepAliveMs: undefined });
    expect(parseOllamaChat({ model: 'm:latest' })).toEqual({ kind: 'load', wire: 'ollama', model: 'm', keepAliveMs: undefined });
  });

  it('calls and results in messages find each other', () => {
    const turns = (...of: object[]) => parsed({ messages: [...messages, ...of] }).messages.slice(1);
    const call = (name: string, id?: string) => ({ id, function: { name, arguments: { x: 1 } } });
    const calls = {
      role: 'assistant',
      content: 'c',
      thinking: 'hm',
      tool_calls: [call('a', 'own'), call('b'), { function: { name: 'a' } }],
    };
    const result = (more: object) => ({ role: 'tool', content: 'r', ...more });
    const got = turns(calls, result({ tool_call_id: 'own' }), result({ tool_name: 'a' }), result({}), result({}));
    expect(got[0]).toMatchObject({
      role: 'assistant',
      content: 'c',
      toolCalls: [
        { id: 'own', name: 'a', arguments: '{"x":1}' },
        { id: 'call_1_1', name: 'b', arguments: '{"x":1}' },
        { id: 'call_1_2', name: 'a', arguments: '{}' },
      ],
    });
    expect(got.slice(1)).toMatchObject(
      ['own', 'call_1_2', 'call_1_1', 'call_5'].map((toolCallId) => ({ role: 'tool', content: 'r', toolCallId })),
    );
    expect(turns({ role: 'assistant', content: 'c' })[0]).not.toHaveProperty('toolCalls', expect.anything());
    expect(turns({ role: 'user' })[0]).toMatchObject({ role: 'user', content: '' });
  });

  it.each<[object, string, string]>([
    [{ options: { num_ctx: 0 } }, 'options.num_ctx', 'integer_below_min_value'],
    [{ options: { num_predict: -3 } }, 'options.num_predict', 'integer_below_min_value'],
    [{ options: { mirostat: 1 } }, 'mirostat', 'unsupported_parameter'],
    [{ options: 1 }, 'options', 'invalid_type'],
    [{ stream: 1 }, 'stream', 'invalid_type'],
    [{ think: 'much' }, 'think', 'invalid_value'],
    [{ think: 1 }, 'think', 'invalid_type'],
    [{ format: 'yaml' }, 'format', 'invalid_value'],
    [{ format: 1 }, 'format', 'invalid_type'],
    [{ model: '' }, 'model', 'string_too_short'],
    [{ messages: [1] }, 'messages[0]', 'invalid_type'],
    [{ messages: [{ role: 'x' }] }, 'messages[0].role', 'invalid_value'],
    [{ messages: [{ role: 'user', content: 1 }] }, 'messages[0].content', 'invalid_type'],
    [{ messages: [{ role: 'user', images: ['x'] }] }, 'messages[0].images', 'unsupported_value'],
    [{ messages: [{ role: 'user', images: 'x' }] }, 'messages[0].images', 'invalid_type'],
    [{ messages: [{ role: 'assistant', tool_calls: 1 }] }, 'messages[0].tool_calls', 'invalid_type'],
    [{ messages: [{ role: 'assistant', tool_calls: [1] }] }, 'messages[0].tool_calls[0]', 'invalid_type'],
    [{ messages: [{ role: 'assistant', tool_calls: [{}] }] }, 'messages[0].tool_calls[0].function', 'missing_required_parameter'],
    [
      { messages: [{ role: 'assistant', tool_calls: [{ function: { name: 'f', arguments: '{}' } }] }] },
      'messages[0].tool_calls[0].function.arguments',
      'invalid_type',
    ],
  ])('%j is refused, and named', (more, param, code) => {
    expect(fault(() => parsed(more))).toEqual([400, code, param]);
  });

  it('options that mean nothing here may be sent', () => {
    const neutral = { repeat_last_n: -1, typical_p: 1, tfs_z: 1, mirostat: 0, penalize_newline: true, mirostat_tau: 5 };
    expect(parsed({ options: { ...neutral, num_ctx: 4096, num_keep: 4, numa: true }, truncate: true, shift: false }).kind).toBe('chat');
    expect(parsed({ messages: [{ role: 'user', content: 'x', images: [] }] }).kind).toBe('chat');
    const generateWith = (more: object) => fault(() => parseOllamaGenerate({ prompt: 'x', ...more }));
    expect(generateWith({ template: '', suffix: '', images: [], context: [] })).toEqual(['none']);
    for (const [name, value] of [...Object.entries({ template: 'x', suffix: 'x', images: ['x'], context: [1] })]) {
      expect(generateWith({ [name]: value })).toEqual([400, 'unsupported_parameter', name]);
    }
    for (const [name, value] of Object.entries({ prompt: 1, system: 1, raw: 1 })) {
      expect(generateWith({ [name]: value })).toEqual([400, 'invalid_type', name]);
    }
  });
});

describe('parts of answers', () => {
  it('usage', () => {
    const counts = { prompt_tokens: 7, completion_tokens: 3, total_tokens: 10, prompt_tokens_details: { cached_tokens: 4 } };
    expect(usageObject(usage)).toEqual(counts);
    expect(usageObject({ ...usage, reasoning: 0 })).toEqual(counts);
    expect(usageObject({ ...usage, reasoning: 2 })).toEqual({ ...counts, completion_tokens_details: { reasoning_tokens: 2 } });
  });

  it('frames', () => {
    expect(frame('{"a":"\u2028\u0085"}')).toBe('data: {"a":"\\u2028\\u0085"}\n\n');
    expect(oneLine('\u2029x')).toBe('\\u2029x');
    const of = (calls: number, cut: boolean, stopped: boolean) => ({ calls, cut, stopped }) as never;
    expect(finishReason('length', of(0, false, false))).toBe('length');
    expect(finishReason('length', of(1, false, false))).toBe('length');
    expect(finishReason('length', of(1, false, true))).toBe('tool_calls');
    expect(finishReason('stop', of(1, true, true))).toBe('stop');
    expect(finishReason('abort', of(0, false, false))).toBe('stop');
    expect(finishReason('abort', of(1, false, false))).toBe('tool_calls');
  });

  const at = (id: number, token: string, offset: number, scored?: PromptToken['scored']): PromptToken => ({
    ...{ id, offset, text: { token, bytes: [65 + id] }, scored },
  });
  const top = (id: number, token: string, logprob: number) => ({ id, token, bytes: [65 + id], logprob });
  const prompt = [
    at(0, 'A', 0),
    at(3, 'D', 1, { logprob: -2, rank: 3, top: [top(1, 'B', -0.5), top(2, 'C', -Infinity), top(3, 'D', -2)] }),
  ];
  const wanted = [
    null,
    {
      1: { logprob: -0.5, rank: 1, decoded_token: 'B' },
      2: { logprob: -9999, rank: 2, decoded_token: 'C' },
      3: { logprob: -2, rank: 3, decoded_token: 'D' },
    },
  ];
  it("a prompt's tokens, scored", () => {
    expect(promptLogprobs(prompt, 2)).toEqual(wanted);
    expect(promptLogprobs(prompt, 0)).toEqual([null, { 3: wanted[1]![3] }]);
    const chat = createAnswer(parseChat({ messages: [{ role: 'user', content: 'x' }], n: 2, prompt_logprobs: 2 }), meta);
    expect(chat.prompt(0, prompt)).toBe('');
    expect(chat.prompt(1, [])).toBe('');
    for (const i of [0, 1]) chat.finish(i, 'stop');
    expect(JSON.parse(chat.close(usage))).toMatchObject({ prompt_logprobs: wanted });
    const plain = createAnswer(parseChat({ messages: [{ role: 'user', content: 'x' }] }), meta);
    plain.prompt(0, prompt);
    plain.finish(0, 'stop');
    expect(JSON.parse(plain.close(usage))).not.toHaveProperty('prompt_logprobs');
    const completion = createAnswer(parseCompletion({ prompt: ['a', 'b'], prompt_logprobs: 2 }), meta);
    expect(completion.prompt(1, prompt)).toBe('');
    for (const i of [0, 1]) completion.finish(i, 'stop');
    const { choices } = JSON.parse(completion.close(usage)) as { choices: object[] };
    expect(choices.map((c) => (c as { prompt_logprobs?: unknown }).prompt_logprobs)).toEqual([undefined, wanted]);
  });

  it('an echoed prompt with its scores, the answer after it', () => {
    const answer = createAnswer(parseCompletion({ prompt: 'AD', echo: true, logprobs: 1 }), meta);
    answer.echo(0, 'AD', prompt);
    answer.push(0, 'x', [{ token: 'x', bytes: [120], logprob: -1, top: [] }]);
    answer.finish(0, 'stop');
    const [choice] = (JSON.parse(answer.close(usage)) as { choices: { text: string; logprobs: object }[] }).choices;
    expect(choice).toMatchObject({
      text: 'ADx',
      logprobs: {
        tokens: ['A', 'D', 'x'],
        token_logprobs: [null, -2, -1],
        top_logprobs: [null, { B: -0.5, C: -9999, D: -2 }, {}],
        text_offset: [0, 1, 2],
      },
    });
  });
});

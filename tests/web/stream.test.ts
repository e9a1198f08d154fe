import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { httpTransport, readModels } from '../../web/src/api.ts';
import { chunk, deltasOf } from '../../web/src/chunks.ts';
import { asProblem, Problem, problemOf } from '../../web/src/problem.ts';
import { events } from '../../web/src/sse.ts';
import type { Delta } from '../../web/src/transport.ts';

const encoder = new TextEncoder();

function body(...chunks: Uint8Array[]): ReadableStream<Uint8Array> {
  return new ReadableStream({
    start(controller) {
      for (const bytes of chunks) controller.enqueue(bytes);
      controller.close();
    },
  });
}

async function all<T>(source: AsyncIterable<T>): Promise<T[]> {
  const out: T[] = [];
  for await (const item of source) out.push(item);
  return out;
}

const text = (content: string) => `data: ${JSON.stringify({ choices: [{ index: 0, delta: { content } }] })}\n\n`;
const finish = 'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":null}\n\n';
const usage = 'data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":4}}}\n\n';
const done = 'data: [DONE]\n\n';

describe('an answer as a stream', () => {
  const whole = encoder.encode(`: hello\r\n\r\n${text('Grüße, ')}${text('🐦!')}${finish}${usage}${done}`);
  const expected: Delta[] = [
    { type: 'text', text: 'Grüße, ' },
    { type: 'text', text: '🐦!' },
    { type: 'finish', reason: 'stop' },
    { type: 'usage', usage: { prompt: 9, completion: 2, cached: 4 } },
  ];

  it('is the same wherever the bytes are cut', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.integer({ min: 0, max: whole.length }), { maxLength: 12 }), async (cuts) => {
        const at = [0, ...cuts.sort((a, b) => a - b), whole.length];
        const chunks = at.slice(1).map((end, i) => whole.slice(at[i], end));
        expect(await all(deltasOf(events(body(...chunks))))).toEqual(expected);
      }),
      { numRuns: 200 },
    );
  });

  it('keeps reasoning with its text, between tags', async () => {
    const thought = (reasoning_content: string) => JSON.stringify({ choices: [{ index: 0, delta: { reasoning_content } }] });
    const said = [thought('a '), thought('b'), text('c').slice(6).trim(), '[DONE]'];
    async function* source() {
      yield* said;
    }
    const deltas = await all(deltasOf(source()));
    expect(deltas.map((d) => (d.type === 'text' ? d.text : d.type)).join('')).toBe('<think>a b</think>\n\nc');
  });

  it('that ends before [DONE] is no whole answer', async () => {
    const seen: Delta[] = [];
    const reading = (async () => {
      for await (const delta of deltasOf(events(body(encoder.encode(text('half')))))) seen.push(delta);
    })();
    await expect(reading).rejects.toMatchObject({ info: { title: 'The connection broke off.' } });
    expect(seen).toEqual([{ type: 'text', text: 'half' }]);
  });

  it('carries errors of the server', async () => {
    const error = 'data: {"error":{"message":"slow down","code":"rate_limit_exceeded"}}\n\n';
    await expect(all(deltasOf(events(body(encoder.encode(text('a') + error + done)))))).rejects.toMatchObject({
      info: { title: 'The server is busy with others.', detail: 'slow down' },
    });
  });

  it('is given up when one event never ends', async () => {
    const endless = encoder.encode(`data: ${'x'.repeat(2_000_000)}`);
    await expect(all(deltasOf(events(body(endless))))).rejects.toBeInstanceOf(Problem);
  });

  it('that is left early is cancelled', async () => {
    let cancelled = false;
    const endless = new ReadableStream<Uint8Array>({
      pull: (controller) => controller.enqueue(encoder.encode(text('a'))),
      cancel: () => {
        cancelled = true;
      },
    });
    for await (const _ of deltasOf(events(endless))) break;
    expect(cancelled).toBe(true);
  });

  it('reads tool calls in pieces', () => {
    const call = (more: object) => JSON.stringify({ choices: [{ delta: { tool_calls: [{ index: 0, ...more }] } }] });
    expect(chunk(call({ id: 'call_1', function: { name: 'get_time', arguments: '' } }))).toEqual([
      { type: 'tool', index: 0, id: 'call_1', name: 'get_time', arguments: '' },
    ]);
    expect(chunk(call({ function: { arguments: '{"a"' } }))).toEqual([
      { type: 'tool', index: 0, id: undefined, name: undefined, arguments: '{"a"' },
    ]);
  });

  it('takes no nonsense', () => {
    for (const odd of [
      '1',
      'null',
      '[]',
      '{}',
      '{"choices":{}}',
      '{"choices":[null]}',
      '{"choices":[{"delta":{"content":3,"tool_calls":[7]}}]}',
    ]) {
      expect(chunk(odd)).toEqual([]);
    }
    expect(chunk('{"usage":{"prompt_tokens":-1,"completion_tokens":"9"}}')).toEqual([
      { type: 'usage', usage: { prompt: 0, completion: 0, cached: 0 } },
    ]);
    expect(() => chunk('{')).toThrow(Problem);
  });
});

describe('problems', () => {
  const envelope = (code: string, param: string | null = null) => JSON.stringify({ error: { message: 'm', type: 't', code, param } });

  it.each([
    [401, envelope('invalid_api_key'), 'key'],
    [403, '', 'key'],
    [400, envelope('context_length_exceeded', 'messages'), 'full'],
    [400, envelope('invalid_value', 'temperature'), 'settings'],
    [404, envelope('model_not_found', 'model'), 'settings'],
    [413, '', 'edit'],
    [404, envelope('not_found', 'response_id'), 'retry'],
    [429, envelope('rate_limit_exceeded'), 'retry'],
    [500, '<html>', 'retry'],
    [502, '{"error":7}', 'retry'],
    [503, envelope('server_overloaded'), 'retry'],
  ])('%i says what to do', (status, text, next) => {
    const { info } = problemOf(status, text, null);
    expect(info.next).toBe(next);
    expect(info.title).toMatch(/\.$/);
    expect(info.advice).toMatch(/[.:]$/);
  });

  it('names the parameter, keeps the message, and bounds both', () => {
    expect(problemOf(400, envelope('invalid_value', 'seed'), null).info).toMatchObject({
      title: 'The server refused “seed”.',
      detail: 'm',
    });
    expect(problemOf(500, JSON.stringify({ error: { message: 'x'.repeat(9999) } }), null).info.detail).toHaveLength(500);
  });

  it('tells a rate of one’s own from a server that is busy with others', () => {
    const of429 = (message: string) => problemOf(429, JSON.stringify({ error: { message, code: 'rate_limit_exceeded' } }), '7').info.title;
    expect(of429('Too many requests. Try again in 7 s.')).toBe('You have asked faster than this server allows.');
    expect(of429('The queue is full. Try again in 7 s.')).toBe('The server is busy with others.');
  });

  it('reads Retry-After in seconds only', () => {
    const after = (header: string | null) => problemOf(429, '', header).info.after;
    expect(['7', '1.2', '99999'].map(after)).toEqual([7, 2, 3600]);
    expect(['-1', 'soon', 'Wed, 21 Oct 2026 07:28:00 GMT', '', null].map(after)).toEqual(Array(5).fill(undefined));
  });

  it('owns up to faults of the page', () => {
    expect(asProblem(new RangeError('x')).info.detail).toContain('x');
  });
});

describe('HTTP', () => {
  it('says so when nobody listens', async () => {
    const transport = httpTransport('http://127.0.0.1:9', () => '');
    await expect(transport.models()).rejects.toMatchObject({ info: { title: 'The server cannot be reached.' } });
  });

  it('reads the list of models', () => {
    expect(
      readModels({
        data: [{ id: 'pebble', max_model_len: 2048 }, { id: 7 }, null, { id: 'b' }, { id: 'e', embedding: { dimensions: 3 } }],
      }),
    ).toEqual([
      { id: 'pebble', context: 2048 },
      { id: 'b', context: undefined },
    ]);
    expect(readModels('x')).toEqual([]);
  });
});

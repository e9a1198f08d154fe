import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { eventDeltas, keptDeltas, lasting } from '../../web/src/kept.ts';
import { offline, Problem } from '../../web/src/problem.ts';
import type { Delta } from '../../web/src/transport.ts';

const RESPONSE = { id: 'resp_1', status: 'in_progress' };
const USAGE = { input_tokens: 9, output_tokens: 5, input_tokens_details: { cached_tokens: 4 } };
const PIECES = ['Once ', 'upon ', 'a ', 'time', '.'];
const EVENTS = [
  { type: 'response.created', response: RESPONSE },
  { type: 'response.in_progress', response: RESPONSE },
  { type: 'response.output_item.added', output_index: 0, item: { type: 'message' } },
  ...PIECES.map((delta) => ({ type: 'response.output_text.delta', output_index: 0, delta })),
  { type: 'response.output_item.added', output_index: 1, item: { type: 'function_call', call_id: 'c1', name: 'f' } },
  { type: 'response.function_call_arguments.delta', output_index: 1, delta: '{}' },
  {
    type: 'response.completed',
    response: {
      ...RESPONSE,
      status: 'completed',
      usage: USAGE,
      turnstone: {
        route: { place: 'npu', why: 'faster', took: 3, ttft: 41.5 },
        timings: { prefill_tokens: 5, prefill_ms: 20, decode_tokens: 4, decode_ms: 50 },
      },
    },
  },
].map((event, n) => ({ ...event, sequence_number: n }));

const sse = (events: object[]) => events.map((event) => `data: ${JSON.stringify(event)}\n\n`).join('');
async function all(source: AsyncIterable<Delta>): Promise<Delta[]> {
  const out: Delta[] = [];
  for await (const delta of source) out.push(delta);
  return out;
}
const textOf = (deltas: Delta[]) => deltas.map((delta) => (delta.type === 'text' ? delta.text : '')).join('');

/** A server that keeps one answer and lets connections go after so many events; 0: it is away. Then it stays. */
function flaky(lives: number[], paths: string[] = []) {
  return keptDeltas(async (path) => {
    paths.push(path);
    const life = lives.shift() ?? EVENTS.length;
    if (life === 0) throw offline();
    const after = Number(/starting_after=(\d+)/.exec(path)?.[1] ?? -1);
    return new Response(sse(EVENTS.slice(after + 1, after + 1 + life)));
  });
}

describe('an answer that the server keeps', () => {
  it('comes as deltas', async () => {
    const deltas = await all(flaky([]).begin({ input: [] }, new AbortController().signal));
    expect(textOf(deltas)).toBe('Once upon a time.');
    expect(deltas.filter((delta) => !['text', 'seq'].includes(delta.type))).toEqual([
      { type: 'kept', kept: { id: 'resp_1', seq: 0 } },
      { type: 'tool', index: 1, id: 'c1', name: 'f' },
      { type: 'tool', index: 1, arguments: '{}' },
      { type: 'usage', usage: { prompt: 9, completion: 5, cached: 4 } },
      {
        type: 'timing',
        route: 'npu; why=faster; took=3',
        first: 41.5,
        timings: { prefill: { tokens: 5, ms: 20 }, decode: { tokens: 4, ms: 50 } },
      },
      { type: 'finish', reason: 'stop' },
    ]);
  });

  it('comes whole and each token once, wherever connections break', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: EVENTS.length }),
        fc.array(fc.integer({ min: 0, max: 3 }), { maxLength: 4 }),
        async (first, rest) => {
          const away: boolean[] = [];
          const wake = new EventTarget();
          const timer = setInterval(() => wake.dispatchEvent(new Event('online')), 1); // nobody waits here
          const deltas = await all(
            lasting(flaky([first, ...rest]), { input: [] }, new AbortController().signal, (is) => away.push(is), { wake }),
          );
          clearInterval(timer);
          expect(textOf(deltas)).toBe('Once upon a time.');
          expect(deltas.filter((delta) => delta.type === 'tool')).toHaveLength(2);
          expect(deltas.filter((delta) => delta.type === 'finish')).toHaveLength(1);
          expect(away.at(-1) ?? false).toBe(false);
        },
      ),
      { numRuns: 60 },
    );
  });

  it('is asked for again when its connection is dead without knowing it, as after a sleep', async () => {
    let calls = 0;
    const keeping = keptDeltas(async (path, init) => {
      if (calls++ > 0) {
        const after = Number(/starting_after=(\d+)/.exec(path)![1]);
        return new Response(sse(EVENTS.slice(after + 1)));
      }
      const body = new ReadableStream<Uint8Array>({
        start(controller) {
          controller.enqueue(new TextEncoder().encode(sse(EVENTS.slice(0, 5))));
          init?.signal?.addEventListener('abort', () => controller.error(init.signal?.reason));
        },
      });
      return new Response(body);
    });
    const o = { silence: 30, wake: new EventTarget() };
    const deltas = await all(lasting(keeping, { input: [] }, new AbortController().signal, () => {}, o));
    expect(textOf(deltas)).toBe('Once upon a time.');
    expect(calls).toBe(2);
  });

  it('is asked for from the last event that is in the text', async () => {
    const paths: string[] = [];
    const rest = await all(flaky([], paths).resume({ id: 'resp_1', seq: 4 }, new AbortController().signal));
    expect(paths).toEqual(['/v1/responses/resp_1?stream=true&starting_after=4']);
    expect(textOf(rest)).toBe('a time.');
  });

  it('is given up where trying again cannot help, or for too long', async () => {
    const gone = keptDeltas(async () => {
      throw new Problem({ next: 'retry', title: 'gone', advice: '' });
    });
    const signal = new AbortController().signal;
    await expect(all(lasting(gone, { id: 'resp_1', seq: 3 }, signal, () => {}))).rejects.toThrow('gone');
    const away = keptDeltas(async () => {
      throw offline();
    });
    await expect(all(lasting(away, { id: 'resp_1', seq: 3 }, signal, () => {}, { patience: 300 }))).rejects.toThrow('cannot be reached');
    // one that was never begun is not begun twice
    let begun = 0;
    const never = keptDeltas(async () => {
      begun++;
      throw offline();
    });
    await expect(all(lasting(never, { input: [] }, signal, () => {}))).rejects.toThrow('cannot be reached');
    expect(begun).toBe(1);
  });

  it('that failed says why', async () => {
    const failed = (error: object) =>
      all(
        eventDeltas(
          (async function* () {
            yield JSON.stringify({ type: 'response.failed', sequence_number: 2, response: { error } });
          })(),
          -1,
        ),
      );
    await expect(
      failed({ code: 'server_error', message: "This model's context is 64 tokens, but 80 were requested" }),
    ).rejects.toMatchObject({
      info: { next: 'full' },
    });
    await expect(
      failed({ code: 'server_error', message: "after a prompt of 250 tokens this model's context of 256 has room for 6." }),
    ).rejects.toMatchObject({ info: { next: 'full' } });
    // it has ended: nobody listens to it again
    await expect(failed({ code: 'server_error', message: 'x' })).rejects.not.toMatchObject({ info: { transient: true } });
    await expect(failed({ code: 'rate_limit_exceeded', message: 'The queue is full.' })).rejects.toMatchObject({
      info: { title: 'The server is busy with others.' },
    });
    await expect(failed({ code: 'server_error', message: 'x' })).rejects.toMatchObject({ info: { detail: 'x' } });
  });

  it('keeps reasoning with its text, between tags, also when it listens again in the middle', async () => {
    const told = [
      { type: 'response.output_item.added', output_index: 0, item: { type: 'reasoning' } },
      { type: 'response.reasoning_text.delta', output_index: 0, delta: 'Hm, ' },
      { type: 'response.reasoning_text.delta', output_index: 0, delta: 'yes.' },
      { type: 'response.reasoning_text.done', output_index: 0, text: 'Hm, yes.' },
      { type: 'response.output_text.delta', output_index: 1, delta: 'Yes.' },
      { type: 'response.completed', response: { status: 'completed' } },
    ];
    async function* source() {
      for (const [i, event] of told.entries()) yield JSON.stringify({ ...event, sequence_number: i });
    }
    const text = async (after: number) => (await all(eventDeltas(source(), after))).map((d) => (d.type === 'text' ? d.text : '')).join('');
    expect(await text(-1)).toBe('<think>Hm, yes.</think>\n\nYes.');
    expect(await text(1)).toBe('yes.</think>\n\nYes.');
  });

  it('takes no nonsense', async () => {
    async function* odd() {
      for (const data of [
        '1',
        'null',
        '{}',
        '{"type":7}',
        '{"type":"response.created"}',
        '{"type":"response.output_text.delta","delta":3}',
      ])
        yield data;
    }
    await expect(all(eventDeltas(odd(), -1))).rejects.toThrow('broke off');
  });
});

/** How long an answer's reader is waited for. */
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { GenerateRequest } from '../../engine/index.ts';
import type { Tokenizer, TokenStream } from '../../models/tokenizer/tokenizer.ts';
import { servingMetrics } from '../../openai/prometheus.ts';
import { parseCompletion } from '../../openai/requests/completion.ts';
import { createAnswer } from '../../openai/stream/create.ts';
import { AnswerWriter } from '../../serving/run/answer-writer.ts';
import type { EngineLoop } from '../../serving/run/loop.ts';
import { TokenSink } from '../../serving/run/token-sink.ts';

beforeEach(() => void vi.useFakeTimers({ toFake: ['Date'] }));
afterEach(() => void vi.useRealTimers());

/** A stream whose tokens are 8 KiB of text each. */
async function stream() {
  const aborted: string[] = [];
  const loop = { add() {}, abort: (id: string) => aborted.push(id) } as unknown as EngineLoop;
  const text: TokenStream = { push: () => 'x'.repeat(8192), flush: () => '' } as unknown as TokenStream;
  const asked = parseCompletion({ model: 'm', prompt: 'x', stream: true });
  const answer = createAnswer(asked, { id: 'i', model: 'm', created: 0, fingerprint: 'f' });
  const sink = new TokenSink({
    loop,
    tokenizer: {} as Tokenizer,
    textOf: () => text,
    metrics: servingMetrics('m'),
    requests: [{ id: 'a', prompt: [1] } as unknown as GenerateRequest],
    writer: new AnswerWriter({ answer, choices: 1, n: 1, promptTokens: 1 }),
    arrived: Date.now(),
  });
  sink.start(new AbortController().signal);
  const reader = (await sink.respond()).body!.getReader();
  /** A second passes, in which a token comes. */
  const second = () => {
    vi.setSystemTime(Date.now() + 1000);
    sink.event({ request: 'a', tokens: [{ id: 1 }], cachedTokens: 0 });
    sink.flush();
  };
  return { aborted, reader, second };
}

it('one that takes nothing is given up after half a minute, with more than a buffer untaken', async () => {
  const { aborted, reader, second } = await stream();
  for (let i = 0; i < 8 + 29; i++) second(); // the buffer first
  expect(aborted).toEqual([]);
  for (let i = 0; i < 4; i++) second();
  expect(aborted).toEqual(['a']);
  await expect(reader.read()).rejects.toThrow('too slow');
});

it('one that is slow, but takes a little, is waited for', async () => {
  const { aborted, reader, second } = await stream();
  for (let i = 0; i < 100; i++) {
    second();
    if (i % 20 === 0) await reader.read();
  }
  expect(aborted).toEqual([]);
});

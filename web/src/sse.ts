import { createParser } from 'eventsource-parser';
import type { Delta } from './api.ts';
import { isRecord } from './json.ts';
import { brokenOff, problemOf } from './problem.ts';

const MAX_EVENT = 1 << 20; // characters one event may buffer

/** The `data` of each server-sent event, in order. Bytes may be cut anywhere, inside a character too. */
export async function* events(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let ready: string[] = [];
  const parser = createParser({
    onEvent: (event) => ready.push(event.data),
    onError: (error) => {
      if (error.type === 'max-buffer-size-exceeded') throw brokenOff();
    },
    maxBufferSize: MAX_EVENT,
  });
  try {
    for (;;) {
      const { value, done } = await reader.read().catch(dropped);
      parser.feed(done ? decoder.decode() : decoder.decode(value, { stream: true }));
      const batch = ready;
      ready = [];
      yield* batch;
      if (done) return;
    }
  } finally {
    // Leaving early (stop, error) tells the server; after the end this does nothing.
    reader.cancel().catch(() => {});
  }
}

/** A body that dies half-way; a reader's own stop stays what it is. */
function dropped(error: unknown): never {
  if (error instanceof Error && error.name === 'AbortError') throw error;
  throw brokenOff();
}

/**
 * The deltas of one answer. Ends at `[DONE]`; a stream that ends before it, or carries something else than chunks, throws a `Problem`,
 * so that half an answer never looks whole.
 */
export async function* deltasOf(source: AsyncIterable<string>): AsyncGenerator<Delta> {
  for await (const data of source) {
    if (data === '[DONE]') return;
    yield* chunk(data);
  }
  throw brokenOff();
}

/** One `chat.completion.chunk` (or error object) as deltas. */
export function chunk(data: string): Delta[] {
  let body: unknown;
  try {
    body = JSON.parse(data);
  } catch {
    throw brokenOff();
  }
  if (!isRecord(body)) return [];
  if (body.error) throw problemOf(500, data, null);
  const out: Delta[] = [];
  const choice: unknown = Array.isArray(body.choices) ? body.choices[0] : undefined;
  if (isRecord(choice)) {
    if (isRecord(choice.delta)) out.push(...delta(choice.delta));
    if (typeof choice.finish_reason === 'string') out.push({ type: 'finish', reason: choice.finish_reason });
  }
  if (isRecord(body.usage)) {
    const details = isRecord(body.usage.prompt_tokens_details) ? body.usage.prompt_tokens_details : {};
    out.push({
      type: 'usage',
      usage: {
        prompt: count(body.usage.prompt_tokens),
        completion: count(body.usage.completion_tokens),
        cached: count(details.cached_tokens),
      },
    });
  }
  return out;
}

function delta(body: Record<string, unknown>): Delta[] {
  const out: Delta[] = [];
  if (typeof body.content === 'string' && body.content) out.push({ type: 'text', text: body.content });
  for (const call of Array.isArray(body.tool_calls) ? body.tool_calls : []) {
    if (!isRecord(call)) continue;
    const fn = isRecord(call.function) ? call.function : {};
    out.push({
      type: 'tool',
      index: Math.min(count(call.index), 63),
      id: text(call.id),
      name: text(fn.name),
      arguments: text(fn.arguments),
    });
  }
  return out;
}

const text = (value: unknown) => (typeof value === 'string' ? value : undefined);
const count = (value: unknown) => (typeof value === 'number' && Number.isFinite(value) && value > 0 ? Math.floor(value) : 0);

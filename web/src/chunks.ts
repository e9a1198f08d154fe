import { isRecord } from './json.ts';
import { brokenOff, problemOf } from './problem.ts';
import type { Delta } from './transport.ts';

/**
 * The deltas of one answer. A stream that ends before `[DONE]`, or carries something else than chunks, throws a `Problem`,
 * so that half an answer never looks whole. After `[DONE]` the body is read to its end: a body that is left early is a
 * cancelled request to the browser.
 */
export async function* deltasOf(source: AsyncIterable<string>): AsyncGenerator<Delta> {
  let done = false;
  let thinking = false; // reasoning is kept with the answer, between tags
  for await (const data of source) {
    if (data === '[DONE]') done = true;
    else if (!done) {
      for (const delta of chunk(data)) {
        if (delta.type === 'reasoning') {
          yield { type: 'text', text: thinking ? delta.text : `<think>${delta.text}` };
          thinking = true;
          continue;
        }
        if (thinking && (delta.type === 'text' || delta.type === 'tool')) {
          yield { type: 'text', text: '</think>\n\n' };
          thinking = false;
        }
        yield delta;
      }
    }
  }
  if (!done) throw brokenOff();
}

/** A delta as the server tells it. */
type Told = Delta | { type: 'reasoning'; text: string };

/** One chunk of a chat completion or completion (or an error object) as deltas. */
export function chunk(data: string): Told[] {
  let body: unknown;
  try {
    body = JSON.parse(data);
  } catch {
    throw brokenOff();
  }
  if (!isRecord(body)) return [];
  if (body.error) throw problemOf(500, data, null);
  const out: Told[] = [];
  const choice: unknown = Array.isArray(body.choices) ? body.choices[0] : undefined;
  if (isRecord(choice)) {
    if (isRecord(choice.delta)) out.push(...delta(choice.delta));
    if (typeof choice.text === 'string' && choice.text) out.push({ type: 'text', text: choice.text });
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
  if (isRecord(body.turnstone)) out.push(timingOf(body.turnstone));
  return out;
}

/** What the server says of its work on an answer. */
export function timingOf({ route, timings }: Record<string, unknown>): Delta {
  const { place, why, took, ttft } = isRecord(route) ? route : {};
  return {
    type: 'timing',
    route: typeof place === 'string' ? `${place}; why=${String(why)}; took=${count(took)}` : undefined,
    first: typeof ttft === 'number' && ttft > 0 ? ttft : undefined,
    timings: isRecord(timings)
      ? {
          prefill: { tokens: count(timings.prefill_tokens), ms: count(timings.prefill_ms) },
          decode: { tokens: count(timings.decode_tokens), ms: count(timings.decode_ms) },
        }
      : undefined,
  };
}

function delta(body: Record<string, unknown>): Told[] {
  const out: Told[] = [];
  if (typeof body.reasoning_content === 'string' && body.reasoning_content) out.push({ type: 'reasoning', text: body.reasoning_content });
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
export const count = (value: unknown) => (typeof value === 'number' && Number.isFinite(value) && value > 0 ? Math.floor(value) : 0);

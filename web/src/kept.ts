/** Answers that the server keeps (`/v1/responses`): each event once, over lost connections, reloads and restarts of either side. */

import { count, timingOf } from './chunks.ts';
import { isRecord } from './json.ts';
import { brokenOff, Problem, problemOf } from './problem.ts';
import { bodyOf, events } from './sse.ts';
import type { Call, Delta, Keeping, Kept, KeptRequest } from './transport.ts';

/** Waits between tries to reach the server again, ms; the last one is repeated. */
const WAITS = [250, 500, 1000, 2000, 4000];
/** A connection that says nothing for so long (ms) is made anew: after a laptop's sleep it is dead without knowing it. */
const SILENCE = 30_000;
/** So long when the reader comes back to the page. */
const SILENCE_BACK = 5000;

/** Listens anew when the connection goes; `onAway` hears when it has gone and when it is back. Throws what trying again cannot mend. */
export async function* lasting(
  keeping: Keeping,
  first: KeptRequest | Kept,
  signal: AbortSignal,
  onAway: (away: boolean) => void,
  o: { patience?: number; silence?: number; wake?: EventTarget } = {},
): AsyncGenerator<Delta> {
  const { patience = 120_000, silence = SILENCE, wake = globalThis.window } = o;
  let kept = 'seq' in first ? first : undefined;
  let lost = 0; // ms since 1970, of the first failure in a row
  for (let tries = 0; ; ) {
    const inner = new AbortController();
    const both = AbortSignal.any([signal, inner.signal]);
    const alarm = watch(inner, silence, wake);
    try {
      for await (const delta of kept ? keeping.resume(kept, both) : keeping.begin(first as KeptRequest, both)) {
        alarm.heard();
        if (lost) onAway(false);
        lost = tries = 0;
        if (delta.type === 'kept') kept = delta.kept;
        if (delta.type === 'seq' && kept) kept = { ...kept, seq: delta.seq };
        yield delta;
      }
      return;
    } catch (error) {
      const silent = inner.signal.aborted;
      inner.abort();
      if (signal.aborted || !kept || !again(error, silent)) throw error;
      lost ||= Date.now();
      if (Date.now() - lost > patience) throw error;
      onAway(true);
      await pause(WAITS[Math.min(tries++, WAITS.length - 1)], signal, wake);
    } finally {
      alarm.stop();
    }
  }
}

/** The connection, or a server that is being started again. */
const again = (error: unknown, silent: boolean) => silent || (error instanceof Problem && error.info.transient === true);

/** Gives a connection up that is silent for long, or was so while the machine slept. */
function watch(inner: AbortController, silence: number, wake: EventTarget | undefined) {
  let last = Date.now();
  const look = (limit: number) => Date.now() - last > limit && inner.abort(brokenOff());
  const timer = setInterval(() => look(silence), Math.min(silence, 1000));
  const woken = () => look(Math.min(silence, SILENCE_BACK));
  wake?.addEventListener('online', woken);
  wake?.addEventListener('focus', woken);
  return {
    heard: () => {
      last = Date.now();
    },
    stop() {
      clearInterval(timer);
      wake?.removeEventListener('online', woken);
      wake?.removeEventListener('focus', woken);
    },
  };
}

function pause(ms: number, signal: AbortSignal, wake: EventTarget | undefined): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', end);
      wake?.removeEventListener('online', end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal.addEventListener('abort', end);
    wake?.addEventListener('online', end);
  });
}

export function keptDeltas(call: Call): Keeping {
  async function* read(response: Response, after: number): AsyncGenerator<Delta> {
    const body = bodyOf(response);
    if (body) yield* eventDeltas(events(body), after);
  }
  const path = (id: string) => `/v1/responses/${encodeURIComponent(id)}`;
  return {
    async *begin(request, signal) {
      const body = JSON.stringify({ ...request, stream: true, store: true, background: true, explain: true });
      yield* read(await call('/v1/responses', { method: 'POST', body, signal }), -1);
    },
    async *resume({ id, seq }, signal) {
      yield* read(await call(`${path(id)}?stream=true&starting_after=${seq}`, { signal }), seq);
    },
    cancel: async (id) => void (await call(`${path(id)}/cancel`, { method: 'POST' })),
    forget: async (id) => void (await call(path(id), { method: 'DELETE' })),
  };
}

const LAST = new Set(['response.completed', 'response.incomplete', 'response.failed']);

/** A response's events as deltas. Those numbered up to `after` were told before. Throws a `Problem` when it breaks off or has failed. */
export async function* eventDeltas(source: AsyncIterable<string>, after: number): AsyncGenerator<Delta> {
  let ended = false;
  for await (const data of source) {
    if (ended) continue; // to the body's end: one that is left early is a cancelled request to the browser
    let event: unknown;
    try {
      event = JSON.parse(data);
    } catch {
      throw brokenOff();
    }
    if (!isRecord(event) || typeof event.type !== 'string') continue;
    if (event.error && event.sequence_number === undefined) throw problemOf(500, data, null);
    const seq = typeof event.sequence_number === 'number' ? event.sequence_number : after;
    ended = LAST.has(event.type);
    if (seq <= after && !ended) continue;
    yield* deltasOfEvent(event, seq);
    yield { type: 'seq', seq };
  }
  if (!ended) throw brokenOff();
}

function* deltasOfEvent(event: Record<string, unknown>, seq: number): Generator<Delta> {
  const response = isRecord(event.response) ? event.response : {};
  const item = isRecord(event.item) ? event.item : {};
  const index = count(event.output_index);
  switch (event.type) {
    case 'response.created':
      if (typeof response.id === 'string') yield { type: 'kept', kept: { id: response.id, seq } };
      return;
    case 'response.output_text.delta':
    case 'response.reasoning_text.delta':
      if (typeof event.delta === 'string' && event.delta) yield { type: 'text', text: event.delta };
      return;
    case 'response.output_item.added':
      if (item.type === 'reasoning') yield { type: 'text', text: '<think>' }; // kept with the answer, between tags
      if (item.type === 'function_call') yield { type: 'tool', index, id: String(item.call_id), name: String(item.name) };
      return;
    case 'response.reasoning_text.done':
      yield { type: 'text', text: '</think>\n\n' };
      return;
    case 'response.function_call_arguments.delta':
      if (typeof event.delta === 'string') yield { type: 'tool', index, arguments: event.delta };
      return;
    case 'response.failed':
      throw failed(response.error);
    case 'response.completed':
    case 'response.incomplete':
      yield* ending(response);
  }
}

function* ending(response: Record<string, unknown>): Generator<Delta> {
  if (isRecord(response.usage)) {
    const { usage } = response;
    const details = isRecord(usage.input_tokens_details) ? usage.input_tokens_details : {};
    const counts = { prompt: count(usage.input_tokens), completion: count(usage.output_tokens), cached: count(details.cached_tokens) };
    yield { type: 'usage', usage: counts };
  }
  if (isRecord(response.turnstone)) yield timingOf(response.turnstone);
  const reason = response.status === 'cancelled' ? 'cancelled' : response.status === 'incomplete' ? 'length' : 'stop';
  yield { type: 'finish', reason };
}

/**
 * The error of a response that failed on its way: the API gives it few codes, its message says the rest. It has ended: listening
 * again would only hear the same.
 */
function failed(error: unknown): Problem {
  const { code, message } = isRecord(error) ? error : {};
  const full = typeof message === 'string' && /context (is|of) \d+/.test(message);
  const body = JSON.stringify({ error: { message, code: full ? 'context_length_exceeded' : code } });
  const { transient: _, ...info } = problemOf(full ? 400 : code === 'rate_limit_exceeded' ? 429 : 500, body, null).info;
  return new Problem(info);
}

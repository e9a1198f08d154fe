/** The one crossing into a replica. */

import type { Context } from 'hono';
import { ApiError, ELSEWHERE, serverOverloaded } from '../openai/errors.ts';
import { admit, type Generation, giveBack, type Place } from './admission.ts';
import type { App } from './host.ts';
import { isOverloaded, saysRetryable } from './retry.ts';
import { checkRoom, noteRoom } from './room.ts';
import { within } from './trace/request.ts';
import type { Span } from './trace/trace.ts';

/**
 * Calls the replica: GET without a body, POST with one. Its response is passed through as it comes; the client's disconnect goes
 * in with the signal. A call that failed before any response, and that the platform says may be repeated, is repeated once.
 */
export const callReplica = (c: Context<App>, path: string, body?: unknown, place?: Place): Promise<Response> =>
  within(c, 'replica', (span) => callIn(c, span, path, body, place));

async function callIn(c: Context<App>, span: Span | undefined, path: string, body?: unknown, place?: Place): Promise<Response> {
  const headers: Record<string, string> = {
    'x-turnstone-tenant': c.get('tenant') ?? 'public',
    'x-turnstone-request': c.get('requestId'),
    ...(span && { traceparent: span.traceparent }),
  };
  if (place) {
    headers['x-turnstone-replica'] = place.replica;
    headers['x-turnstone-epoch'] = String(place.epoch);
    if (place.slots !== undefined) headers['x-turnstone-slots'] = String(place.slots);
  }
  const model = place?.model ?? c.get('model');
  const init: RequestInit = { headers, signal: c.req.raw.signal };
  if (body !== undefined) {
    headers['content-type'] = 'application/json';
    init.method = 'POST';
    init.body = JSON.stringify(body);
  }
  for (let tries = 1; ; tries++) {
    try {
      const response = await c.env.replica(place?.replica ?? '0', model).fetch(`https://replica${path}`, init);
      const shown = new Response(response.body, response); // with headers that may be added to
      noteRoom(model, shown.headers);
      return shown;
    } catch (error) {
      if (c.req.raw.signal.aborted)
        throw new ApiError(499, 'The client closed the request.', { code: 'client_closed_request', cause: error });
      if (isOverloaded(error)) throw serverOverloaded('The replica is overloaded.');
      if (!saysRetryable(error) || tries === 2) throw error;
    }
  }
}

/** The pages of a conversation, from the replica that most likely holds them; they take a turn in the queue as answers do. */
export async function pagesOn(c: Context<App>, path: string, request: Generation): Promise<Response> {
  checkRoom(c, request);
  const place = await admit(c, request, true);
  try {
    return await callReplica(c, path, request, place);
  } finally {
    await giveBack(c, place, false);
  }
}

/** So long it takes until the queue knows that a replica's process has ended. */
const LEARN_MS = 200;
const PLACES = 4;
/** Replicas in one isolate that may say so, one after the other. */
const MOST_ELSEWHERE = 64;

/**
 * A generation: a place in the queue first, then its replica; another place when the replica was gone before it said anything, or says
 * that another one computes in its isolate.
 */
export async function generateOn(c: Context<App>, path: string, request: Generation): Promise<Response> {
  checkRoom(c, request);
  let elsewhere = 0;
  for (let tries = 1; ; tries++) {
    const place = await admit(c, request);
    try {
      const response = await callReplica(c, path, request, place);
      if (place && response.headers.has(ELSEWHERE) && ++elsewhere < MOST_ELSEWHERE) {
        await response.body?.cancel();
        tries--; // the queue knows
        continue;
      }
      if (!response.ok) await giveBack(c, place, response.status >= 500); // refused before it ran
      return response;
    } catch (error) {
      await giveBack(c, place, !c.req.raw.signal.aborted);
      if (!place || error instanceof ApiError || tries === PLACES) throw error;
      await c.env.clock.sleep(LEARN_MS);
    }
  }
}

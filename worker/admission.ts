/** A place in the queue, before the replica is called. */

import type { Context } from 'hono';
import { chainTokens, messageChain } from '../durable-objects/scheduler/chain.ts';
import { schedulerOf } from '../durable-objects/scheduler/port.ts';
import { ApiError, refused } from '../openai/errors.ts';
import type { ChatRequest, CompletionRequest, ResponsesRequest } from '../openai/requests/types.ts';
import type { App } from './env.ts';

export type Generation = ChatRequest | CompletionRequest | ResponsesRequest;

/** Which replica, and the lease it runs under. */
export interface Place {
  replica: string;
  epoch: number;
}

/**
 * Waits for the scheduler's answer; undefined when nothing schedules. Throws 429 with Retry-After when it refuses, and gives the
 * place back when the client leaves.
 */
export async function admit(c: Context<App>, request: Generation): Promise<Place | undefined> {
  const { SCHEDULER } = c.env;
  if (!SCHEDULER) return undefined;
  const id = c.get('requestId');
  const tenant = c.get('tenant');
  const { signal } = c.req.raw;
  const chain = await chainOf(tenant, request);
  const ask = { id, tenant, priority: request.priority, promptTokens: chainTokens(chain), chain, restart: false };
  const gone = new Promise<never>((_, reject) => {
    const leave = () => reject(new ApiError(499, 'The client closed the request.', { code: 'client_closed_request' }));
    if (signal.aborted) leave();
    else signal.addEventListener('abort', leave);
  });
  gone.catch(() => {});
  const scheduler = () => schedulerOf({ SCHEDULER });
  try {
    for (;;) {
      const answer = await Promise.race([again(() => scheduler().admit(ask)), gone]);
      if (answer.kind === 'wait') continue;
      if (answer.kind === 'run') return answer;
      throw refused(answer);
    }
  } catch (error) {
    if (signal.aborted) c.executionCtx.waitUntil(scheduler().cancel(id));
    throw error;
  }
}

/** The request never ran: its place is free again. `failed`: the replica is at fault, it was not reached or broke. */
export async function giveBack(c: Context<App>, place: Place | undefined, failed: boolean): Promise<void> {
  const { SCHEDULER } = c.env;
  if (!SCHEDULER || !place) return;
  const ended = { id: c.get('requestId'), epoch: place.epoch, output: 0, failed };
  await schedulerOf({ SCHEDULER })
    .release([ended])
    .catch(() => {});
}

/** A scheduler that was evicted under the call has forgotten nothing: the same id finds its place. */
async function again<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch {
    return call();
  }
}

function chainOf(tenant: string, r: Generation) {
  if (r.kind === 'completion') return messageChain([tenant, r.model, r.cacheSalt], r.prompts);
  return messageChain([tenant, r.model, r.cacheSalt, r.tools], r.messages);
}

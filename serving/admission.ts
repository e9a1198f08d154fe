/** A place in the queue, before the replica is called. */

import type { Context } from 'hono';
import { ApiError, refused } from '../openai/errors.ts';
import type { ChatRequest, CompletionRequest, ResponsesRequest } from '../openai/requests/types.ts';
import { cellOf } from '../policy/cells.ts';
import { MAX_LINKS } from '../policy/chains.ts';
import type { Lane } from '../policy/config.ts';
import { type AdmitRequest, MAX_PROMPT, MAX_WAITED_MS } from '../policy/ticket.ts';
import { BYTES_PER_TOKEN, chainTokens, messageChain } from './chain.ts';
import type { App } from './host.ts';
import { loadModel } from './models.ts';
import { again } from './retry.ts';
import { within } from './trace/request.ts';
import type { Span } from './trace/trace.ts';

export type Generation = ChatRequest | CompletionRequest | ResponsesRequest;

/** Which replica, and the lease it runs under. */
export interface Place {
  /** Whose replica; the request's model unless given. */
  model?: string;
  replica: string;
  epoch: number;
  /** Sequences that may be computed at once. */
  slots?: number;
}

/**
 * Waits for the scheduler's answer; undefined when nothing schedules. Throws 429 with Retry-After when it refuses, and gives the
 * place back when the client leaves. `held`: nothing is computed, who holds most of the prompt answers.
 */
export async function admit(c: Context<App>, request: Generation, held = false): Promise<Place | undefined> {
  if (!c.env.queue) return undefined;
  const chain = await chainOf(c.get('tenant'), request);
  const sequences = request.n * (request.kind === 'completion' ? request.prompts.length : 1);
  return ask(c, {
    priority: request.priority,
    promptTokens: chainTokens(chain),
    chain: chain.slice(-MAX_LINKS),
    sequences,
    ...(held && { held }),
  });
}

/**
 * Work that takes no slot but a thread that others share, in its turn and under its key's limits. `bytes` of text; `work` is called
 * when it may begin.
 */
export async function errand(c: Context<App>, lane: Lane, bytes: number, work: () => Promise<Response>): Promise<Response> {
  const promptTokens = Math.min(MAX_PROMPT, Math.ceil(bytes / BYTES_PER_TOKEN));
  const place = await ask(c, { priority: 0, promptTokens, chain: [], lane });
  try {
    return await work();
  } finally {
    const back = giveBack(c, place, false);
    if (place) c.executionCtx.waitUntil(back);
  }
}

const ask = (c: Context<App>, what: Omit<AdmitRequest, 'id' | 'tenant' | 'restart'>): Promise<Place | undefined> =>
  c.env.queue ? within(c, 'queue', (span) => askIn(c, span, what)) : Promise.resolve(undefined);

/** The cell that the request is of. */
const cellHere = (c: Context<App>): number => cellOf(c.get('tenant'), c.get('requestId'), c.env.vars);

async function askIn(
  c: Context<App>,
  span: Span | undefined,
  what: Omit<AdmitRequest, 'id' | 'tenant' | 'restart'>,
): Promise<Place | undefined> {
  const { queue } = c.env;
  if (!queue) return undefined;
  const id = c.get('requestId');
  const { signal } = c.req.raw;
  /** Its rate limit takes from a key once, however often it asks: again after a while, at another place, of a queue that began anew. */
  const asked = (): AdmitRequest => {
    const now = c.env.clock.now();
    const since = c.get('queuedAt');
    if (since === undefined) c.set('queuedAt', now);
    const waited = since !== undefined && { waitedMs: Math.min(MAX_WAITED_MS, Math.max(0, Math.round(now - since))) };
    return { ...what, id, tenant: c.get('tenant'), restart: false, ...waited };
  };
  const gone = new Promise<never>((_, reject) => {
    const leave = () => reject(new ApiError(499, 'The client closed the request.', { code: 'client_closed_request' }));
    if (signal.aborted) leave();
    else signal.addEventListener('abort', leave);
  });
  gone.catch(() => {});
  try {
    for (;;) {
      const answer = await Promise.race([again(() => queue(c.get('model'), cellHere(c)).admit(asked(), span?.traceparent)), gone]);
      if (answer.kind === 'wait') {
        await loadModel(c.env, c.get('model')); // it may have been unloaded just then
        continue;
      }
      if (answer.kind === 'run') return answer;
      throw refused(answer);
    }
  } catch (error) {
    if (signal.aborted) c.executionCtx.waitUntil(queue(c.get('model'), cellHere(c)).cancel(id));
    throw error;
  }
}

/** The request never ran: its place is free again. `failed`: the replica is at fault, it was not reached or broke. */
export async function giveBack(c: Context<App>, place: Place | undefined, failed: boolean): Promise<void> {
  const { queue } = c.env;
  if (!queue || !place) return;
  const ended = { id: c.get('requestId'), epoch: place.epoch, output: 0, failed };
  await again(() => queue(c.get('model'), cellHere(c)).release([ended])).catch((error) =>
    console.warn('a place was not given back:', error),
  );
}

function chainOf(tenant: string, r: Generation) {
  if (r.kind === 'completion') return messageChain([tenant, r.model, r.cacheSalt], r.prompts);
  return messageChain([tenant, r.model, r.cacheSalt, r.tools], r.messages);
}

/** The one crossing into a replica. */

import type { Context } from 'hono';
import { ApiError, serverOverloaded } from '../openai/errors.ts';
import type { App } from './env.ts';

/** What Durable Objects say of a failed call. */
interface CallError {
  retryable?: boolean;
  overloaded?: boolean;
}

/**
 * Calls the replica: GET without a body, POST with one. Its response is passed through as it comes; the client's disconnect goes
 * in with the signal. A call that failed before any response, and that the platform says may be repeated, is repeated once.
 */
export async function callReplica(c: Context<App>, path: string, body?: unknown): Promise<Response> {
  const headers: Record<string, string> = {
    'x-turnstone-tenant': c.get('tenant') ?? 'public',
    'x-turnstone-request': c.get('requestId'),
  };
  const init: RequestInit = { headers, signal: c.req.raw.signal };
  if (body !== undefined) {
    headers['content-type'] = 'application/json';
    init.method = 'POST';
    init.body = JSON.stringify(body);
  }
  for (let tries = 1; ; tries++) {
    // A stub that has failed stays broken, so every try takes a new one.
    const stub = c.env.REPLICA.get(c.env.REPLICA.idFromName('replica-0'));
    try {
      const response = await stub.fetch(`https://replica${path}`, init);
      return new Response(response.body, response); // the same stream, with headers that may be added to
    } catch (error) {
      if (c.req.raw.signal.aborted)
        throw new ApiError(499, 'The client closed the request.', { code: 'client_closed_request', cause: error });
      const { retryable, overloaded } = (typeof error === 'object' && error !== null ? error : {}) as CallError;
      if (overloaded) throw serverOverloaded('The replica is overloaded.');
      if (!retryable || tries === 2) throw error;
    }
  }
}

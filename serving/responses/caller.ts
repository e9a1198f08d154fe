/** Who asks the Responses API, and what its parts share. */

import { type ApiError, badRequest } from '../../openai/errors.ts';
import type { Item } from '../../openai/requests/item-types.ts';
import type { ResponseKeeper } from './types.ts';

/** Who asks, and where their sessions are. */
export interface Caller {
  tenant: string;
  /** The session of that name (ids.ts). Absent where nothing is stored. */
  session?: (name: string) => ResponseKeeper;
  /** Key of the seals in ids (ids.ts). */
  secret: () => Promise<string>;
  /** The `traceparent` of a request that is traced. */
  trace?: string;
  /** The client's own name of its request (`Idempotency-Key`): asked again with it, it is the same response. */
  key?: string;
}

/** The session of that name. Throws where none are kept. */
export function keeperOf(caller: Caller, name: string): ResponseKeeper {
  if (!caller.session) throw storesNothing();
  return caller.session(name);
}

export const storesNothing = (): ApiError =>
  badRequest("This server stores no responses; leave out 'store', 'background', 'conversation' and 'previous_response_id'.", 'store');

/** A page of a list: `limit`, `order`, `after`, as the query asks. */
export function pageOf(all: readonly Item[], http: Request): Response {
  const query = new URL(http.url).searchParams;
  const items = query.get('order') === 'asc' ? all : [...all].reverse();
  const limit = Number(query.get('limit') ?? 20);
  if (!Number.isInteger(limit) || limit < 1 || limit > 100) throw badRequest("'limit' must be an integer in 1..100.", 'limit');
  const after = query.get('after');
  const from = after === null ? 0 : items.findIndex((item) => item.id === after) + 1;
  const data = items.slice(from, from + limit);
  return Response.json({
    object: 'list',
    data,
    first_id: data[0]?.id ?? '',
    last_id: data.at(-1)?.id ?? '',
    has_more: from + limit < items.length,
  });
}

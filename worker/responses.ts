/** The Responses API. A stored response belongs to its session, which generates it whoever listens; others go to the replica directly. */

import { type Context, Hono } from 'hono';
import { newResponseId, newSessionId, sessionName, sessionOf } from '../durable-objects/session/ids.ts';
import { readLines } from '../durable-objects/session/lines.ts';
import { openSession, type SessionPort } from '../durable-objects/session/port.ts';
import type { Json, SessionEvent, StoredResponse } from '../durable-objects/session/types.ts';
import { ApiError, badRequest, internalError, modelNotFound, rateLimited } from '../openai/errors.ts';
import { type Item, itemMessages, withIds } from '../openai/requests/items.ts';
import { parseResponses } from '../openai/requests/responses.ts';
import type { ResponsesRequest } from '../openai/requests/types.ts';
import { refused } from './admission.ts';
import { readJson } from './body.ts';
import { type App, maxBodyBytes } from './env.ts';
import { generateOn } from './replica.ts';
import { responseStream } from './response-stream.ts';
import { stored } from './stored.ts';

/** A turn is a row of SQLite's, of which the platform takes 2 MB; a character may be three bytes. */
const MAX_STORED = 600_000;

type Ctx = Context<App>;

export function responses(): Hono<App> {
  const app = new Hono<App>();
  app.post('/', create);
  app.get('/:id', retrieve);
  app.delete('/:id', async (c) => {
    const id = c.req.param('id');
    if (!(await sessionFor(c, id).remove(id))) throw responseNotFound(id);
    return c.json({ id, object: 'response', deleted: true });
  });
  app.post('/:id/cancel', async (c) => {
    const id = c.req.param('id');
    const found = await sessionFor(c, id).cancel(id);
    if (!found) throw responseNotFound(id);
    return c.json(stored(found.response, found.text));
  });
  app.get('/:id/input_items', listInput);
  return app;
}

async function create(c: Ctx): Promise<Response> {
  const request = parseResponses(await readJson(c.req.raw, maxBodyBytes(c.env)));
  const served = c.env.MODEL_ID;
  if (served && request.model !== served) throw modelNotFound(request.model, served);
  const store = request.store ?? c.env.SESSION !== undefined;
  if (!store && !request.background) return direct(c, request);

  const previous = request.previousResponseId;
  const session = previous === undefined ? newSessionId() : sessionOf(previous);
  if (session === undefined) throw previousNotFound(previous);
  const stub = openSession(namespace(c), sessionName(c.get('tenant'), session));
  const id = newResponseId(session);
  const { input, echo, ...rest } = request;
  const turn = {
    id,
    previous,
    tenant: c.get('tenant'),
    model: request.model,
    input: withIds(input, id) as unknown as Json[],
    request: rest as unknown as Json,
    echo: { ...echo, store: true } as Json,
    priority: request.priority,
    seed: request.sampling.seed,
  };
  if (JSON.stringify(turn).length > MAX_STORED) {
    throw badRequest("The input is too long to be stored; send less, or 'store': false.", 'input', 'string_above_max_length');
  }
  const begun = await stub.begin(turn);
  if (!begun.ok) {
    if (begun.why === 'refused') throw refused(begun);
    if (begun.why === 'previous_not_found') throw previousNotFound(previous);
    if (begun.why === 'previous_not_finished') throw badRequest('The previous response has not ended yet.', 'previous_response_id');
    throw internalError(`session: ${begun.why}`);
  }
  if (request.stream) return responseStream(stub, await known(stub, id), -1);
  return Response.json(request.background ? await current(stub, id) : await ended(stub, id));
}

/** Nothing is stored: the history, if any, is read from its session, and the replica answers. */
async function direct(c: Ctx, request: ResponsesRequest): Promise<Response> {
  const previous = request.previousResponseId;
  const history: Item[] = [];
  let previousFingerprint: string | undefined;
  if (previous !== undefined) {
    const stub = sessionFor(c, previous, previousNotFound);
    const [items, found] = await Promise.all([stub.inputItems(previous), stub.get(previous)]);
    if (!items || !found) throw previousNotFound(previous);
    previousFingerprint = found.response.fingerprint ?? undefined;
    history.push(...(items as unknown as Item[]), ...(found.response.output as unknown as Item[]));
  }
  const { input, instructions, ...rest } = request;
  const echo = { ...request.echo, store: false };
  const messages = itemMessages([...history, ...input], instructions);
  return generateOn(c, '/v1/responses', { ...rest, echo, input: [], messages, previousFingerprint });
}

async function retrieve(c: Ctx): Promise<Response> {
  const id = c.req.param('id')!;
  const stub = sessionFor(c, id);
  const response = await known(stub, id);
  if (c.req.query('stream') !== 'true') return Response.json(await current(stub, id));
  const after = c.req.query('starting_after') ?? c.req.header('last-event-id') ?? '-1';
  if (!/^(-1|[0-9]{1,9})$/.test(after)) throw badRequest("'starting_after' must be the number of an event.", 'starting_after');
  return responseStream(stub, response, Number(after));
}

async function listInput(c: Ctx): Promise<Response> {
  const id = c.req.param('id')!;
  const all = (await sessionFor(c, id).inputItems(id)) as unknown as Item[] | undefined;
  if (!all) throw responseNotFound(id);
  const items = c.req.query('order') === 'asc' ? all : [...all].reverse();
  const limit = Number(c.req.query('limit') ?? 20);
  if (!Number.isInteger(limit) || limit < 1 || limit > 100) throw badRequest("'limit' must be an integer in 1..100.", 'limit');
  const after = c.req.query('after');
  const from = after === undefined ? 0 : items.findIndex((item) => item.id === after) + 1;
  const data = items.slice(from, from + limit);
  return c.json({
    object: 'list',
    data,
    first_id: data[0]?.id ?? '',
    last_id: data.at(-1)?.id ?? '',
    has_more: from + limit < items.length,
  });
}

async function known(stub: SessionPort, id: string): Promise<StoredResponse> {
  const found = await stub.get(id);
  if (!found) throw responseNotFound(id);
  return found.response;
}

async function current(stub: SessionPort, id: string): Promise<Record<string, unknown>> {
  const found = await stub.get(id);
  if (!found) throw responseNotFound(id);
  return stored(found.response, found.text);
}

/** Waits for the end. A turn that the queue refused is refused to the client too. */
async function ended(stub: SessionPort, id: string): Promise<Record<string, unknown>> {
  const events = await stub.fetch(`https://session/events?response=${id}&after=1000000000`); // the end alone
  if (!events.ok || !events.body) throw responseNotFound(id);
  for await (const line of readLines(events.body)) {
    const event = JSON.parse(line) as SessionEvent;
    if (!('end' in event)) continue;
    const error = event.response.error as { type?: string; message?: string; retry_after?: number; code?: string } | null;
    if (event.end === 'failed' && error?.type === 'rate_limit_error') throw rateLimited(error.retry_after ?? 1);
    if (event.end === 'failed' && error?.type === 'invalid_request_error') {
      throw new ApiError(400, String(error.message), { code: error.code });
    }
  }
  return current(stub, id);
}

function namespace(c: Ctx): DurableObjectNamespace {
  if (!c.env.SESSION)
    throw badRequest("This server stores no responses; leave out 'store', 'background' and 'previous_response_id'.", 'store');
  return c.env.SESSION;
}

/** The session that holds a response, if it is this tenant's; the name of another's leads to an empty object. */
function sessionFor(c: Ctx, id: string | undefined, missing: (id: string | undefined) => ApiError = responseNotFound): SessionPort {
  const session = sessionOf(id ?? '');
  if (session === undefined) throw missing(id);
  return openSession(namespace(c), sessionName(c.get('tenant'), session));
}

const responseNotFound = (id: string | undefined): ApiError =>
  new ApiError(404, `Response with id '${(id ?? '').slice(0, 80)}' not found.`, { param: 'response_id', code: 'not_found' });

const previousNotFound = (id: string | undefined): ApiError =>
  badRequest(`Previous response with id '${(id ?? '').slice(0, 80)}' not found.`, 'previous_response_id', 'previous_response_not_found');

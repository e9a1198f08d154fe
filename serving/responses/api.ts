/**
 * The Responses API over sessions, wherever they are kept. A stored response belongs to its session, which generates it whoever
 * listens; others are generated directly. Everything here throws ApiError.
 */

import { ApiError, badRequest, internalError, rateLimited, refused } from '../../openai/errors.ts';
import type { Item } from '../../openai/requests/item-types.ts';
import { itemMessages, withIds } from '../../openai/requests/items.ts';
import type { ResponsesRequest } from '../../openai/requests/types.ts';
import { type Caller, keeperOf, pageOf, storesNothing } from './caller.ts';
import { isItems } from './conversation.ts';
import { conversationLocked, conversationNotFound, findConversation } from './conversations.ts';
import { keyedIds, newResponseId, newSessionId, ownSession, sealOf, sessionName } from './ids.ts';
import { readLines } from './ndjson.ts';
import { resolveItems } from './resolve.ts';
import { storedResponseObject } from './response-object.ts';
import { responseStream } from './response-stream.ts';
import type { BeginAnswer, BeginRequest, ResponseKeeper, SessionEvent, StoredResponse } from './types.ts';

/** A turn is a row of SQLite's, of which the platform takes 2 MB; a character may be three bytes. */
const MAX_STORED = 600_000;

/** POST /v1/responses. `direct` answers a request that nobody keeps: its messages are filled in. */
export async function createResponse(
  caller: Caller,
  request: ResponsesRequest,
  direct: (request: ResponsesRequest) => Promise<Response>,
): Promise<Response> {
  const store = request.store ?? caller.session !== undefined;
  if (!store && !request.background) return direct(await unstored(caller, request));

  const previous = request.previousResponseId;
  if (!caller.session) throw storesNothing();
  const secret = await caller.secret();
  const conversation = request.conversation === undefined ? undefined : await findConversation(caller, request.conversation);
  const before = previous === undefined ? conversation?.session : ownSession(secret, caller.tenant, previous);
  if (previous !== undefined && before === undefined) throw previousNotFound(previous);
  const { session, id } = newIds(secret, caller, before);
  const stub = open(caller, session);
  const { input: given, echo, ...rest } = request;
  const input = await resolveItems(caller, given);
  const turn = {
    id,
    previous,
    conversation: conversation?.root,
    tenant: caller.tenant,
    model: request.model,
    input: withIds(input, id),
    request: rest,
    echo: { ...echo, store: true },
    priority: request.priority,
    seed: request.sampling.seed,
  };
  if (JSON.stringify(turn).length > MAX_STORED) {
    throw badRequest("The input is too long to be stored; send less, or 'store': false.", 'input', 'string_above_max_length');
  }
  let begun = await begin(stub, turn, caller.trace);
  if (!begun.ok && begun.why === 'exists' && caller.key !== undefined) begun = await beginAgain(stub, turn, caller.trace);
  if (!begun.ok) {
    if (begun.why === 'refused') throw refused(begun);
    if (begun.why === 'conversation_locked') throw conversationLocked();
    if (begun.why === 'conversation_not_found') throw conversationNotFound(request.conversation ?? '');
    if (begun.why === 'previous_not_found') throw previousNotFound(previous);
    if (begun.why === 'earlier_deleted') throw earlierDeleted(previous, 'previous_response_id');
    if (begun.why === 'previous_not_finished') throw badRequest('The previous response has not ended yet.', 'previous_response_id');
    if (begun.why === 'too_long') {
      const message = 'The conversation is too long to be kept: begin a new one, or go on from an earlier response.';
      throw badRequest(message, previous === undefined ? 'input' : 'previous_response_id', 'context_length_exceeded');
    }
    throw internalError(`session: ${begun.why}`);
  }
  if (request.stream) return responseStream(stub, await known(stub, id), -1);
  return Response.json(request.background ? await current(stub, id) : await ended(stub, id));
}

/** The model of the response that this one goes on from, '' where there is none: what is wrong with it is told when it is begun. */
export async function modelBefore(caller: Caller, { previousResponseId: id }: ResponsesRequest): Promise<string> {
  const session = id !== undefined && caller.session && ownSession(await caller.secret(), caller.tenant, id);
  return session ? ((await open(caller, session).get(id))?.response.model ?? '') : '';
}

function newIds(secret: string, { tenant, key }: Caller, before: string | undefined): { session: string; id: string } {
  if (key !== undefined) return keyedIds(secret, tenant, key, before);
  const session = before ?? newSessionId();
  return { session, id: newResponseId(session, sealOf(secret, tenant, session)) };
}

/** The object fails when it cannot store: on a full disk, say. */
async function begin(stub: ResponseKeeper, turn: BeginRequest, trace?: string): Promise<BeginAnswer> {
  try {
    return await stub.begin(turn, trace);
  } catch (cause) {
    if (cause instanceof ApiError) throw cause;
    console.error('a response could not be stored:', cause);
    const message = "The response could not be stored; with 'store': false it need not be. Try again later.";
    throw new ApiError(503, message, { code: 'storage_failed', headers: { 'retry-after': '5' }, cause });
  }
}

/** A client's key is known: its response goes on, or is given again. One that failed is begun once more; another request is refused. */
async function beginAgain(stub: ResponseKeeper, turn: BeginRequest, trace?: string): Promise<BeginAnswer> {
  const found = await stub.get(turn.id);
  if (!found) return begin(stub, turn, trace);
  const asked = ({
    previous = null,
    model,
    input,
    request,
  }: { previous?: string | null } & Pick<BeginRequest, 'model' | 'input' | 'request'>) => JSON.stringify([previous, model, input, request]);
  const again = turn.conversation === undefined ? turn : { ...turn, previous: found.response.previous ?? undefined }; // it has gone on since
  if (asked(found.response) !== asked(again)) {
    throw badRequest("This 'Idempotency-Key' was sent before with another request; draw a new one.", undefined, 'idempotency_key_reused');
  }
  if (found.response.status !== 'failed') return { ok: true };
  await stub.remove(turn.id);
  return begin(stub, turn, trace);
}

/** The items that a request goes on from, oldest first, read from their session, and the model that gave the last of them. */
export async function historyOf(caller: Caller, request: ResponsesRequest): Promise<{ items: Item[]; fingerprint?: string }> {
  const { previousResponseId: previous, conversation } = request;
  if (conversation !== undefined) {
    const { keeper, root } = await findConversation(caller, conversation);
    const found = await keeper.converse(root, { do: 'get' });
    if (!found.ok) throw conversationNotFound(conversation);
    return { items: found.items };
  }
  if (previous === undefined) return { items: [] };
  const stub = await sessionFor(caller, previous, previousNotFound);
  const [items, found] = await Promise.all([stub.inputItems(previous), stub.get(previous)]);
  if (!found) throw previousNotFound(previous);
  if (!items) throw earlierDeleted(previous, 'previous_response_id');
  return { items: [...items, ...found.response.output], fingerprint: found.response.fingerprint ?? undefined };
}

/** The request with its history, if any, read from its session. */
async function unstored(caller: Caller, request: ResponsesRequest): Promise<ResponsesRequest> {
  const { items, fingerprint } = await historyOf(caller, request);
  const { input, instructions, ...rest } = request;
  const echo = { ...request.echo, store: false };
  const messages = itemMessages([...items, ...(await resolveItems(caller, input))], instructions);
  return { ...rest, echo, input: [], messages, previousFingerprint: fingerprint };
}

/** GET /v1/responses/{id}: as it stands, or with `stream=true` its events after `starting_after` or the Last-Event-ID. */
export async function retrieveResponse(caller: Caller, id: string, http: Request): Promise<Response> {
  const query = new URL(http.url).searchParams;
  const stub = await sessionFor(caller, id);
  const response = await known(stub, id);
  if (query.get('stream') !== 'true') return Response.json(await current(stub, id));
  const after = query.get('starting_after') ?? http.headers.get('last-event-id') ?? '-1';
  if (!/^(-1|[0-9]{1,9})$/.test(after)) throw badRequest("'starting_after' must be the number of an event.", 'starting_after');
  return responseStream(stub, response, Number(after));
}

/** DELETE /v1/responses/{id} */
export async function deleteResponse(caller: Caller, id: string): Promise<Response> {
  const stub = await sessionFor(caller, id);
  await known(stub, id);
  if (!(await stub.remove(id))) throw responseNotFound(id);
  return Response.json({ id, object: 'response', deleted: true });
}

/** POST /v1/responses/{id}/cancel */
export async function cancelResponse(caller: Caller, id: string): Promise<Response> {
  const stub = await sessionFor(caller, id);
  await known(stub, id);
  const found = await stub.cancel(id);
  if (!found) throw responseNotFound(id);
  return Response.json(storedResponseObject(found.response, found.text));
}

/** GET /v1/responses/{id}/input_items */
export async function listInput(caller: Caller, id: string, http: Request): Promise<Response> {
  const stub = await sessionFor(caller, id);
  const all = await stub.inputItems(id);
  if (!all) throw (await stub.get(id)) ? earlierDeleted(id, 'response_id') : responseNotFound(id);
  return pageOf(all, http);
}

async function known(stub: ResponseKeeper, id: string): Promise<StoredResponse> {
  const found = await stub.get(id);
  if (!found || isItems(found.response)) throw responseNotFound(id);
  return found.response;
}

async function current(stub: ResponseKeeper, id: string): Promise<Record<string, unknown>> {
  const found = await stub.get(id);
  if (!found) throw responseNotFound(id);
  return storedResponseObject(found.response, found.text);
}

/** Waits for the end. A turn that the queue refused is refused to the client too. */
async function ended(stub: ResponseKeeper, id: string): Promise<Record<string, unknown>> {
  const events = await stub.fetch(`https://session/events?response=${id}&after=1000000000`); // the end alone
  if (!events.ok || !events.body) throw responseNotFound(id);
  for await (const line of readLines(events.body)) {
    const event = JSON.parse(line) as SessionEvent;
    if (!('end' in event)) continue;
    const error = event.response.error as { type?: string; message?: string; retry_after?: number; code?: string; param?: string } | null;
    if (event.end === 'failed' && error?.type === 'rate_limit_error') throw rateLimited(error.retry_after ?? 1);
    if (event.end === 'failed' && error?.type === 'invalid_request_error') {
      throw new ApiError(400, String(error.message), { code: error.code, param: error.param });
    }
  }
  return current(stub, id);
}

const open = (caller: Caller, session: string): ResponseKeeper => keeperOf(caller, sessionName(caller.tenant, session));

/** The session that holds a response, if its id was given to this tenant: a guess wakes none. */
async function sessionFor(caller: Caller, id: string, missing: (id: string) => ApiError = responseNotFound): Promise<ResponseKeeper> {
  if (!caller.session) throw storesNothing();
  const session = ownSession(await caller.secret(), caller.tenant, id);
  if (session === undefined) throw missing(id);
  return open(caller, session);
}

const responseNotFound = (id: string | undefined): ApiError =>
  new ApiError(404, `Response with id '${(id ?? '').slice(0, 80)}' not found.`, { param: 'response_id', code: 'not_found' });

const earlierDeleted = (id: string | undefined, param: string): ApiError =>
  badRequest(
    `Response '${(id ?? '').slice(0, 80)}' goes on from one that was deleted or no longer kept, so that its conversation is not known any more. ` +
      "Send the whole conversation as 'input'.",
    param,
    'earlier_response_deleted',
  );

const previousNotFound = (id: string | undefined): ApiError =>
  badRequest(`Previous response with id '${(id ?? '').slice(0, 80)}' not found.`, 'previous_response_id', 'previous_response_not_found');

/** /v1/conversations over sessions. A conversation's id is that of the turn it begins with (conversation.ts). Everything here throws ApiError. */

import { ApiError, badRequest } from '../../openai/errors.ts';
import type { InputItem } from '../../openai/requests/item-types.ts';
import { withIds } from '../../openai/requests/items.ts';
import { type Caller, keeperOf, pageOf } from './caller.ts';
import { newResponseId, newSessionId, ownSession, sealOf, sessionName } from './ids.ts';
import { itemNotFound, resolveItems } from './resolve.ts';
import type { ConversationAnswer, ConversationOp, ResponseKeeper } from './types.ts';

const rootOf = (conversation: string): string => conversation.replace(/^conv_/, 'resp_');

export const conversationNotFound = (id: string): ApiError =>
  new ApiError(404, `Conversation with id '${id.slice(0, 80)}' not found.`, { param: 'conversation_id', code: 'not_found' });

export const conversationLocked = (): ApiError =>
  new ApiError(409, 'Another response of this conversation is still being generated; wait for its end, or cancel it.', {
    param: 'conversation',
    code: 'conversation_locked',
  });

/** Its session and first turn; an id that was not given to this tenant wakes nothing. */
export async function findConversation(caller: Caller, id: string): Promise<{ keeper: ResponseKeeper; session: string; root: string }> {
  const root = rootOf(id);
  const session = id.startsWith('conv_') ? ownSession(await caller.secret(), caller.tenant, root) : undefined;
  if (session === undefined) throw conversationNotFound(id);
  return { keeper: keeperOf(caller, sessionName(caller.tenant, session)), session, root };
}

async function converse(caller: Caller, id: string, op: ConversationOp): Promise<ConversationAnswer & { ok: true }> {
  const { keeper, root } = await findConversation(caller, id);
  return answered(id, await keeper.converse(root, op), 'item' in op ? op.item : '');
}

function answered(id: string, answer: ConversationAnswer, item = ''): ConversationAnswer & { ok: true } {
  if (answer.ok) return answer;
  if (answer.why === 'locked') throw conversationLocked();
  if (answer.why === 'item_not_found') throw itemNotFound(item);
  if (answer.why === 'too_long') throw badRequest('The conversation is too long to be kept.', 'items', 'context_length_exceeded');
  throw conversationNotFound(id);
}

const shown = (id: string, { created, metadata }: ConversationAnswer & { ok: true }) =>
  Response.json({ id, object: 'conversation', created_at: created, metadata });

/** POST /v1/conversations */
export async function createConversation(
  caller: Caller,
  request: { items: InputItem[]; metadata: Record<string, string> },
): Promise<Response> {
  const session = newSessionId();
  const keeper = keeperOf(caller, sessionName(caller.tenant, session));
  const root = newResponseId(session, sealOf(await caller.secret(), caller.tenant, session));
  const items = withIds(await resolveItems(caller, request.items), root);
  const id = root.replace(/^resp_/, 'conv_');
  return shown(id, answered(id, await keeper.converse(root, { do: 'create', tenant: caller.tenant, metadata: request.metadata, items })));
}

/** GET and POST /v1/conversations/{id} */
export const getConversation = async (caller: Caller, id: string): Promise<Response> =>
  shown(id, await converse(caller, id, { do: 'get' }));
export const updateConversation = async (caller: Caller, id: string, metadata: Record<string, string>): Promise<Response> =>
  shown(id, await converse(caller, id, { do: 'update', metadata }));

/** DELETE /v1/conversations/{id}: its items stay with their responses. */
export async function deleteConversation(caller: Caller, id: string): Promise<Response> {
  await converse(caller, id, { do: 'delete' });
  return Response.json({ id, object: 'conversation.deleted', deleted: true });
}

/** POST /v1/conversations/{id}/items */
export async function addItems(caller: Caller, id: string, given: readonly InputItem[]): Promise<Response> {
  const { session } = await findConversation(caller, id);
  const turn = newResponseId(session, sealOf(await caller.secret(), caller.tenant, session));
  const items = withIds(await resolveItems(caller, given), turn);
  await converse(caller, id, { do: 'add', id: turn, tenant: caller.tenant, items: items });
  return Response.json({ object: 'list', data: items, first_id: items[0]?.id ?? '', last_id: items.at(-1)?.id ?? '', has_more: false });
}

/** GET /v1/conversations/{id}/items */
export async function listItems(caller: Caller, id: string, http: Request): Promise<Response> {
  const { items } = await converse(caller, id, { do: 'get' });
  return pageOf(items, http);
}

/** GET /v1/conversations/{id}/items/{item} */
export async function getItem(caller: Caller, id: string, item: string): Promise<Response> {
  const { items } = await converse(caller, id, { do: 'get' });
  const found = items.find((i) => i.id === item);
  if (!found) throw itemNotFound(item);
  return Response.json(found);
}

/** DELETE /v1/conversations/{id}/items/{item}: answers with the conversation. */
export const deleteItem = async (caller: Caller, id: string, item: string): Promise<Response> =>
  shown(id, await converse(caller, id, { do: 'remove', item }));

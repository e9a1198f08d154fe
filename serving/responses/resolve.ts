/** Puts what is kept in the place of what stands for it: items for references, summaries for what `/v1/responses/compact` made. */

import { ApiError, badRequest } from '../../openai/errors.ts';
import type { InputItem, Item, MessageItem } from '../../openai/requests/item-types.ts';
import { outputText, responseOfItem } from '../../openai/requests/items.ts';
import type { Caller } from './caller.ts';
import { ownSession, sessionName } from './ids.ts';
import { open } from './seal.ts';
import type { ResponseKeeper, StoredResponse } from './types.ts';

/** Responses that the references of one request may be of: each is asked of its session. */
const MAX_RESPONSES = 64;

/** Throws 404 for an item that is gone, was never kept, or is another key's, and 400 for a summary that is not this server's. */
export async function resolveItems(caller: Caller, items: readonly InputItem[]): Promise<Item[]> {
  const turns = new Map<string, Promise<StoredResponse | undefined>>();
  const out: Item[] = [];
  for (const item of items) {
    if (item.type === 'item_reference') {
      const found = await referred(caller, item.id, turns);
      if (found.type !== 'reasoning') out.push(found); // a model is not told what it once thought
    } else if (item.type === 'compaction') {
      const summary = await open(await caller.secret(), caller.tenant, item.encrypted_content);
      if (summary === undefined) throw notOurs();
      foldUsers(out);
      out.push({ type: 'message', id: '', role: 'assistant', status: 'completed', content: [outputText(summary)] });
    } else out.push(item);
  }
  return out;
}

async function referred(caller: Caller, id: string, turns: Map<string, Promise<StoredResponse | undefined>>): Promise<Item> {
  const response = responseOfItem(id);
  const session = response && caller.session && ownSession(await caller.secret(), caller.tenant, response);
  if (!response || !session) throw itemNotFound(id);
  if (!turns.has(response)) {
    if (turns.size === MAX_RESPONSES) throw badRequest(`An input may refer to items of at most ${MAX_RESPONSES} responses.`, 'input');
    const keeper = (caller.session as (name: string) => ResponseKeeper)(sessionName(caller.tenant, session));
    turns.set(
      response,
      keeper.get(response).then((found) => found?.response),
    );
  }
  const turn = await turns.get(response);
  const found = [...(turn?.input ?? []), ...(turn?.output ?? [])].find((item) => item.id === id);
  if (!found) throw itemNotFound(id);
  return found;
}

/** What users said before a summary is one message: many templates want roles to alternate. */
function foldUsers(items: Item[]): void {
  let from = items.length;
  while (from > 0 && isUser(items[from - 1])) from--;
  const said = items.splice(from) as MessageItem[];
  if (said.length === 0) return;
  const text = said.flatMap((m) => m.content.map((c) => c.text)).join('\n');
  items.push({ ...said[0], content: [{ type: 'input_text', text }] });
}

const isUser = (item: Item): boolean => item.type === 'message' && item.role === 'user';

export const itemNotFound = (id: string): ApiError =>
  new ApiError(404, `Item with id '${id.slice(0, 120)}' not found.`, { param: 'input', code: 'not_found' });

const notOurs = (): ApiError =>
  badRequest("A 'compaction' item of the input was not made by this server for this key.", 'input', 'invalid_encrypted_content');

/**
 * A conversation is a chain of turns in one session. Its first turn is nobody's response: it holds the items that it was begun with,
 * and in its `echo` what the conversation is (`Head`). Items that are added later are turns of that kind too (`request` is null).
 */
import type { Item } from '../../openai/requests/item-types.ts';
import { branchTo, isOpen, itemsOf, newTurn, type Turns, tooLong } from './turns.ts';
import type { ConversationAnswer, ConversationOp, StoredResponse } from './types.ts';

/** What is needed of the place where the turns are kept. */
export interface ConversationTurns extends Pick<Turns, 'get' | 'update'> {
  insert(turn: StoredResponse): void;
}

type Head = {
  metadata: Record<string, string>;
  /** The last turn that belongs to it. */
  head: string;
  /** The response that goes on from there; it belongs to it once it has ended well. */
  pending: string | null;
};

/** Whether a turn is items that were added, and no response. */
export const isItems = (turn: Pick<StoredResponse, 'request'>): boolean => turn.request === null;

/** Where the conversation's next response goes on from. */
export function nextIn(
  turns: ConversationTurns,
  root: string,
): { ok: true; previous: string } | { ok: false; why: 'conversation_not_found' | 'conversation_locked' } {
  const head = settled(turns, root);
  if (!head || !branchTo(turns, head.head)) return { ok: false, why: 'conversation_not_found' };
  return head.pending === null ? { ok: true, previous: head.head } : { ok: false, why: 'conversation_locked' };
}

/** A response has begun that `nextIn` made room for. */
export function goesOn(turns: ConversationTurns, root: string, response: string): void {
  const head = headOf(turns, root);
  if (head) save(turns, root, { ...head, pending: response });
}

export function converse(turns: ConversationTurns, root: string, op: ConversationOp, now: number): ConversationAnswer {
  if (op.do === 'create') {
    if (tooLong([], op.items)) return { ok: false, why: 'too_long' };
    turns.insert(itemsTurn(root, undefined, op.tenant, op.items, now));
    save(turns, root, { metadata: op.metadata, head: root, pending: null });
    return conversationAt(turns, root);
  }
  const head = settled(turns, root);
  if (!head) return { ok: false, why: 'not_found' };
  if (op.do === 'delete') {
    const shown = conversationAt(turns, root);
    turns.update(root, { echo: null }); // its items stay, as those of responses do
    return shown;
  }
  if (op.do === 'update') save(turns, root, { ...head, metadata: op.metadata });
  if (op.do === 'add') {
    if (head.pending !== null) return { ok: false, why: 'locked' };
    const before = conversationAt(turns, root);
    if (!before.ok) return before;
    if (tooLong(before.items, op.items)) return { ok: false, why: 'too_long' };
    turns.insert(itemsTurn(op.id, head.head, op.tenant, op.items, now));
    save(turns, root, { ...head, head: op.id });
  }
  if (op.do === 'remove' && !remove(turns, head.head, op.item)) return { ok: false, why: 'item_not_found' };
  return conversationAt(turns, root);
}

function conversationAt(turns: ConversationTurns, root: string): ConversationAnswer {
  const head = headOf(turns, root);
  const branch = head && branchTo(turns, head.head);
  if (!head || !branch) return { ok: false, why: 'not_found' };
  return { ok: true, created: branch[0].created, metadata: head.metadata, items: itemsOf(branch) };
}

function remove(turns: ConversationTurns, last: string, item: string): boolean {
  const without = <T extends Item>(items: readonly T[]) => items.filter((i) => i.id !== item);
  for (const turn of branchTo(turns, last) ?? []) {
    const input = without(turn.input);
    const output = without(turn.output);
    if (input.length === turn.input.length && output.length === turn.output.length) continue;
    turns.update(turn.id, { input, output });
    return true;
  }
  return false;
}

function itemsTurn(id: string, previous: string | undefined, tenant: string, input: readonly Item[], now: number): StoredResponse {
  const turn = newTurn({ id, previous, tenant, model: '', input, request: null, echo: null, priority: 0 }, [0, 0], now);
  return { ...turn, status: 'completed', completed: turn.created };
}

const headOf = (turns: ConversationTurns, root: string): Head | undefined => {
  const turn = turns.get(root);
  return turn && isItems(turn) ? ((turn.echo as Head | null) ?? undefined) : undefined;
};

const save = (turns: ConversationTurns, root: string, head: Head): void => turns.update(root, { echo: head });

/** A response that has ended well is a part of it now, any other one that has ended is none. */
function settled(turns: ConversationTurns, root: string): Head | undefined {
  const head = headOf(turns, root);
  if (!head?.pending) return head;
  const turn = turns.get(head.pending);
  if (turn && isOpen(turn.status)) return head;
  const ended = turn && (turn.status === 'completed' || turn.status === 'incomplete');
  const next = { ...head, head: ended ? head.pending : head.head, pending: null };
  save(turns, root, next);
  return next;
}

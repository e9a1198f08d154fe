/** What a turn begins with and how it goes away, the same wherever turns are kept. */
import type { Item } from '../../openai/requests/item-types.ts';
import { type ConversationTurns, goesOn, isItems, nextIn } from './conversation.ts';
import { branchTo, isOpen, itemsOf, newTurn, type Turns, tooLong } from './turns.ts';
import { type BeginAnswer, type BeginRequest, type StoredResponse, textOf } from './types.ts';

/** The request under the turn that it goes on from, with all that was said before; or why it cannot begin. */
export function readHistory(
  turns: ConversationTurns,
  given: BeginRequest,
): { ok: true; request: BeginRequest; history: Item[] } | (BeginAnswer & { ok: false }) {
  if (turns.get(given.id)) return { ok: false, why: 'exists' };
  const next = given.conversation === undefined ? undefined : nextIn(turns, given.conversation);
  if (next && !next.ok) return next;
  const request = next ? { ...given, previous: next.previous } : given;
  let history: Item[] = [];
  if (request.previous) {
    const before = turns.get(request.previous);
    if (!before) return { ok: false, why: 'previous_not_found' };
    const branch = branchTo(turns, request.previous);
    if (!branch) return { ok: false, why: 'earlier_deleted' };
    if (isOpen(before.status)) return { ok: false, why: 'previous_not_finished' };
    history = itemsOf(branch);
  }
  return tooLong(history, request.input) ? { ok: false, why: 'too_long' } : { ok: true, request, history };
}

/** Keeps the turn, with a seed. */
export function insertTurn(turns: ConversationTurns, r: BeginRequest): void {
  // 53 bits: a client can ask for the same answer again with `seed`, a JSON number
  const [lo, hi] = crypto.getRandomValues(new Uint32Array(2));
  turns.insert(newTurn(r, r.seed ?? [lo!, hi! >>> 11], Date.now()));
  if (r.conversation !== undefined) goesOn(turns, r.conversation, r.id);
}

/** Input of the turn and of all before it, oldest first: what the model was shown. */
export function inputItems(turns: Pick<Turns, 'get'>, id: string): Item[] | undefined {
  const branch = branchTo(turns, id);
  return branch && [...itemsOf(branch.slice(0, -1)), ...branch.at(-1)!.input];
}

/** A turn as it stands, with the text committed so far. */
export function turnSoFar(turns: Pick<Turns, 'get' | 'tokens'>, id: string): { response: StoredResponse; text: string } | undefined {
  const response = turns.get(id);
  return response && { response, text: turns.tokens(id).text.map(textOf).join('') + response.tail };
}

/** Where turns can be erased. */
interface ErasableTurns extends Pick<Turns, 'get' | 'update'> {
  /** The turn, and what later turns hold of it. */
  erase(id: string): void;
  /** Its tokens alone. */
  eraseTokens(id: string): void;
}

/** Erases a turn that a client deleted. In a conversation its place stays, empty, since later ones go on from it. */
export function removeTurn(turns: ErasableTurns, id: string): void {
  const [root] = branchTo(turns, id) ?? [];
  if (!root || !isItems(root)) turns.erase(id);
  else {
    turns.eraseTokens(id);
    turns.update(id, { input: [], output: [], request: null, echo: null, tail: '' });
  }
}

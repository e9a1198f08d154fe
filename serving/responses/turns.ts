/** Turns, wherever they are kept. */
import type { Item } from '../../openai/requests/item-types.ts';
import type { BeginRequest, Commit, CommitAnswer, Piece, ResponseStatus, StoredResponse, Usage } from './types.ts';

/** What a running answer needs of the place where turns are kept. */
export interface Turns {
  get(id: string): StoredResponse | undefined;
  /**
   * Changes parts of a turn that is no longer running, or that its lease's holder changes. `prompt`: its ids, stored the first time;
   * later ones must be the same.
   */
  update(id: string, change: Partial<StoredResponse>, prompt?: readonly number[]): void;
  /** A new lease takes the turn over; the older ones are stale from now on. False: this one is itself stale, or the turn has ended. */
  claim(id: string, epoch: number): boolean;
  prompt(id: string): readonly number[];
  /** Tokens that are stored. */
  committed(id: string): number;
  /** Appends tokens under a lease. Tokens committed before are skipped, they are the same by construction. */
  commit(c: Commit): CommitAnswer;
  /** Committed tokens and the text each added. */
  tokens(id: string): { ids: number[]; text: Piece[] };
  /** The turn has ended: what only a second try needs may go. */
  compact?(id: string): void;
}

/** From the first turn to this one; undefined when one of them is gone. */
export function branchTo(turns: Pick<Turns, 'get'>, id: string): StoredResponse[] | undefined {
  const branch: StoredResponse[] = [];
  for (let at: string | null = id; at !== null; ) {
    const turn = turns.get(at);
    if (!turn) return undefined;
    branch.push(turn);
    at = turn.previous;
  }
  return branch.reverse();
}

/** What was said in these turns, oldest first. */
export const itemsOf = (turns: readonly StoredResponse[]): Item[] => turns.flatMap((t) => [...t.input, ...t.output]);

export const isOpen = (status: ResponseStatus): boolean => status === 'queued' || status === 'in_progress';

/** Items and characters of JSON that one conversation may have. */
const MAX_ITEMS = 4096;
const MAX_CHARS = 8 << 20;

/** Whether a conversation with this input is longer than is kept and given to a replica. */
export function tooLong(history: readonly Item[], input: readonly Item[]): boolean {
  if (history.length + input.length > MAX_ITEMS) return true;
  let chars = 0;
  for (const items of [history, input]) for (const item of items) if ((chars += JSON.stringify(item).length) > MAX_CHARS) return true;
  return false;
}

/** A turn as it begins. */
export function newTurn(
  { seed: _, conversation: _c, ...from }: BeginRequest,
  seed: readonly [number, number],
  now: number,
): StoredResponse {
  const usage: Usage = { prompt: 0, cached: 0, completion: 0 };
  return {
    ...from,
    previous: from.previous ?? null,
    created: Math.floor(now / 1000),
    completed: null,
    status: 'queued',
    fingerprint: null,
    recomputed: false,
    seed,
    epoch: 0,
    starts: [],
    finish: null,
    tail: '',
    output: [],
    error: null,
    usage,
  };
}

import type { Turn } from '../turns.ts';

/** Name of this place in figures, and the mark of answers that the server has not seen. */
export const HERE = 'this device';

/** The part of a chat that the server has seen: up to its last answer before the first one made here. */
export function seenByServer(turns: readonly Turn[]): Turn[] {
  const here = turns.findIndex((turn) => turn.role === 'assistant' && turn.stats.route === HERE);
  const before = here < 0 ? turns : turns.slice(0, here);
  return before.slice(0, before.findLastIndex((turn) => turn.role === 'assistant' && turn.text !== '') + 1);
}

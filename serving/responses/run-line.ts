import { isTransient } from '../../openai/errors.ts';
import type { Answer } from './answer.ts';
import type { Turns } from './turns.ts';
import type { RunLine } from './types.ts';

/**
 * Takes one line of what generates a turn. True when it was the last: the turn has ended. Throws when the generating side is at
 * fault, so that the rest may be tried again; a fault of the request ends the turn. `now` in ms.
 */
export function applyLine(turns: Turns, answer: Answer, line: RunLine, now: number): boolean {
  const { id, epoch } = answer;
  switch (line.type) {
    case 'start': {
      const turn = turns.get(id);
      const before = turn?.previous ? turns.get(turn.previous)?.fingerprint : undefined;
      // the first replica's count is what the client was spared; a restart restores pages for its own sake
      const cached = turn && turn.fingerprint === null ? line.cachedTokens : (turn?.usage.cached ?? 0);
      const change = {
        fingerprint: line.fingerprint,
        recomputed: before !== undefined && before !== null && before !== line.fingerprint,
        route: turn?.route ?? line.route,
        usage: { prompt: line.prompt.length, cached, completion: 0 },
      };
      turns.update(id, change, line.prompt);
      return false;
    }
    case 'tokens':
      answer.push({ response: id, epoch, from: line.from, ids: line.ids, text: line.text }, now);
      return false;
    case 'end':
      answer.end(line.finish === 'length' ? 'incomplete' : 'completed', { finish: line.finish, tail: line.tail, output: line.output });
      return true;
    case 'error':
      if (isTransient(line.status)) throw new Error(`replica: ${JSON.stringify(line.error)}`);
      answer.end('failed', { error: line.error });
      return true;
  }
}

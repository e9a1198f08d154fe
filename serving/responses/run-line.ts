import { ApiError, type ErrorEnvelope, isTransient } from '../../openai/errors.ts';
import type { OutputItem } from '../../openai/requests/item-types.ts';
import { outputOf } from '../../openai/stream/response-events.ts';
import { type Answer, eventOf } from './answer.ts';
import { metaOf } from './response-object.ts';
import type { Turns } from './turns.ts';
import type { Piece, RunLine, StoredResponse, TurnError } from './types.ts';

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
      answer.flush(now);
      answer.end(line.finish === 'length' ? 'incomplete' : 'completed', {
        ...{ finish: line.finish, tail: line.tail, timings: line.timings },
        output: scored(turns.get(id), turns.tokens(id).text, line) ?? line.output,
        cost: line.cost,
        notEnforced: line.notEnforced,
      });
      return true;
    case 'error':
      if (isTransient(line.status)) throw faultIn(line.status, line.error);
      answer.end('failed', { error: line.error });
      return true;
  }
}

/** The output with the log-probabilities of all its tokens, whoever generated them; undefined where none were asked for. */
function scored(
  turn: StoredResponse | undefined,
  pieces: readonly Piece[],
  line: RunLine & { type: 'end' },
): readonly OutputItem[] | undefined {
  const request = turn?.request;
  if (!turn || request?.sampling?.logprobs === undefined) return undefined;
  const held: unknown[] = [];
  const said = [...pieces, line.tail].flatMap((piece) => eventOf(piece, held) ?? []);
  const status = line.finish === 'length' ? 'incomplete' : 'completed';
  return outputOf(metaOf(turn), said, request, status);
}

/** What a replica said of itself. */
export function faultIn(status: number, { message = 'The replica failed.', type, code, param }: TurnError): ApiError {
  return new ApiError(status, message, {
    type: type as ErrorEnvelope['error']['type'],
    code: code ?? undefined,
    param: param ?? undefined,
  });
}

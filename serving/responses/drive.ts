/** Brings a turn to its end, however often what generates it goes away. */

import { isIsolateTaken, isTransient } from '../../openai/errors.ts';
import type { Item } from '../../openai/requests/item-types.ts';
import { sleep } from '../sleep.ts';
import type { Answer } from './answer.ts';
import { readLines } from './ndjson.ts';
import { applyLine, faultIn } from './run-line.ts';
import type { Turns } from './turns.ts';
import type { RunLine, RunOrder, TurnError } from './types.ts';

/** Starts without a single new token after which a turn is given up, and how long until the next, ms. */
const MAX_FAILURES = 5;
const BACKOFF_MS = 100;

/** The right to generate a turn, on a replica. */
export interface TurnLease extends Pick<RunOrder, 'session' | 'replica' | 'epoch'> {
  /** Of the conversation before this turn. */
  history: readonly Item[];
  /** Ends this go. */
  signal: AbortSignal;
}

/** Where turns are generated. */
export interface Place {
  /** Waits for a lease; undefined when the turn has ended, or is taken up again later. */
  lease(): Promise<TurnLease | undefined>;
  /** The lines of a generation (RunLine), or an error in the envelope. Rejects when the replica cannot be reached. */
  run(order: RunOrder, signal: AbortSignal): Promise<Response>;
  /** The lease was held to the end of the turn. */
  ended?(): Promise<void>;
  /** The replica went away before. */
  lost?(epoch: number): Promise<void>;
  /** What a turn that is given up says, by its last fault. */
  givenUp(fault: unknown): TurnError;
}

/** Settles when the turn has ended, was put off, or `signal` has aborted. Rejects with what the place rejects with. */
export async function drive(turns: Turns, answer: Answer, place: Place, signal: AbortSignal): Promise<void> {
  for (let failures = 0; answer.open && !signal.aborted; ) {
    const lease = await place.lease();
    if (!lease || !answer.claim(lease.epoch)) return;
    const before = answer.length;
    const fault = await attempt(turns, answer, place, lease);
    if (fault === undefined || signal.aborted) return;
    await place.lost?.(lease.epoch);
    failures = answer.length > before || isIsolateTaken(fault) ? 0 : failures + 1; // the queue knows of one whose isolate is taken
    if (failures >= MAX_FAILURES) return answer.end('failed', { error: place.givenUp(fault) });
    await sleep(BACKOFF_MS * 2 ** failures);
  }
}

/** One go. Undefined when the turn has ended or is another's; else why it has not, and the rest may be tried again. */
async function attempt(turns: Turns, answer: Answer, place: Place, { history, signal, ...lease }: TurnLease): Promise<unknown> {
  try {
    const response = await place.run(orderOf(turns, answer.id, history, lease), signal);
    if (!response.ok || !response.body) {
      const { error } = (await response.json()) as { error: TurnError };
      if (isTransient(response.status)) throw faultIn(response.status, error);
      answer.end('failed', { error });
      await place.ended?.();
      return;
    }
    for await (const text of readLines(response.body, signal)) {
      if (applyLine(turns, answer, JSON.parse(text) as RunLine, Date.now())) return await place.ended?.();
      if (!answer.open || answer.epoch !== lease.epoch) return;
    }
    throw new Error('the answer broke off');
  } catch (error) {
    if (!signal.aborted) console.warn('a turn is tried again:', error instanceof Error ? error.message : error);
    if (answer.open) answer.flush(Date.now());
    return error ?? new Error('nothing was said');
  }
}

/** What a replica is told of a turn. */
function orderOf(turns: Turns, id: string, history: readonly Item[], lease: Pick<RunOrder, 'session' | 'replica' | 'epoch'>): RunOrder {
  const turn = turns.get(id);
  if (!turn?.request) throw new Error(`there is nothing to generate for ${id}`);
  const { tenant, model, request, input, seed } = turn;
  const fixed = { prompt: turns.prompt(id), generated: turns.tokens(id).ids };
  return { response: id, tenant, model, request, history, input, seed, ...lease, ...fixed };
}

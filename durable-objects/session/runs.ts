import { asApiError, isTransient } from '../../openai/errors.ts';
import { MAX_LINKS } from '../../policy/chains.ts';
import { MAX_PROMPT, type RefusalReason } from '../../policy/ticket.ts';
import { chainTokens, messageChain } from '../../serving/chain.ts';
import { loadModel } from '../../serving/models.ts';
import type { Answer } from '../../serving/responses/answer.ts';
import { readLines } from '../../serving/responses/ndjson.ts';
import { applyLine } from '../../serving/responses/run-line.ts';
import type { Json, RunLine, RunOrder, StoredResponse } from '../../serving/responses/types.ts';
import { isOverloaded, isRetryable } from '../../serving/retry.ts';
import type { SchedulerPort } from '../../serving/scheduler.ts';
import { replicaOf } from '../replica/port.ts';
import { schedulerOf } from '../scheduler/port.ts';
import type { SessionEnv } from './env.ts';
import type { TurnStore } from './turns.ts';

/** Starts without a single new token after which a turn is given up: in a row here, and over all restarts. */
const MAX_FAILURES = 5;
const MAX_TRIES = 10;
const BACKOFF_MS = 100;
/** A model that cannot be loaded now is asked for again. */
const LOAD_MS = 2_000;
/** A call that may be made again is, and what has too much to do is left alone. */
const RETRY_MS = 1_000;
const OVERLOADED_MS = 30_000;
/** A turn that cannot go on is not tried again when it has become so old. */
const MAX_AGE_MS = 3_600_000;

/** The error of a turn that the queue refused. */
interface Refused {
  type: 'rate_limit_error';
  code: RefusalReason;
  retry_after: number;
}

const serverError = (message: string): Json => ({ message, type: 'server_error', param: null, code: 'server_error' });

export interface RunsOptions {
  env: SessionEnv;
  session: string;
  turns: TurnStore;
  answer: (id: string) => Answer;
  /** The turn could not start now; try again then (ms from now). */
  later: (ms: number) => void;
}

/**
 * Drives turns to their end: asks the scheduler for a place, hands the replica its order, reads tokens back. When the
 * replica goes away in between, the rest is started on another one from the stored tokens; sampling depends on seed and
 * token index alone, so the text is the one an undisturbed run gives.
 */
export class Runs {
  readonly #o: RunsOptions;
  readonly #live = new Map<string, AbortController>();
  readonly #deciding = new Map<string, () => void>();
  /** The replica's go that each turn waits for. */
  readonly #goes = new Map<string, { epoch: number; abort: AbortController }>();

  constructor(o: RunsOptions) {
    this.#o = o;
  }

  has(id: string): boolean {
    return this.#live.has(id);
  }

  get size(): number {
    return this.#live.size;
  }

  /** Runs the turn unless it runs already. Settles when it has ended or was put off. */
  async start(id: string): Promise<void> {
    if (this.#live.has(id)) return;
    const abort = new AbortController();
    this.#live.set(id, abort);
    try {
      await this.#drive(id, abort.signal);
    } catch (error) {
      if (!abort.signal.aborted) this.#stopped(id, error);
    } finally {
      this.#live.delete(id);
      this.#decide(id);
    }
  }

  /** Settles when the queue has first answered about a turn that was just started. */
  decided(id: string): Promise<void> {
    return new Promise((resolve) => this.#deciding.set(id, resolve));
  }

  /** Its model's. */
  #queueOf(id: string): SchedulerPort {
    return schedulerOf(this.#o.env, this.#o.turns.get(id)?.model);
  }

  /** Why the queue refused the turn, if it did. */
  refusal(id: string): { reason: RefusalReason; retryAfter: number } | undefined {
    const turn = this.#o.turns.get(id);
    const error = turn?.error as unknown as Refused | null | undefined;
    if (turn?.status !== 'failed' || error?.type !== 'rate_limit_error') return undefined;
    return { reason: error.code, retryAfter: error.retry_after };
  }

  /** Stops the turn here and in the queue. */
  async stop(id: string): Promise<void> {
    this.#live.get(id)?.abort(new Error('cancelled'));
    await this.#queueOf(id).cancel(id);
  }

  /**
   * Asks the queue whether the replica that a turn waits for still has its lease. One that hangs breaks no stream: its
   * heartbeats stop, the lease ends, and here the turn lets go of it and starts again elsewhere.
   */
  async watch(id: string): Promise<void> {
    const go = this.#goes.get(id);
    if (!go) return;
    const lease = await this.#queueOf(id).lease(id);
    if (lease.state === 'running' && lease.epoch === go.epoch) return;
    go.abort.abort(new Error('the lease is over'));
  }

  /** Something threw: what passes is waited for, anything else would come again. */
  #stopped(id: string, error: unknown): void {
    console.error('session: a turn stopped', error);
    if (isOverloaded(error) && !this.#old(id)) this.#o.later(OVERLOADED_MS);
    else if (isRetryable(error) && !this.#old(id)) this.#o.later(RETRY_MS);
    else this.#o.answer(id).end('failed', { error: serverError('The response could not be generated.') });
  }

  #old(id: string): boolean {
    return Date.now() - 1000 * (this.#o.turns.get(id)?.created ?? 0) > MAX_AGE_MS;
  }

  #decide(id: string): void {
    this.#deciding.get(id)?.();
    this.#deciding.delete(id);
  }

  async #drive(id: string, signal: AbortSignal): Promise<void> {
    const { env, turns, later } = this.#o;
    const answer = this.#o.answer(id);
    let failures = 0;
    // a lease from before this object woke up is nobody's any more
    if (answer.epoch > 0) await this.#giveUp(id, answer.epoch);
    for (let waited = false; answer.open && !signal.aborted; ) {
      // counted before it is tried: what ends the process is counted too
      if (!waited && turns.tried(id) > MAX_TRIES)
        return answer.end('failed', { error: serverError('No replica could generate this response.') });
      const turn = turns.get(id);
      if (!turn) return;
      const missing = await loadModel({ vars: env, launcher: env.LAUNCHER }, turn.model).then(() => undefined, asApiError);
      if (missing && isTransient(missing.status) && !this.#old(id)) return later(LOAD_MS);
      if (missing) return answer.end('failed', { error: missing.envelope().error as unknown as Json });
      const path = turns.path(id);
      const history = path.slice(0, -1).flatMap((t) => [...t.input, ...t.output]);
      // not the whole echo: previous_response_id, which is in it, differs at every turn
      const { instructions, tools } = turn.echo as { instructions?: unknown; tools?: unknown };
      const chain = await messageChain([turn.tenant, turn.model, instructions, tools], [...history, ...turn.input]);
      const place = await schedulerOf(env, turn.model).admit({
        id,
        tenant: turn.tenant,
        priority: turn.priority,
        promptTokens: Math.min(MAX_PROMPT, Math.max(chainTokens(chain), turns.prompt(id).length)),
        chain: chain.slice(-MAX_LINKS),
        restart: true,
      });
      if (place.kind !== 'refused') this.#decide(id);
      if (signal.aborted) return;
      waited = place.kind === 'wait';
      if (place.kind === 'wait') continue;
      if (place.kind === 'refused') {
        if (answer.length > 0 && !this.#old(id)) return later(place.retryAfter * 1000);
        const message = `The server is busy (${place.reason}); try again in ${place.retryAfter} s.`;
        return answer.end('failed', {
          error: { message, type: 'rate_limit_error', param: null, code: place.reason, retry_after: place.retryAfter },
        });
      }
      if (!answer.claim(place.epoch)) return;
      const before = answer.length;
      const abort = new AbortController();
      this.#goes.set(id, { epoch: place.epoch, abort });
      const both = AbortSignal.any([signal, abort.signal]);
      const ended = await this.#attempt(answer, turn, history, place.epoch, place.replica, both);
      this.#goes.delete(id);
      if (ended || signal.aborted) return;
      await this.#giveUp(id, place.epoch);
      failures = answer.length > before ? 0 : failures + 1;
      if (failures >= MAX_FAILURES) return answer.end('failed', { error: serverError('No replica could generate this response.') });
      await new Promise((resolve) => setTimeout(resolve, BACKOFF_MS * 2 ** failures));
    }
  }

  /** One replica's go. True when the turn has ended, false when the replica went away. */
  async #attempt(
    answer: Answer,
    turn: StoredResponse,
    history: Json[],
    epoch: number,
    replica: string,
    signal: AbortSignal,
  ): Promise<boolean> {
    const { env, turns, session } = this.#o;
    const { id } = answer;
    const order: RunOrder = {
      response: id,
      session,
      replica,
      tenant: turn.tenant,
      epoch,
      model: turn.model,
      request: turn.request,
      history,
      input: turn.input,
      seed: turn.seed,
      prompt: turns.prompt(id),
      generated: turns.tokens(id).ids,
    };
    try {
      const response = await replicaOf(env, replica, turn.model).fetch('https://replica/session/run', {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'x-turnstone-tenant': turn.tenant, 'x-turnstone-request': id },
        body: JSON.stringify(order),
        signal,
      });
      if (!response.ok || !response.body) {
        if (isTransient(response.status)) return false;
        const { error } = await response.json<{ error: Json }>();
        answer.end('failed', { error });
        await this.#release(answer);
        return true;
      }
      for await (const line of readLines(response.body, signal)) {
        if (await this.#line(answer, JSON.parse(line) as RunLine)) return true;
        if (!answer.open || answer.epoch !== epoch) return true;
      }
    } catch (error) {
      if (!signal.aborted) console.warn('session: a replica went away', error instanceof Error ? error.message : error);
    }
    if (answer.open) answer.flush(Date.now());
    return false;
  }

  /** True when it was the last. */
  async #line(answer: Answer, line: RunLine): Promise<boolean> {
    const last = applyLine(this.#o.turns, answer, line, Date.now());
    if (last) await this.#release(answer);
    return last;
  }

  async #release(answer: Answer): Promise<void> {
    const usage = this.#o.turns.get(answer.id)?.usage;
    const known = usage && usage.prompt > 0 ? { promptTokens: usage.prompt, cachedTokens: usage.cached } : {};
    await this.#queueOf(answer.id).release([{ id: answer.id, epoch: answer.epoch, output: answer.length, ...known }]);
  }

  /** The lease is over without an end. */
  async #giveUp(id: string, epoch: number): Promise<void> {
    await this.#queueOf(id).release([{ id, epoch, output: this.#o.answer(id).length, failed: true }]);
  }
}

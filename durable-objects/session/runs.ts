import { asApiError, isTransient } from '../../openai/errors.ts';
import { cellOf } from '../../policy/cells.ts';
import { MAX_LINKS } from '../../policy/chains.ts';
import { MAX_PROMPT, type RefusalReason } from '../../policy/ticket.ts';
import { chainTokens, messageChain } from '../../serving/chain.ts';
import { either } from '../../serving/either.ts';
import { loadModel } from '../../serving/models.ts';
import type { Answer } from '../../serving/responses/answer.ts';
import { drive, type Place, type TurnLease } from '../../serving/responses/drive.ts';
import { branchTo, itemsOf } from '../../serving/responses/turns.ts';
import type { TurnError } from '../../serving/responses/types.ts';
import { isOverloaded, isRetryable } from '../../serving/retry.ts';
import type { SchedulerPort } from '../../serving/scheduler.ts';
import { openTrace, type Span } from '../../serving/trace/trace.ts';
import { replicaOf } from '../replica/port.ts';
import { schedulerOf } from '../scheduler/port.ts';
import type { SessionEnv } from './env.ts';
import type { TurnStore } from './turns.ts';

/** Starts without a single new token after which a turn is given up, over all restarts. */
const MAX_TRIES = 10;
/** A model that cannot be loaded now is asked for again. */
const LOAD_MS = 2_000;
/** A call that may be made again is, and what has too much to do is left alone. */
const RETRY_MS = 1_000;
const OVERLOADED_MS = 30_000;
/** A turn that cannot go on is not tried again when it has become so old. */
const MAX_AGE_MS = 3_600_000;

const serverError = (message: string): TurnError => ({ message, type: 'server_error', param: null, code: 'server_error' });

const NO_REPLICA = serverError('No replica could generate this response.');

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
  /** Of turns that are traced; a turn that goes on after the object was gone is not, any more. */
  readonly #spans = new Map<string, Span>();
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
  async start(id: string, trace?: string): Promise<void> {
    if (this.#live.has(id)) return;
    const abort = new AbortController();
    this.#live.set(id, abort);
    const span = openTrace(this.#o.env, 'session', trace)?.span('turn', 'server', Date.now());
    if (span) this.#spans.set(id, span);
    try {
      await this.#drive(id, abort.signal);
    } catch (error) {
      if (!abort.signal.aborted) this.#stopped(id, error);
    } finally {
      this.#live.delete(id);
      this.#goes.delete(id);
      this.#spans.delete(id);
      this.#decide(id);
      span?.end(Date.now());
      await span?.trace.send();
    }
  }

  /** Settles when the queue has first answered about a turn that was just started. */
  decided(id: string): Promise<void> {
    return new Promise((resolve) => this.#deciding.set(id, resolve));
  }

  /** Its tenant's, or where that has no name the session's. */
  #cell(tenant = ''): number {
    return cellOf(tenant, this.#o.session, this.#o.env);
  }

  /** Its model's. */
  #queueOf(id: string): SchedulerPort {
    const turn = this.#o.turns.get(id);
    return schedulerOf(this.#o.env, turn?.model, this.#cell(turn?.tenant));
  }

  /** Why the queue refused the turn, if it did. */
  refusal(id: string): { reason: RefusalReason; retryAfter: number } | undefined {
    const turn = this.#o.turns.get(id);
    const { type, code, retry_after: retryAfter } = turn?.error ?? {};
    if (turn?.status !== 'failed' || type !== 'rate_limit_error' || retryAfter === undefined) return undefined;
    return { reason: code as RefusalReason, retryAfter };
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
    if (lease.state === 'untold' || (lease.state === 'running' && lease.epoch === go.epoch)) return;
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

  #traced(id: string): { traceparent?: string } {
    const span = this.#spans.get(id);
    return span ? { traceparent: span.traceparent } : {};
  }

  #decide(id: string): void {
    this.#deciding.get(id)?.();
    this.#deciding.delete(id);
  }

  async #drive(id: string, signal: AbortSignal): Promise<void> {
    const { env, turns } = this.#o;
    const answer = this.#o.answer(id);
    // a lease from before this object woke up is nobody's any more
    if (answer.epoch > 0) await this.#giveUp(id, answer.epoch);
    const place: Place = {
      lease: () => this.#lease(answer, signal),
      run: (order, signal) =>
        replicaOf(env, order.replica, order.model).fetch('https://replica/session/run', {
          method: 'POST',
          headers: {
            ...{ 'content-type': 'application/json', 'x-turnstone-tenant': order.tenant, 'x-turnstone-request': id },
            ...this.#traced(id),
          },
          body: JSON.stringify(order),
          signal,
        }),
      ended: () => this.#release(answer),
      lost: (epoch) => this.#giveUp(id, epoch),
      givenUp: () => NO_REPLICA,
    };
    await drive(turns, answer, place, signal);
  }

  /** A place in the queue, whose answer is waited for. Undefined when the turn has ended or is put off. */
  async #lease(answer: Answer, signal: AbortSignal): Promise<TurnLease | undefined> {
    const { env, turns, later, session } = this.#o;
    const { id } = answer;
    const put = (ms: number): undefined => void later(ms);
    const end = (error: TurnError): undefined => void answer.end('failed', { error });
    // counted before it is tried: what ends the process is counted too
    if (turns.tried(id) > MAX_TRIES) return end(NO_REPLICA);
    while (!signal.aborted) {
      const turn = turns.get(id);
      if (!turn) return undefined;
      const missing = await loadModel({ vars: env, launcher: env.LAUNCHER }, turn.model).then(() => undefined, asApiError);
      if (missing && isTransient(missing.status) && !this.#old(id)) return put(LOAD_MS);
      if (missing) return end(missing.envelope().error);
      const before = turn.previous === null ? [] : branchTo(turns, turn.previous);
      if (!before) throw new Error(`a response that ${id} goes on from was deleted`);
      const history = itemsOf(before);
      // not the whole echo: previous_response_id, which is in it, differs at every turn
      const { instructions, tools } = turn.echo ?? {};
      const chain = await messageChain([turn.tenant, turn.model, instructions, tools], [...history, ...turn.input]);
      const wait = this.#spans.get(id)?.child('queue', 'client', Date.now());
      const asked = {
        id,
        tenant: turn.tenant,
        priority: turn.priority,
        promptTokens: Math.min(MAX_PROMPT, Math.max(chainTokens(chain), turns.prompt(id).length)),
        chain: chain.slice(-MAX_LINKS),
        restart: true,
        // it had a place before
        ...(answer.epoch > 0 && { waitedMs: Math.min(MAX_AGE_MS, Math.max(0, Date.now() - 1000 * turn.created)) }),
      };
      const place = await this.#queueOf(id).admit(asked, wait?.traceparent);
      wait?.end(Date.now());
      if (place.kind !== 'refused') this.#decide(id);
      if (signal.aborted) return undefined;
      if (place.kind === 'wait') continue;
      if (place.kind === 'refused') {
        if (answer.length > 0 && !this.#old(id)) return put(place.retryAfter * 1000);
        const message = `The server is busy (${place.reason}); try again in ${place.retryAfter} s.`;
        const error = { message, type: 'rate_limit_error' as const, param: null, code: place.reason, retry_after: place.retryAfter };
        return end(error);
      }
      const abort = new AbortController();
      this.#goes.set(id, { epoch: place.epoch, abort });
      return { session, replica: place.replica, epoch: place.epoch, history, signal: either(signal, abort.signal) };
    }
    return undefined;
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

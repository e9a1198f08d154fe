import type { StepEvent } from '../../engine/index.ts';
import { ApiError } from '../../openai/errors.ts';
import type { Heartbeat, Progress } from '../../policy/ticket.ts';
import { TENANT } from './tenant.ts';

/** While anything runs, the scheduler hears from its replica so often; sooner when a prompt is done or a request ends. */
const EVERY_MS = 1_000;
const SOON_MS = 15;
/** Ended requests that one heartbeat tells of. */
const MAX_DONE = 1024;
const FADES = 0.9; // of it is left after a heartbeat

/** What the scheduler gave out: the right to run a request. */
export interface LeaseTag {
  id: string;
  epoch: number;
  /** The name the scheduler has for this replica. */
  replica: string;
  /** Sequences that may be computed at once; undefined: all. */
  slots?: number;
  /** Whose it is: a queue that has begun anew books it by that. */
  tenant?: string;
}

export interface Reported {
  slots: number;
  kvTokens: number;
  /** Prompt tokens of a sequence that are computed so far; undefined when it is not here. */
  computed(sequence: string): number | undefined;
  /** Sends a heartbeat; answers which requests to stop. */
  send(replica: string, beat: Heartbeat): Promise<{ abort: string[] }>;
}

/** The lease of a request from its headers; undefined when nothing schedules it. */
export function leaseOf(headers: Headers): LeaseTag | undefined {
  const id = headers.get('x-turnstone-request');
  const replica = headers.get('x-turnstone-replica');
  const epoch = Number(headers.get('x-turnstone-epoch') ?? Number.NaN);
  const slots = Number(headers.get('x-turnstone-slots') ?? Number.NaN);
  if (!id || !replica || !Number.isSafeInteger(epoch)) return undefined;
  return { id, epoch, replica, slots: slots >= 1 ? slots : undefined, tenant: headers.get(TENANT) ?? undefined };
}

interface Leased {
  stop(why: ApiError): void;
  owned: boolean;
}

const leaseOver = () => new ApiError(503, 'The queue has ended this request, or moved it to another replica.', { code: 'lease_over' });
const stopping = () =>
  new ApiError(503, 'The server stops before the answer has ended. Ask again.', {
    code: 'server_stopping',
    headers: { 'retry-after': '5' },
  });

/** Tells the scheduler what runs here. One small call a second, and one a prompt or end; never one a token. */
export class Reporter {
  readonly #o: Reported;
  readonly #incarnation = crypto.randomUUID();
  readonly #running = new Map<string, Progress & Leased>();
  #done: Progress[] = [];
  #replica = '';
  #timer: ReturnType<typeof setTimeout> | undefined;
  #due = Number.POSITIVE_INFINITY;
  #sending = false;
  /** How late the timer was: as long as a step, or a load, holds the thread. It fades. */
  #late = 0;
  /** ms until the next, asked for while one is on its way. */
  #soon = Number.POSITIVE_INFINITY;

  constructor(o: Reported) {
    this.#o = o;
  }

  /**
   * A leased request has arrived. `stop` ends it when the scheduler says so; `owned`: by a session, which starts it elsewhere. Where it
   * still runs here under an earlier lease, which its session has let go of, that ends at once.
   */
  begin(lease: LeaseTag, stop: (why: ApiError) => void, owned = false): void {
    const before = this.#running.get(lease.id);
    if (before && before.epoch !== lease.epoch) before.stop(leaseOver());
    this.#replica = lease.replica;
    const { id, epoch, tenant, slots } = lease;
    this.#running.set(id, { id, epoch, tenant, slots, output: 0, stop, owned });
    this.#within(this.#running.size === 1 ? SOON_MS : EVERY_MS);
  }

  /** The server ends now: whoever waits for an answer is told. What sessions own goes on when there is a server again. */
  close(): void {
    for (const r of [...this.#running.values()]) if (!r.owned) r.stop(stopping());
  }

  /** Its prompt was tokenized. */
  prompt(id: string, promptTokens: number): void {
    const p = this.#running.get(id);
    if (p) p.promptTokens = promptTokens;
  }

  /** A step's event of a sequence named `<request>/<choice>`. */
  event(event: StepEvent): void {
    const p = this.#running.get(event.request.slice(0, event.request.lastIndexOf('/')));
    if (!p) return;
    if (p.output === 0 && event.tokens.length > 0) this.#within(SOON_MS);
    p.output += event.tokens.length;
    if (event.cachedTokens !== undefined) p.cachedTokens = (p.cachedTokens ?? 0) + event.cachedTokens;
  }

  /** It ended, however it did. What has begun since under a later lease goes on. */
  end({ id, epoch }: Pick<LeaseTag, 'id' | 'epoch'>): void {
    const p = this.#running.get(id);
    if (p?.epoch !== epoch) return;
    this.#running.delete(id);
    this.#done.push(plain(p));
    this.#within(SOON_MS);
  }

  /** Of a prompt that is still being computed, by its first sequence; several prompts of a request are not told apart. */
  #computed(p: Progress): number | undefined {
    if (p.output > 0 || p.promptTokens === undefined) return undefined;
    const computed = this.#o.computed(`${p.id}/0`);
    return computed === undefined ? undefined : Math.min(computed, p.promptTokens);
  }

  #within(ms: number): void {
    if (this.#sending) {
      this.#soon = Math.min(this.#soon, ms);
      return; // one at a time: one that overtook another would name what the other does not
    }
    const at = Date.now() + ms;
    if (at >= this.#due) return;
    clearTimeout(this.#timer);
    this.#due = at;
    this.#timer = setTimeout(() => void this.#beat(), ms);
  }

  async #beat(): Promise<void> {
    this.#late = Math.max(Date.now() - this.#due, this.#late * FADES);
    this.#due = Number.POSITIVE_INFINITY;
    const done = this.#done.splice(0, MAX_DONE);
    const { slots, kvTokens } = this.#o;
    const running = [...this.#running.values()].map((p) => plain({ ...p, computed: this.#computed(p) }));
    this.#sending = true;
    try {
      const { abort } = await this.#o.send(this.#replica, {
        incarnation: this.#incarnation,
        slots,
        kvTokens,
        running,
        done,
        lateMs: Math.round(this.#late),
      });
      for (const id of abort) this.#running.get(id)?.stop(leaseOver());
    } catch (error) {
      console.warn('the scheduler did not hear the heartbeat', error instanceof Error ? error.message : error);
      this.#done = [...done, ...this.#done].slice(-4 * MAX_DONE); // while nobody hears, the oldest are given up
    }
    this.#sending = false;
    const soon = Math.min(this.#soon, this.#running.size > 0 || this.#done.length > 0 ? EVERY_MS : Number.POSITIVE_INFINITY);
    this.#soon = Number.POSITIVE_INFINITY;
    if (soon !== Number.POSITIVE_INFINITY) this.#within(soon);
  }
}

const plain = ({ id, epoch, output, promptTokens, cachedTokens, computed, tenant, slots, owned }: Progress): Progress => ({
  id,
  epoch,
  output,
  ...(tenant !== undefined ? { tenant } : {}),
  ...(slots !== undefined ? { slots } : {}),
  ...(owned ? { owned } : {}),
  ...(promptTokens !== undefined ? { promptTokens } : {}),
  ...(computed !== undefined ? { computed } : {}),
  ...(cachedTokens !== undefined ? { cachedTokens: Math.min(cachedTokens, promptTokens ?? cachedTokens) } : {}),
});

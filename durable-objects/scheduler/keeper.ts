import type { PolicyConfig } from '../../policy/config.ts';
import type { Queue } from '../../policy/queue.ts';
import { load } from '../../policy/state.ts';
import { counted, type Rows } from '../rows.ts';
import { isChanged, QueueStore, settled } from './store.ts';

/** Storage that failed is left alone for so long, twice as long each time, up to the second figure. */
const REST_MS = 30_000;
const MAX_REST_MS = 300_000;

/** A queue as this isolate knows it, for the object that comes after one that its storage broke. */
interface Memory {
  queue: Queue;
  secret: string;
  /** Writes begun, and those known to be stored. */
  begun: number;
  stored: number;
  /** ms; until then nothing is written. */
  restUntil: number;
  restMs: number;
}

/**
 * By the object's id. A write that fails, say on a full disk, throws nothing: the platform breaks the object, whose callers see an
 * error, and makes another one. What it knew is here; it goes on with that, and spares its storage for a while.
 */
const memories = new Map<string, Memory>();

const random = (): string => Array.from(crypto.getRandomValues(new Uint8Array(32)), (b) => b.toString(16).padStart(2, '0')).join('');

/** A queue that begins. */
const newQueue = (config: PolicyConfig, ids: readonly string[], now: number): Queue =>
  load(config, ids, { tenants: [], replicas: [], chains: {} }, now);

/** What changed is written so long after the first change at the latest, while events come; sooner when the last request has ended. */
const EVERY_MS = 10_000;

/**
 * Keeps what must survive of the queue in the object's storage: accounts of keys, what is known of replicas, the clock of leases. What
 * is damaged there is erased and begun anew; what cannot be stored is kept in memory, and tried again later: no request waits or fails for it.
 */
export class Keeper {
  readonly #storage: DurableObjectStorage;
  readonly #store: QueueStore;
  private readonly memory: Memory;
  readonly rows: Rows = { written: 0 };
  /** When the first change came that is not written, ms; undefined: there is none. */
  #since?: number;
  #busy = false;
  #syncing = false;

  constructor(ctx: DurableObjectState, config: PolicyConfig, ids: readonly string[], now: number) {
    this.#storage = ctx.storage;
    this.#store = new QueueStore(counted(ctx.storage.sql, this.rows));
    const id = ctx.id.toString();
    const before = memories.get(id);
    if (before && (before.begun > before.stored || now < before.restUntil)) {
      this.memory = before;
      this.#store.behind();
      if (before.begun > before.stored) this.#rest('its last write was not stored', now);
      before.queue.detachAll(now); // their callers' connections went with the object
      return;
    }
    const fresh = { queue: newQueue(config, ids, now), secret: random() };
    const memory: Memory = { ...fresh, begun: 1, stored: 0, restUntil: 0, restMs: before?.restMs ?? 0 };
    this.memory = memory;
    memories.set(id, memory); // before storage is touched: it may break this object
    try {
      memory.secret = this.#store.kept('secret', () => memory.secret);
      memory.queue = this.#load(config, ids, now) ?? memory.queue;
      this.#sync();
    } catch (error) {
      this.#store.behind();
      this.#rest(error, now);
    }
  }

  get queue(): Queue {
    return this.memory.queue;
  }

  /** Key of the seals in responses' ids. Made once, and kept when the queue is erased. */
  get secret(): string {
    return this.memory.secret;
  }

  /** False: what happens is not stored at the moment. */
  get stores(): boolean {
    return this.memory.restUntil === 0;
  }

  /** After each event: stores what changed when it is time to, or `now` when it must not be forgotten. Never throws. */
  settle(now: number, must: boolean): void {
    const { queue } = this.memory;
    const busy = queue.ledger.tickets.size > 0;
    const ended = this.#busy && !busy;
    this.#busy = busy;
    if (isChanged(queue)) this.#since ??= now;
    const due = this.#since !== undefined && now - this.#since >= EVERY_MS;
    if (!must && !ended && !due && this.stores) return;
    queue.ledger.tenants.prune(now, queue.config.headroomMs);
    this.#write(now);
    this.#since = undefined;
  }

  #write(now: number): void {
    const m = this.memory;
    if (now < m.restUntil) {
      settled(m.queue); // all of it is written later
      return;
    }
    try {
      m.begun++;
      if (m.restUntil > 0) m.secret = this.#store.kept('secret', () => m.secret);
      if (!this.#store.write(m.queue)) m.begun--;
      else this.#sync();
    } catch (error) {
      this.#store.behind();
      this.#rest(error, now);
    }
  }

  /** The queue cannot go on as it is: begins anew. */
  renew(config: PolicyConfig, ids: readonly string[], now: number): void {
    this.memory.queue = newQueue(config, ids, now);
    this.#store.behind();
  }

  /** The stored queue, or undefined when it was damaged and is erased. Throws when it cannot even be erased. */
  #load(config: PolicyConfig, ids: readonly string[], now: number): Queue | undefined {
    try {
      return this.#store.load(config, ids, now);
    } catch (error) {
      console.error('the stored queue is damaged and begins anew:', error instanceof Error ? error.message : error);
      this.#store.clear();
      return undefined;
    }
  }

  #rest(why: unknown, now: number): void {
    const m = this.memory;
    m.restMs = Math.min(MAX_REST_MS, Math.max(REST_MS, 2 * m.restMs));
    m.restUntil = now + m.restMs;
    m.stored = m.begun;
    const said = why instanceof Error ? why.message : String(why);
    console.error(`the queue is not stored for ${m.restMs / 1000} s: ${said}. It goes on in memory; is the disk full?`);
  }

  /** Notes when all that was written so far is stored. Never happens when it is not: the object breaks. */
  #sync(): void {
    if (this.#syncing) return;
    this.#syncing = true;
    const m = this.memory;
    const upTo = m.begun;
    const synced = () => {
      this.#syncing = false;
      m.stored = Math.max(m.stored, upTo);
      if (m.begun > m.stored) return this.#sync();
      m.restUntil = 0;
      m.restMs = 0;
    };
    this.#storage.sync().then(synced, () => {});
  }
}

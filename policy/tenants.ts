import type { Lane } from './config.ts';
import type { Bucket } from './limits.ts';

/** One key's account. JSON as it stands. */
export interface Tenant {
  name: string;
  /** Virtual counter: weighted tokens served. */
  counter: number;
  /** Slots that its requests wait for, and that they have. */
  waiting: number;
  running: number;
  /** Its requests in lanes, running. */
  brief: number;
  /** Epoch of the last lease it had in each lane. */
  turns: Partial<Record<Lane, number>>;
  bucket: Bucket;
  seen: number;
}

/**
 * Virtual token counters (Sheng et al., Fairness in Serving Large Language Models, OSDI'24): the waiting tenant with the
 * lowest counter goes first. A tenant that comes back from idleness is lifted to the lowest of those who wait, or to the
 * last one that left when nobody does, so that idleness earns no credit.
 */
export class Tenants {
  readonly all = new Map<string, Tenant>();
  /** Counter of the tenant that left the queue last. */
  floor = 0;
  /** Those that wait. */
  readonly #waiting = new Set<Tenant>();
  /** Names changed since the caller last emptied it. */
  readonly dirty = new Set<string>();

  get(name: string, now: number, burst: number): Tenant {
    let t = this.all.get(name);
    if (!t) {
      t = { name, counter: 0, waiting: 0, running: 0, brief: 0, turns: {}, bucket: { tokens: burst, at: now }, seen: now };
      this.all.set(name, t);
    }
    this.dirty.add(name);
    return t;
  }

  /** A request of the tenant starts to wait, for so many slots. */
  enter(t: Tenant, slots: number): void {
    if (t.waiting === 0) t.counter = Math.max(t.counter, this.lowest());
    t.waiting += slots;
    this.#waiting.add(t);
    this.dirty.add(t.name);
  }

  /** A request of the tenant no longer waits. */
  leave(t: Tenant, slots: number): void {
    t.waiting -= slots;
    if (t.waiting === 0) {
      this.floor = t.counter;
      this.#waiting.delete(t);
    }
    this.dirty.add(t.name);
  }

  /** Adds (or, as a correction, takes back) weighted tokens. */
  charge(t: Tenant, units: number): void {
    t.counter = Math.max(0, t.counter + units);
    this.dirty.add(t.name);
  }

  /** Lowest counter among tenants that wait, or the floor. */
  lowest(): number {
    let low = Number.POSITIVE_INFINITY;
    for (const t of this.#waiting) if (t.counter < low) low = t.counter;
    return low === Number.POSITIVE_INFINITY ? this.floor : low;
  }

  /** Tenants with a request waiting. */
  active(): number {
    return this.#waiting.size;
  }

  /** Those that wait. */
  waiting(): ReadonlySet<Tenant> {
    return this.#waiting;
  }

  /** Forgets idle tenants whose account says nothing that a new one would not: returns their names. */
  prune(now: number, idleMs: number): string[] {
    const low = this.lowest();
    const gone: string[] = [];
    for (const t of this.all.values()) {
      if (t.waiting === 0 && t.running === 0 && t.brief === 0 && t.counter <= low && now - t.seen > idleMs) gone.push(t.name);
    }
    for (const name of gone) {
      this.all.delete(name);
      this.dirty.add(name);
    }
    return gone;
  }
}

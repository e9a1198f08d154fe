import type { PolicyConfig } from '../../policy/config.ts';
import type { Queue } from '../../policy/queue.ts';
import { record } from '../../policy/replicas.ts';
import { load, type Meta, metaOf, type Saved } from '../../policy/state.ts';
import type { Tenant } from '../../policy/tenants.ts';
import type { Ticket } from '../../policy/ticket.ts';
import type { Sql } from '../rows.ts';
import { prepare, type Schema } from '../schema.ts';

/** Chains are a guess: they are written at most so often. */
const CHAINS_EVERY_MS = 10_000;

const QUEUE: Schema = {
  part: 'queue',
  version: 2, // 2: slots and lanes
  tables: ['tickets', 'tenants', 'replicas', 'chains', 'meta'],
  create: ['tickets', 'tenants', 'replicas', 'chains', 'meta']
    .map((table) => `CREATE TABLE IF NOT EXISTS ${table} (id TEXT PRIMARY KEY, data TEXT NOT NULL) WITHOUT ROWID;`)
    .join('\n'),
};

const KEPT: Schema = {
  part: 'kept',
  version: 1,
  tables: ['kept'],
  create: 'CREATE TABLE IF NOT EXISTS kept (id TEXT PRIMARY KEY, data TEXT NOT NULL) WITHOUT ROWID',
};

type Table = 'tickets' | 'tenants' | 'replicas' | 'chains' | 'meta';

/** The queue's rows: one a ticket, tenant and replica, so that a call writes what it changed and no more. */
export class QueueStore {
  readonly #sql: Sql;
  #chainsAt = 0;
  /** The rows say nothing of what the queue is: all are to be written. */
  #behind = false;

  constructor(sql: Sql) {
    this.#sql = sql;
  }

  /** The stored queue. Throws when a row is damaged: then `clear`, the queue can be made anew. */
  load(config: PolicyConfig, ids: readonly string[], now: number): Queue {
    prepare(this.#sql, QUEUE);
    const saved: Saved = {
      meta: this.#all<Meta>('meta').get('meta'),
      tickets: [...this.#all<Ticket>('tickets').values()],
      tenants: [...this.#all<Tenant>('tenants').values()],
      replicas: [...this.#all<Saved['replicas'][number]>('replicas').values()],
      chains: Object.fromEntries(this.#all<[string, number][]>('chains')),
    };
    return load(config, ids, saved, now);
  }

  /** Erases the queue, and not what is kept beside it. */
  clear(): void {
    for (const table of QUEUE.tables) this.#sql.exec(`DROP TABLE IF EXISTS ${table}`);
    prepare(this.#sql, QUEUE);
  }

  /** A text that outlives the queue, made when there is none. */
  kept(id: string, make: () => string): string {
    prepare(this.#sql, KEPT);
    for (const row of this.#sql.exec<{ data: string }>('SELECT data FROM kept WHERE id = ?', id)) return row.data;
    const data = make();
    this.#sql.exec('INSERT INTO kept (id, data) VALUES (?, ?)', id, data);
    return data;
  }

  /** Writes everything the next time, not what changed. */
  behind(): void {
    this.#behind = true;
  }

  /** Writes what changed; false: nothing did. Called at the end of every event, without an await before, so that it is one transaction. */
  write(q: Queue, now: number): boolean {
    const L = q.ledger;
    if (this.#behind) this.#mark(q);
    else if (L.dirtyTickets.size + L.dirtyReplicas.size + L.tenants.dirty.size === 0) return false;
    for (const id of L.dirtyTickets) this.#put('tickets', id, L.tickets.get(id));
    for (const id of L.tenants.dirty) this.#put('tenants', id, L.tenants.all.get(id));
    for (const id of L.dirtyReplicas) {
      const r = L.replicas.get(id);
      this.#put('replicas', id, r && record(r));
    }
    if (now - this.#chainsAt >= CHAINS_EVERY_MS) {
      for (const r of L.replicas.values()) this.#put('chains', r.id, r.chains.save());
      this.#chainsAt = now;
    }
    this.#put('meta', 'meta', metaOf(q));
    this.#behind = false;
    settled(q);
    return true;
  }

  /** Marks all of the queue as changed, on rows that are erased. */
  #mark(q: Queue): void {
    this.clear();
    const L = q.ledger;
    settled(q);
    for (const id of L.tickets.keys()) L.dirtyTickets.add(id);
    for (const id of L.replicas.keys()) L.dirtyReplicas.add(id);
    for (const id of L.tenants.all.keys()) L.tenants.dirty.add(id);
  }

  #put(table: Table, id: string, value: unknown): void {
    if (value === undefined) this.#sql.exec(`DELETE FROM ${table} WHERE id = ?`, id);
    else this.#sql.exec(`INSERT OR REPLACE INTO ${table} (id, data) VALUES (?, ?)`, id, JSON.stringify(value));
  }

  #all<T>(table: Table): Map<string, T> {
    const rows = new Map<string, T>();
    for (const row of this.#sql.exec<{ id: string; data: string }>(`SELECT id, data FROM ${table}`)) {
      rows.set(row.id, JSON.parse(row.data) as T);
    }
    return rows;
  }
}

/** Nothing of it is to be written any more, or nothing can be. */
export function settled(q: Queue): void {
  q.ledger.dirtyTickets.clear();
  q.ledger.dirtyReplicas.clear();
  q.ledger.tenants.dirty.clear();
}

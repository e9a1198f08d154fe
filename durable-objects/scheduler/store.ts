import type { PolicyConfig } from '../../policy/config.ts';
import type { Queue } from '../../policy/queue.ts';
import { record } from '../../policy/replicas.ts';
import { load, type Meta, metaOf, type Saved } from '../../policy/state.ts';
import type { Tenant } from '../../policy/tenants.ts';
import type { Ticket } from '../../policy/ticket.ts';

/** Chains are a guess: they are written at most so often. */
const CHAINS_EVERY_MS = 10_000;

const SCHEMA = `
CREATE TABLE IF NOT EXISTS tickets (id TEXT PRIMARY KEY, data TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tenants (id TEXT PRIMARY KEY, data TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS replicas (id TEXT PRIMARY KEY, data TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS chains (id TEXT PRIMARY KEY, data TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS meta (id TEXT PRIMARY KEY, data TEXT NOT NULL) WITHOUT ROWID;
`;

type Table = 'tickets' | 'tenants' | 'replicas' | 'chains' | 'meta';

/** The queue's rows: one a ticket, tenant and replica, so that a call writes what it changed and no more. */
export class QueueStore {
  readonly #sql: SqlStorage;
  #chainsAt = 0;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
    sql.exec(SCHEMA);
  }

  load(config: PolicyConfig, ids: readonly string[], now: number): Queue {
    const saved: Saved = {
      meta: this.#all<Meta>('meta').get('meta'),
      tickets: [...this.#all<Ticket>('tickets').values()],
      tenants: [...this.#all<Tenant>('tenants').values()],
      replicas: [...this.#all<Saved['replicas'][number]>('replicas').values()],
      chains: Object.fromEntries(this.#all<[string, number][]>('chains')),
    };
    return load(config, ids, saved, now);
  }

  /** Writes what changed. Called at the end of every event, without an await before, so that it is one transaction. */
  write(q: Queue, now: number): void {
    const L = q.ledger;
    if (L.dirtyTickets.size + L.dirtyReplicas.size + L.tenants.dirty.size === 0) return;
    for (const id of L.dirtyTickets) this.#put('tickets', id, L.tickets.get(id));
    for (const id of L.tenants.dirty) this.#put('tenants', id, L.tenants.all.get(id));
    const chains = now - this.#chainsAt >= CHAINS_EVERY_MS;
    for (const id of L.dirtyReplicas) {
      const r = L.replicas.get(id);
      this.#put('replicas', id, r && record(r));
    }
    if (chains) {
      for (const r of L.replicas.values()) this.#put('chains', r.id, r.chains.save());
      this.#chainsAt = now;
    }
    this.#put('meta', 'meta', metaOf(q));
    L.dirtyTickets.clear();
    L.dirtyReplicas.clear();
    L.tenants.dirty.clear();
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

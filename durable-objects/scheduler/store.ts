import type { PolicyConfig } from '../../policy/config.ts';
import type { Queue } from '../../policy/queue.ts';
import { record } from '../../policy/replicas.ts';
import { load, metaOf, type Saved } from '../../policy/state.ts';
import type { Sql } from '../rows.ts';
import { prepare, type Schema } from '../schema.ts';

/** Chains are a guess: they are written at most so often. */
const CHAINS_EVERY_MS = 10_000;

/** Events in the journal; with the one after them, all that they changed is written to its tables. */
const EVENTS = 64;

const TABLES = ['tickets', 'tenants', 'replicas', 'chains', 'meta'] as const;
const JOURNAL = 'CREATE TABLE IF NOT EXISTS journal (id INTEGER PRIMARY KEY, data TEXT NOT NULL);';
const QUEUE: Schema = {
  part: 'queue',
  version: 3, // 2: slots and lanes, 3: a journal
  tables: [...TABLES, 'journal'],
  upgrade: { 2: JOURNAL },
  create:
    TABLES.map((table) => `CREATE TABLE IF NOT EXISTS ${table} (id TEXT PRIMARY KEY, data TEXT NOT NULL) WITHOUT ROWID;`).join('\n') +
    JOURNAL,
};

const KEPT: Schema = {
  part: 'kept',
  version: 1,
  tables: ['kept'],
  create: 'CREATE TABLE IF NOT EXISTS kept (id TEXT PRIMARY KEY, data TEXT NOT NULL) WITHOUT ROWID',
};

type Table = (typeof TABLES)[number];
type Changing = 'tickets' | 'tenants' | 'replicas';
const isChanging = (table: Table): table is Changing => table !== 'chains' && table !== 'meta';

type Change = [table: Table, id: string, value: unknown];

/** What an event left of each thing that it changed; null: it is gone. */
interface Event {
  seq: number;
  changed: Change[];
}

/**
 * The queue in storage: a row each of its tickets, tenants and replicas and, since what is billed is rows, one row an event in which
 * what it changed stands together. Tables and the events after them are the queue.
 */
export class QueueStore {
  readonly #sql: Sql;
  #chainsAt = 0;
  /** The rows say nothing of what the queue is: all are to be written. */
  #behind = false;
  /** Of the last event, and of the last that the tables have. */
  #seq = 0;
  #tabled = 0;
  /** What the events since then have changed. */
  readonly #changed: Record<Changing, Set<string>> = { tickets: new Set(), tenants: new Set(), replicas: new Set() };

  constructor(sql: Sql) {
    this.#sql = sql;
  }

  /** The stored queue. Throws when a row is damaged: then `clear`, the queue can be made anew. */
  load(config: PolicyConfig, ids: readonly string[], now: number): Queue {
    prepare(this.#sql, QUEUE);
    const tables = Object.fromEntries(TABLES.map((table) => [table, this.#all(table)])) as Record<Table, Map<string, unknown>>;
    this.#replay(tables);
    const saved = {
      meta: tables.meta.get('meta'),
      tickets: [...tables.tickets.values()],
      tenants: [...tables.tenants.values()],
      replicas: [...tables.replicas.values()],
      chains: Object.fromEntries(tables.chains),
    } as Saved;
    return load(config, ids, saved, now);
  }

  /** Erases the queue, and not what is kept beside it. */
  clear(): void {
    for (const table of QUEUE.tables) this.#sql.exec(`DROP TABLE IF EXISTS ${table}`);
    prepare(this.#sql, QUEUE);
    for (const ids of Object.values(this.#changed)) ids.clear();
    this.#seq = this.#tabled = 0;
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
    const whole = this.#behind;
    if (whole) this.#mark(q);
    else if (L.dirtyTickets.size + L.dirtyReplicas.size + L.tenants.dirty.size === 0) return false;
    const replicaOf = (id: string) => {
      const r = L.replicas.get(id);
      return r && record(r);
    };
    const changed: Change[] = [
      ...[...L.dirtyTickets].map((id): Change => ['tickets', id, L.tickets.get(id) ?? null]),
      ...[...L.tenants.dirty].map((id): Change => ['tenants', id, L.tenants.all.get(id) ?? null]),
      ...[...L.dirtyReplicas].map((id): Change => ['replicas', id, replicaOf(id) ?? null]),
    ];
    for (const [table, id] of changed) if (isChanging(table)) this.#changed[table].add(id);
    this.#seq++;
    if (whole || this.#seq > this.#tabled + EVENTS) {
      for (const id of this.#changed.tickets) this.#put('tickets', id, L.tickets.get(id));
      for (const id of this.#changed.tenants) this.#put('tenants', id, L.tenants.all.get(id));
      for (const id of this.#changed.replicas) this.#put('replicas', id, replicaOf(id));
      this.#put('meta', 'meta', { ...metaOf(q), seq: this.#seq });
      for (const ids of Object.values(this.#changed)) ids.clear();
      this.#tabled = this.#seq;
    } else {
      changed.push(['meta', 'meta', metaOf(q)]);
      const event: Event = { seq: this.#seq, changed };
      this.#sql.exec('INSERT OR REPLACE INTO journal (id, data) VALUES (?, ?)', this.#seq % EVENTS, JSON.stringify(event));
    }
    if (now - this.#chainsAt >= CHAINS_EVERY_MS) {
      for (const r of L.replicas.values()) this.#put('chains', r.id, r.chains.save());
      this.#chainsAt = now;
    }
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

  /** Brings the tables' rows forward by the events after them. Throws when one is missing. */
  #replay(tables: Record<Table, Map<string, unknown>>): void {
    this.#tabled = (tables.meta.get('meta') as { seq?: number } | undefined)?.seq ?? 0;
    const rows = [...this.#sql.exec<{ data: string }>('SELECT data FROM journal')].map((r) => JSON.parse(r.data) as Event);
    const events = rows.filter((e) => e.seq > this.#tabled).sort((a, b) => a.seq - b.seq);
    this.#seq = this.#tabled;
    for (const { seq, changed } of events) {
      if (seq !== ++this.#seq) throw new Error(`journal: event ${this.#seq} is missing`);
      for (const [table, id, value] of changed) {
        if (value === null) tables[table].delete(id);
        else tables[table].set(id, value);
        if (isChanging(table)) this.#changed[table].add(id);
      }
    }
  }

  #put(table: Table, id: string, value: unknown): void {
    if (value === undefined) this.#sql.exec(`DELETE FROM ${table} WHERE id = ?`, id);
    else this.#sql.exec(`INSERT OR REPLACE INTO ${table} (id, data) VALUES (?, ?)`, id, JSON.stringify(value));
  }

  #all(table: Table): Map<string, unknown> {
    const rows = new Map<string, unknown>();
    for (const row of this.#sql.exec<{ id: string; data: string }>(`SELECT id, data FROM ${table}`)) {
      rows.set(row.id, JSON.parse(row.data));
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

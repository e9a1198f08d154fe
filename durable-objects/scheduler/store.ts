import type { PolicyConfig } from '../../policy/config.ts';
import type { Queue } from '../../policy/queue.ts';
import { type Account, accountOf, type Known, knownOf, load, type Meta, metaOf, type Saved } from '../../policy/state.ts';
import type { Sql } from '../rows.ts';
import { prepare, type Schema } from '../schema.ts';

/** Events that are kept; the one after them writes all of the queue anew. */
const EVENTS = 256;
/** Characters of a row: SQLite's may have 2 MB. */
const ROW = 1 << 20;

const QUEUE: Schema = {
  part: 'queue',
  version: 4, // 2: slots and lanes, 3: a journal, 4: no tickets
  tables: ['state', 'events', 'journal', 'tickets', 'tenants', 'replicas', 'chains', 'meta'], // after the first two, those of older versions
  create: `CREATE TABLE IF NOT EXISTS events (id INTEGER PRIMARY KEY, data TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS state (id TEXT PRIMARY KEY, data TEXT NOT NULL) WITHOUT ROWID`,
};

const KEPT: Schema = {
  part: 'kept',
  version: 1,
  tables: ['kept'],
  create: 'CREATE TABLE IF NOT EXISTS kept (id TEXT PRIMARY KEY, data TEXT NOT NULL) WITHOUT ROWID',
};

/** All of the queue but chains, as it was after an event. */
interface Whole {
  seq: number;
  meta: Meta;
  tenants: Account[];
  replicas: Known[];
}

/** What an event left of each thing that changed since the one before; null: it is gone, and of chains: the replica holds none any more. */
interface Event {
  seq: number;
  meta: Meta;
  tenants: [string, Account | null][];
  replicas: Known[];
  placed: Queue['ledger']['placed'];
}

/**
 * What must survive of the queue in storage. What is billed is rows: an event is one, in which all that changed stands together, and
 * one in some hundreds writes all of it anew, as one row, and one more for each replica whose chains have changed.
 */
export class QueueStore {
  readonly #sql: Sql;
  /** The rows say nothing of what the queue is: all are to be written. */
  #behind = false;
  /** Of the last event, and of the last that the whole has. */
  #seq = 0;
  #whole = 0;
  /** Rows of the whole, and replicas whose chains have changed since. */
  #parts = 0;
  readonly #chains = new Set<string>();

  constructor(sql: Sql) {
    this.#sql = sql;
  }

  /** The stored queue. Throws when a row is damaged: then `clear`, the queue can be made anew. */
  load(config: PolicyConfig, ids: readonly string[], now: number): Queue {
    prepare(this.#sql, QUEUE);
    const rows = new Map([...this.#sql.exec<{ id: string; data: string }>('SELECT id, data FROM state')].map((r) => [r.id, r.data]));
    let text = '';
    for (this.#parts = 0; rows.has(`queue/${this.#parts}`); this.#parts++) text += rows.get(`queue/${this.#parts}`);
    const events = [...this.#sql.exec<{ data: string }>('SELECT data FROM events')].map((r) => JSON.parse(r.data) as Event);
    if (text === '') {
      if (rows.size + events.length > 0) throw new Error('state: it is missing');
      return load(config, ids, { tenants: [], replicas: [], chains: {} }, now);
    }
    const whole = JSON.parse(text) as Whole;
    const tenants = new Map(whole.tenants.map((t) => [t.name, t]));
    const replicas = new Map(whole.replicas.map((r) => [r.id, r]));
    let { meta } = whole;
    const later = events.filter((e) => e.seq > whole.seq).sort((a, b) => a.seq - b.seq);
    this.#seq = this.#whole = whole.seq;
    for (const e of later) {
      if (e.seq !== ++this.#seq) throw new Error(`events: number ${this.#seq} is missing`);
      for (const [name, account] of e.tenants) account ? tenants.set(name, account) : tenants.delete(name);
      for (const r of e.replicas) replicas.set(r.id, r);
      meta = e.meta;
    }
    const chains: Saved['chains'] = {};
    for (const [id, data] of rows) if (id.startsWith(CHAINS)) chains[id.slice(CHAINS.length)] = JSON.parse(data);
    const q = load(config, ids, { meta, tenants: [...tenants.values()], replicas: [...replicas.values()], chains }, now);
    for (const [id, chain] of later.flatMap((e) => e.placed)) {
      this.#chains.add(id);
      const cache = q.ledger.replicas.get(id)?.chains;
      if (chain === null) cache?.clear();
      else cache?.add(chain);
    }
    return q;
  }

  /** Erases the queue, and not what is kept beside it. */
  clear(): void {
    for (const table of QUEUE.tables) this.#sql.exec(`DROP TABLE IF EXISTS ${table}`);
    prepare(this.#sql, QUEUE);
    this.#chains.clear();
    this.#seq = this.#whole = this.#parts = 0;
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

  /** Writes what changed since the last time; false: nothing did. One transaction: there is no await in it. */
  write(q: Queue): boolean {
    const L = q.ledger;
    if (!this.#behind && !isChanged(q)) return false;
    for (const [id] of L.placed) this.#chains.add(id);
    if (this.#behind) {
      this.clear();
      for (const id of L.replicas.keys()) this.#chains.add(id);
    }
    const known = (id: string) => {
      const r = L.replicas.get(id);
      return r ? [knownOf(r)] : [];
    };
    const account = (name: string) => {
      const t = L.tenants.all.get(name);
      return t ? accountOf(t) : null;
    };
    this.#seq++;
    const event: Event = {
      ...{ seq: this.#seq, meta: metaOf(q), placed: L.placed },
      tenants: [...L.tenants.dirty].map((name) => [name, account(name)]),
      replicas: [...L.dirtyReplicas].flatMap(known),
    };
    const data = this.#whole > 0 && this.#seq <= this.#whole + EVENTS ? JSON.stringify(event) : '';
    if (data === '' || data.length > ROW) this.#writeWhole(q);
    else this.#sql.exec('INSERT OR REPLACE INTO events (id, data) VALUES (?, ?)', this.#seq % EVENTS, data);
    this.#behind = false;
    settled(q);
    return true;
  }

  #writeWhole(q: Queue): void {
    const { tenants, replicas } = q.ledger;
    const whole: Whole = {
      ...{ seq: this.#seq, meta: metaOf(q) },
      tenants: [...tenants.all.values()].map(accountOf),
      replicas: [...replicas.values()].map(knownOf),
    };
    // in ASCII, so that it may be cut anywhere
    const text = JSON.stringify(whole).replace(/[\u007f-\uffff]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`);
    const parts = Math.ceil(text.length / ROW);
    for (let i = 0; i < parts; i++) this.#put(`queue/${i}`, text.slice(i * ROW, (i + 1) * ROW));
    for (let i = parts; i < this.#parts; i++) this.#sql.exec('DELETE FROM state WHERE id = ?', `queue/${i}`);
    for (const id of this.#chains) {
      const r = replicas.get(id);
      if (r) this.#put(CHAINS + id, JSON.stringify(r.chains.save()));
    }
    this.#chains.clear();
    this.#parts = parts;
    this.#whole = this.#seq;
  }

  #put(id: string, data: string): void {
    this.#sql.exec('INSERT OR REPLACE INTO state (id, data) VALUES (?, ?)', id, data);
  }
}

const CHAINS = 'chains/';

/** Whether there is anything to be stored. */
export const isChanged = ({ ledger: L }: Queue): boolean => L.dirtyReplicas.size + L.tenants.dirty.size + L.placed.length > 0;

/** Nothing of it is to be written any more, or nothing can be. */
export function settled({ ledger: L }: Queue): void {
  L.dirtyReplicas.clear();
  L.tenants.dirty.clear();
  L.placed.length = 0;
}

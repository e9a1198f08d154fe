import type { Frame } from '../../serving/responses/frames.ts';
import { prepare, type Schema } from '../schema.ts';

/** Rows stay under SQLite's 2 MB; a larger page is cut. */
const PART_BYTES = 1 << 20;

const PAGES: Schema = {
  part: 'pages',
  version: 1,
  tables: ['pages', 'parts'],
  create: `
CREATE TABLE IF NOT EXISTS pages (name TEXT PRIMARY KEY, bytes INTEGER NOT NULL, digest BLOB NOT NULL, used INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS pages_used ON pages (used);
CREATE TABLE IF NOT EXISTS parts (name TEXT NOT NULL, part INTEGER NOT NULL, data BLOB NOT NULL, PRIMARY KEY (name, part));
`,
};

/** KV pages as content-addressed rows, within a byte quota: the least recently used go first. */
export class PageStore {
  readonly #sql: SqlStorage;
  readonly quota: number;
  /** Bytes of all payloads. */
  #bytes: number;
  /** What the last caller of `missing` is about to store, and from when on its chain's pages are in use. */
  #coming: { names: ReadonlySet<string>; since: number } = { names: new Set(), since: 0 };

  constructor(sql: SqlStorage, quota: number) {
    this.#sql = sql;
    this.quota = quota;
    prepare(sql, PAGES);
    this.#bytes = sql.exec<{ n: number }>('SELECT coalesce(sum(bytes), 0) AS n FROM pages').one().n;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get count(): number {
    return this.#sql.exec<{ n: number }>('SELECT count(*) AS n FROM pages').one().n;
  }

  has(name: string): boolean {
    return this.#sql.exec('SELECT 1 FROM pages WHERE name = ?', name).next().done !== true;
  }

  /** Of a chain of names, root first, those that are not here. The others count as used now, the root last. */
  missing(names: readonly string[]): string[] {
    const lacking = names.filter((name) => !this.has(name));
    this.#coming = { names: new Set(lacking), since: this.#clock() };
    this.touch(names);
    return lacking;
  }

  /** Used now; a page's ancestors after it, so that no page outlives what it needs. */
  touch(names: readonly string[]): void {
    let at = this.#clock();
    for (let i = names.length - 1; i >= 0; i--) this.#sql.exec('UPDATE pages SET used = ? WHERE name = ?', at++, names[i]);
  }

  /**
   * Stores a checked frame, once. False when there is no room: the oldest pages go for it, but never the beginning of the chain
   * that it belongs to, without which it is of no use.
   */
  put({ name, digest, payload }: Frame): boolean {
    if (this.has(name)) return true;
    const { names, since } = this.#coming;
    if (!this.#makeRoom(payload.byteLength, names.has(name) ? since : Number.MAX_SAFE_INTEGER)) return false;
    this.#sql.exec('INSERT INTO pages (name, bytes, digest, used) VALUES (?, ?, ?, ?)', name, payload.byteLength, digest, this.#clock());
    this.#bytes += payload.byteLength;
    for (let part = 0; part * PART_BYTES < payload.byteLength; part++) {
      const data = payload.slice(part * PART_BYTES, (part + 1) * PART_BYTES);
      this.#sql.exec('INSERT INTO parts (name, part, data) VALUES (?, ?, ?)', name, part, data);
    }
    return true;
  }

  /** Size and digest without the payload. */
  head(name: string): { bytes: number; digest: Uint8Array } | undefined {
    for (const row of this.#sql.exec<{ bytes: number; digest: ArrayBuffer }>('SELECT bytes, digest FROM pages WHERE name = ?', name)) {
      return { bytes: row.bytes, digest: new Uint8Array(row.digest) };
    }
    return undefined;
  }

  /** The payload in its parts. */
  *payload(name: string): Generator<Uint8Array> {
    for (const row of this.#sql.exec<{ data: ArrayBuffer }>('SELECT data FROM parts WHERE name = ? ORDER BY part', name)) {
      yield new Uint8Array(row.data);
    }
  }

  drop(name: string): void {
    this.#bytes -= this.head(name)?.bytes ?? 0;
    this.#sql.exec('DELETE FROM parts WHERE name = ?', name);
    this.#sql.exec('DELETE FROM pages WHERE name = ?', name);
  }

  clear(): void {
    this.#sql.exec('DELETE FROM parts');
    this.#sql.exec('DELETE FROM pages');
    this.#bytes = 0;
  }

  /** Drops the oldest pages, of those not used since. False when that does not suffice. */
  #makeRoom(bytes: number, since: number): boolean {
    if (bytes > this.quota) return false;
    while (this.#bytes + bytes > this.quota) {
      const [oldest] = this.#sql.exec<{ name: string }>('SELECT name FROM pages WHERE used < ? ORDER BY used LIMIT 1', since);
      if (!oldest) return false;
      this.drop(oldest.name);
    }
    return true;
  }

  /** One more than any use before. */
  #clock(): number {
    return this.#sql.exec<{ n: number }>('SELECT coalesce(max(used), 0) + 1 AS n FROM pages').one().n;
  }
}

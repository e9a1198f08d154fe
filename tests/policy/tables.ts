/** The statements of the queue's store, over maps: an object's storage for tests in Node, which has no SQLite before version 22. */
export class Tables {
  readonly #tables = new Map<string, Map<unknown, string>>();
  /** Statements that changed a row. */
  writes = 0;

  exec<T>(sql: string, ...given: unknown[]): IterableIterator<T> & { rowsWritten: number } {
    const rows = sql.split(';').flatMap((s) => (s.trim() === '' ? [] : this.#one(s.trim(), given))) as T[];
    return Object.assign(rows[Symbol.iterator](), { rowsWritten: /^(INSERT|DELETE)/.test(sql) ? 1 : 0 });
  }

  count(table: string): number {
    return this.#tables.get(table)?.size ?? 0;
  }

  /** Its rows are no JSON any more. */
  damage(table: string): void {
    const rows = this.#table(table);
    for (const id of rows.keys()) rows.set(id, '{"');
  }

  #table(name: string): Map<unknown, string> {
    const rows = this.#tables.get(name);
    if (!rows) throw new Error(`no such table: ${name}`);
    return rows;
  }

  #one(sql: string, [id, data]: unknown[]): object[] {
    if (sql.includes('sqlite_master')) return this.#tables.has(String(id)) ? [{}] : [];
    const [, create] = /^CREATE TABLE (?:IF NOT EXISTS )?(\w+)/.exec(sql) ?? [];
    if (create) {
      if (!this.#tables.has(create)) this.#tables.set(create, new Map());
      return [];
    }
    const [, drop] = /^DROP TABLE IF EXISTS (\w+)/.exec(sql) ?? [];
    if (drop) {
      this.#tables.delete(drop);
      return [];
    }
    const [, insert] = /^INSERT (?:OR REPLACE )?INTO (\w+)/.exec(sql) ?? [];
    if (insert) {
      this.writes++;
      this.#table(insert).set(id, String(data));
      return [];
    }
    const [, remove] = /^DELETE FROM (\w+) WHERE id = \?/.exec(sql) ?? [];
    if (remove) {
      this.writes++;
      this.#table(remove).delete(id);
      return [];
    }
    const [, from, where] = /^SELECT .* FROM (\w+)( WHERE \w+ = \?)?/.exec(sql) ?? [];
    if (!from) throw new Error(`no test foresaw ${sql}`);
    return [...this.#table(from)]
      .filter(([key]) => !where || key === id)
      .map(([key, value]) => ({ id: key, data: value, v: Number(value) }));
  }
}

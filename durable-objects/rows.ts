/** What an object needs of SQLite. */
export type Sql = Pick<SqlStorage, 'exec'>;

/** Rows that an object has written, as the platform bills them: of tables, of indexes, and one for each alarm that is set. */
export interface Rows {
  written: number;
}

/** SQL of that storage, whose writes are counted. */
export function counted(sql: Sql, rows: Rows): Sql {
  return {
    exec(query, ...bindings) {
      const cursor = sql.exec(query, ...bindings);
      rows.written += cursor.rowsWritten; // a statement has written before its first row is read
      return cursor as never;
    },
  };
}

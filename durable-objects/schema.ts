import type { Sql } from './rows.ts';

/** Tables of one part of an object's storage, with a version: what an older server wrote is brought forward or made anew, never misread. */
export interface Schema {
  part: string;
  /** Counts up with every change of the tables or of what lies in them. */
  version: number;
  tables: readonly string[];
  /** Makes the tables of this version. */
  create: string;
  /** Statements that bring tables from the version named to the next. Where one is missing, the tables are dropped: for what can be made again. */
  upgrade?: Readonly<Record<number, string>>;
  /** What the tables hold cannot be made again: versions without a way here are refused instead of dropped. */
  keep?: boolean;
}

/** Brings a part's tables to their version; writes nothing where they have it. Throws when they are newer and to be kept. Tables without a version are of the first. */
export function prepare(sql: Sql, s: Schema): void {
  const has = (table: string) => sql.exec("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", table).next().done !== true;
  const versions = has('schema');
  let version = has(s.tables[0]!) ? 1 : 0; // 0: none
  if (versions && version > 0)
    for (const row of sql.exec<{ v: number }>('SELECT version AS v FROM schema WHERE part = ?', s.part)) version = row.v;
  if (version === s.version && versions) return;
  if (!versions) sql.exec('CREATE TABLE schema (part TEXT PRIMARY KEY, version INTEGER NOT NULL) WITHOUT ROWID');
  for (; version > 0 && version < s.version && s.upgrade?.[version] !== undefined; version++) sql.exec(s.upgrade[version]!);
  if (version > 0 && version !== s.version) {
    if (s.keep) throw new Error(`${s.part}: stored as version ${version}, this server knows ${s.version}; start the server that wrote it`);
    for (const table of s.tables) sql.exec(`DROP TABLE IF EXISTS ${table}`);
  }
  sql.exec(s.create);
  sql.exec('INSERT OR REPLACE INTO schema (part, version) VALUES (?, ?)', s.part, s.version);
}

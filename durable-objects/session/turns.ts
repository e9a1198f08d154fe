import { isOpen, type Turns } from '../../serving/responses/turns.ts';
import type { Commit, CommitAnswer, Piece, ResponseStatus, StoredResponse } from '../../serving/responses/types.ts';
import type { Sql } from '../rows.ts';
import { prepare, type Schema } from '../schema.ts';

const TURNS: Schema = {
  part: 'turns',
  version: 3, // 2: tries, 3: how many tokens are stored follows from the log
  tables: ['turns', 'log'],
  keep: true,
  upgrade: {
    1: 'ALTER TABLE turns ADD COLUMN tries INTEGER NOT NULL DEFAULT 0',
    2: 'ALTER TABLE turns RENAME COLUMN committed TO tried_at',
  },
  create: `
CREATE TABLE IF NOT EXISTS turns (
  id TEXT PRIMARY KEY, previous TEXT, created INTEGER NOT NULL, status TEXT NOT NULL, epoch INTEGER NOT NULL,
  tried_at INTEGER NOT NULL, prompt BLOB, starts TEXT NOT NULL DEFAULT '[]', tries INTEGER NOT NULL DEFAULT 0, data TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS log (
  turn TEXT NOT NULL, first INTEGER NOT NULL, ids BLOB NOT NULL, text TEXT NOT NULL, PRIMARY KEY (turn, first)) WITHOUT ROWID;
`,
};

type Row = {
  id: string;
  previous: string | null;
  created: number;
  status: string;
  epoch: number;
  starts: string;
  data: string;
};
/** What lies in the row's JSON. */
type Data = Omit<StoredResponse, 'id' | 'previous' | 'created' | 'status' | 'epoch' | 'starts'>;

/** Tokens of a turn that are stored. */
const COMMITTED = 'coalesce((SELECT first + length(ids) / 4 FROM log WHERE turn = id ORDER BY first DESC LIMIT 1), 0)';
const COLUMNS = 'id, previous, created, status, epoch, starts, data';

const ids32 = (ids: readonly number[]): ArrayBuffer => Uint32Array.from(ids).buffer as ArrayBuffer;

/** The turns of a conversation, a tree by `previous`, and the log of each answer's tokens. */
export class TurnStore implements Turns {
  readonly #sql: Sql;

  constructor(sql: Sql) {
    this.#sql = sql;
    prepare(sql, TURNS);
  }

  insert(r: StoredResponse): void {
    const { id, previous, created, status, epoch, starts: _, ...data } = r;
    this.#sql.exec(
      'INSERT INTO turns (id, previous, created, status, epoch, tried_at, data) VALUES (?, ?, ?, ?, ?, 0, ?)',
      id,
      previous,
      created,
      status,
      epoch,
      JSON.stringify(data),
    );
  }

  get(id: string): StoredResponse | undefined {
    for (const row of this.#sql.exec<Row>(`SELECT ${COLUMNS} FROM turns WHERE id = ?`, id)) return fromRow(row);
    return undefined;
  }

  all(): StoredResponse[] {
    return [...this.#sql.exec<Row>(`SELECT ${COLUMNS} FROM turns ORDER BY created, id`)].map(fromRow);
  }

  /** Whose they are; undefined where there is none. */
  tenant(): string | undefined {
    const tenant = "SELECT json_extract(data, '$.tenant') AS tenant FROM turns LIMIT 1";
    for (const row of this.#sql.exec<{ tenant: string }>(tenant)) return row.tenant;
    return undefined;
  }

  /** Turns still to be generated. */
  open(): string[] {
    const rows = this.#sql.exec<{ id: string }>("SELECT id FROM turns WHERE status IN ('queued', 'in_progress') ORDER BY created, id");
    return [...rows].map((r) => r.id);
  }

  children(id: string): string[] {
    return [...this.#sql.exec<{ id: string }>('SELECT id FROM turns WHERE previous = ?', id)].map((r) => r.id);
  }

  /** Changes parts of a turn that is no longer running, or that its lease's holder changes. */
  update(id: string, change: Partial<Data> & { status?: ResponseStatus }, prompt?: readonly number[]): void {
    const turn = this.get(id);
    if (!turn) return;
    const { id: _i, previous: _p, created: _c, status, epoch: _e, starts: _t, ...data } = { ...turn, ...change };
    const ids = prompt ? ids32(prompt) : null;
    this.#sql.exec(
      'UPDATE turns SET status = ?, data = ?, prompt = coalesce(prompt, ?) WHERE id = ?',
      status,
      JSON.stringify(data),
      ids,
      id,
    );
  }

  /** A new lease takes the turn over; the older ones are stale from now on. False: this one is itself stale, or the turn has ended. */
  claim(id: string, epoch: number): boolean {
    const cursor = this.#sql.exec(
      `UPDATE turns SET epoch = ?, status = 'in_progress', starts = json_insert(starts, '$[#]', ${COMMITTED}) WHERE id = ? AND epoch < ? AND status IN ('queued', 'in_progress')`,
      epoch,
      id,
      epoch,
    );
    return cursor.rowsWritten > 0;
  }

  /** It is tried now; answers how often it was since its last token, this time counted. */
  tried(id: string): number {
    const again = `CASE WHEN tried_at = ${COMMITTED} THEN tries + 1 ELSE 1 END`;
    const sql = `UPDATE turns SET tries = ${again}, tried_at = ${COMMITTED} WHERE id = ? RETURNING tries AS n`;
    for (const row of this.#sql.exec<{ n: number }>(sql, id)) return row.n;
    return 0;
  }

  prompt(id: string): number[] {
    for (const row of this.#sql.exec<{ prompt: ArrayBuffer | null }>('SELECT prompt FROM turns WHERE id = ?', id)) {
      return row.prompt ? [...new Uint32Array(row.prompt)] : [];
    }
    return [];
  }

  committed(id: string): number {
    for (const row of this.#sql.exec<{ n: number }>(`SELECT ${COMMITTED} AS n FROM turns WHERE id = ?`, id)) return row.n;
    return 0;
  }

  /** Appends tokens under a lease. Tokens committed before are skipped, they are the same by construction. */
  commit(c: Commit): CommitAnswer {
    const rows = this.#sql.exec<{ committed: number; epoch: number; status: string }>(
      `SELECT ${COMMITTED} AS committed, epoch, status FROM turns WHERE id = ?`,
      c.response,
    );
    const [turn] = [...rows];
    if (!turn) return { ok: false, why: 'unknown', committed: 0 };
    const { committed } = turn;
    if (c.epoch !== turn.epoch || !isOpen(turn.status as ResponseStatus)) return { ok: false, why: 'stale', committed };
    if (c.from > committed) return { ok: false, why: 'gap', committed };
    const ids = c.ids.slice(committed - c.from);
    const text = c.text.slice(committed - c.from);
    if (ids.length === 0) return { ok: true, committed };
    const next = committed + ids.length;
    this.#sql.exec('INSERT INTO log (turn, first, ids, text) VALUES (?, ?, ?, ?)', c.response, committed, ids32(ids), JSON.stringify(text));
    return { ok: true, committed: next };
  }

  /** Committed tokens and the text each added. */
  tokens(id: string): { ids: number[]; text: Piece[] } {
    const ids: number[] = [];
    const text: Piece[] = [];
    for (const row of this.#sql.exec<{ ids: ArrayBuffer; text: string }>('SELECT ids, text FROM log WHERE turn = ? ORDER BY first', id)) {
      for (const token of new Uint32Array(row.ids)) ids.push(token);
      for (const piece of JSON.parse(row.text) as Piece[]) text.push(piece);
    }
    return { ids, text };
  }

  eraseTokens(id: string): void {
    this.#sql.exec('DELETE FROM log WHERE turn = ?', id);
    this.#sql.exec('UPDATE turns SET prompt = NULL WHERE id = ?', id);
  }

  /** Erases a turn, and what later turns hold of it: their prompt ids. */
  erase(id: string): void {
    this.#sql.exec('DELETE FROM log WHERE turn = ?', id);
    this.#sql.exec('DELETE FROM turns WHERE id = ?', id);
    const below = this.children(id);
    for (let child = below.pop(); child; child = below.pop()) {
      this.#sql.exec('UPDATE turns SET prompt = NULL WHERE id = ?', child);
      below.push(...this.children(child));
    }
  }
}

function fromRow(row: Row): StoredResponse {
  const { id, previous, created, status, epoch } = row;
  return {
    id,
    previous,
    created,
    epoch,
    status: status as ResponseStatus,
    starts: JSON.parse(row.starts) as number[],
    ...(JSON.parse(row.data) as Data),
  };
}

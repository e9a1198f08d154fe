import { DurableObject } from 'cloudflare:workers';
import type { Erased } from '../../serving/host.ts';
import { prepare, type Schema } from '../schema.ts';
import type { SessionPort } from '../session/port.ts';
import { stubAs } from '../stub.ts';

const SESSIONS: Schema = {
  part: 'sessions',
  version: 1,
  tables: ['sessions'],
  create: 'CREATE TABLE IF NOT EXISTS sessions (id TEXT PRIMARY KEY) WITHOUT ROWID',
};

/** Sessions that are erased at once, and by one call: what a call may ask of others is bounded. */
const TOGETHER = 16;
const A_CALL = 64;

/** Which sessions a tenant has, so that they can be erased: a row a session, by its object's id. Nothing is written before the first. */
export class Tenant extends DurableObject<{ SESSION: DurableObjectNamespace }> {
  /** A session has begun. */
  add(session: string): void {
    prepare(this.ctx.storage.sql, SESSIONS);
    this.ctx.storage.sql.exec('INSERT OR IGNORE INTO sessions (id) VALUES (?)', session);
  }

  /** Sessions are over. The last one takes the list with it. */
  async remove(...sessions: string[]): Promise<void> {
    if (!this.#begun()) return;
    for (const id of sessions) this.ctx.storage.sql.exec('DELETE FROM sessions WHERE id = ?', id);
    if (this.#left() === 0) await this.ctx.storage.deleteAll();
  }

  count(): number {
    return this.#begun() ? this.#left() : 0;
  }

  /** Erases sessions, as many as one call may. */
  async erase(): Promise<Erased> {
    let sessions = 0;
    while (this.#begun() && sessions < A_CALL) {
      const rows = this.ctx.storage.sql.exec<{ id: string }>('SELECT id FROM sessions LIMIT ?', TOGETHER).toArray();
      if (rows.length === 0) break;
      await Promise.all(rows.map(({ id }) => this.#session(id).erase()));
      await this.remove(...rows.map(({ id }) => id));
      sessions += rows.length;
    }
    return { sessions, left: this.count() };
  }

  #session(id: string): Pick<SessionPort, 'erase'> {
    const { SESSION } = this.env;
    return stubAs<SessionPort>(SESSION.get(SESSION.idFromString(id)));
  }

  /** To look makes nothing. */
  #begun(): boolean {
    return this.ctx.storage.sql.exec("SELECT 1 FROM sqlite_master WHERE name = 'sessions'").next().done !== true;
  }

  #left(): number {
    return this.ctx.storage.sql.exec<{ n: number }>('SELECT count(*) AS n FROM sessions').one().n;
  }
}

/** A key's files and batches. A batch's requests go one after another through the API, at the lowest priority of the queue, and go on after a restart. */
import { DurableObject } from 'cloudflare:workers';
import { prepare, type Schema } from '../durable-objects/schema.ts';
import { BATCH_LIMITS, type NewBatch, type NewFile, parseLines } from '../openai/requests/batches.ts';
import { createApp } from '../serving/app.ts';
import type { BatchKeeper, BatchObject, FileObject, Kept } from '../serving/batches.ts';
import type { Env } from './env.ts';
import { hostOf } from './host.ts';

/** Rows of a file: SQLite takes 2 MB a row. */
const CHUNK = 1 << 20;
/** Requests of a batch at once: the queue puts everybody else's before them. */
const TOGETHER = 2;
const LOWEST = 1000;
/** One alarm works so long, then the next one goes on. */
const GO_MS = 60_000;
/** What was refused for now is asked again after this, or after what the queue says, s. */
const AGAIN = { least: 1, most: 60 } as const;
/** Batches that have ended are kept so long, s. */
const KEEP = 30 * 24 * 3600;

const BATCHES: Schema = {
  part: 'batches',
  version: 1,
  tables: ['files', 'chunks', 'batches', 'lines'],
  keep: true,
  create: `
CREATE TABLE IF NOT EXISTS files (id TEXT PRIMARY KEY, bytes INTEGER NOT NULL, created INTEGER NOT NULL, expires INTEGER NOT NULL,
  filename TEXT NOT NULL, purpose TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS chunks (file TEXT NOT NULL, n INTEGER NOT NULL, bytes BLOB NOT NULL, PRIMARY KEY (file, n));
CREATE TABLE IF NOT EXISTS batches (id TEXT PRIMARY KEY, n INTEGER NOT NULL, tenant TEXT NOT NULL, open INTEGER NOT NULL, life INTEGER NOT NULL,
  data TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS lines (batch TEXT NOT NULL, n INTEGER NOT NULL, custom TEXT NOT NULL, body TEXT NOT NULL, ok INTEGER, answer TEXT,
  PRIMARY KEY (batch, n)) WITHOUT ROWID;
`,
};

type Line = { n: number; custom: string; body: string };

const seconds = (): number => Math.floor(Date.now() / 1000);
const newId = (prefix: string): string => prefix + crypto.randomUUID().replaceAll('-', '');
const missing = { ok: false, why: 'not_found' } as const;

export class Batches extends DurableObject<Env> implements BatchKeeper {
  async addFile(about: NewFile, bytes: Uint8Array): Promise<Kept<FileObject>> {
    this.#prepare();
    const { n, sum } = this.#sql.exec<{ n: number; sum: number }>('SELECT count(*) AS n, coalesce(sum(bytes), 0) AS sum FROM files').one();
    if (n >= BATCH_LIMITS.files || sum + bytes.byteLength > BATCH_LIMITS.bytes) return { ok: false, why: 'full' };
    const file = this.#store(about, [bytes]);
    await this.#arm();
    return { ok: true, value: file };
  }

  async files(): Promise<FileObject[]> {
    if (!this.#begun()) return [];
    return this.#sql.exec<FileRow>('SELECT * FROM files WHERE expires > ? ORDER BY created DESC, id', seconds()).toArray().map(fileObject);
  }

  async file(id: string, content = false): Promise<Kept<{ file: FileObject; bytes?: Uint8Array }>> {
    const file = this.#file(id);
    if (!file) return missing;
    return { ok: true, value: { file, ...(content && { bytes: this.#content(file) }) } };
  }

  async removeFile(id: string): Promise<Kept<null>> {
    if (!this.#file(id)) return missing;
    this.#sql.exec('DELETE FROM chunks WHERE file = ?', id);
    this.#sql.exec('DELETE FROM files WHERE id = ?', id);
    return { ok: true, value: null };
  }

  async begin(tenant: string, { inputFile, endpoint, window, metadata, outputLife }: NewBatch): Promise<Kept<BatchObject>> {
    const input = this.#file(inputFile);
    if (!input) return missing;
    const { n } = this.#sql.exec<{ n: number }>('SELECT coalesce(max(n), 0) + 1 AS n FROM batches').one();
    const { kept } = this.#sql.exec<{ kept: number }>('SELECT count(*) AS kept FROM batches').one();
    if (kept >= BATCH_LIMITS.batches) return { ok: false, why: 'full' };
    const { lines, errors } = parseLines(new TextDecoder().decode(this.#content(input)), endpoint);
    const now = seconds();
    const failed = errors.length > 0;
    const batch: BatchObject = {
      ...{ id: newId('batch_'), object: 'batch', endpoint, input_file_id: inputFile, completion_window: `${window / 3600}h` },
      errors: failed ? { object: 'list', data: errors } : null,
      status: failed ? 'failed' : 'in_progress',
      ...{ output_file_id: null, error_file_id: null, created_at: now, expires_at: now + window },
      ...{ in_progress_at: failed ? null : now, failed_at: failed ? now : null },
      ...{ finalizing_at: null, completed_at: null, expired_at: null, cancelling_at: null, cancelled_at: null },
      request_counts: { total: lines.length, completed: 0, failed: 0 },
      metadata,
    };
    const { sql } = this.ctx.storage;
    this.ctx.storage.transactionSync(() => {
      const open = failed ? 0 : 1;
      sql.exec(
        'INSERT INTO batches (id, n, tenant, open, life, data) VALUES (?, ?, ?, ?, ?, ?)',
        batch.id,
        n,
        tenant,
        open,
        outputLife,
        JSON.stringify(batch),
      );
      if (failed) return;
      for (const [i, l] of lines.entries()) {
        sql.exec('INSERT INTO lines (batch, n, custom, body) VALUES (?, ?, ?, ?)', batch.id, i, l.customId, l.body);
      }
    });
    await this.#arm();
    return { ok: true, value: batch };
  }

  async batches(): Promise<BatchObject[]> {
    if (!this.#begun()) return [];
    const rows = this.#sql.exec<{ data: string }>('SELECT data FROM batches ORDER BY n DESC').toArray();
    return rows.map((r) => this.#counted(JSON.parse(r.data) as BatchObject));
  }

  async batch(id: string): Promise<Kept<BatchObject>> {
    const batch = this.#batch(id);
    return batch ? { ok: true, value: this.#counted(batch) } : missing;
  }

  async cancel(id: string): Promise<Kept<BatchObject>> {
    const batch = this.#batch(id);
    if (!batch) return missing;
    if (batch.status === 'in_progress') {
      this.#save({ ...batch, status: 'cancelling', cancelling_at: seconds() });
      await this.ctx.storage.setAlarm(Date.now());
    }
    return this.batch(id);
  }

  async erase(): Promise<void> {
    if (!this.#begun()) return;
    await this.ctx.storage.deleteAlarm();
    await this.ctx.storage.deleteAll();
  }

  /** Works on what is open; sweeps what has expired. */
  override async alarm(): Promise<void> {
    if (!this.#begun()) return;
    this.#sweep();
    const until = Date.now() + GO_MS;
    let wait = 0;
    for (const { id, tenant } of this.#open()) {
      wait = await this.#work(id, tenant, until);
      if (wait > 0 || Date.now() >= until) break;
    }
    await this.#arm(wait);
  }

  /** Asks a batch's requests until it has ended, `until` is over, or the queue refuses: then how long to wait, s. */
  async #work(id: string, tenant: string, until: number): Promise<number> {
    for (;;) {
      const batch = this.#batch(id);
      if (!batch) return 0;
      const next = this.#sql
        .exec<Line>('SELECT n, custom, body FROM lines WHERE batch = ? AND ok IS NULL ORDER BY n LIMIT ?', id, TOGETHER)
        .toArray();
      if (batch.status === 'cancelling' || batch.expires_at <= seconds() || next.length === 0) {
        this.#finish(batch);
        return 0;
      }
      if (Date.now() >= until) return 0;
      const waits = await Promise.all(next.map((line) => this.#ask(batch, tenant, line)));
      const wait = Math.max(...waits);
      if (wait > 0) return wait;
    }
  }

  /** One request. Its answer is stored, but for one that says to come again: then how long to wait, s. */
  async #ask(batch: BatchObject, tenant: string, line: Line): Promise<number> {
    const requestId = `batch_req_${batch.id.slice(6)}_${line.n}`;
    const body = JSON.parse(line.body) as Record<string, unknown>;
    const asked = batch.endpoint === '/v1/embeddings' ? body : { ...body, priority: LOWEST };
    const request = new Request(`http://localhost${batch.endpoint}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...(batch.endpoint === '/v1/responses' && { 'idempotency-key': requestId }) },
      body: JSON.stringify(asked),
    });
    const response = await createApp({ ...hostOf(this.env), tenant }).fetch(request, this.ctx);
    if (response.status === 429 || response.status === 503) {
      await response.body?.cancel();
      return Math.min(AGAIN.most, Math.max(AGAIN.least, Number(response.headers.get('retry-after')) || 0));
    }
    const answer = {
      status_code: response.status,
      request_id: response.headers.get('x-request-id') ?? requestId,
      body: await response.json(),
    };
    if (!this.#batch(batch.id)) return 0; // erased meanwhile
    const told = JSON.stringify({ id: requestId, custom_id: line.custom, response: answer, error: null });
    this.#sql.exec('UPDATE lines SET ok = ?, answer = ? WHERE batch = ? AND n = ?', response.ok ? 1 : 0, told, batch.id, line.n);
    return 0;
  }

  /** Makes the files of what was answered; what was not is told among the errors. */
  #finish(batch: BatchObject): void {
    const now = seconds();
    const ended = batch.status === 'cancelling' ? 'cancelled' : this.#left(batch.id) > 0 ? 'expired' : 'completed';
    const code = `batch_${ended}`;
    const message = `This request was not run before the batch ${ended === 'expired' ? 'expired' : 'was cancelled'}.`;
    this.ctx.storage.transactionSync(() => {
      for (const { n, custom } of this.#sql
        .exec<Line>('SELECT n, custom, body FROM lines WHERE batch = ? AND ok IS NULL', batch.id)
        .toArray()) {
        const id = `batch_req_${batch.id.slice(6)}_${n}`;
        const told = JSON.stringify({ id, custom_id: custom, response: null, error: { code, message } });
        this.#sql.exec('UPDATE lines SET ok = 0, answer = ? WHERE batch = ? AND n = ?', told, batch.id, n);
      }
      const { life } = this.#sql.exec<{ life: number }>('SELECT life FROM batches WHERE id = ?', batch.id).one();
      const request_counts = this.#counted(batch).request_counts;
      const output_file_id = this.#answers(batch.id, 1, 'output', life);
      const error_file_id = this.#answers(batch.id, 0, 'error', life);
      const times = { [`${ended}_at`]: now, ...(ended === 'completed' && { finalizing_at: now }) };
      this.#save({ ...batch, ...times, status: ended, request_counts, output_file_id, error_file_id });
      this.#sql.exec('UPDATE batches SET open = 0 WHERE id = ?', batch.id);
      this.#sql.exec('DELETE FROM lines WHERE batch = ?', batch.id);
    });
  }

  /** A file of a batch's answers; null where there are none. */
  #answers(batch: string, ok: number, name: string, life: number): string | null {
    const rows = this.#sql.exec<{ answer: string }>('SELECT answer FROM lines WHERE batch = ? AND ok = ? ORDER BY n', batch, ok);
    const encoder = new TextEncoder();
    const parts = (function* () {
      for (const { answer } of rows) yield encoder.encode(`${answer}\n`);
    })();
    const about = { filename: `${batch}_${name}.jsonl`, purpose: 'batch_output', life };
    const file = this.#store(about, parts);
    if (file.bytes > 0) return file.id;
    this.#sql.exec('DELETE FROM files WHERE id = ?', file.id);
    return null;
  }

  /** Writes a file in rows of one chunk. */
  #store({ filename, purpose, life }: NewFile, parts: Iterable<Uint8Array>): FileObject {
    const id = newId('file-');
    const created = seconds();
    let bytes = 0;
    let n = 0;
    let held = new Uint8Array(CHUNK);
    let used = 0;
    const flush = () => {
      if (used > 0) this.#sql.exec('INSERT INTO chunks (file, n, bytes) VALUES (?, ?, ?)', id, n++, held.slice(0, used).buffer);
      held = new Uint8Array(CHUNK);
      used = 0;
    };
    for (const part of parts) {
      bytes += part.byteLength;
      for (let from = 0; from < part.byteLength; ) {
        const take = part.subarray(from, from + CHUNK - used);
        held.set(take, used);
        used += take.byteLength;
        from += take.byteLength;
        if (used === CHUNK) flush();
      }
    }
    flush();
    const row: FileRow = { id, bytes, created, expires: created + life, filename, purpose };
    this.#sql.exec(
      'INSERT INTO files (id, bytes, created, expires, filename, purpose) VALUES (?, ?, ?, ?, ?, ?)',
      ...[row.id, row.bytes, row.created, row.expires, row.filename, row.purpose],
    );
    return fileObject(row);
  }

  #content(file: FileObject): Uint8Array {
    const bytes = new Uint8Array(file.bytes);
    let at = 0;
    for (const row of this.#sql.exec<{ bytes: ArrayBuffer }>('SELECT bytes FROM chunks WHERE file = ? ORDER BY n', file.id)) {
      bytes.set(new Uint8Array(row.bytes), at);
      at += row.bytes.byteLength;
    }
    return bytes;
  }

  #file(id: string): FileObject | undefined {
    if (!this.#begun()) return undefined;
    const [row] = this.#sql.exec<FileRow>('SELECT * FROM files WHERE id = ? AND expires > ?', id, seconds()).toArray();
    return row && fileObject(row);
  }

  #batch(id: string): BatchObject | undefined {
    if (!this.#begun()) return undefined;
    const [row] = this.#sql.exec<{ data: string }>('SELECT data FROM batches WHERE id = ?', id).toArray();
    return row && (JSON.parse(row.data) as BatchObject);
  }

  /** With the counts of what has been answered so far. */
  #counted(batch: BatchObject): BatchObject {
    if (batch.status !== 'in_progress' && batch.status !== 'cancelling') return batch;
    const { completed, failed } = this.#sql
      .exec<{ completed: number; failed: number }>(
        'SELECT count(CASE ok WHEN 1 THEN 1 END) AS completed, count(CASE ok WHEN 0 THEN 1 END) AS failed FROM lines WHERE batch = ?',
        batch.id,
      )
      .one();
    return { ...batch, request_counts: { ...batch.request_counts, completed, failed } };
  }

  #save(batch: BatchObject): void {
    this.#sql.exec('UPDATE batches SET data = ? WHERE id = ?', JSON.stringify(batch), batch.id);
  }

  #left(id: string): number {
    return this.#sql.exec<{ n: number }>('SELECT count(*) AS n FROM lines WHERE batch = ? AND ok IS NULL', id).one().n;
  }

  #open(): { id: string; tenant: string }[] {
    return this.#sql.exec<{ id: string; tenant: string }>('SELECT id, tenant FROM batches WHERE open = 1 ORDER BY n').toArray();
  }

  #sweep(): void {
    const now = seconds();
    this.#sql.exec('DELETE FROM chunks WHERE file IN (SELECT id FROM files WHERE expires <= ?)', now);
    this.#sql.exec('DELETE FROM files WHERE expires <= ?', now);
    this.#sql.exec("DELETE FROM batches WHERE open = 0 AND json_extract(data, '$.created_at') <= ?", now - KEEP);
  }

  /** After `wait` s while batches are open, else when the next thing expires. Nothing left: nothing is kept. */
  async #arm(wait = 0): Promise<void> {
    if (this.#open().length > 0) return this.ctx.storage.setAlarm(Date.now() + wait * 1000);
    const next = this.#sql
      .exec<{ at: number | null }>(
        "SELECT min(at) AS at FROM (SELECT min(expires) AS at FROM files UNION ALL SELECT min(json_extract(data, '$.created_at')) + ? FROM batches)",
        KEEP,
      )
      .one().at;
    if (next === null) return this.erase();
    await this.ctx.storage.setAlarm(next * 1000);
  }

  get #sql(): SqlStorage {
    return this.ctx.storage.sql;
  }

  #prepare(): void {
    prepare(this.#sql, BATCHES);
  }

  /** To look makes nothing. */
  #begun(): boolean {
    return this.#sql.exec("SELECT 1 FROM sqlite_master WHERE name = 'batches'").next().done !== true;
  }
}

type FileRow = { id: string; bytes: number; created: number; expires: number; filename: string; purpose: string };

const fileObject = ({ id, bytes, created, expires, filename, purpose }: FileRow): FileObject => ({
  ...{ id, object: 'file', bytes, created_at: created, expires_at: expires, filename, purpose, status: 'processed' },
});

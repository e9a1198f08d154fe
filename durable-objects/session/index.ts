import { DurableObject } from 'cloudflare:workers';
import { concatBytes } from '@noble/hashes/utils.js';
import type { Item } from '../../openai/requests/item-types.ts';
import { Answer } from '../../serving/responses/answer.ts';
import { inputItems, insertTurn, readHistory, removeTurn, turnSoFar } from '../../serving/responses/begin.ts';
import { converse } from '../../serving/responses/conversation.ts';
import { type Frame, frameBytes, frameHead, free, readFrames } from '../../serving/responses/frames.ts';
import { tooLong } from '../../serving/responses/turns.ts';
import type { BeginAnswer, BeginRequest, ConversationAnswer, ConversationOp, StoredResponse } from '../../serving/responses/types.ts';
import { counted, type Rows, type Sql } from '../rows.ts';
import { prepare, type Schema } from '../schema.ts';
import { listOf } from '../tenant/port.ts';
import { type SessionEnv, sessionLimits } from './env.ts';
import { PageStore } from './pages.ts';
import { Runs } from './runs.ts';
import { TurnStore } from './turns.ts';

/** While a turn runs, the alarm comes back so often: if the object has lost its memory meanwhile, it starts the rest. */
const WATCH_MS = 3_000;
/** The queue answers at once or holds the call: so long the first answer is waited for. */
const DECIDE_MS = 300;
const MAX_NAMES = 65_536;
/** Pages go to and from storage in pieces of about so much. */
const WRITE_BYTES = 1 << 20;

const LIFE: Schema = {
  part: 'life',
  version: 1,
  tables: ['life'],
  keep: true,
  create: 'CREATE TABLE IF NOT EXISTS life (id INTEGER PRIMARY KEY CHECK (id = 0), expires INTEGER NOT NULL)',
};

/** In whose list this session stands. */
const LISTED: Schema = {
  part: 'listed',
  version: 1,
  tables: ['listed'],
  create: 'CREATE TABLE IF NOT EXISTS listed (id INTEGER PRIMARY KEY CHECK (id = 0), tenant TEXT NOT NULL)',
};

interface Stores {
  turns: TurnStore;
  pages: PageStore;
  runs: Runs;
}

/**
 * One conversation: its turns (a tree), the log of the answer that is being generated, and its KV pages. It outlives every
 * replica; a turn it owns is driven to its end from here. Nothing is written before the first `begin` or page.
 */
export class Session extends DurableObject<SessionEnv> {
  #stores?: Stores;
  readonly #answers = new Map<string, Answer>();
  readonly #limits: { ttlMs: number; quota: number };
  readonly #rows: Rows = { written: 0 };
  readonly #sql: Sql;

  constructor(ctx: DurableObjectState, env: SessionEnv) {
    super(ctx, env);
    this.#limits = sessionLimits(env);
    this.#sql = counted(ctx.storage.sql, this.#rows);
    const tables = this.#sql.exec<{ n: number }>("SELECT count(*) AS n FROM sqlite_master WHERE name = 'turns'").one();
    if (tables.n === 0) return;
    // a turn that ran when the object went away goes on at once, not at the next watch
    const { turns, runs } = this.#open();
    for (const id of turns.open()) ctx.waitUntil(runs.start(id));
  }

  /** Takes a turn on: stored with its seed before anything runs. It then runs to its end, whoever listens. */
  async begin(given: BeginRequest, trace?: string): Promise<BeginAnswer> {
    if (tooLong([], given.input)) return { ok: false, why: 'too_long' };
    if (given.previous && !this.#stores) return { ok: false, why: 'previous_not_found' }; // to look makes nothing
    if (given.conversation && !this.#stores) return { ok: false, why: 'conversation_not_found' };
    const { turns, runs } = this.#open();
    const begun = readHistory(turns, given);
    if (!begun.ok) return begun;
    const r = begun.request;
    insertTurn(turns, r);
    const listed = this.#list(r.tenant);
    await this.#touch();
    const decided = runs.decided(r.id);
    this.ctx.waitUntil(runs.start(r.id, trace));
    // a refusal comes at once, and is the client's to hear before anything is promised
    await Promise.race([decided, scheduler.wait(DECIDE_MS)]);
    await listed;
    const refused = runs.refusal(r.id);
    if (!refused) return { ok: true };
    this.#answers.delete(r.id);
    turns.erase(r.id);
    if (turns.all().length === 0) await this.erase();
    return { ok: false, why: 'refused', ...refused };
  }

  /** A turn as it stands, with the text committed so far. */
  get(id: string): { response: StoredResponse; text: string } | undefined {
    const turns = this.#stores?.turns;
    return turns && turnSoFar(turns, id);
  }

  /** Input of the turn and of all before it, oldest first: what the model was shown. */
  inputItems(id: string): Item[] | undefined {
    const turns = this.#stores?.turns;
    return turns && inputItems(turns, id);
  }

  /** Stops a turn that runs; what it has said stays. */
  async cancel(id: string): Promise<{ response: StoredResponse; text: string } | undefined> {
    if (!this.#stores?.turns.get(id)) return undefined;
    this.#answer(id).end('cancelled', {});
    await this.#stores.runs.stop(id);
    return this.get(id);
  }

  /** Erases a turn and all that was derived from it; the last one takes the whole session with it. False: there is none. */
  async remove(id: string): Promise<boolean> {
    const stores = this.#stores;
    if (!stores?.turns.get(id)) return false;
    await this.cancel(id);
    this.#answers.delete(id);
    removeTurn(stores.turns, id);
    stores.pages.clear(); // pages hold what was said: all go, recompute fills in for other branches
    if (stores.turns.all().length === 0) await this.erase();
    return true;
  }

  /** What is asked of the conversation that begins with the turn `root`. */
  async converse(root: string, op: ConversationOp): Promise<ConversationAnswer> {
    if (op.do !== 'create' && !this.#stores) return { ok: false, why: 'not_found' }; // to look makes nothing
    const { turns, pages } = this.#open();
    const answer = converse(turns, root, op, Date.now());
    if (op.do === 'remove' && answer.ok) pages.clear(); // they hold what was said
    if (op.do === 'create') await this.#list(op.tenant);
    if (answer.ok) await this.#touch();
    return answer;
  }

  /** Nothing is left, in storage or memory. */
  async erase(): Promise<void> {
    const stores = this.#stores;
    if (!stores) return; // nothing was ever stored
    this.#unlist();
    this.#stores = undefined;
    for (const answer of this.#answers.values()) answer.close();
    this.#answers.clear();
    await Promise.all(stores.turns.open().map((id) => stores.runs.stop(id)));
    await this.ctx.storage.deleteAlarm();
    await this.ctx.storage.deleteAll();
  }

  /** Of a chain of page names, root first, those the session lacks. To ask is to use it. */
  async missing(names: string[]): Promise<string[]> {
    const stores = this.#stores;
    if (!stores) return names;
    await this.#touch();
    return stores.pages.missing(names.slice(0, MAX_NAMES));
  }

  /** `rowsWritten` since the object woke. */
  stats(): { turns: number; pages: number; pageBytes: number; running: number; rowsWritten: number } {
    const s = this.#stores;
    const rowsWritten = this.#rows.written;
    if (!s) return { turns: 0, pages: 0, pageBytes: 0, running: 0, rowsWritten };
    return { turns: s.turns.all().length, pages: s.pages.count, pageBytes: s.pages.bytes, running: s.runs.size, rowsWritten };
  }

  /**
   * What is too big or too long for a call. `PUT /pages?response=` stores frames of a turn, and refuses them once the turn is
   * deleted; without a turn the session is a bare cache (`prompt_cache_key`). `POST /pages` {names} answers frames of those
   * that are here; `GET /events?response=&after=` answers events as NDJSON, the missed ones first.
   */
  override async fetch(request: Request): Promise<Response> {
    const url = new URL(request.url);
    if (url.pathname === '/pages' && request.method === 'PUT' && request.body) {
      const owner = request.headers.get('x-turnstone-tenant') ?? undefined;
      return this.#putPages(request.body, url.searchParams.get('response'), owner);
    }
    if (url.pathname === '/pages' && request.method === 'POST') return this.#getPages((await request.json<{ names: string[] }>()).names);
    if (url.pathname === '/events') {
      const id = url.searchParams.get('response') ?? '';
      const after = Number(url.searchParams.get('after') ?? -1);
      if (!this.#stores?.turns.get(id) || !Number.isInteger(after)) return new Response('no such response', { status: 404 });
      return new Response(this.#answer(id).read(after), { headers: { 'content-type': 'application/x-ndjson' } });
    }
    return new Response(`a session has nothing at ${request.method} ${url.pathname}`, { status: 404 });
  }

  override async alarm(): Promise<void> {
    const stores = this.#stores;
    if (!stores) return;
    const open = stores.turns.open();
    if (open.length === 0 && Date.now() >= this.#expires()) return this.erase();
    await this.#list(stores.turns.tenant());
    for (const id of open) {
      if (stores.runs.has(id)) this.ctx.waitUntil(stores.runs.watch(id).catch((error) => console.warn('session: watch', error)));
      else this.ctx.waitUntil(stores.runs.start(id));
    }
    await this.#arm();
  }

  async #putPages(body: ReadableStream<Uint8Array>, turn: string | null, owner?: string): Promise<Response> {
    const gone = () => turn !== null && !this.#stores?.turns.get(turn);
    let stores = gone() ? undefined : this.#stores;
    const begun = stores !== undefined || !gone();
    let stored = 0;
    let refused = 0;
    let held: Frame[] = [];
    let bytes = 0;
    // many pages in one go: each go is a transaction
    const write = () => {
      // what was deleted while its pages were on their way does not come back
      if (!begun || stores !== this.#stores || gone()) throw new Error('pages: their response was deleted');
      if (held.length === 0) return;
      stores ??= this.#open();
      const taken = stores.pages.put(held);
      stored += taken;
      refused += held.length - taken;
      for (const f of held) free(f.payload);
      held = [];
      bytes = 0;
    };
    try {
      try {
        for await (const f of readFrames(body)) {
          held.push(f);
          bytes += f.payload.byteLength;
          if (bytes >= WRITE_BYTES) write();
        }
      } finally {
        write(); // those before a damaged one are good
      }
    } catch (error) {
      return Response.json({ stored, refused, error: error instanceof Error ? error.message : String(error) }, { status: 400 });
    }
    stores?.pages.remember();
    if (stores) await Promise.all([this.#touch(), this.#list(owner ?? stores.turns.tenant())]);
    return Response.json({ stored, refused });
  }

  #getPages(names: readonly string[]): Response {
    const pages = this.#stores?.pages;
    const found: { name: string; bytes: number; digest: Uint8Array }[] = [];
    for (const name of names.slice(0, MAX_NAMES)) {
      const head = pages?.head(name);
      if (!head) break; // a page without its ancestors is of no use
      found.push({ name, ...head });
    }
    const { readable, writable } = new FixedLengthStream(found.reduce((n, f) => n + frameBytes(f.bytes), 0));
    const writer = writable.getWriter();
    const read = pages?.reader();
    const send = async () => {
      for (let i = 0; i < found.length; ) {
        // many small pages in one write: each write is a hop
        const parts: Uint8Array[] = [];
        for (let held = 0; i < found.length && held < WRITE_BYTES; i++) {
          const f = found[i]!;
          parts.push(frameHead(f.name, f.digest, f.bytes), ...read!(f.name));
          held += f.bytes;
        }
        await writer.write(concatBytes(...parts));
      }
      await writer.close();
      pages?.touch(found.map((f) => f.name)); // last: an answer waits for the writes before it
    };
    this.ctx.waitUntil(send().catch((error) => writer.abort(error)));
    return new Response(readable, { headers: { 'content-type': 'application/octet-stream' } });
  }

  #open(): Stores {
    if (this.#stores) return this.#stores;
    const sql = this.#sql;
    prepare(sql, LIFE);
    prepare(sql, LISTED);
    const turns = new TurnStore(sql);
    const pages = new PageStore(sql, this.#limits.quota);
    const runs = new Runs({
      env: this.env,
      session: this.ctx.id.toString(),
      turns,
      answer: (id) => this.#answer(id),
      later: (ms) => void this.#wake(Date.now() + ms),
    });
    this.#stores = { turns, pages, runs };
    return this.#stores;
  }

  #answer(id: string): Answer {
    let answer = this.#answers.get(id);
    if (!answer) {
      answer = new Answer(this.#stores!.turns, id);
      if (answer.open) this.#answers.set(id, answer);
    }
    if (!answer.open) this.#answers.delete(id);
    return answer;
  }

  /** Puts the session on its tenant's list, once. What fails is tried again when it is next used. */
  async #list(tenant: string | undefined): Promise<void> {
    const { TENANT } = this.env;
    if (!TENANT || tenant === undefined || this.#listed() === tenant) return;
    try {
      await listOf({ ...this.env, TENANT }, tenant).add(this.ctx.id.toString());
      if (this.#stores) this.#sql.exec('INSERT OR REPLACE INTO listed (id, tenant) VALUES (0, ?)', tenant);
    } catch (error) {
      console.warn("session: it is not on its tenant's list yet", error);
    }
  }

  #listed(): string | undefined {
    for (const row of this.#sql.exec<{ tenant: string }>('SELECT tenant FROM listed')) return row.tenant;
    return undefined;
  }

  #unlist(): void {
    const { TENANT } = this.env;
    const tenant = this.#listed();
    if (!TENANT || tenant === undefined) return;
    const gone = listOf({ ...this.env, TENANT }, tenant).remove(this.ctx.id.toString());
    this.ctx.waitUntil(gone.catch((error) => console.warn("session: it stays on its tenant's list", error)));
  }

  #expires(): number {
    for (const row of this.#sql.exec<{ expires: number }>('SELECT expires FROM life')) return row.expires;
    return 0;
  }

  /** Used now: it lives its whole time from here, and a sixteenth more, so that not every use is written. */
  async #touch(): Promise<void> {
    const { ttlMs } = this.#limits;
    const now = Date.now();
    if (this.#expires() < now + ttlMs) {
      this.#sql.exec('INSERT OR REPLACE INTO life (id, expires) VALUES (0, ?)', now + ttlMs + Math.floor(ttlMs / 16));
    }
    await this.#arm();
  }

  /** Moves the alarm only when it is to come earlier: one that comes too early finds nothing to do and arms the next. */
  async #arm(): Promise<void> {
    const open = this.#stores && this.#stores.turns.open().length > 0;
    const at = open ? Date.now() + WATCH_MS : this.#expires();
    const armed = await this.ctx.storage.getAlarm();
    if (armed === null || armed > at) await this.#wake(at);
  }

  async #wake(at: number): Promise<void> {
    this.#rows.written++;
    await this.ctx.storage.setAlarm(at);
  }
}

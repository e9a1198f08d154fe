import type { ConversationTurns } from './conversation.ts';
import { isOpen, type Turns } from './turns.ts';
import type { Commit, CommitAnswer, Piece, StoredResponse } from './types.ts';

export interface StoreLimits {
  /** Responses. */
  count: number;
  bytes: number;
  /** A session's, after its last use. */
  ttlMs: number;
  /** Responses that may be generated or wait at once. */
  open: number;
}

interface Turn {
  response: StoredResponse;
  session: string;
  /** Until the end: a second try needs them. */
  prompt: readonly number[];
  ids: number[];
  text: Piece[];
  bytes: number;
}

interface Session {
  /** Oldest first. */
  turns: Set<string>;
  expires: number; // ms
}

const TURN_BYTES = 1024; // what a turn takes beside its texts, about
const TOKEN_BYTES = 40; // an id and the head of its string
const SWEEP_MS = 1000; // no more often

/**
 * Turns in memory: what a Session keeps in SQLite, for all sessions of a process. When there are too many, or too many bytes, the
 * oldest turns of the session that was unused for longest go first; turns that are still generated stay.
 */
export class ResponseStore implements Turns {
  readonly #limits: StoreLimits;
  readonly #turns = new Map<string, Turn>();
  /** By name; the longest unused first. */
  readonly #sessions = new Map<string, Session>();
  #bytes = 0;
  #timer?: ReturnType<typeof setTimeout>;

  constructor(limits: StoreLimits) {
    this.#limits = limits;
  }

  get stats(): { responses: number; sessions: number; bytes: number } {
    return { responses: this.#turns.size, sessions: this.#sessions.size, bytes: this.#bytes };
  }

  /** Whether one more of so many bytes may begin, beside those that are not done yet. */
  room(bytes: number): boolean {
    const open = [...this.#turns.values()].filter((t) => isOpen(t.response.status));
    return open.length < this.#limits.open && open.reduce((n, t) => n + t.bytes, bytes) <= this.#limits.bytes;
  }

  insert(session: string, response: StoredResponse): void {
    this.touch(session);
    const turn: Turn = { response, session, prompt: [], ids: [], text: [], bytes: 0 };
    this.#turns.set(response.id, turn);
    this.#sessions.get(session)!.turns.add(response.id);
    this.#weigh(turn);
    this.#fit(); // here alone: an answer that has just ended is still to be read
  }

  /** A turn of that session; none when it is another's. */
  of(session: string, id: string): StoredResponse | undefined {
    this.sweep();
    const turn = this.#turns.get(id);
    return turn?.session === session ? turn.response : undefined;
  }

  get(id: string): StoredResponse | undefined {
    return this.#turns.get(id)?.response;
  }

  update(id: string, change: Partial<StoredResponse>, prompt?: readonly number[]): void {
    const turn = this.#turns.get(id);
    if (!turn) return;
    if (prompt && turn.prompt.length === 0) turn.prompt = prompt;
    turn.response = { ...turn.response, ...change };
    this.#weigh(turn);
  }

  claim(id: string, epoch: number): boolean {
    const turn = this.#turns.get(id);
    if (!turn || epoch <= turn.response.epoch || !isOpen(turn.response.status)) return false;
    const starts = [...turn.response.starts, turn.ids.length];
    turn.response = { ...turn.response, epoch, status: 'in_progress', starts };
    return true;
  }

  prompt(id: string): readonly number[] {
    return this.#turns.get(id)?.prompt ?? [];
  }

  committed(id: string): number {
    return this.#turns.get(id)?.ids.length ?? 0;
  }

  commit(c: Commit): CommitAnswer {
    const turn = this.#turns.get(c.response);
    if (!turn) return { ok: false, why: 'unknown', committed: 0 };
    const committed = turn.ids.length;
    if (c.epoch !== turn.response.epoch || !isOpen(turn.response.status)) return { ok: false, why: 'stale', committed };
    if (c.from > committed) return { ok: false, why: 'gap', committed };
    turn.ids.push(...c.ids.slice(committed - c.from));
    turn.text.push(...c.text.slice(committed - c.from));
    return { ok: true, committed: turn.ids.length };
  }

  tokens(id: string): { ids: number[]; text: Piece[] } {
    const turn = this.#turns.get(id);
    return { ids: [...(turn?.ids ?? [])], text: [...(turn?.text ?? [])] };
  }

  /** The turn has ended: its prompt's ids are no longer wanted. */
  compact(id: string): void {
    const turn = this.#turns.get(id);
    if (!turn) return;
    turn.prompt = [];
    this.#weigh(turn);
    this.touch(turn.session);
  }

  /** The store as a conversation of that session sees it. */
  within(session: string): ConversationTurns {
    return {
      get: (id) => this.of(session, id),
      update: (id, change) => this.update(id, change),
      insert: (turn) => this.insert(session, turn),
    };
  }

  eraseTokens(id: string): void {
    const turn = this.#turns.get(id);
    if (turn) Object.assign(turn, { ids: [], text: [] });
  }

  /** Erases a turn; the last one takes its session with it. */
  erase(id: string): void {
    const turn = this.#turns.get(id);
    if (!turn) return;
    this.#turns.delete(id);
    this.#bytes -= turn.bytes;
    const session = this.#sessions.get(turn.session)!;
    session.turns.delete(id);
    if (session.turns.size === 0) this.#sessions.delete(turn.session);
  }

  /** Used now: the session lives its whole time from here, and is the last to go. */
  touch(name: string): void {
    const session = this.#sessions.get(name) ?? { turns: new Set(), expires: 0 };
    session.expires = Date.now() + this.#limits.ttlMs;
    this.#sessions.delete(name);
    this.#sessions.set(name, session);
    this.#arm();
  }

  /** Erases sessions whose time is over, unless they still generate. */
  sweep(): void {
    const now = Date.now();
    for (const session of this.#sessions.values()) {
      if (session.expires > now) break;
      if (![...session.turns].some((id) => this.#isOpen(id))) for (const id of session.turns) this.erase(id);
    }
  }

  close(): void {
    clearTimeout(this.#timer);
  }

  /** What expires is erased though nobody asks. */
  #arm(): void {
    if (this.#timer !== undefined) return;
    const timer = setTimeout(
      () => {
        this.#timer = undefined;
        this.sweep();
        if (this.#sessions.size > 0) this.#arm();
      },
      Math.max(SWEEP_MS, ([...this.#sessions.values()][0]?.expires ?? 0) - Date.now()),
    );
    this.#timer = timer;
    const inNode: { unref?(): void } = Object(timer);
    inNode.unref?.(); // no process waits for it
  }

  #isOpen(id: string): boolean {
    const turn = this.#turns.get(id);
    return turn !== undefined && isOpen(turn.response.status);
  }

  #weigh(turn: Turn): void {
    const { input, request, echo, output, tail } = turn.response;
    const texts =
      JSON.stringify([input, request, echo, output]).length +
      turn.text.reduce((n, t) => n + (typeof t === 'string' ? t.length : JSON.stringify(t).length), tail.length);
    const bytes = TURN_BYTES + 2 * texts + TOKEN_BYTES * turn.ids.length + 8 * turn.prompt.length;
    this.#bytes += bytes - turn.bytes;
    turn.bytes = bytes;
  }

  #fit(): void {
    const { count, bytes } = this.#limits;
    for (const session of this.#sessions.values()) {
      for (const id of session.turns) {
        if (this.#turns.size <= count && this.#bytes <= bytes) return;
        if (!this.#isOpen(id)) this.erase(id);
      }
    }
  }
}

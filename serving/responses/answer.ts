import { Reader } from './reader.ts';
import { isOpen, type Turns } from './turns.ts';
import type { Commit, CommitAnswer, Piece, ResponseStatus, SessionEvent, StoredResponse } from './types.ts';

/**
 * Progress is stored after so many tokens or so long, and when what is not stored is a quarter of what is, up to the last figure:
 * each time is a row to pay for, and what is lost with the object is computed again.
 */
const COMMIT_TOKENS = 32;
const COMMIT_MS = 250;
const COMMIT_SHARE = 1 / 4;
const COMMIT_MOST = 64;

/**
 * The running answer of one turn: tokens go to its readers as they come and to storage in batches. What was delivered
 * and not yet stored is lost with the object; a successor generates the same tokens again and readers skip them.
 */
export class Answer {
  readonly #turns: Turns;
  readonly id: string;
  readonly #readers = new Set<Reader>();
  /** Tokens not stored yet, after `committed` stored ones. */
  #ids: number[] = [];
  #text: Piece[] = [];
  /** Log-probabilities of tokens that added no text, told with the next that does. */
  #held: unknown[] = [];
  #committed: number;
  #stored = 0; // ms, of the last commit
  #epoch: number;
  #open: boolean;
  /** Events of text so far. */
  #seq = 0;

  constructor(turns: Turns, id: string) {
    this.#turns = turns;
    this.id = id;
    const turn = turns.get(id);
    this.#epoch = turn?.epoch ?? 0;
    this.#open = turn !== undefined && isOpen(turn.status);
    this.#committed = turns.committed(id);
    this.#recount();
  }

  get readers(): number {
    return this.#readers.size;
  }

  get epoch(): number {
    return this.#epoch;
  }

  /** Not ended. */
  get open(): boolean {
    return this.#open;
  }

  /** Tokens in all, stored or not. */
  get length(): number {
    return this.#committed + this.#ids.length;
  }

  /** A new lease takes over: it goes on from the stored tokens, and what was only delivered comes again. False: it is itself stale. */
  claim(epoch: number): boolean {
    if (!this.#open || !this.#turns.claim(this.id, epoch)) return false;
    this.#epoch = epoch;
    this.#ids = [];
    this.#text = [];
    this.#recount();
    return true;
  }

  /** A reader that has seen events up to number `after` (-1: none). Missed ones come at once, then the rest as it happens. */
  read(after: number): ReadableStream<Uint8Array> {
    const reader = new Reader(after, (r) => this.#readers.delete(r));
    for (const event of this.events()) reader.send(event);
    if (reader.open) this.#readers.add(reader);
    return reader.stream;
  }

  /** All events so far. */
  events(): SessionEvent[] {
    const { text } = this.#turns.tokens(this.id);
    const events: SessionEvent[] = [];
    const held: unknown[] = [];
    const add = (piece: Piece, index: number) => {
      const event = eventOf(piece, held);
      if (event) events.push({ seq: events.length, index, ...event });
    };
    for (const [i, piece] of text.entries()) add(piece, i);
    for (const [i, piece] of this.#text.entries()) add(piece, this.#committed + i);
    const response = this.#turns.get(this.id);
    if (!response || isOpen(response.status)) return events;
    add(response.tail, text.length);
    events.push({ end: response.status, response });
    return events;
  }

  /** Tokens of a step, delivered now. Tokens it has already change nothing: they are the same by construction. */
  push(c: Commit, now: number): CommitAnswer {
    if (c.epoch !== this.#epoch || !this.#open) return { ok: false, why: 'stale', committed: this.#committed };
    if (c.from > this.length) return { ok: false, why: 'gap', committed: this.length };
    const skip = this.length - c.from;
    if (skip < c.ids.length) {
      const first = this.length;
      this.#ids.push(...c.ids.slice(skip));
      this.#text.push(...c.text.slice(skip));
      c.text.slice(skip).forEach((text, i) => {
        const said = eventOf(text, this.#held);
        if (!said) return;
        const event: SessionEvent = { seq: this.#seq++, index: first + i, ...said };
        for (const reader of this.#readers) reader.send(event);
      });
    }
    const due = this.#ids.length >= COMMIT_TOKENS || now - this.#stored >= COMMIT_MS;
    if (due && this.#ids.length >= Math.min(COMMIT_MOST, this.#committed * COMMIT_SHARE)) return this.flush(now);
    return { ok: true, committed: this.#committed };
  }

  /** Stores what was only delivered. */
  flush(now: number): CommitAnswer {
    const c: Commit = { response: this.id, epoch: this.#epoch, from: this.#committed, ids: this.#ids, text: this.#text };
    const answer = this.#turns.commit(c);
    if (!answer.ok) return answer;
    this.#committed = answer.committed;
    this.#ids = [];
    this.#text = [];
    this.#stored = now;
    return answer;
  }

  /** Ends the turn and tells the readers. */
  end(status: ResponseStatus, change: Partial<StoredResponse>): void {
    if (!this.#open) return;
    this.flush(0);
    this.#open = false;
    const usage = { ...(change.usage ?? this.#turns.get(this.id)?.usage ?? { prompt: 0, cached: 0 }), completion: this.#committed };
    const completed = status === 'completed' ? Math.floor(Date.now() / 1000) : null;
    this.#turns.update(this.id, { ...change, status, usage, completed });
    this.#turns.compact?.(this.id);
    const last = this.events();
    for (const reader of this.#readers) for (const event of last) reader.send(event);
    this.#readers.clear();
  }

  close(): void {
    for (const reader of this.#readers) reader.close();
    this.#readers.clear();
  }

  /** Where the events stand after what is stored. */
  #recount(): void {
    this.#held = [];
    this.#seq = this.#turns.tokens(this.id).text.filter((piece) => eventOf(piece, this.#held) !== undefined).length;
  }
}

/** What is told of a token; nothing while it adds no text: its log-probabilities are held until then. */
export function eventOf(piece: Piece, held: unknown[]): { text: string; logprobs?: readonly unknown[] } | undefined {
  if (typeof piece === 'string')
    return piece === '' ? undefined : held.length > 0 ? { text: piece, logprobs: held.splice(0) } : { text: piece };
  held.push(piece[1]);
  return piece[0] === '' ? undefined : { text: piece[0], logprobs: held.splice(0) };
}

import { Reader } from './reader.ts';
import { isOpen, type TurnStore } from './turns.ts';
import type { Commit, CommitAnswer, ResponseStatus, SessionEvent, StopState, StoredResponse } from './types.ts';

/** Progress is stored after so many tokens or so long, never a token at a time. */
const COMMIT_TOKENS = 32;
const COMMIT_MS = 250;

/**
 * The running answer of one turn: tokens go to its readers as they come and to storage in batches. What was delivered
 * and not yet stored is lost with the object; a successor generates the same tokens again and readers skip them.
 */
export class Answer {
  readonly #turns: TurnStore;
  readonly id: string;
  readonly #readers = new Set<Reader>();
  /** Tokens not stored yet, after `committed` stored ones. */
  #ids: number[] = [];
  #text: string[] = [];
  #stop: StopState | null = null;
  #committed: number;
  #stored = 0; // ms, of the last commit

  constructor(turns: TurnStore, id: string) {
    this.#turns = turns;
    this.id = id;
    this.#committed = turns.committed(id);
  }

  get readers(): number {
    return this.#readers.size;
  }

  /** Tokens in all, stored or not. */
  get length(): number {
    return this.#committed + this.#ids.length;
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
    const add = (piece: string, index: number) => {
      if (piece !== '') events.push({ seq: events.length, index, text: piece });
    };
    text.forEach(add);
    this.#text.forEach((piece, i) => add(piece, this.#committed + i));
    const response = this.#turns.get(this.id);
    if (!response || isOpen(response.status)) return events;
    add(response.tail, text.length);
    events.push({ end: response.status, response });
    return events;
  }

  /** Tokens of a step, delivered now. The same tokens a second time (after a restart) change nothing. */
  push(c: Commit, now: number): CommitAnswer {
    const turn = this.#turns.get(c.response);
    if (!turn) return { ok: false, why: 'unknown', committed: 0 };
    if (c.epoch !== turn.epoch || !isOpen(turn.status)) return { ok: false, why: 'stale', committed: this.#committed };
    if (c.from > this.length) return { ok: false, why: 'gap', committed: this.length };
    const skip = this.length - c.from;
    if (skip < c.ids.length) {
      const seq = this.#readers.size > 0 ? this.events().length : 0;
      const fresh = c.text.slice(skip);
      const first = this.length;
      this.#ids.push(...c.ids.slice(skip));
      this.#text.push(...fresh);
      this.#stop = c.stop;
      this.#deliver(fresh, first, seq);
    }
    if (this.#ids.length >= COMMIT_TOKENS || now - this.#stored >= COMMIT_MS) this.flush(turn.epoch, now);
    return { ok: true, committed: this.#committed };
  }

  /** Stores what was only delivered. */
  flush(epoch: number, now: number): CommitAnswer {
    const answer = this.#turns.commit({
      response: this.id,
      epoch,
      from: this.#committed,
      ids: this.#ids,
      text: this.#text,
      stop: this.#stop,
    });
    if (answer.ok) {
      this.#committed = answer.committed;
      this.#ids = [];
      this.#text = [];
      this.#stored = now;
    }
    return answer;
  }

  /** Another replica goes on from the stored tokens: what was only delivered will come again. */
  rewind(): void {
    this.#ids = [];
    this.#text = [];
    this.#committed = this.#turns.committed(this.id);
  }

  /** Ends the turn and tells the readers. */
  end(status: ResponseStatus, change: Partial<StoredResponse>): void {
    const completion = this.length;
    const turn = this.#turns.get(this.id);
    if (!turn || !isOpen(turn.status)) return;
    this.flush(turn.epoch, 0);
    this.#turns.update(this.id, { ...change, status, usage: { ...turn.usage, completion } });
    this.#turns.compact(this.id);
    const events = this.events();
    for (const reader of this.#readers) for (const event of events) reader.send(event);
    this.#readers.clear();
  }

  close(): void {
    for (const reader of this.#readers) reader.close();
    this.#readers.clear();
  }

  #deliver(pieces: readonly string[], first: number, seq: number): void {
    let n = seq;
    pieces.forEach((text, i) => {
      if (text === '') return;
      const event: SessionEvent = { seq: n++, index: first + i, text };
      for (const reader of this.#readers) reader.send(event);
    });
  }
}

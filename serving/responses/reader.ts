import type { SessionEvent } from './types.ts';

/** A reader so far behind is given up: it may come again with the number of its last event. */
const MAX_BEHIND = 1 << 20; // bytes

/**
 * One reader of a running answer: events as NDJSON. Events numbered up to `after` are left out; what a lost replica had
 * sent and its successor sends again is therefore seen once.
 */
export class Reader {
  readonly stream: ReadableStream<Uint8Array>;
  #after: number;
  #controller!: ReadableStreamDefaultController<Uint8Array>;
  readonly #encoder = new TextEncoder();
  open = true;

  constructor(after: number, left: (r: Reader) => void) {
    this.#after = after;
    this.stream = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.#controller = controller;
        },
        cancel: () => {
          this.open = false;
          left(this);
        },
      },
      new ByteLengthQueuingStrategy({ highWaterMark: 65_536 }),
    );
  }

  send(event: SessionEvent): void {
    if (!this.open) return;
    if ('seq' in event) {
      if (event.seq <= this.#after) return;
      this.#after = event.seq;
    }
    this.#controller.enqueue(this.#encoder.encode(`${JSON.stringify(event)}\n`));
    if ('end' in event) {
      this.open = false;
      this.#controller.close();
    } else if ((this.#controller.desiredSize ?? 0) < -MAX_BEHIND) {
      this.open = false;
      this.#controller.error(new Error('the reader is too slow; read on with the number of the last event'));
    }
  }

  /** The session was erased, or its object is about to go. */
  close(): void {
    if (!this.open) return;
    this.open = false;
    this.#controller.close();
  }
}

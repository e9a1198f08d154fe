/** An answer's body: its text as bytes, at a pace, for a reader that is given up when it takes nothing. */
import { HEARTBEAT_MS, UNCOMPRESSED } from './heartbeats.ts';

/** A reader this far behind is given up: its answer is aborted. */
const MAX_BEHIND = 1 << 20; // bytes
/** And one that leaves more than this untaken for so long: nobody may be there any more. */
const BUFFER = 65_536; // bytes
const STALLED_MS = 30_000;
/** After its first text a stream is written to this often at most, and all streams together once a ms: in a crowd writes cost as much as tokens. */
const COALESCE_MS = 20;
const CROWD_MS = 80; // never later than this

/** Whether an answer of that type is told as it comes; JSON is one object, at the end. */
export const isStream = (contentType: string): boolean => contentType !== 'application/json';

/** What is written while there is nothing to say; whoever reads the answer passes over it. */
export const beatOf = (contentType: string): string => (contentType.startsWith('text/event-stream') ? ': wait\n\n' : ' ');

export class Outlet {
  readonly #contentType: string;
  readonly #gone: () => void;
  readonly #encoder = new TextEncoder();
  readonly #streams: boolean;
  #controller?: ReadableStreamDefaultController<Uint8Array>;
  #pending = ''; // not sent yet
  #lastSent: number; // ms
  #sent = 0; // bytes
  #taken = { bytes: -1, at: 0 }; // of these, as far as is known, and when that last grew
  #begun = false;
  #flowing = false; // text of tokens has been sent
  #over = false;

  /** `arrived`: when the request did, ms. `gone`: the reader has left or was given up. */
  constructor(contentType: string, arrived: number, gone: () => void) {
    this.#contentType = contentType;
    this.#streams = isStream(contentType);
    this.#lastSent = arrived;
    this.#gone = gone;
  }

  /** Nothing more is said. */
  get over(): boolean {
    return this.#over;
  }

  /** Whether bytes may have left. */
  get isOpen(): boolean {
    return this.#controller !== undefined;
  }

  write(text: string): void {
    this.#pending += text;
  }

  /** The first token is there. */
  begin(): void {
    this.#begun = true;
  }

  /** The response with what is said so far; the rest comes as it is flushed. */
  response(): Response {
    const headers = { 'content-type': this.#contentType, 'cache-control': 'no-store' };
    if (this.#over) return new Response(this.#pending, { headers });
    const body = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.#controller = controller;
          this.flush();
        },
        cancel: () => this.#gone(),
      },
      new ByteLengthQueuingStrategy({ highWaterMark: BUFFER }),
    );
    return new Response(body, { headers: this.#contentType.startsWith('text/event-stream') ? headers : { ...headers, ...UNCOMPRESSED } });
  }

  /** Sends what may be sent now, or a heartbeat. `crowd`: how many streams are flushed with it. */
  flush(crowd = 1): void {
    const controller = this.#controller;
    if (!controller) return;
    const now = Date.now();
    let text = '';
    if (this.#streams && !this.#over && this.#flowing && now - this.#lastSent < Math.max(COALESCE_MS, Math.min(CROWD_MS, crowd))) return;
    if (this.#streams || this.#over) {
      text = this.#pending;
      this.#pending = '';
    }
    if (text === '') {
      if (now - this.#lastSent < HEARTBEAT_MS) return;
      text = beatOf(this.#contentType);
    }
    this.#lastSent = now;
    this.#flowing ||= this.#begun;
    const bytes = this.#encoder.encode(text);
    controller.enqueue(bytes);
    this.#sent += bytes.byteLength;
    if (this.#lost(BUFFER - (controller.desiredSize ?? 0), now)) {
      controller.error(new Error('the reader is too slow'));
      this.#gone();
    }
  }

  /** Whether the reader, who has not taken so many bytes, is to be given up. */
  #lost(behind: number, now: number): boolean {
    const bytes = this.#sent - behind;
    if (behind <= BUFFER || bytes > this.#taken.bytes) this.#taken = { bytes, at: now };
    return behind > BUFFER + MAX_BEHIND || now - this.#taken.at > STALLED_MS;
  }

  /** Everything is said. */
  close(): void {
    this.#over = true;
    try {
      this.flush();
      this.#controller?.close();
    } finally {
      this.#controller = undefined;
    }
  }

  /** Ends it without its end, which nobody takes for an answer; without a reason, because nobody reads. */
  breakOff(why?: Error): void {
    this.#over = true;
    if (why) this.#controller?.error(why);
    this.#controller = undefined;
  }
}

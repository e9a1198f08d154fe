import { createParser } from 'eventsource-parser';
import { brokenOff } from './problem.ts';

const MAX_EVENT = 1 << 20; // characters one event may buffer

/**
 * A response's body, by way of a copy: Chromium lists an answer that may not be stored and is read piece by piece as
 * "(canceled)", though it was read to its end; a copy's reader does not do so. Who leaves early aborts the request.
 */
export const bodyOf = (response: Response): ReadableStream<Uint8Array> | null => response.clone().body;

/** The `data` of each server-sent event, in order. Bytes may be cut anywhere, inside a character too. */
export async function* events(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let ready: string[] = [];
  const parser = createParser({
    onEvent: (event) => ready.push(event.data),
    onError: (error) => {
      if (error.type === 'max-buffer-size-exceeded') throw brokenOff();
    },
    maxBufferSize: MAX_EVENT,
  });
  let whole = false;
  try {
    for (;;) {
      const { value, done } = await reader.read().catch(dropped);
      whole = done;
      parser.feed(done ? decoder.decode() : decoder.decode(value, { stream: true }));
      const batch = ready;
      ready = [];
      yield* batch;
      if (done) return;
    }
  } finally {
    if (!whole) reader.cancel().catch(() => {}); // leaving early (stop, error) tells the server
  }
}

/** A body that dies half-way; a reader's own stop stays what it is. */
function dropped(error: unknown): never {
  if (error instanceof Error && error.name === 'AbortError') throw error;
  throw brokenOff();
}

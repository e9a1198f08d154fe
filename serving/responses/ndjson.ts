const MAX = 1 << 24;

/** Lines of a text stream, without their ends. Throws when one is longer than 2^24 characters, and when `signal` aborts. */
export async function* readLines(body: ReadableStream<Uint8Array>, signal?: AbortSignal): AsyncGenerator<string> {
  const reader = body.getReader(); // not of a TextDecoderStream: workerd keeps one whose request was given up
  const decoder = new TextDecoder();
  const aborted = new Promise<never>((_, reject) => signal?.addEventListener('abort', () => reject(signal.reason)));
  aborted.catch(() => {});
  let held = '';
  try {
    signal?.throwIfAborted();
    for (;;) {
      const { value, done } = await (signal ? Promise.race([reader.read(), aborted]) : reader.read());
      if (done) break;
      held += decoder.decode(value, { stream: true });
      if (held.length > MAX) throw new Error(`a line of more than ${MAX} characters`);
      let from = 0;
      for (let end = held.indexOf('\n'); end >= 0; end = held.indexOf('\n', from)) {
        if (end > from) yield held.slice(from, end);
        from = end + 1;
      }
      held = held.slice(from);
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}

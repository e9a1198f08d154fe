/** Lines of a text stream, without their ends. Throws when one is longer than `max` characters. */
export async function* readLines(body: ReadableStream<Uint8Array>, max = 1 << 24): AsyncGenerator<string> {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let held = '';
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) break;
      held += value;
      if (held.length > max) throw new Error(`a line of more than ${max} characters`);
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

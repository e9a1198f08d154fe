const HEARTBEAT_MS = 250;

/** Of a body whose heartbeats must leave at once: compressed on the way, they would wait for more. */
export const UNCOMPRESSED = { 'cache-control': 'no-store, no-transform', 'content-encoding': 'identity' };

export interface EarlyOptions {
  contentType: string;
  headers?: Record<string, string>;
  /** Written while there is nothing to say, so that the runtime learns when the client is gone. */
  beat: string;
  /** The client is gone. */
  leave(): void;
  /** What the client is told when there will be no answer. */
  fail(error: unknown): string;
}

/** True when `work` takes long enough for its client to be told so. Rejects as it does. */
export const takesLong = (work: Promise<unknown>): Promise<boolean> =>
  Promise.race([work.then(() => false), scheduler.wait(HEARTBEAT_MS).then(() => true)]);

/** A response that begins before its answer is there: heartbeats, then the answer's body. */
export function early(answer: Promise<Response>, o: EarlyOptions): Response {
  const encoder = new TextEncoder();
  let reader: ReadableStreamDefaultReader<Uint8Array> | undefined;
  let left = false;
  const ready = answer.then((response) => {
    reader = response.body?.getReader() as ReadableStreamDefaultReader<Uint8Array>;
    if (left) void reader.cancel();
  });
  ready.catch(() => {}); // told below, to whoever still listens
  const body = new ReadableStream<Uint8Array>({
    start: (controller) => controller.enqueue(encoder.encode(o.beat)),
    async pull(controller) {
      if (!reader) {
        try {
          if (await takesLong(ready)) return controller.enqueue(encoder.encode(o.beat));
        } catch (error) {
          if (left) return;
          controller.enqueue(encoder.encode(o.fail(error)));
          return controller.close();
        }
      }
      const { done, value } = await reader!.read();
      if (done) controller.close();
      else controller.enqueue(value);
    },
    async cancel() {
      left = true;
      o.leave();
      await reader?.cancel();
    },
  });
  return new Response(body, { headers: { 'content-type': o.contentType, ...UNCOMPRESSED, ...o.headers } });
}

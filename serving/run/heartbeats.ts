import { sleep } from '../sleep.ts';

/** Silence after which something is written, so that the runtime learns when the client is gone. */
export const HEARTBEAT_MS = 250;
/** A client that left before its answer began is not told of: nobody takes the heartbeats. */
const NOBODY_MS = 2_000;

/** Of a body whose heartbeats must leave at once: compressed on the way, they would wait for more. */
export const UNCOMPRESSED = { 'cache-control': 'no-store, no-transform', 'content-encoding': 'identity' };

export interface HeartbeatOptions {
  contentType: string;
  headers?: Record<string, string>;
  /** Written while there is nothing to say, so that the runtime learns when the client is gone. */
  beat: string;
  /** The client is gone. */
  leave(): void;
  /** What the client is told when there will be no answer; undefined: nothing, the body ends without one. */
  fail(error: unknown): string | undefined;
}

/** True when `work` takes long enough for its client to be told so. Rejects as it does. */
export const takesLong = (work: Promise<unknown>): Promise<boolean> =>
  Promise.race([work.then(() => false), sleep(HEARTBEAT_MS).then(() => true)]);

/** A response that begins before its answer is there: heartbeats, then the answer's body. */
export function heartbeatsUntil(answer: Promise<Response>, o: HeartbeatOptions): Response {
  const encoder = new TextEncoder();
  let settled = false;
  let left = false;
  const ready = answer.then((response) => response.body?.getReader() as ReadableStreamDefaultReader<Uint8Array>);
  const settle = ready.then(
    (reader) => {
      settled = true;
      if (left) void reader.cancel();
    },
    () => {
      settled = true; // told in pull, to whoever still listens
    },
  );
  const leave = () => {
    left = true;
    o.leave();
  };
  const beats = async (controller: ReadableStreamDefaultController<Uint8Array>): Promise<void> => {
    let ignored = 0; // ms
    while (!settled && !left) {
      if ((controller.desiredSize ?? 0) > 0) {
        controller.enqueue(encoder.encode(o.beat));
        ignored = 0;
      } else if ((ignored += HEARTBEAT_MS) > NOBODY_MS) return leave();
      await Promise.race([settle, sleep(HEARTBEAT_MS)]);
    }
  };
  const body = new ReadableStream<Uint8Array>({
    start: (controller) => void beats(controller),
    async pull(controller) {
      try {
        const { done, value } = await (await ready).read();
        if (done) controller.close();
        else controller.enqueue(value);
      } catch (error) {
        if (left) return;
        const told = o.fail(error);
        if (told === undefined) return controller.error(error);
        controller.enqueue(encoder.encode(told));
        controller.close();
      }
    },
    async cancel() {
      leave();
      if (settled) await ready.then((reader) => reader.cancel()).catch(() => {});
    },
  });
  return new Response(body, { headers: { 'content-type': o.contentType, ...UNCOMPRESSED, ...o.headers } });
}

/** The Worker's bindings as the host of the app. */

import { objectNamed } from '../durable-objects/place.ts';
import { isElsewhere, replicaOf } from '../durable-objects/replica/port.ts';
import { schedulerOf } from '../durable-objects/scheduler/port.ts';
import { openSession } from '../durable-objects/session/port.ts';
import { stubAs } from '../durable-objects/stub.ts';
import { listOf } from '../durable-objects/tenant/port.ts';
import { ApiError } from '../openai/errors.ts';
import type { BatchKeeper } from '../serving/batches.ts';
import { CLOCK, type Host, type Service } from '../serving/host.ts';
import { again } from '../serving/retry.ts';
import type { Env } from './env.ts';
import { openSocket } from './open-socket.ts';
import { packFile } from './packs.ts';

export function hostOf(env: Env): Host {
  const { SESSION, SCHEDULER, TENANT, BATCHES, SOCKET, PACKS, NPU, NPU_SECRET } = env;
  return {
    vars: env,
    replica: (name, model) => replica(env, name, model),
    queue: SCHEDULER && ((model, cell) => schedulerOf({ ...env, SCHEDULER }, model, cell)),
    session: SESSION && ((name) => openSession(SESSION, name, env)),
    secret: () => sealSecret(env),
    sessionsOf: TENANT && ((tenant) => listOf({ ...env, TENANT }, tenant)),
    batches: BATCHES && ((tenant) => stubAs<BatchKeeper>(objectNamed(BATCHES, tenant, env))),
    socket: SOCKET && ((tenant) => openSocket(SOCKET, tenant)),
    launcher: env.LAUNCHER,
    embedder: env.EMBEDDER,
    accelerator: NPU && NPU_SECRET ? withSecret(NPU, NPU_SECRET) : undefined,
    figures:
      env.FIGURES &&
      (({ key = '', route, model = '', method, status, ms }) =>
        env.FIGURES?.writeDataPoint({ indexes: [key], blobs: [route, model, method, key], doubles: [status, ms] })),
    assets: env.ASSETS,
    packFile: PACKS && ((path, request) => packFile(PACKS, path, request)),
    clock: CLOCK,
  };
}

const replica = (env: Env, name: string, model: string | undefined): Service => ({
  async fetch(url, init) {
    const response = await replicaOf(env, name, model).fetch(url, init);
    // a replica of this process ends with it; on Cloudflare one is reset, with new code say, while this request goes on
    const alone = env.LAUNCHER !== undefined && !isElsewhere(env, name, model);
    return new Response(alone ? heard(response.body) : unbroken(response), response);
  },
});

const withSecret = (service: Service, secret: string): Service => ({
  fetch: (url, init) => service.fetch(url, { ...init, headers: { ...(init?.headers as object), authorization: `Bearer ${secret}` } }),
});

/** The isolate's copy; it never changes. */
let secret: Promise<string> | undefined;

/** What seals responses' ids: `ID_SECRET`, or else what the queue's object has drawn and keeps. */
function sealSecret({ ID_SECRET, SCHEDULER, ...env }: Env): Promise<string> {
  if (ID_SECRET) return Promise.resolve(ID_SECRET);
  if (!SCHEDULER) throw new Error('sessions without a queue: bind SCHEDULER, or set ID_SECRET');
  secret ??= again(() => schedulerOf({ ...env, SCHEDULER }).secret());
  secret.catch(() => {
    secret = undefined;
  });
  return secret;
}

/**
 * A body that ends in the replica when its client is gone. Passed on as it is, workerd lets the replica's stream run on into nothing
 * when a write is the first to meet a reset connection; a pipe of this request's own is cancelled with the request. Its bytes do not
 * pass through JavaScript.
 */
function heard(body: ReadableStream<Uint8Array> | null): ReadableStream<Uint8Array> | null {
  return body && 'IdentityTransformStream' in globalThis ? body.pipeThrough(new IdentityTransformStream()) : body; // not in Node's tests
}

const encoder = new TextEncoder();

/**
 * The body of a replica that may end while this request goes on: the runtime closes it as if it were whole, so its client is told in it. An object
 * of which nothing but white space has gone (heartbeats) becomes the error's envelope: the status is gone, and nothing is worse than an empty 200.
 */
function unbroken(response: Response): ReadableStream<Uint8Array> | null {
  if (!response.body) return null;
  const reader = response.body.getReader() as ReadableStreamDefaultReader<Uint8Array>;
  const sse = response.headers.get('content-type')?.startsWith('text/event-stream');
  let begun = false; // an object
  return new ReadableStream({
    async pull(controller) {
      try {
        const { done, value } = await reader.read();
        if (done) return controller.close();
        begun ||= value.some((byte) => byte > 0x20);
        controller.enqueue(value);
      } catch (cause) {
        const error = new ApiError(503, 'The replica ended before its answer did. Ask again.', { code: 'replica_lost', cause });
        if (!sse && begun) return controller.error(error); // of half an object nothing can be made
        const told = JSON.stringify(error.envelope());
        controller.enqueue(encoder.encode(sse ? `data: ${told}\n\n` : told));
        controller.close();
      }
    },
    cancel: (reason) => reader.cancel(reason),
  });
}

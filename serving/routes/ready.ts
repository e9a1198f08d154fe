/** GET /ready: what each part says of itself. */

import type { Context } from 'hono';
import { ApiError, asApiError } from '../../openai/errors.ts';
import { cellsOf } from '../../policy/cells.ts';
import { type App, type Clock, STATE } from '../host.ts';
import { callReplica } from '../replica.ts';
import { maxBodyBytes } from '../room.ts';
import { replicaNames } from '../scheduler.ts';

/** A part that says nothing for so long is not ready; the first replica has the time that its model needs. */
const LATE_MS = 2_000;
/** What serves without: it is told when it says so at once. */
const SOON_MS = 50;

/** `ready`, or what is wrong. `absent`: a replica whose process does not run now; `not started`: the first that needs it starts it. */
type Part = string;

/**
 * 200 when a chat would be answered: the queue of every cell and a replica are there. The first replica's own words (`model`, `memory`, `stats`), and
 * `parts`. 503 with the parts otherwise, and the error of what is missing.
 */
export async function ready(c: Context<App>): Promise<Response> {
  maxBodyBytes(c.env); // throws with its name
  const { vars, queue: queueOf, embedder, accelerator, clock } = c.env;
  const within = <T>(ms: number, work: Promise<T>): Promise<T> => Promise.race([work, late(clock, ms)]);
  const cells = queueOf ? Array.from({ length: cellsOf(vars) }, (_, cell) => cell) : [];
  // each is asked before any is waited for
  const stats = cells.map((cell) => within(LATE_MS, queueOf!(undefined, cell).stats()));
  const beside: [string, Promise<Part>][] = [];
  if (embedder) beside.push(['embedder', said(within(SOON_MS, embedder.fetch('https://embedder/model')))]);
  if (accelerator)
    beside.push(['accelerator', said(within(SOON_MS, accelerator.fetch('https://npu/v1/device', { headers: { [STATE]: '?' } })))]);

  const parts: Record<string, Part> = {};
  let first: Response | undefined;
  let wrong: unknown;
  const absent = new Set<string>();
  let queued = true;
  for (const [cell, said] of (await Promise.allSettled(stats)).entries()) {
    const name = cells.length > 1 ? `queue ${cell}` : 'queue';
    if (said.status === 'rejected') {
      wrong ??= said.reason;
      queued = false;
      parts[name] = why(said.reason);
      continue;
    }
    const { closed, stored, replicas } = said.value;
    if (closed) wrong = new ApiError(503, 'The server is stopping.', { code: 'server_stopping' });
    queued &&= !closed;
    parts[name] = closed ? 'closed' : stored ? 'ready' : 'in memory only: its storage failed and is tried again later';
    if (!stored || !parts.sessions) parts.sessions = stored ? 'ready' : 'responses may not be stored now';
    for (const r of replicas) if (r.absent) absent.add(r.id);
  }
  await Promise.all(
    replicaNames(vars).map(async (replica, i) => {
      if (absent.has(replica)) {
        parts[`replica ${replica}`] = 'absent';
        return;
      }
      try {
        const asked = callReplica(c, '/ready', undefined, { replica, epoch: 0 });
        const answer = await (i === 0 ? asked : within(LATE_MS, asked));
        if (answer.ok) first ??= answer;
        else wrong ??= answer;
        parts[`replica ${replica}`] = answer.ok ? 'ready' : `answers ${answer.status}`;
      } catch (error) {
        wrong ??= error;
        parts[`replica ${replica}`] = why(error);
      }
    }),
  );
  for (const [name, part] of beside) parts[name] = await part;
  if (first && queued) return Response.json({ ...((await first.json()) as object), parts });
  if (wrong instanceof Response) return wrong; // a replica's own words: why its model does not load
  const shown =
    wrong instanceof ApiError
      ? wrong
      : new ApiError(
          503,
          `Not ready: ${Object.entries(parts)
            .map((p) => p.join(': '))
            .join('; ')}.`,
        );
  return Response.json({ status: 'not ready', parts, ...asApiError(shown).envelope() }, { status: 503, headers: { 'retry-after': '1' } });
}

const why = (error: unknown): Part => (error instanceof Error ? error.message : String(error));

const said = (answer: Promise<Response>): Promise<Part> =>
  answer.then((r) => r.headers.get(STATE) ?? (r.ok ? 'ready' : `answers ${r.status}`), why);

async function late(clock: Clock, ms: number): Promise<never> {
  await clock.sleep(ms);
  throw new Error(`no answer within ${ms} ms`);
}

import type { Engine } from '../../engine/index.ts';
import { frame, parseFrames } from '../session/frames.ts';

/** Pages are pulled in pieces of about so much, so that they never fill the isolate. */
const BATCH_BYTES = 4 << 20;

/** What a replica needs of a session (SessionPort has it). */
export interface SessionFetcher {
  missing(names: string[]): Promise<string[]>;
  fetch(url: string, init?: RequestInit): Promise<Response>;
}

/**
 * Pulls the pages of a prompt that the session holds and this engine does not. Answers how many came. A page that is too
 * big, damaged or of another shape is not taken: what is missing is computed.
 */
export async function pullPages(engine: Engine, session: SessionFetcher, ids: readonly number[], salt: string): Promise<number> {
  const names = engine.names.chain(ids, salt);
  const first = names.findIndex((name) => !engine.pool.has(name));
  if (first < 0) return 0;
  const wanted = names.slice(first, first + engine.pool.available);
  const batch = Math.max(1, Math.floor((BATCH_BYTES * engine.plan.pages) / engine.plan.bytes.kv));
  let taken = 0;
  while (taken < wanted.length) {
    const some = wanted.slice(taken, taken + batch);
    const response = await session.fetch('https://session/pages', { method: 'POST', body: JSON.stringify({ names: some }) });
    if (!response.ok) return taken;
    // read whole: a stream read in pieces costs more than the pages do
    const frames = await parseFrames(new Uint8Array(await response.arrayBuffer()));
    for (const f of frames) {
      if (f.name !== wanted[taken] || !engine.importPage(f.name, f.payload)) return taken;
      taken++;
    }
    if (frames.length < some.length) break;
  }
  return taken;
}

/** Hands over the whole pages of a sequence that the session lacks, as far as they are still here. Answers how many. */
export async function pushPages(engine: Engine, session: SessionFetcher, ids: readonly number[], salt: string): Promise<number> {
  const names = engine.names.chain(ids, salt).filter((name) => engine.pool.has(name));
  if (names.length === 0) return 0;
  const lacking = await session.missing(names);
  if (lacking.length === 0) return 0;
  let sent = 0;
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      const name = lacking[sent];
      const page = name === undefined ? undefined : await engine.exportPage(name);
      if (name === undefined || page === undefined) {
        controller.close();
        return;
      }
      sent++;
      controller.enqueue(await frame(name, page));
    },
  });
  const response = await session.fetch('https://session/pages', { method: 'PUT', body });
  if (!response.ok) throw new Error(`the session did not take the pages: ${await response.text()}`);
  return sent;
}

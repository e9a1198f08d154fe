import { concatBytes } from '@noble/hashes/utils.js';
import type { Engine } from '../../engine/index.ts';
import { PAGE } from '../../engine/layout.ts';
import { countFrames, digestOf, frameHead, free, parseFrames } from '../responses/frames.ts';
import { Gate } from './gate.ts';

/** Pages are pulled in pieces of about so much, one ahead, so that they never fill the isolate. */
const BATCH_BYTES = 2 << 20;
/** And handed over in pieces of so much: answers are generated meanwhile. */
const PUSH_BYTES = 256 << 10;
/** Sessions whose pages come at once, and go: a crowd's pieces together would fill the isolate too. */
const SESSIONS = 2;
const WAIT_MS = 10_000;

/** By engine: those of one isolate. */
const gates = new WeakMap<Engine, { pull: Gate; push: Gate }>();
const newGates = () => ({ pull: new Gate(SESSIONS, WAIT_MS), push: new Gate(SESSIONS, WAIT_MS) });
function gatesOf(engine: Engine) {
  const mine = gates.get(engine) ?? newGates();
  gates.set(engine, mine);
  return mine;
}

/** What a replica needs of a session (SessionPort has it). */
export interface SessionFetcher {
  missing(names: string[]): Promise<string[]>;
  fetch(url: string, init?: RequestInit): Promise<Response>;
}

/** What a session keeps of so many tokens that it did not know: whole pages. */
export const keptBytes = (engine: Engine, tokens: number): number => Math.max(0, Math.floor(tokens / PAGE)) * engine.kv.pageBytes;

/**
 * Pulls the pages of a prompt that the session holds and this engine does not. Answers how many came. A page that is too
 * big, damaged or of another shape is not taken: what is missing is computed.
 */
export async function pullPages(engine: Engine, session: SessionFetcher, ids: readonly number[], salt: string): Promise<number> {
  const names = engine.names.chain(ids, salt);
  if (engine.pool.prefix(names) === names.length) return 0;
  return gatesOf(engine).pull.through(() => pull(engine, session, names));
}

async function pull(engine: Engine, session: SessionFetcher, names: readonly string[]): Promise<number> {
  const first = engine.pool.prefix(names);
  if (first === names.length) return 0; // another brought them meanwhile
  const wanted = names.slice(first, first + engine.pool.available);
  const batch = Math.max(1, Math.floor(BATCH_BYTES / engine.kv.pageBytes));
  // read whole: a stream read in pieces costs more than the pages do
  const ask = async (from: number): Promise<Uint8Array> => {
    const body = JSON.stringify({ names: wanted.slice(from, from + batch) });
    const response = await session.fetch('https://session/pages', { method: 'POST', body });
    return response.ok ? new Uint8Array(await response.arrayBuffer()) : new Uint8Array();
  };
  let taken = 0;
  let coming = ask(0);
  for (let from = 0; from < wanted.length; from += batch) {
    const bytes = await coming;
    const full = countFrames(bytes) === Math.min(batch, wanted.length - from);
    if (full && from + batch < wanted.length) {
      coming = ask(from + batch); // on its way while these are checked
      coming.catch(() => {}); // it is awaited above, or not wanted any more
    }
    for (const f of await parseFrames(bytes)) {
      if (f.name !== wanted[taken] || !engine.importPage(f.name, f.payload)) return taken;
      taken++;
    }
    free(bytes);
    if (!full) break;
  }
  return taken;
}

/**
 * Hands over the whole pages of a sequence that the session lacks, as far as they are still here. Answers how many. `turn`: the
 * response they are of; undefined for a session that is a cache and no more.
 */
export async function pushPages(
  engine: Engine,
  session: SessionFetcher,
  ids: readonly number[],
  salt: string,
  turn?: string,
): Promise<number> {
  return gatesOf(engine).push.through(() => push(engine, session, engine.names.chain(ids, salt), turn));
}

async function push(engine: Engine, session: SessionFetcher, all: readonly string[], turn: string | undefined): Promise<number> {
  const names = all.filter((name) => engine.pool.has(name));
  if (names.length === 0) return 0;
  const lacking = await session.missing(names);
  if (lacking.length === 0) return 0;
  const batch = Math.max(1, Math.floor(PUSH_BYTES / engine.kv.pageBytes));
  const { readable, writable, taken } = pipe();
  const writer = writable.getWriter();
  const write = async (bytes: Uint8Array) => {
    await writer.write(bytes);
    if (taken) free(bytes);
  };
  let sent = 0;
  const send = async () => {
    for (let more = true; more; ) {
      const parts: Uint8Array[] = [];
      while (parts.length < 2 * batch && more) {
        const page = sent < lacking.length ? await engine.exportPage(lacking[sent]) : undefined;
        more = page !== undefined;
        if (page) parts.push(frameHead(lacking[sent++], await digestOf(page), page.byteLength), page);
      }
      // many small pages in one write: each is a hop
      if (parts.length <= 2) for (const part of parts) await write(part);
      else {
        const piece = concatBytes(...parts);
        parts.forEach(free);
        await write(piece);
      }
    }
    await writer.close();
  };
  const sending = send().catch((error) => writer.abort(error));
  sending.catch(() => {}); // nobody reads: the answer says why
  const response = await session.fetch(`https://session/pages${turn === undefined ? '' : `?response=${turn}`}`, {
    method: 'PUT',
    body: readable,
  });
  if (!response.ok) throw new Error(`the session did not take the pages: ${await response.text()}`);
  return sent;
}

/** A body that is written. `taken`: a write settles when its bytes were read and are the writer's again, as the runtime's own pipes do; elsewhere readers may keep them. */
function pipe(): TransformStream<Uint8Array, Uint8Array> & { taken: boolean } {
  const { IdentityTransformStream: Native } = globalThis as { IdentityTransformStream?: new () => TransformStream<Uint8Array, Uint8Array> };
  const { readable, writable } = Native ? new Native() : new TransformStream<Uint8Array, Uint8Array>();
  return { readable, writable, taken: Native !== undefined };
}

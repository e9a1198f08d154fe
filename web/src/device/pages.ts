import { sha256 } from '@noble/hashes/sha2.js';
import {
  decodeDone,
  decodeFail,
  decodeHead,
  decodeIds,
  decodePage,
  FRAME,
  FrameReader,
  ProtocolError,
  pageFault,
} from '../../../accelerator/protocol.ts';
import { PAGE, PAGE_VERSION } from '../../../engine/layout.ts';
import type { Runtime } from '../../../serving/run/runtime.ts';

/** The salt of requests that name no tenant, as generate() makes it. */
const SALT = JSON.stringify(['public', '']);

/**
 * Puts pages that the edge computed for the tokens `ids` under this engine's own names, so that the conversation goes on
 * without computing them again. They stay on this device: their names carry its numerics. Returns how many tokens they hold.
 * Throws RangeError when a page is not of this model.
 */
export function importPages(rt: Runtime, ids: readonly number[], pages: readonly Uint8Array[]): number {
  const names = rt.engine.names.chain(ids, SALT);
  let i = 0;
  for (; i < pages.length && i < names.length; i++) if (!rt.engine.importPage(names[i], pages[i])) break;
  return i * PAGE;
}

/**
 * A server's answer to `POST /v1/turnstone/pages`: HEAD, IDS, PAGE …, DONE (docs/npu-protocol.md). Returns how many tokens'
 * pages are here now. Throws ProtocolError when the bytes are damaged, or of another model or layout.
 */
export function importConversation(rt: Runtime, bytes: Uint8Array): number {
  const { engine, served } = rt;
  const reader = new FrameReader();
  const [first, second, ...rest] = reader.push(bytes);
  reader.end();
  const last = rest.pop();
  if (!first || !second || !last) throw new ProtocolError('the pages break off');
  const head = decodeHead(first);
  if (head.pack !== served.digest) throw new ProtocolError('the pages are of another model than this device holds');
  if (head.kv !== engine.plan.kv) throw new ProtocolError(`the pages are ${head.kv}, this device keeps ${engine.plan.kv}`);
  if (last.type === FRAME.fail) throw new ProtocolError(decodeFail(last));
  const ids = decodeIds(second);
  const pages = rest.map((frame, i) => {
    const page = decodePage(frame);
    const fault = pageFault(page, { version: PAGE_VERSION, bytes: engine.kv.pageBytes, kept: engine.keptBytes }, sha256);
    if (fault) throw new ProtocolError(`page ${i}: ${fault}`);
    return page.bytes;
  });
  if (decodeDone(last).pages !== pages.length) throw new ProtocolError('pages are missing');
  return importPages(rt, ids, pages);
}

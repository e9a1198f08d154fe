import type { Runtime } from '../../../durable-objects/replica/index.ts';
import { PAGE } from '../../../engine/layout.ts';

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

import { hmac } from '@noble/hashes/hmac.js';
import { sha256 } from '@noble/hashes/sha2.js';
import { bytesToHex, utf8ToBytes } from '@noble/hashes/utils.js';

/**
 * `resp_` + 32 hex digits of the session + 16 of the turn + 16 that seal tenant and session: a response's id says which session holds
 * it, and only an id that was given out to this tenant leads to one. Who guesses wakes nothing.
 */
const RESPONSE = /^resp_([0-9a-f]{32})[0-9a-f]{16}([0-9a-f]{16})$/;

const hex = (bytes: number) => bytesToHex(crypto.getRandomValues(new Uint8Array(bytes)));

/** `length` hex digits that only who knows the secret can tell. */
const mac = (secret: string, parts: readonly string[], length: number): string =>
  bytesToHex(hmac(sha256, utf8ToBytes(secret), utf8ToBytes(JSON.stringify(parts)))).slice(0, length);

export const sealOf = (secret: string, tenant: string, session: string): string => mac(secret, ['session', tenant, session], 16);

export const newSessionId = (): string => hex(16);

/** A response of that session, of which only the seal's tenant can ask. */
export const newResponseId = (session: string, seal: string): string => `resp_${session}${hex(8)}${seal}`;

/** The session that a response's id names, whoever's it is; undefined when it is no such id. */
export const sessionOf = (response: string): string | undefined => RESPONSE.exec(response)?.[1];

/** The session of a response's id, or undefined when it is no id that this tenant was given. */
export function ownSession(secret: string, tenant: string, response: string): string | undefined {
  const [, session, seal] = RESPONSE.exec(response) ?? [];
  if (session === undefined || seal === undefined) return undefined;
  const wanted = sealOf(secret, tenant, session);
  let differ = 0; // whole, so that its time does not tell how much is right
  for (let i = 0; i < wanted.length; i++) differ |= wanted.charCodeAt(i) ^ seal.charCodeAt(i);
  return differ === 0 ? session : undefined;
}

/** Session and turn that a client's own key (`Idempotency-Key`) stands for: the same for the same key. `session`: of the previous response. */
export function keyedIds(secret: string, tenant: string, key: string, session?: string): { session: string; id: string } {
  const held = session ?? mac(secret, ['keyed session', tenant, key], 32);
  const turn = mac(secret, ['keyed turn', tenant, key, session ?? ''], 16);
  return { session: held, id: `resp_${held}${turn}${sealOf(secret, tenant, held)}` };
}

/** Name of a session's object. The tenant is part of it, so that no key can reach another's session. */
export const sessionName = (tenant: string, session: string): string => `${tenant}/${session}`;

/** Name of the object that keeps the pages of chat completions sent with `prompt_cache_key`. */
export const cacheName = (tenant: string, key: string): string => `${tenant}/key/${key}`;

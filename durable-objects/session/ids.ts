/** `resp_` + 32 hex digits of the session + 16 of the turn: a response's id says which session holds it. */
const RESPONSE = /^resp_([0-9a-f]{32})([0-9a-f]{16})$/;

const hex = (bytes: number) => Array.from(crypto.getRandomValues(new Uint8Array(bytes)), (b) => b.toString(16).padStart(2, '0')).join('');

export const newSessionId = (): string => hex(16);

export const newResponseId = (session: string): string => `resp_${session}${hex(8)}`;

/** The session of a response's id, or undefined when it is no such id. */
export const sessionOf = (response: string): string | undefined => RESPONSE.exec(response)?.[1];

/** Name of a session's object. The tenant is part of it, so that no key can reach another's session. */
export const sessionName = (tenant: string, session: string): string => `${tenant}/${session}`;

/** Name of the object that keeps the pages of chat completions sent with `prompt_cache_key`. */
export const cacheName = (tenant: string, key: string): string => `${tenant}/key/${key}`;

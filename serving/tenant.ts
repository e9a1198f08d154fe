import { sha256 } from '@noble/hashes/sha2.js';
import { TENANT } from './run/tenant.ts';

const encoder = new TextEncoder();
const hex = (bytes: Uint8Array): string => Array.from(bytes, (b) => b.toString(16).padStart(2, '0')).join('');

/**
 * The request under its key's tenant, whatever tenant, id or lease its headers claim: no key sees the responses or cached pages of another.
 * Who sends no key is `public`. Whether the key is let in is for the caller to decide.
 */
export function asTenant(request: Request): Request {
  const key = /^Bearer +(\S{1,1024})$/i.exec(request.headers.get('authorization') ?? '')?.[1];
  const headers = new Headers(request.headers);
  for (const name of [...headers.keys()]) if (name.startsWith('x-turnstone-')) headers.delete(name); // they are the server's own
  headers.set(TENANT, key === undefined ? 'public' : hex(sha256(encoder.encode(`turnstone tenant\0${key}`))).slice(0, 32));
  return new Request(request, { headers });
}

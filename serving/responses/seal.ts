/** Text that a client carries and only this server reads: AES-GCM under a key that follows from the server's secret and the tenant. */
import { hmac } from '@noble/hashes/hmac.js';
import { sha256 } from '@noble/hashes/sha2.js';
import { utf8ToBytes } from '@noble/hashes/utils.js';

const IV = 12;

const keyOf = (secret: string, tenant: string): Promise<CryptoKey> =>
  crypto.subtle.importKey(
    'raw',
    hmac(sha256, utf8ToBytes(secret), utf8ToBytes(JSON.stringify(['sealed text', tenant]))) as Uint8Array<ArrayBuffer>,
    'AES-GCM',
    false,
    ['encrypt', 'decrypt'],
  );

/** base64 of the nonce and what was encrypted under it. */
export async function seal(secret: string, tenant: string, text: string): Promise<string> {
  const iv = crypto.getRandomValues(new Uint8Array(IV));
  const sealed = await crypto.subtle.encrypt(
    { name: 'AES-GCM', iv },
    await keyOf(secret, tenant),
    utf8ToBytes(text) as Uint8Array<ArrayBuffer>,
  );
  return btoa(Array.from([...iv, ...new Uint8Array(sealed)], (b) => String.fromCharCode(b)).join(''));
}

/** The text; undefined when it was not sealed with this secret for this tenant. */
export async function open(secret: string, tenant: string, sealed: string): Promise<string | undefined> {
  try {
    const bytes = Uint8Array.from(atob(sealed), (c) => c.charCodeAt(0));
    const iv = bytes.subarray(0, IV);
    const text = await crypto.subtle.decrypt({ name: 'AES-GCM', iv }, await keyOf(secret, tenant), bytes.subarray(IV));
    return new TextDecoder('utf-8', { fatal: true }).decode(text);
  } catch {
    return undefined;
  }
}

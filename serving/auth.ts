/**
 * API keys. Keys and candidates are hashed and the digests compared whole, every key each time, so that neither a key's length, nor
 * how much of it is right, nor which one matched can be told from the time it takes.
 */

import type { MiddlewareHandler } from 'hono';
import { ApiError, unauthorized } from '../openai/errors.ts';
import { namedKeysIn } from '../policy/keys.ts';
import { isOn, type Variables } from '../policy/settings.ts';
import type { App } from './host.ts';

interface Key {
  digest: Uint8Array;
  tenant: string;
  name?: string;
}

const encoder = new TextEncoder();

const sha256 = async (text: string): Promise<Uint8Array> => new Uint8Array(await crypto.subtle.digest('SHA-256', encoder.encode(text)));

/** Parsed once for each value of the secret; one isolate sees one or, around a deploy, two. */
const parsed = new Map<string, Promise<Key[]>>();

function keysOf(vars: Variables): Promise<Key[]> | null {
  const secret = vars.API_KEYS;
  if (secret === undefined) return null;
  let keys = parsed.get(secret);
  if (!keys) {
    parsed.clear();
    keys = parseKeys(secret);
    parsed.set(secret, keys);
  }
  return keys;
}

async function hashed(text: string): Promise<string> {
  return Array.from((await sha256(text)).slice(0, 16), (b) => b.toString(16).padStart(2, '0')).join('');
}

/** The tenant of the keys of that name, whether there are any now or not. */
export const tenantNamed = (name: string): Promise<string> => hashed(`turnstone tenant of name\0${name}`);

async function parseKeys(secret: string): Promise<Key[]> {
  const keys: Key[] = [];
  for (const { name, key } of namedKeysIn(secret)) {
    // The tenant id travels to logs and storage: it is hashed apart from the digest that lets in.
    const tenant = name === undefined ? await hashed(`turnstone tenant\0${key}`) : await tenantNamed(name);
    keys.push({ digest: await sha256(key), tenant, name });
  }
  return keys;
}

/** The key's tenant; `public` where everybody is let in on purpose; null when the key is wrong or missing. Throws 503 where nobody said who may come. */
export async function tenantOf(vars: Variables, authorization: string | undefined): Promise<string | null> {
  const keys = await keysOf(vars);
  if (!keys) {
    if (isOn('PUBLIC', vars) || isOn('LOCAL_ONLY', vars)) return 'public';
    throw new ApiError(503, 'This server is closed: it has no API_KEYS. Set that secret, or PUBLIC=1 to serve everybody.', {
      code: 'server_closed',
    });
  }
  const candidate = await sha256(/^Bearer +(\S{1,1024})$/i.exec(authorization ?? '')?.[1] ?? '');
  let tenant: string | null = null;
  for (const key of keys) {
    let differ = 0;
    for (let i = 0; i < 32; i++) differ |= key.digest[i] ^ candidate[i];
    if (differ === 0) tenant = key.tenant;
  }
  return tenant;
}

/** What a tenant is called where somebody looks: its key's name, or the digits that `/admin/queue` shows of one without. */
export async function keyNamed(vars: Variables, tenant: string): Promise<string> {
  return (await keysOf(vars))?.find((key) => key.tenant === tenant)?.name ?? tenant;
}

/** Whether the header carries this key. */
export async function isKey(key: string, authorization: string | undefined): Promise<boolean> {
  const [wanted, given] = await Promise.all([key, /^Bearer +(\S{1,1024})$/i.exec(authorization ?? '')?.[1] ?? ''].map(sha256));
  let differ = 0;
  for (let i = 0; i < 32; i++) differ |= wanted[i] ^ given[i];
  return differ === 0;
}

/** Lets in who has a key. */
export const requireKey: MiddlewareHandler<App> = async (c, next) => {
  if (c.env.tenant !== undefined) {
    c.set('tenant', c.env.tenant);
    return next();
  }
  const { authorization, 'x-api-key': key } = c.req.header(); // the second as Anthropic's clients send it
  const tenant = await tenantOf(c.env.vars, authorization || (key && `Bearer ${key}`));
  if (tenant === null) throw unauthorized();
  c.set('tenant', tenant);
  await next();
};

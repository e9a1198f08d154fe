/** Models that this server could bring from the hub. Only a server on one's own machine does, and asks for its ADMIN_KEY where others reach it. */
import { isRecord } from './json.ts';

/** A model of the server's catalogue. */
export interface Offer {
  name: string;
  state: 'here' | 'absent' | 'pulling';
  parameters?: string;
  licence?: string;
  about?: string;
  /** Bytes that are there, of all, while it is brought. */
  bytes?: number;
  of?: number;
  /** Why the last try ended. */
  error?: string;
}

/** What came of a call: `none` where nothing is brought, `key` where the administrator's key is wanted. */
export type Offered = { kind: 'offers'; offers: Offer[] } | { kind: 'none' } | { kind: 'key' };

async function call(path: string, key: string, body?: object): Promise<Response | undefined> {
  const headers: Record<string, string> = key ? { authorization: `Bearer ${key}` } : {};
  if (body) headers['content-type'] = 'application/json';
  const init = body && { method: 'POST', body: JSON.stringify(body) };
  return fetch(`/admin/models${path}`, { ...init, headers }).catch(() => undefined);
}

export async function offers(key: string): Promise<Offered> {
  const response = await call('', key);
  if (response?.status === 401) return { kind: 'key' };
  const body: unknown = response?.ok ? await response.json().catch(() => undefined) : undefined;
  return isRecord(body) && Array.isArray(body.data) ? { kind: 'offers', offers: body.data.flatMap(offerOf) } : { kind: 'none' };
}

function offerOf(entry: unknown): Offer[] {
  if (!isRecord(entry) || typeof entry.name !== 'string') return [];
  const text = (name: string) => (typeof entry[name] === 'string' ? (entry[name] as string) : undefined);
  const number = (name: string) => (typeof entry[name] === 'number' ? (entry[name] as number) : undefined);
  const state = entry.state === 'here' || entry.state === 'pulling' ? entry.state : 'absent';
  const told = { parameters: text('parameters'), licence: text('licence'), about: text('about'), error: text('error') };
  return [{ name: entry.name, state, ...told, bytes: number('bytes'), of: number('of') }];
}

/** Why it was refused, or undefined. */
async function change(what: 'pull' | 'cancel', name: string, key: string): Promise<string | undefined> {
  const response = await call(`/${what}`, key, { name });
  if (response?.ok) return undefined;
  const body: unknown = await response?.json().catch(() => undefined);
  return isRecord(body) && isRecord(body.error) ? String(body.error.message) : 'The server did not answer.';
}

export const bring = (name: string, key: string) => change('pull', name, key);
export const cancel = (name: string, key: string) => change('cancel', name, key);

import { isRecord } from '../json.ts';

/** What the accelerator's service tells of a run (simulator/report/data.ts). */
export interface Run {
  device: { name: string; summary: string; type: string; GBps: number };
  chips: number;
  summary: {
    launches: number;
    us: number;
    parts: Record<string, number>;
    bytes: Record<string, number>;
    busy: Record<string, number>;
    roofline: { flopsPerByte: number; tops: number; peakTops: number; ridge: number; bound: string; reached: number };
  };
  points: { name: string; kind: string; launches: number; us: number; tops: number; flopsPerByte: number }[];
  timeline: {
    us: number;
    queues: string[];
    tiles: number;
    launches: { name: string; kind: string; at: number; us: number }[];
    bars: [number, number, number, number][];
  };
  /** Of a prompt that was computed here, not of a simulation. */
  tokens?: number;
  deviceMs?: number;
  hostMs?: number;
  at?: number;
}

/** Asks `path`; throws an Error that says what to do. */
export async function ask(path: string, key: string, body?: unknown): Promise<Response> {
  const headers: Record<string, string> = body === undefined ? {} : { 'content-type': 'application/json' };
  if (key) headers.authorization = `Bearer ${key}`;
  const init = body === undefined ? { headers } : { method: 'POST', headers, body: JSON.stringify(body) };
  const r = await fetch(path, init).catch(() => {
    throw new Error('The server does not answer.');
  });
  if (r.ok) return r;
  if (r.status === 401) throw new Error('This server wants an API key: give it in the chat page’s settings, then come back in this tab.');
  const answer: unknown = await r.json().catch(() => undefined);
  const error = isRecord(answer) && isRecord(answer.error) ? answer.error : {};
  throw new Error(typeof error.message === 'string' ? error.message : `The server answered ${r.status}.`);
}

/** A run out of an answer; throws when it is none. */
export function readRun(value: unknown): Run {
  if (isRecord(value) && isRecord(value.device) && isRecord(value.summary) && Array.isArray(value.points) && isRecord(value.timeline)) {
    return value as unknown as Run;
  }
  throw new Error('The server answered something else than a run.');
}

/** 0.0123 → 0.0123, 12.34 → 12.3, 1234 → 1,234 */
export const figure = (v: number): string => (v >= 1000 ? Math.round(v).toLocaleString('en') : String(Number(v.toPrecision(3))));
export const time = (us: number): string => (us < 1000 ? `${figure(us)} µs` : `${figure(us / 1000)} ms`);
export const percent = (v: number): string => `${figure(100 * v)} %`;
export const megabytes = (n: number): string => `${figure(n / 1e6)} MB`;

/**
 * Cells: a model's replicas divided among queues of their own, so that no queue's object gets more calls than one object answers. A
 * tenant's requests are all of one cell, where its limits, its share and its prefixes are; who has no name is of the cell of each request.
 */
import { readNumber, type Variables } from './settings.ts';

/** Settings: cells of each model, and replicas of each cell. */
export type CellVars = Pick<Variables, 'CELLS' | 'REPLICAS'>;

/** Calls a second that one object answers before it is overloaded (developers.cloudflare.com/durable-objects/platform/limits). */
export const OBJECT_CALLS = 1_000;
/** Share of them that a queue is to reach at its busiest: half of them are for what comes at once. */
export const FILL = 0.5;

/** How many cells so many calls a second of queues take, and so many replicas where each cell is to have `most` at most. */
export function cellsFor(callsPerSecond: number, replicas: number, most = 64): number {
  return Math.max(1, Math.ceil(callsPerSecond / (OBJECT_CALLS * FILL)), Math.ceil(replicas / most));
}

export const cellsOf = (v: CellVars): number => readNumber('CELLS', v);

/** Of a tenant that has a name, else of the request (or the session). In 0..cells-1; with one cell more, one tenant in `cells + 1` moves. */
export const cellOf = (tenant: string, request: string, v: CellVars): number => bucket(tenant === 'public' ? request : tenant, cellsOf(v));

/** Numbers of a cell's replicas; those of all cells are numbered through. */
export function replicasOf(cell: number, v: CellVars): string[] {
  const each = readNumber('REPLICAS', v);
  return Array.from({ length: each }, (_, i) => String(cell * each + i));
}

/** Whose that replica is. */
export const cellOfReplica = (replica: string, v: CellVars): number =>
  Math.min(cellsOf(v) - 1, Math.floor((Number(replica) || 0) / readNumber('REPLICAS', v)));

/** Jump consistent hash (Lamping and Veach, 2014) of a text's FNV-1a. */
function bucket(key: string, buckets: number): number {
  let h = 0xcbf29ce484222325n;
  for (let i = 0; i < key.length; i++) h = BigInt.asUintN(64, (h ^ BigInt(key.charCodeAt(i))) * 0x100000001b3n);
  let at = 0;
  for (let next = 0; next < buckets; ) {
    at = next;
    h = BigInt.asUintN(64, h * 2862933555777941757n + 1n);
    next = Math.floor((at + 1) * (2 ** 31 / (Number(h >> 33n) + 1)));
  }
  return at;
}

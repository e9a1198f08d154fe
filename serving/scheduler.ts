/** The queue before a model's replicas, as its callers see it. */

import { type CellVars, cellsOf, replicasOf } from '../policy/cells.ts';
import type { Ended } from '../policy/ledger.ts';
import type { AdmitRequest, Heartbeat, Lease, Progress, Refusal } from '../policy/ticket.ts';

/**
 * `run`: call that replica with that epoch. `wait`: not yet; ask again at once with the same id, the place is kept.
 * `refused`: 429 with Retry-After, in seconds.
 */
export type AdmitAnswer = ({ kind: 'run' } & Lease) | { kind: 'wait' } | ({ kind: 'refused' } & Refusal);

export interface SchedulerStats {
  /** The server is stopping: nothing new is admitted. */
  closed: boolean;
  waiting: number;
  /** False: storage has failed and rests; the queue is in memory only. */
  stored: boolean;
  /** Since the object woke. */
  rowsWritten: number;
  epoch: number;
  /** Weighted tokens a second, measured; 0 before anything was. */
  rate: number;
  replicas: {
    id: string;
    running: number;
    slots: number;
    kvUsed: number;
    kvTokens: number;
    backlog: number;
    draining: boolean;
    absent: boolean;
  }[];
  tenants: { name: string; counter: number; waiting: number; running: number; brief: number }[];
}

export interface SchedulerPort {
  /** `trace`: the `traceparent` of a request that is traced. */
  admit(request: AdmitRequest, trace?: string): Promise<AdmitAnswer>;
  cancel(id: string): Promise<boolean>;
  erase(tenant: string): Promise<{ waiting: number; running: number }>;
  release(list: Progress[]): Promise<number>;
  heartbeat(replica: string, beat: Heartbeat): Promise<{ abort: string[]; draining: boolean }>;
  died(replica: string): Promise<Ended>;
  drain(replica: string, draining: boolean): Promise<number>;
  close(now: boolean): Promise<number>;
  absent(replica: string, absent: boolean): Promise<void>;
  lease(id: string): Promise<{ state: 'unknown' | 'untold' | 'waiting' | 'running'; epoch: number; replica: string }>;
  stats(): Promise<SchedulerStats>;
  secret(): Promise<string>;
}

/** Names of all replicas of a model. */
export const replicaNames = (v: CellVars): string[] => Array.from({ length: cellsOf(v) }, (_, cell) => replicasOf(cell, v)).flat();

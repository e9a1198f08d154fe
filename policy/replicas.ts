import { type Breaker, breakerState, closedBreaker } from './breaker.ts';
import { ChainCache } from './chains.ts';
import type { PolicyConfig } from './config.ts';

/** A replica's account. Its counts are those of its tickets; what is stored of it is said in state.ts. */
export interface ReplicaRecord {
  id: string;
  /** Drawn by the replica when it starts; another value means that what ran before is gone. '' until its first heartbeat. */
  incarnation: string;
  /** It has computed something since it started. */
  warm: boolean;
  slots: number;
  kvTokens: number;
  running: number;
  /** Tokens its running requests hold, and prompt tokens they still have to compute. */
  kvUsed: number;
  backlog: number;
  /** With work and silent until then, it has died. 0 while it has none. */
  deadline: number;
  draining: boolean;
  /** Its process does not run now, and is known to: not a failure, and nothing that is remembered. */
  absent: boolean;
  breaker: Breaker;
}

export interface Replica extends ReplicaRecord {
  readonly chains: ChainCache;
}

export function newReplica(id: string, c: PolicyConfig): Replica {
  return {
    id,
    incarnation: '',
    warm: false,
    slots: c.slots,
    kvTokens: c.kvTokens,
    running: 0,
    kvUsed: 0,
    backlog: 0,
    deadline: 0,
    draining: false,
    absent: false,
    breaker: closedBreaker(),
    chains: new ChainCache(c.kvTokens),
  };
}

/** May a request of so many prompt tokens start there now? An empty replica takes any; a suspected one takes a single probe. */
export function hasRoom(r: Replica, promptTokens: number, now: number): boolean {
  if (r.draining || r.absent || r.running >= r.slots) return false;
  const state = breakerState(r.breaker, now);
  if (state === 'open' || (state === 'half-open' && r.running > 0)) return false;
  return r.running === 0 || r.kvUsed + promptTokens <= r.kvTokens;
}

import type { Link } from './chains.ts';
import { LANES, type Lane } from './config.ts';

/** What a caller asks for. The id is the caller's own and unique: asking again with it never makes a second request. */
export interface AdmitRequest {
  id: string;
  /** The key's name: what fairness and limits count by. */
  tenant: string;
  /** Lower goes first, among the tenant's own. */
  priority: number;
  /** Estimate before tokenization: bytes / 3. */
  promptTokens: number;
  chain: readonly Link[];
  /** Its owner (a session) starts it again when the replica dies; otherwise it is lost with the replica. */
  restart: boolean;
  /** Sequences to generate, prompts × choices; 1 unless given. Each takes a slot. */
  sequences?: number;
  /** Nothing is computed for it: it goes to whoever holds most of the prompt. */
  held?: boolean;
  /** It takes no slot and no replica but a turn in this lane. */
  lane?: Lane;
  /** It asks again, ms after it asked first: what its key's rate limit takes was taken then, and it is as old as it is. */
  waitedMs?: number;
}

/** A request the scheduler answers for: waiting or running. Kept in memory alone: after a restart replicas tell of those that run, and who waits asks again. */
export interface Ticket extends AdmitRequest {
  state: 'waiting' | 'running';
  arrived: number;
  /** Someone waits for the answer. A waiting ticket without is not started, and dropped after `attachMs`. */
  attached: boolean;
  detachedAt: number;
  /** Where it runs; '' while waiting. */
  replica: string;
  /** Grows with every start of any request: a holder of an older one is stale. */
  epoch: number;
  dispatched: number;
  /** Its replica has named it in a heartbeat. */
  confirmed: boolean;
  /** Prompt tokens not computed yet, as far as known: its part of the replica's backlog. */
  backlog: number;
  /** Slots it wants while it waits, and has while it runs: at most one a sequence. 1 in a lane. */
  slots: number;
  /** Generated tokens charged so far, and weighted prompt tokens charged. */
  output: number;
  charged: number;
}

export interface Lease {
  id: string;
  replica: string;
  epoch: number;
  /** Prompt tokens the replica probably holds. */
  matched: number;
  /** Sequences that may be computed at once; the others of the request wait for these. */
  slots: number;
}

/** What a replica says about one request it runs or has just ended. */
export interface Progress {
  id: string;
  epoch: number;
  /** Generated tokens so far. */
  output: number;
  /** Known once it was tokenized. */
  promptTokens?: number;
  cachedTokens?: number;
  /** Prompt tokens whose KV is there, found or computed. */
  computed?: number;
  /** Whose it is, how many sequences of it may be computed at once, and whether a session owns it: what a queue that has begun anew books it by. */
  tenant?: string;
  slots?: number;
  owned?: boolean;
  /** Of an ended one: the replica, not the caller, was at fault. */
  failed?: boolean;
}

export interface Heartbeat {
  /** Drawn by the replica when it starts. */
  incarnation: string;
  slots: number;
  kvTokens: number;
  running: readonly Progress[];
  done: readonly Progress[];
  /** By how much its own clock was late of late, ms: its steps are as long. */
  lateMs?: number;
}

export type RefusalReason = 'queue_full' | 'too_slow' | 'rate_limit' | 'concurrency_limit' | 'draining' | 'erased';

export interface Refusal {
  reason: RefusalReason;
  /** Whole seconds, at least 1: when asking again may succeed. */
  retryAfter: number;
}

export const MAX_PROMPT = 1 << 22;
export const MAX_SEQUENCES = 1024;
export const MAX_WAITED_MS = 86_400_000;
/** Links that one request may bring: only the last are kept. */
const MAX_CHAIN = 4096;

/** Bounds every number and string of a request that came over the wire. Throws, naming the field. */
export function checkRequest(r: AdmitRequest): AdmitRequest {
  const text = (name: string, v: unknown, max: number) => {
    if (typeof v !== 'string' || v.length === 0 || v.length > max)
      throw new Error(`admit: ${name} must be a string of 1..${max} characters`);
  };
  text('id', r.id, 128);
  text('tenant', r.tenant, 128);
  if (!Number.isInteger(r.priority) || r.priority < -1000 || r.priority > 1000) {
    throw new Error('admit: priority must be an integer in -1000..1000');
  }
  if (!Number.isInteger(r.promptTokens) || r.promptTokens < 0 || r.promptTokens > MAX_PROMPT) {
    throw new Error(`admit: promptTokens must be an integer in 0..${MAX_PROMPT}`);
  }
  const { sequences = 1, lane, waitedMs = 0 } = r;
  if (!Number.isInteger(waitedMs) || waitedMs < 0 || waitedMs > MAX_WAITED_MS) {
    throw new Error(`admit: waitedMs must be an integer in 0..${MAX_WAITED_MS}`);
  }
  if (!Number.isInteger(sequences) || sequences < 1 || sequences > MAX_SEQUENCES) {
    throw new Error(`admit: sequences must be an integer in 1..${MAX_SEQUENCES}`);
  }
  if (lane !== undefined && !LANES.includes(lane)) throw new Error(`admit: lane must be one of ${LANES.join(', ')}`);
  if (!Array.isArray(r.chain) || r.chain.length > MAX_CHAIN) {
    throw new Error(`admit: chain must be an array of at most ${MAX_CHAIN} links`);
  }
  for (const link of r.chain) {
    text('chain hash', link?.hash, 128);
    if (!Number.isInteger(link.tokens) || link.tokens < 0 || link.tokens > MAX_PROMPT) throw new Error('admit: chain tokens out of range');
  }
  return r;
}

/**
 * What Cloudflare asks for what Turnstone uses, in US dollars beyond what a month's 5 dollars include. Sources, read 2026-11-30:
 * developers.cloudflare.com/durable-objects/platform/pricing, /workers/platform/pricing, /r2/pricing.
 */
export const PRICES = {
  /** A Durable Object in memory, whatever it holds: 128 MB count. */
  gigabyteSecond: 12.5 / 1e6,
  /** A call of a Durable Object, each RPC too. */
  objectRequest: 0.15 / 1e6,
  workerRequest: 0.3 / 1e6,
  /** A row of SQLite that is written. */
  rowWritten: 1 / 1e6,
  /** R2, a month. */
  storedGigabyte: 0.015,
} as const;

/** What Workers AI asks for a model of a billion parameters (@cf/meta/llama-3.2-1b-instruct, its smallest): dollars a million tokens. */
export const WORKERS_AI = { input: 0.027, output: 0.201 } as const;

const GB = 128 / 1000; // what is counted of an object, as the pricing's own examples count it
const HOUR_S = 3600;
/** Calls of one stage in a step: rows of the embedding, layers, rows of the head. */
const CALLS_A_STEP = 3;

export interface ModelCost {
  /** While it computes or waits for a client: an hour of all its isolates. */
  hour: number;
  /** A thousand steps, of one stream a token each: what the calls between its isolates cost. */
  thousandSteps: number;
  /** The pack in R2, a month. */
  month: number;
}

/** `isolates`: of one replica, its stages counted. */
export const costOf = ({ isolates, packBytes }: { isolates: number; packBytes: number }): ModelCost => ({
  hour: isolates * GB * HOUR_S * PRICES.gigabyteSecond,
  thousandSteps: (isolates - 1) * CALLS_A_STEP * 1000 * PRICES.objectRequest,
  month: (packBytes / 1e9) * PRICES.storedGigabyte,
});

/** Rows that the queue writes for an answer at most: one where it is alone, none where others go on (tests/workerd/scheduler.test.ts); and one in ten seconds. */
export const QUEUE_ROWS = 1;
const QUEUE_S = 10;
/** Rows that a session writes for a turn beside its pages, an alarm every three seconds apart (tests/workerd/session-pages.test.ts). */
export const TURN_ROWS = 20;
const WATCH_S = 3;
/** Calls of objects for a chat: the place, the replica, its heartbeats when it begins, has a token and has ended. */
export const CHAT_CALLS = 5;
/**
 * And for a stored turn besides: the session's begin, its events and its end, its place given back, which pages it lacks, those pulled,
 * those handed over, the alarm after it (tests/e2e/models-deployed.test.ts).
 */
export const TURN_CALLS = 8;
/** Of a session while its turn runs: its alarm, which asks the queue for the lease. */
const WATCH_CALLS = 2;
const BEAT_S = 1; // a heartbeat
const ROW_BYTES = 1 << 20; // of pages in a session

export interface Answered {
  /** An isolate's computing for this answer, steps shared among those that rode in them, ms. */
  computeMs: number;
  /** Of one replica, its stages counted. */
  isolates: number;
  /** From arrival to end, ms. */
  openMs: number;
  /** Of a session's: how long it was in memory for it, ms, and the bytes of KV pages that it keeps of it. */
  session?: { ms: number; bytes: number };
}

/** What an answer costs, US dollars, and what for. */
export interface Cost {
  usd: number;
  /** Isolates that computed it. */
  compute: number;
  /** The session in memory while it ran. */
  session: number;
  requests: number;
  rows: number;
}

/**
 * What the platform bills for an answer, estimated from what was measured of it and from calls and rows that tests count. CPU of the
 * routes is not in it (2 cents a million ms), nor what the plan includes.
 */
export function costOfAnswer({ computeMs, isolates, openMs, session: kept }: Answered): Cost {
  const seconds = openMs / 1000;
  const second = GB * PRICES.gigabyteSecond;
  const calls = CHAT_CALLS + seconds / BEAT_S + (kept ? TURN_CALLS + (WATCH_CALLS * kept.ms) / 1000 / WATCH_S : 0);
  const written =
    QUEUE_ROWS + Math.floor(seconds / QUEUE_S) + (kept ? TURN_ROWS + kept.ms / 1000 / WATCH_S + Math.ceil(kept.bytes / ROW_BYTES) : 0);
  const compute = (computeMs / 1000) * isolates * second;
  const session = kept ? (kept.ms / 1000) * second : 0;
  const requests = PRICES.workerRequest + calls * PRICES.objectRequest;
  const rows = written * PRICES.rowWritten;
  return { usd: compute + session + requests + rows, compute, session, requests, rows };
}

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

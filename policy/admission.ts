import type { PolicyConfig } from './config.ts';
import { bucketSize, bucketWait, refill } from './limits.ts';
import { type Service, timeFor } from './service.ts';
import type { Tenant } from './tenants.ts';
import type { AdmitRequest, Refusal } from './ticket.ts';

const seconds = (ms: number) => Math.max(1, Math.ceil(ms / 1000));

/** Weighted tokens a waiting request will probably cost. */
export function expectedCost(r: AdmitRequest, c: PolicyConfig, s: Service): number {
  if (r.lane) return c.lanes[r.lane].weight * r.promptTokens;
  return c.promptWeight * r.promptTokens + c.outputWeight * s.output.value * (r.sequences ?? 1);
}

/** Limits of one tenant. Refills its bucket; takes nothing out of it. `paid`: it was taken when the request asked first. */
export function withinLimits(t: Tenant, c: PolicyConfig, s: Service, now: number, paid = false): Refusal | undefined {
  if (c.concurrency > 0 && t.waiting + t.running + t.brief >= c.concurrency) {
    // one of its own requests ends, on average, after duration / running
    return { reason: 'concurrency_limit', retryAfter: seconds(s.duration.value / Math.max(1, t.running)) };
  }
  if (c.ratePerMinute > 0 && !paid) {
    t.bucket = refill(t.bucket, c.ratePerMinute, c.burst, now);
    const wait = bucketWait(t.bucket, c.ratePerMinute);
    if (wait > 0) return { reason: 'rate_limit', retryAfter: seconds(wait) };
  }
  return undefined;
}

/** Takes a request's sequences out of the tenant's bucket. More than it holds is a debt that time pays: a wide request starts, and the next one waits for all of it. */
export function take(t: Tenant, sequences: number, c: PolicyConfig): void {
  if (c.ratePerMinute > 0) t.bucket = { ...t.bucket, tokens: t.bucket.tokens - sequences };
}

/** Slots that a request will take at once: no more than its tenant may have. */
export function slotsWanted(r: AdmitRequest, c: PolicyConfig): number {
  return Math.min(r.sequences ?? 1, c.concurrency > 0 ? Math.floor(c.concurrency) : Number.POSITIVE_INFINITY);
}

export const fullBucket = (c: PolicyConfig): number => bucketSize(c.ratePerMinute, c.burst);

/**
 * ms until a request would start: the work served before it, at the measured rate. Under fair queueing that is at most
 * all that waits, and at most its own tenant's queue, itself included, times the tenants that share the service. Undefined: nothing measured yet.
 */
export function expectedWait(queuedWork: number, ownWork: number, activeTenants: number, s: Service): number | undefined {
  return timeFor(s, Math.min(queuedWork, ownWork * Math.max(1, activeTenants)));
}

/** Refuses what would wait longer than it may; says when the queue will have shrunk enough. */
export function tooSlow(waitMs: number | undefined, c: PolicyConfig): Refusal | undefined {
  if (waitMs === undefined || waitMs <= c.maxWaitMs) return undefined;
  return { reason: 'too_slow', retryAfter: seconds(waitMs - c.maxWaitMs) };
}

/** A full queue: one place is free when one request's worth of work has been done. */
export function queueFull(meanCost: number, s: Service): Refusal {
  return { reason: 'queue_full', retryAfter: seconds(timeFor(s, meanCost) ?? s.duration.value) };
}

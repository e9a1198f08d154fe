import { POLICY, type PolicyConfig } from '../../policy/config.ts';
import { readNumber } from '../../policy/settings.ts';

/** Variables of the scheduler, all text. */
export interface SchedulerVars {
  /** Replicas of the model, 1..64; they are named 0, 1, 2, … */
  REPLICAS?: string;
  /** Requests waiting in all. */
  MAX_QUEUE?: string;
  /** A request predicted to wait longer, in seconds, is refused. */
  MAX_WAIT_S?: string;
  /** Requests a minute, and at once, of one key; 0 or absent is no limit. */
  RATE_PER_MINUTE?: string;
  RATE_BURST?: string;
  CONCURRENCY?: string;
  /** The keys given out, comma-separated; several mean several tenants. */
  API_KEYS?: string;
  /** Seconds after which a silent replica with work counts as dead. */
  LEASE_S?: string;
  /** Sequences that a replica computes together. Until it has spoken its slots are these; then what it says. */
  MAX_BATCH?: string;
}

/** Whose keys there are: keys of one name are one tenant's. */
const owners = (keys = ''): Set<string> =>
  new Set(
    keys
      .split(',')
      .map((entry) => entry.trim())
      .filter((entry) => entry !== '')
      .map((entry) => (entry.indexOf(':') > 0 ? entry.slice(0, entry.indexOf(':')) : entry)),
  );

export function policyConfig(v: SchedulerVars): PolicyConfig {
  return {
    ...POLICY,
    maxQueue: readNumber('MAX_QUEUE', v),
    maxWaitMs: readNumber('MAX_WAIT_S', v) * 1000,
    ratePerMinute: readNumber('RATE_PER_MINUTE', v),
    burst: readNumber('RATE_BURST', v),
    concurrency: readNumber('CONCURRENCY', v),
    shared: owners(v.API_KEYS).size > 1,
    leaseMs: readNumber('LEASE_S', v) * 1000,
    slots: readNumber('MAX_BATCH', v) ?? POLICY.slots,
  };
}

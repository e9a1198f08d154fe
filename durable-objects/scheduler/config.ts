import { POLICY, type PolicyConfig } from '../../policy/config.ts';

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
}

function number(name: string, value: string | undefined, lo: number, hi: number, otherwise: number): number {
  if (value === undefined || value === '') return otherwise;
  const n = Number(value);
  if (!(n >= lo && n <= hi)) throw new Error(`${name} is "${value}", must be a number in ${lo}..${hi}`);
  return n;
}

/** Names of the replicas. */
export function replicaNames(v: SchedulerVars): string[] {
  return Array.from({ length: Math.floor(number('REPLICAS', v.REPLICAS, 1, 64, 1)) }, (_, i) => String(i));
}

export function policyConfig(v: SchedulerVars): PolicyConfig {
  return {
    ...POLICY,
    maxQueue: Math.floor(number('MAX_QUEUE', v.MAX_QUEUE, 0, 100_000, POLICY.maxQueue)),
    maxWaitMs: number('MAX_WAIT_S', v.MAX_WAIT_S, 0, 86_400, POLICY.maxWaitMs / 1000) * 1000,
    ratePerMinute: number('RATE_PER_MINUTE', v.RATE_PER_MINUTE, 0, 1e6, 0),
    burst: Math.floor(number('RATE_BURST', v.RATE_BURST, 0, 1e6, 0)),
    concurrency: Math.floor(number('CONCURRENCY', v.CONCURRENCY, 0, 1e6, 0)),
    shared: (v.API_KEYS ?? '').split(',').filter((key) => key.trim() !== '').length > 1,
    leaseMs: number('LEASE_S', v.LEASE_S, 0.1, 3600, POLICY.leaseMs / 1000) * 1000,
  };
}

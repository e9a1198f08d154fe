import { POLICY, type PolicyConfig } from '../../policy/config.ts';
import type { Speed } from './replica.ts';
import { quantile, type Result, type Setup, simulate } from './simulate.ts';
import type { TraceRequest } from './traces.ts';

/** A replica that computes 5,000 prompt tokens a second and decodes 16 streams at about 77 tokens a second each. */
export const SPEED: Speed = { step: 5, prefill: 0.2, decode: 0.5, budget: 256 };

/** The queue without refusals and without a reserve, so that every rule serves the same requests. */
const OPEN: PolicyConfig = { ...POLICY, maxQueue: 1e9, maxWaitMs: 1e12, agingMs: 1e12, headroom: 0 };

export const RULES = ['cache', 'thresholds', 'least-loaded', 'round-robin', 'random'] as const;
export type Rule = (typeof RULES)[number];

/**
 * Mooncake's trace on 12 replicas: hits and waits by placement rule and KV capacity. The rule `cache` may hold a request
 * back for the replica it prefers; the others hand over at once, as their routers do.
 */
export function placement(trace: readonly TraceRequest[], kvTokens: number, kind: Rule): Result {
  const backlogTokens = kind === 'cache' ? POLICY.backlogTokens : 1e9;
  const policy = { ...OPEN, backlogTokens, placement: { ...POLICY.placement, kind } };
  return simulate(trace, { replicas: 12, slots: 32, kvTokens, speed: SPEED, policy, load: 1 });
}

/** Azure's trace on 4 replicas: waits and throughput as the load grows, with the queue's refusals. */
export function loadCurve(trace: readonly TraceRequest[], load: number): Result {
  return simulate(trace, { replicas: 4, slots: 16, kvTokens: 65_536, speed: SPEED, policy: POLICY, load });
}

export interface Fairness {
  /** ms, p95 of the light tenant's time to first token. */
  besideOne: number;
  besideFlood: number;
  /** The same flood when requests are served in order of arrival. */
  inOrder: number;
  /** Tokens a second, prompt and output. */
  aloneRate: number;
  togetherRate: number;
}

const LONG = { prompt: 1500, output: 300 };
const SHORT = { prompt: 60, output: 30 };

/** 200 long requests at once from one tenant, 200 short ones over a minute from another, one replica of 16 slots. */
export function fairness(): Fairness {
  const flood = Array.from({ length: 200 }, (): TraceRequest => ({ at: 0, ...LONG, blocks: [], tenant: 'flood' }));
  const light = Array.from({ length: 200 }, (_, i): TraceRequest => ({ at: 100 + i * 300, ...SHORT, blocks: [], tenant: 'light' }));
  const byTime = (list: TraceRequest[]) => list.sort((a, b) => a.at - b.at);
  const setup: Setup = {
    replicas: 1,
    slots: 16,
    kvTokens: 65_536,
    speed: SPEED,
    policy: { ...POLICY, shared: true, maxWaitMs: 1e12, agingMs: 1e12 },
    load: 1,
  };
  const p95 = (r: Result, tenant: string) => quantile(r.tenants.get(tenant)!.ttft, 0.95);
  const rate = (r: Result) => r.promptRate + r.outputRate;
  const together = simulate(byTime([...flood, ...light]), setup);
  const one = simulate(byTime([...flood, ...light]), { ...setup, closed: ['flood'] });
  // one tenant for all is one queue: order of arrival
  const merged = byTime([...flood.map((r) => ({ ...r, tenant: 'all' })), ...light.map((r) => ({ ...r, tenant: 'all' }))]);
  const inOrder = simulate(merged, { ...setup, trackFrom: (r) => r.prompt === SHORT.prompt });
  return {
    besideOne: p95(one, 'light'),
    besideFlood: p95(together, 'light'),
    inOrder: quantile(inOrder.ttft, 0.95),
    aloneRate: rate(simulate(flood, setup)),
    togetherRate: rate(together),
  };
}

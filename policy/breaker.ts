/** A circuit breaker: after `failures` in a row it opens, then lets one probe through, and doubles its pause while probes fail. JSON as it stands. */
export interface Breaker {
  failures: number;
  /** ms; 0 while closed. */
  openUntil: number;
  pauseMs: number;
  /** When the probe in flight was let through, 0 when there is none. */
  probing: number;
}

export interface BreakerRule {
  failures: number;
  pauseMs: number;
  maxPauseMs: number;
  /** A probe that says nothing for so long counts as lost, and another may go. */
  probeMs: number;
}

export const BREAKER: BreakerRule = { failures: 3, pauseMs: 1_000, maxPauseMs: 60_000, probeMs: 10_000 };

export const closedBreaker = (): Breaker => ({ failures: 0, openUntil: 0, pauseMs: 0, probing: 0 });

export function breakerState(b: Breaker, now: number, rule: BreakerRule = BREAKER): 'closed' | 'open' | 'half-open' {
  if (b.openUntil === 0) return 'closed';
  if (now < b.openUntil) return 'open';
  return b.probing > 0 && now - b.probing < rule.probeMs ? 'open' : 'half-open';
}

/** The state by the clock alone, for people: a breaker whose probe is under way is still half open. */
export function breakerShown(b: Breaker, now: number): 'closed' | 'open' | 'half-open' {
  return b.openUntil === 0 ? 'closed' : now < b.openUntil ? 'open' : 'half-open';
}

/** The breaker after a request was sent at `now`; in the half-open state that request is the probe. */
export function sent(b: Breaker, now: number, rule: BreakerRule = BREAKER): Breaker {
  return breakerState(b, now, rule) === 'half-open' ? { ...b, probing: Math.max(now, 1) } : b;
}

export const succeeded = (): Breaker => closedBreaker();

export function failed(b: Breaker, now: number, rule: BreakerRule = BREAKER): Breaker {
  const failures = b.failures + 1;
  if (b.openUntil === 0 && failures < rule.failures) return { ...b, failures };
  const pauseMs = b.openUntil === 0 ? rule.pauseMs : Math.min(rule.maxPauseMs, b.pauseMs * 2);
  return { failures, openUntil: Math.max(now + pauseMs, 1), pauseMs, probing: 0 };
}

import { type Breaker, breakerState, closedBreaker, failed, sent, succeeded } from './breaker.ts';
import { type Ewma, type EwmaRule, ewma, observe } from './ewma.ts';

/** Where a prompt's missing part is computed: on the replica itself or on the accelerator. The replica that holds the pages decodes. */
export type Place = 'local' | 'npu';

/** What routing has learned. JSON as it stands. */
export interface RouteState {
  /** Prompt tokens a ms. */
  local: Ewma;
  npu: Ewma;
  /** KV bytes a ms from the accelerator. */
  link: Ewma;
  /** ms an accelerator request costs whatever its size. */
  overhead: Ewma;
  breaker: Breaker;
  /** When the accelerator was measured last, ms; 0: never. */
  measured: number;
}

export interface RouteRule {
  /** Both must be exceeded (Dynamo, llm-d): fewer tokens are not worth a transfer, a mostly cached prompt is nearly done. */
  minUncached: number;
  minUncachedShare: number;
  /** The accelerator must be faster than so much of the local time: estimates err. */
  margin: number;
  /** Vetoes: queue of the accelerator, and KV pages in use on the replica once the prompt's pages are there. */
  maxQueueMs: number;
  maxKvUse: number;
  /** A measurement that found the accelerator slower is believed so long; after n times that, n times slower is worth a probe. */
  believeMs: number;
}

export const ROUTE: RouteRule = {
  minUncached: 256,
  minUncachedShare: 0.3,
  margin: 0.8,
  maxQueueMs: 10_000,
  maxKvUse: 0.95,
  believeMs: 60_000,
};

const RATE: EwmaRule = { alpha: 0.2, min: 1e-3, max: 1e5 };
const LINK: EwmaRule = { alpha: 0.2, min: 1, max: 1e8 };
/** Smaller samples say more about overhead than about a rate. */
const MIN_TOKENS = 32;
const MIN_BYTES = 4096;
const OVERHEAD: EwmaRule = { alpha: 0.2, min: 0, max: 10_000 };

/** Starts from stated guesses (tokens a ms, bytes a ms, ms), which samples replace. */
export const newRoute = (local: number, npu: number, link: number, overhead: number): RouteState => ({
  local: ewma(local),
  npu: ewma(npu),
  link: ewma(link),
  overhead: ewma(overhead),
  breaker: closedBreaker(),
  measured: 0,
});

export interface RouteInput {
  promptTokens: number;
  /** Of them, held in pages here. */
  cachedTokens: number;
  kvBytesPerToken: number;
  /** Cached bytes the accelerator would have to be sent first. */
  uploadBytes: number;
  /** The accelerator's own word on its queue. */
  queueMs: number;
  /** Pages of the replica in use or promised, and all of them; pages this prompt still needs. */
  pagesUsed: number;
  pages: number;
  pagesNeeded: number;
  /** Sequences decoding here, and tokens a step takes: they share the step with a local prefill. */
  decoding: number;
  stepTokens: number;
  /** The accelerator computes the same bits (numerics id and pack). */
  sameNumerics: boolean;
}

export interface Route {
  place: Place;
  /** `probe`: sent to learn, because the accelerator failed lately, was never measured, or was measured too long ago. */
  why: 'numerics' | 'breaker' | 'short' | 'cached' | 'queue' | 'memory' | 'slower' | 'faster' | 'probe';
  /** Estimates, ms. */
  localMs: number;
  npuMs: number;
}

/**
 * Decides by Mooncake's estimate, transfer + queue + compute against local compute of the uncached part (FAST'25, algorithm
 * 1), behind a two-sided threshold and vetoes. Reads no clock: `now` is passed in.
 */
export function route(s: RouteState, x: RouteInput, now: number, rule: RouteRule = ROUTE): Route {
  const uncached = Math.max(0, x.promptTokens - x.cachedTokens);
  const share = 1 - Math.min(0.9, x.stepTokens > 0 ? x.decoding / x.stepTokens : 0);
  const localMs = uncached / (s.local.value * share);
  const transfer = (uncached * x.kvBytesPerToken + x.uploadBytes) / s.link.value;
  const npuMs = s.overhead.value + x.queueMs + uncached / s.npu.value + transfer;
  const answer = (place: Place, why: Route['why']): Route => ({ place, why, localMs, npuMs });
  if (!x.sameNumerics) return answer('local', 'numerics');
  if (uncached < rule.minUncached) return answer('local', 'short');
  if (uncached < rule.minUncachedShare * x.promptTokens) return answer('local', 'cached');
  const breaker = breakerState(s.breaker, now);
  if (breaker === 'open') return answer('local', 'breaker');
  if (x.queueMs > rule.maxQueueMs) return answer('local', 'queue');
  if (x.pagesUsed + x.pagesNeeded > rule.maxKvUse * x.pages) return answer('local', 'memory');
  if (npuMs < rule.margin * localMs) return answer('npu', 'faster');
  if (breaker === 'half-open' || s.npu.samples === 0) return answer('npu', 'probe');
  const doubt = Math.max(1, (now - s.measured) / rule.believeMs);
  return npuMs < rule.margin * localMs * doubt ? answer('npu', 'probe') : answer('local', 'slower');
}

/** A prompt goes to the accelerator; in the half-open state it is the probe. */
export const routeSent = (s: RouteState, now: number): RouteState => ({ ...s, breaker: sent(s.breaker, now) });

/** The accelerator did not deliver. `atMost`: what it did shows that it computes so many tokens a ms and no more. */
export function routeFailed(s: RouteState, now: number, atMost?: number): RouteState {
  const next = { ...s, breaker: failed(s.breaker, now) };
  return atMost !== undefined && atMost < s.npu.value ? { ...next, npu: observe(s.npu, atMost, RATE), measured: now } : next;
}

/** Local prefill took so long, measured around I/O, alone in its steps. */
export function learnLocal(s: RouteState, tokens: number, ms: number): RouteState {
  return tokens >= MIN_TOKENS && ms > 0 ? { ...s, local: observe(s.local, tokens / ms, RATE) } : s;
}

/** The accelerator answered: its own compute time, the transfer as seen here, and the whole as seen here, all ms. */
export function learnNpu(
  s: RouteState,
  r: { tokens: number; bytes: number; computeMs: number; transferMs: number; totalMs: number },
  now: number,
): RouteState {
  const next: RouteState = { ...s, breaker: succeeded(), measured: now };
  if (r.tokens >= MIN_TOKENS && r.computeMs > 0) next.npu = observe(s.npu, r.tokens / r.computeMs, RATE);
  if (r.bytes >= MIN_BYTES && r.transferMs > 0) next.link = observe(s.link, r.bytes / r.transferMs, LINK);
  next.overhead = observe(s.overhead, r.totalMs - r.computeMs - r.transferMs, OVERHEAD);
  return next;
}

import { type Breaker, breakerState, closedBreaker, failed, sent, succeeded } from './breaker.ts';
import { type Ewma, type EwmaRule, ewma, observe } from './ewma.ts';

/** Where a prompt's missing part is computed: on the replica itself or on the accelerator. The replica that holds the pages decodes. */
export type Place = 'local' | 'npu';

/** What routing has learned. JSON as it stands. A rate without samples is not known, and nothing is decided by it. */
export interface RouteState {
  /** Prompt tokens a ms. */
  local: Ewma;
  npu: Ewma;
  /** The same by a simulated device's own clock: what a real one would give. */
  device: Ewma;
  /** KV bytes a ms from the accelerator. */
  link: Ewma;
  /** ms an accelerator request costs whatever its size. */
  overhead: Ewma;
  breaker: Breaker;
  /** When the accelerator was measured last, ms; 0: never. */
  measured: number;
  /** ms that may be lost on the accelerator: a share of all local time so far and what it saved, less what it cost. */
  credit: number;
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
  /** Of the time that all prompts would have taken locally, so much may be lost on an accelerator that does not keep what it promised. */
  maxLoss: number;
  /** And of one prompt's, whatever was saved before; and what is saved for later, ms. */
  maxLossOfOne: number;
  maxCredit: number;
  /** Tokens that an accelerator computes before its first pages come. */
  firstTokens: number;
}

export const ROUTE: RouteRule = {
  minUncached: 256,
  minUncachedShare: 0.3,
  margin: 0.8,
  maxQueueMs: 10_000,
  maxKvUse: 0.95,
  believeMs: 60_000,
  maxLoss: 0.1,
  maxLossOfOne: 1,
  maxCredit: 5_000,
  firstTokens: 256,
};

const RATE: EwmaRule = { alpha: 0.2, min: 1e-3, max: 1e5 };
const LINK: EwmaRule = { alpha: 0.2, min: 1, max: 1e8 };
/** Smaller samples say more about overhead than about a rate. */
const MIN_TOKENS = 32;
const MIN_BYTES = 4096;
const OVERHEAD: EwmaRule = { alpha: 0.2, min: 0, max: 10_000 };

export const newRoute = (): RouteState => ({
  ...{ local: ewma(1), npu: ewma(1), device: ewma(1), link: ewma(1e6), overhead: ewma(0) },
  ...{ breaker: closedBreaker(), measured: 0, credit: 0 },
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
  /** A simulated device's own time decides, as if it were real. */
  byDeviceTime?: boolean;
}

export interface Route {
  place: Place;
  /**
   * `probe`: the accelerator, or this host, was not measured yet, or not lately: the prompt is computed here, and the accelerator computes some of
   * it beside, for nobody. `credit`: it is believed faster, but should it not be, the user would wait longer than may be.
   */
  why: 'numerics' | 'breaker' | 'short' | 'cached' | 'queue' | 'memory' | 'slower' | 'faster' | 'probe' | 'credit';
  /** Estimates, ms; undefined: nothing was measured that would say. `deviceMs`: by the device's own clock. */
  localMs?: number;
  npuMs?: number;
  deviceMs?: number;
}

/**
 * Decides by Mooncake's estimate, transfer + queue + compute against local compute of the uncached part (FAST'25, algorithm
 * 1), behind a two-sided threshold and vetoes. Reads no clock: `now` is passed in.
 */
export function route(s: RouteState, x: RouteInput, now: number, rule: RouteRule = ROUTE): Route {
  const uncached = Math.max(0, x.promptTokens - x.cachedTokens);
  const share = 1 - Math.min(0.9, x.stepTokens > 0 ? x.decoding / x.stepTokens : 0);
  const remote = (rate: Ewma, tokens: number) =>
    s.overhead.value + x.queueMs + tokens / rate.value + (tokens * x.kvBytesPerToken + x.uploadBytes) / s.link.value;
  const localMs = s.local.samples > 0 ? uncached / (s.local.value * share) : undefined;
  const npuMs = s.npu.samples > 0 ? remote(s.npu, uncached) : undefined;
  const deviceMs = s.device.samples > 0 ? remote(s.device, uncached) : undefined;
  const answer = (place: Place, why: Route['why']): Route => ({ place, why, localMs, npuMs, deviceMs });
  if (!x.sameNumerics) return answer('local', 'numerics');
  if (uncached < rule.minUncached) return answer('local', 'short');
  if (uncached < rule.minUncachedShare * x.promptTokens) return answer('local', 'cached');
  const breaker = breakerState(s.breaker, now);
  if (breaker === 'open') return answer('local', 'breaker');
  if (x.queueMs > rule.maxQueueMs) return answer('local', 'queue');
  if (x.pagesUsed + x.pagesNeeded > rule.maxKvUse * x.pages) return answer('local', 'memory');
  if (x.byDeviceTime) {
    const faster = deviceMs === undefined || localMs === undefined || deviceMs < rule.margin * localMs;
    return faster ? answer('npu', 'faster') : answer('local', 'slower');
  }
  if (localMs === undefined || npuMs === undefined || breaker === 'half-open') return answer('local', 'probe');
  if (npuMs < rule.margin * localMs) {
    const first = remote(s.npu, Math.min(uncached, rule.firstTokens));
    return first <= patience(s, localMs, rule) ? answer('npu', 'faster') : answer('local', 'credit');
  }
  const doubt = Math.max(1, (now - s.measured) / rule.believeMs);
  return npuMs < rule.margin * localMs * doubt ? answer('local', 'probe') : answer('local', 'slower');
}

/**
 * How long a prompt that would take `localMs` here may wait for the accelerator beyond the local time of the pages that have come. With
 * `settled`, over any prompts: they take at most `maxLoss` longer than all of them would locally.
 */
export const patience = (s: RouteState, localMs: number, rule: RouteRule = ROUTE): number =>
  Math.min(s.credit + rule.maxLoss * localMs, rule.maxLossOfOne * localMs);

/** A prompt that takes `localMs` here has its pages: `lostMs` later than that, negative where it was sooner, 0 where it was computed here. */
export const settled = (s: RouteState, localMs: number, lostMs: number, rule: RouteRule = ROUTE): RouteState => ({
  ...s,
  credit: Math.min(rule.maxCredit, Math.max(0, s.credit + rule.maxLoss * localMs - lostMs)),
});

/** A prompt, or a probe, goes to the accelerator; in the half-open state it is the breaker's. */
export const routeSent = (s: RouteState, now: number): RouteState => ({ ...s, breaker: sent(s.breaker, now) });

/** The accelerator did not deliver. `atMost`: what it did shows that it computes so many tokens a ms and no more. */
export function routeFailed(s: RouteState, now: number, atMost?: number): RouteState {
  const next = { ...s, breaker: failed(s.breaker, now) };
  return atMost === undefined ? next : learnAtMost(next, atMost, now);
}

/** What the accelerator did in some time shows that it computes so many tokens a ms and no more. */
export const learnAtMost = (s: RouteState, atMost: number, now: number): RouteState =>
  s.npu.samples === 0 || atMost < s.npu.value ? { ...s, npu: observe(s.npu, atMost, RATE), measured: now } : s;

/** Local prefill took so long, measured around I/O, alone in its steps. */
export function learnLocal(s: RouteState, tokens: number, ms: number): RouteState {
  return tokens >= MIN_TOKENS && ms > 0 ? { ...s, local: observe(s.local, tokens / ms, RATE) } : s;
}

/** The accelerator answered: its own compute time, a simulated device's, the transfer as seen here, and the whole as seen here, all ms. */
export function learnNpu(
  s: RouteState,
  r: { tokens: number; bytes: number; computeMs: number; deviceMs?: number; transferMs: number; totalMs: number },
  now: number,
): RouteState {
  const next: RouteState = { ...s, breaker: succeeded(), measured: now };
  if (r.tokens >= MIN_TOKENS && r.computeMs > 0) next.npu = observe(s.npu, r.tokens / r.computeMs, RATE);
  if (r.tokens >= MIN_TOKENS && r.deviceMs) next.device = observe(s.device, r.tokens / r.deviceMs, RATE);
  if (r.bytes >= MIN_BYTES && r.transferMs > 0) next.link = observe(s.link, r.bytes / r.transferMs, LINK);
  next.overhead = observe(s.overhead, r.totalMs - r.computeMs - r.transferMs, OVERHEAD);
  return next;
}

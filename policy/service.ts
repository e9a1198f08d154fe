import { type Ewma, type EwmaRule, ewma, observe } from './ewma.ts';

/**
 * How fast work is done, measured: weighted tokens a ms of all replicas together, and what a request costs. JSON as it
 * stands. Only windows in which something waited say how fast the replicas can be; a window without a queue can only
 * raise the figure. Event times are used; no clock is read during a computation.
 */
export interface Service {
  rate: Ewma;
  /** Generated tokens a request. */
  output: Ewma;
  /** ms a request runs. */
  duration: Ewma;
  /** The window being measured: its work, its start, and whether something waited all along. */
  work: number;
  since: number;
  saturated: boolean;
}

const WINDOW_MS = 1_000;
const RATE: EwmaRule = { alpha: 0.2, min: 1e-6, max: 1e6 };
const OUTPUT: EwmaRule = { alpha: 0.05, min: 1, max: 1e6 };
const DURATION: EwmaRule = { alpha: 0.05, min: 1, max: 86_400_000 };

export const newService = (): Service => ({
  rate: ewma(0),
  output: ewma(128),
  duration: ewma(1_000),
  work: 0,
  since: 0,
  saturated: false,
});

function open(s: Service, now: number): void {
  s.work = 0;
  s.since = now;
  s.saturated = true;
}

/** The first request after idleness starts a window. */
export function started(s: Service, now: number, wasIdle: boolean): void {
  if (wasIdle) open(s, now);
}

/** Weighted tokens were done; `waiting` requests wait. Closes the window when it is long enough. */
export function worked(s: Service, work: number, now: number, waiting: number): void {
  s.work += Math.max(0, work);
  if (waiting === 0) s.saturated = false;
  const elapsed = now - s.since;
  if (elapsed < WINDOW_MS || s.work <= 0) return;
  const rate = s.work / elapsed;
  if (s.saturated || (s.rate.samples > 0 && rate > s.rate.value)) s.rate = observe(s.rate, rate, RATE);
  open(s, now);
}

export function completed(s: Service, output: number, ms: number): void {
  s.output = observe(s.output, output, OUTPUT);
  s.duration = observe(s.duration, ms, DURATION);
}

/** Windows that must have been measured: one alone may have been spent on loading the model. */
const ENOUGH = 3;

/** ms to do so much weighted work, or undefined before enough was measured. */
export function timeFor(s: Service, work: number): number | undefined {
  return s.rate.samples < ENOUGH ? undefined : work / s.rate.value;
}

/** A trace of arrivals through replicas and one accelerator, under one way of deciding where prefill runs. A model of the serving path: no tokens are computed. */
import { learnLocal, learnNpu, newRoute, type RouteState, route, routeSent, settled } from '../policy/route.ts';

export interface Arrival {
  /** ms from the start. */
  readonly at: number;
  readonly prompt: number;
  readonly output: number;
}

export type Placing = 'always-local' | 'always-npu' | 'threshold' | 'adapter';
export const placings: readonly Placing[] = ['always-local', 'always-npu', 'threshold', 'adapter'];

export interface Fleet {
  readonly replicas: number;
  /** Prompt tokens a ms of a replica that does nothing else. */
  readonly localTokensPerMs: number;
  /** ms between the tokens of an answer. */
  readonly interTokenMs: number;
  /** Tokens a step takes; sequences that decode take one each. */
  readonly stepTokens: number;
  /** Device time of a prompt, ms. */
  readonly deviceMs: (tokens: number) => number;
  /** Request and answer across the network, whatever their size. */
  readonly overheadMs: number;
  readonly kvBytesPerToken: number;
  readonly linkBytesPerMs: number;
  /** Prompts from here on go to the accelerator under `threshold`. */
  readonly thresholdTokens: number;
  /** Dollars. */
  readonly replicaHour: number;
  readonly deviceHour: number;
}

export interface Replay {
  readonly placing: Placing;
  readonly ttft: Float64Array; // ms, sorted
  readonly onDevice: number; // requests
  /** Busy hours, and what they cost for 1,000 requests. */
  readonly replicaHours: number;
  readonly deviceHours: number;
  readonly dollarsPer1000: number;
  readonly deviceBusy: number; // part of the time
}

interface Replica {
  /** When it has worked off its local prefills. */
  freeAt: number;
  /** Ends of the answers it is writing. */
  decoding: number[];
  state: RouteState;
}

/** Replays arrivals (ascending) under one placing. Deterministic. */
export function replay(trace: readonly Arrival[], f: Fleet, placing: Placing): Replay {
  const link = f.linkBytesPerMs;
  const perToken = f.deviceMs(1024) / 1024;
  const replicas = Array.from({ length: f.replicas }, (): Replica => {
    return { freeAt: 0, decoding: [], state: measured(f, perToken) };
  });
  let deviceFree = 0;
  let deviceMs = 0;
  let localMs = 0;
  let onDevice = 0;
  let end = 0;
  const ttft = trace.map((r) => {
    const home = replicas.reduce((a, b) => (load(b, r.at) < load(a, r.at) ? b : a));
    home.decoding = home.decoding.filter((t) => t > r.at);
    const share = 1 - Math.min(0.9, home.decoding.length / f.stepTokens);
    const pages = Math.floor(r.prompt / 16) * 16;
    const npu =
      placing === 'always-npu' ||
      (placing === 'threshold' && r.prompt >= f.thresholdTokens) ||
      (placing === 'adapter' && decide(home, r, Math.max(0, deviceFree - r.at), f));
    const alone = r.prompt / (f.localTokensPerMs * share) + Math.max(0, home.freeAt - r.at);
    let first: number;
    if (npu && pages > 0) {
      onDevice++;
      const compute = f.deviceMs(pages);
      const start = Math.max(r.at + f.overheadMs / 2, deviceFree);
      deviceFree = start + compute;
      deviceMs += compute;
      const transfer = (pages * f.kvBytesPerToken) / link;
      const tail = (r.prompt - pages + 1) / (f.localTokensPerMs * share);
      localMs += tail;
      first = deviceFree + transfer + f.overheadMs / 2 + tail;
      const total = first - tail - r.at - (start - r.at - f.overheadMs / 2);
      const sample = { tokens: pages, bytes: pages * f.kvBytesPerToken, computeMs: compute, transferMs: transfer, totalMs: total };
      home.state = settled(learnNpu(home.state, sample, deviceFree), alone, first - r.at - alone);
    } else {
      const took = r.prompt / (f.localTokensPerMs * share);
      home.freeAt = Math.max(home.freeAt, r.at) + took;
      localMs += took;
      first = home.freeAt;
      home.state = settled(home.state, alone, 0);
      if (home.decoding.length === 0) home.state = learnLocal(home.state, r.prompt, took);
    }
    const last = first + r.output * f.interTokenMs;
    home.decoding.push(last);
    end = Math.max(end, last);
    return first - r.at;
  });
  const decodeMs = trace.reduce((n, r) => n + r.output / f.localTokensPerMs, 0);
  const hours = (ms: number): number => ms / 3_600_000;
  const dollars = hours(localMs + decodeMs) * f.replicaHour + hours(deviceMs) * f.deviceHour;
  return {
    ...{ placing, ttft: Float64Array.from(ttft).sort(), onDevice, replicaHours: hours(localMs + decodeMs), deviceHours: hours(deviceMs) },
    ...{ dollarsPer1000: (1000 * dollars) / trace.length, deviceBusy: deviceMs / end },
  };
}

/** What a replica knows once this host and the device have been measured, by a probe as the server makes it. */
function measured(f: Fleet, msPerToken: number): RouteState {
  const tokens = 512;
  const bytes = tokens * f.kvBytesPerToken;
  const computeMs = tokens * msPerToken;
  const transferMs = bytes / f.linkBytesPerMs;
  const probe = { tokens, bytes, computeMs, transferMs, totalMs: computeMs + transferMs + f.overheadMs };
  return learnNpu(learnLocal(newRoute(), tokens, tokens / f.localTokensPerMs), probe, 0);
}

const load = (r: Replica, now: number): number => Math.max(0, r.freeAt - now) + r.decoding.length;

/** The adapter's own decision (policy/route.ts), with what waits on the replica itself as part of the local estimate's rate. */
function decide(home: Replica, r: Arrival, queueMs: number, f: Fleet): boolean {
  const waiting = Math.max(0, home.freeAt - r.at);
  const alone = r.prompt / f.localTokensPerMs;
  const slowed = { ...home.state, local: { ...home.state.local, value: home.state.local.value * (alone / (alone + waiting)) } };
  const choice = route(
    slowed,
    {
      ...{ promptTokens: r.prompt, cachedTokens: 0, kvBytesPerToken: f.kvBytesPerToken, uploadBytes: 0, queueMs },
      ...{ pagesUsed: 0, pages: 1e9, pagesNeeded: 0, decoding: home.decoding.length, stepTokens: f.stepTokens, sameNumerics: true },
    },
    r.at,
  );
  if (choice.place === 'npu') home.state = routeSent(home.state, r.at);
  return choice.place === 'npu';
}

/** The value below which a share q of the sorted values lies. */
export const quantile = (sorted: Float64Array, q: number): number => sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))];

/** A function through (tokens, ms) points, straight between them, by the last slope beyond. */
export function interpolate(points: readonly (readonly [tokens: number, ms: number])[]): (tokens: number) => number {
  return (tokens) => {
    let i = points.findIndex(([t]) => t >= tokens);
    if (i <= 0) i = i === 0 ? 1 : points.length - 1;
    const [t0, m0] = points[i - 1];
    const [t1, m1] = points[i];
    return Math.max(m0 * 0.5, m0 + ((m1 - m0) * (tokens - t0)) / (t1 - t0));
  };
}

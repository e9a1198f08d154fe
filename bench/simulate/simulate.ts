import type { PolicyConfig } from '../../policy/config.ts';
import { Queue } from '../../policy/queue.ts';
import { Events } from './heap.ts';
import { SimReplica, type Speed } from './replica.ts';
import { BLOCK_TOKENS, type TraceRequest } from './traces.ts';

export interface Setup {
  replicas: number;
  slots: number;
  /** Tokens of KV a replica holds. */
  kvTokens: number;
  speed: Speed;
  policy: PolicyConfig;
  /** Trace time is divided by it: 2 is twice the load. */
  load: number;
  seed?: number;
  /** A tenant's requests come one after another, each when the one before has ended. */
  closed?: readonly string[];
  /** Whose waits count in `ttft`; all when absent. */
  trackFrom?: (r: TraceRequest) => boolean;
}

export interface TenantResult {
  requests: number;
  /** ms, sorted. */
  ttft: number[];
  prompt: number;
  output: number;
  refused: number;
}

export interface Result {
  /** ms of simulated time from the first arrival to the last token. */
  makespan: number;
  /** Share of prompt tokens found in pages. */
  hitRate: number;
  /** Busy share of all replicas over the makespan. */
  utilization: number;
  /** Tokens a second. */
  promptRate: number;
  outputRate: number;
  tenants: Map<string, TenantResult>;
  /** All tenants, ms, sorted. */
  ttft: number[];
  refused: number;
  /** Calls that the queue's object got, by the second of simulated time: one a request, one a heartbeat. */
  calls: number[];
  /** Most requests that waited at once. */
  waiting: number;
  /** Wall time the simulation took, ms. */
  wall: number;
}

const HEARTBEAT_MS = 1_000;

type Event = { kind: 'arrive'; index: number } | { kind: 'step'; replica: SimReplica } | { kind: 'beat' };

/** Replays a trace through the real queue, placement and page tree, under a clock of its own. The same input gives the same result. */
export function simulate(trace: readonly TraceRequest[], s: Setup): Result {
  const wall = performance.now();
  const replicas = new Map(
    Array.from({ length: s.replicas }, (_, i) => [String(i), new SimReplica(String(i), s.kvTokens, s.slots, s.speed)] as const),
  );
  const queue = new Queue({ ...s.policy, slots: s.slots, kvTokens: s.kvTokens }, [...replicas.keys()]);
  const events = new Events<Event>();
  const random = mulberry(s.seed ?? 1);
  const tenants = new Map<string, TenantResult>();
  const arrivedAt = new Map<string, number>();
  const ttft: number[] = [];
  const firsts = new Set<string>();
  const stepping = new Set<string>();
  const closedLeft = new Map<string, number[]>();
  let open = 0;
  let refused = 0;
  let last = 0;
  const calls: number[] = [];
  let waiting = 0;
  const called = (now: number) => {
    const second = Math.floor(now / 1000);
    calls[second] = (calls[second] ?? 0) + 1;
  };

  const of = (name: string): TenantResult => {
    let t = tenants.get(name);
    if (!t) {
      t = { requests: 0, ttft: [], prompt: 0, output: 0, refused: 0 };
      tenants.set(name, t);
    }
    return t;
  };
  trace.forEach((r, index) => {
    if (!s.closed?.includes(r.tenant)) events.push(r.at / s.load, { kind: 'arrive', index });
    else if (closedLeft.has(r.tenant)) closedLeft.get(r.tenant)!.push(index);
    else {
      closedLeft.set(r.tenant, []);
      events.push(r.at / s.load, { kind: 'arrive', index });
    }
  });
  const goOn = (replica: SimReplica, now: number) => {
    if (stepping.has(replica.id)) return;
    const step = replica.step(now);
    if (!step) return;
    stepping.add(replica.id);
    events.push(step.end, { kind: 'step', replica });
    if (step.first.length > 0) firsts.add(replica.id);
    for (const id of step.first) {
      const wait = step.end - arrivedAt.get(id)!;
      const request = trace[Number(id)]!;
      if (s.trackFrom?.(request) ?? true) ttft.push(wait);
      of(request.tenant).ttft.push(wait);
    }
    for (const f of step.finished) {
      const { request, ...p } = f;
      ended.push({ at: step.end, p, request });
    }
  };
  const ended: { at: number; p: { id: string; epoch: number; output: number }; request: TraceRequest }[] = [];
  const dispatch = (now: number) => {
    for (const lease of queue.dispatch(now, random)) {
      const replica = replicas.get(lease.replica)!;
      replica.add(lease.id, lease.epoch, trace[Number(lease.id)]!);
      goOn(replica, now);
    }
  };

  /** Releases what has ended by now. */
  const settle = (now: number): boolean => {
    let any = false;
    for (let i = ended.length - 1; i >= 0; i--) {
      const e = ended[i]!;
      if (e.at > now) continue;
      any = true;
      ended.splice(i, 1);
      queue.release(e.p, now);
      open--;
      const tenant = of(e.request.tenant);
      tenant.prompt += e.request.prompt;
      tenant.output += e.request.output;
      const following = closedLeft.get(e.request.tenant)?.shift();
      if (following !== undefined) events.push(now, { kind: 'arrive', index: following });
    }
    return any;
  };

  events.push(HEARTBEAT_MS, { kind: 'beat' });
  for (let next = events.pop(); next; next = events.pop()) {
    const { at: now, event } = next;
    if (event.kind === 'arrive') {
      const r = trace[event.index]!;
      const id = String(event.index);
      arrivedAt.set(id, now);
      const tenant = of(r.tenant);
      tenant.requests++;
      const chain = r.blocks.map((b, i) => ({ hash: `${r.tenant}/${b}`, tokens: (i + 1) * BLOCK_TOKENS }));
      called(now);
      const answer = queue.arrive({ id, tenant: r.tenant, priority: 0, promptTokens: r.prompt, chain, restart: false }, now, (victim) => {
        of(trace[Number(victim)]!.tenant).refused++;
        refused++;
        open--;
      });
      if (answer.kind === 'refused') {
        tenant.refused++;
        refused++;
      } else open++;
      dispatch(now);
      waiting = Math.max(waiting, queue.ledger.waiting.size);
    } else if (event.kind === 'step') {
      const { replica } = event;
      stepping.delete(replica.id);
      last = now;
      // a replica says at once when a prompt is done, and every second what it runs
      let news = false;
      if (firsts.delete(replica.id)) {
        queue.heartbeat(replica.id, replica.heartbeat(), now);
        news = true;
      }
      news = settle(now) || news;
      if (news) called(now); // what ended goes with it
      goOn(replica, now);
      if (news) dispatch(now);
    } else {
      for (const r of replicas.values()) {
        if (r.running.length === 0) continue;
        called(now);
        queue.heartbeat(r.id, r.heartbeat(), now);
      }
      queue.expire(now);
      dispatch(now);
      if (open > 0 || events.size > 0) events.push(now + HEARTBEAT_MS, { kind: 'beat' });
    }
  }

  const ascending = (a: number, b: number) => a - b;
  ttft.sort(ascending);
  let prompt = 0;
  let output = 0;
  for (const t of tenants.values()) {
    t.ttft.sort(ascending);
    prompt += t.prompt;
    output += t.output;
  }
  const all = [...replicas.values()];
  const sum = (f: (r: SimReplica) => number) => all.reduce((n, r) => n + f(r), 0);
  return {
    makespan: last,
    hitRate:
      sum((r) => r.hit) /
      Math.max(
        1,
        sum((r) => r.asked),
      ),
    utilization: sum((r) => r.busyMs) / (last * s.replicas),
    promptRate: (prompt / last) * 1000,
    outputRate: (output / last) * 1000,
    tenants,
    ttft,
    refused,
    calls: Array.from(calls, (n) => n ?? 0),
    waiting,
    wall: performance.now() - wall,
  };
}

/** The p-th quantile of sorted values, 0 when there are none. */
export const quantile = (sorted: readonly number[], p: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(p * sorted.length))] ?? 0;

/** Seeded random numbers in [0, 1). */
export function mulberry(seed: number): () => number {
  let a = seed | 0;
  return () => {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

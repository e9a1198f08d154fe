import { sha256 } from '@noble/hashes/sha2.js';
import { FAULTS, NpuError, npuPrefill } from '../../accelerator/client.ts';
import type { Engine } from '../../engine/index.ts';
import { PAGE, PAGE_VERSION } from '../../engine/layout.ts';
import type { Counter, Gauge, Registry } from '../../openai/prometheus.ts';
import { breakerShown } from '../../policy/breaker.ts';
import { learnNpu, newRoute, type Place, type Route, type RouteState, route, routeFailed, routeSent } from '../../policy/route.ts';
import { readNumber } from '../../policy/settings.ts';
import type { EngineLoop } from './loop.ts';

/** What an answer can say of where its prompt was computed. Times in ms of this host's clock. */
export interface RouteReport {
  place: Place;
  why: Route['why'] | 'forced' | 'failed' | 'several';
  predicted: { local: number; npu: number };
  /** Prompt tokens whose pages were here before. */
  cached: number;
  /** Of KV pages, both ways. */
  bytes: number;
  /** From the decision to the last page; 0 when the accelerator was not asked. */
  took: number;
  /** From the decision to the first token; known once there is one. */
  ttft?: number;
  error?: string;
}

export interface NpuOptions {
  binding: { fetch(url: string, init: RequestInit): Promise<Response> };
  /** What it computes. */
  numerics: string;
  secret: string;
  /** `npu` or `local` instead of the estimate. */
  force?: Place;
  /** Waited for at least, ms. */
  minWaitMs?: number;
  engine: Engine;
  loop: EngineLoop;
  pack: string;
  registry: Registry;
}

const PATIENCE = 2; // times the local estimate, then the rest of the prompt is computed here
const MIN_WAIT_MS = 1_000;
const MAX_WAIT_MS = 60_000;
const MAX_KNOWN = 16_384; // names remembered of pages that the accelerator was seen to hold
const STATES = ['closed', 'open', 'half-open'] as const;

/**
 * Sends heavy prefill to the accelerator and puts the pages it computes under their names; the engine then finds them as
 * it finds any cached page. Whatever goes wrong, the rest of the prompt is computed here, with the same tokens.
 */
export class NpuAdapter {
  private readonly o: NpuOptions;
  private state: RouteState = newRoute(1, 1, 20_000, 5); // tokens/ms, tokens/ms, bytes/ms, ms: until measured
  /** What the accelerator said of its queue, and when. */
  private queue = { ms: 0, at: 0 };
  private readonly known = new Set<string>();
  private shown: (typeof STATES)[number] = 'closed';
  private readonly routes: Counter;
  private readonly calls: Counter;
  private readonly faults: Counter;
  private readonly breaker: Gauge;
  private readonly transitions: Counter;

  constructor(o: NpuOptions) {
    this.o = o;
    this.routes = o.registry.counter('turnstone_prefill_routes_total', 'Prompts by where they were sent to be computed, and why.');
    this.calls = o.registry.counter('turnstone_npu_requests_total', 'Requests to the accelerator, by result.');
    this.breaker = o.registry.gauge('turnstone_npu_breaker', 'The circuit breaker: 1 at the state it is in.');
    this.faults = o.registry.counter(
      'turnstone_npu_faults_total',
      'Requests to the accelerator that failed or were refused, by what went wrong.',
    );
    this.transitions = o.registry.counter(
      'turnstone_npu_breaker_transitions_total',
      'Changes of the circuit breaker, by the state it came to.',
    );
    for (const result of ['ok', 'refused', 'failed', 'left']) this.calls.add(0, { result });
    for (const fault of FAULTS) this.faults.add(0, { fault });
    for (const to of STATES) this.transitions.add(0, { to });
    this.show();
  }

  /** Decides, and when the accelerator is chosen tells `asked` and waits for its pages. Never rejects, unless the client is gone. */
  async prefill(prompt: readonly number[], salt: string, signal: AbortSignal, asked?: (report: RouteReport) => void): Promise<RouteReport> {
    const { engine, force } = this.o;
    const whole = Math.floor((prompt.length - 1) / PAGE); // the last 1..16 tokens are computed here, for the logits
    const names = engine.names.chain(prompt, salt).slice(0, whole);
    let have = 0;
    while (have < whole && engine.pool.has(names[have])) have++;
    this.show();
    const decision = this.decide(prompt.length, names, have);
    const place = force ?? decision.place;
    const report: RouteReport = {
      place,
      why: force ? 'forced' : decision.why,
      predicted: { local: round(decision.localMs), npu: round(decision.npuMs) },
      cached: have * PAGE,
      bytes: 0,
      took: 0,
    };
    if (place === 'npu' && have < whole) {
      asked?.(report);
      await this.fetchPages(report, prompt.slice(0, whole * PAGE), names, have, salt, signal);
    }
    this.routes.add(1, { place: report.place, why: report.why });
    return report;
  }

  /** The report of a request of several prompts: they share the loop here, as they are. */
  several(prompts: readonly (readonly number[])[]): RouteReport {
    const { localMs, npuMs } = this.decide(prompts.flat().length, [], 0);
    const report = {
      place: 'local',
      why: 'several',
      predicted: { local: round(localMs), npu: round(npuMs) },
      cached: 0,
      bytes: 0,
      took: 0,
    } as const;
    this.routes.add(1, { place: report.place, why: report.why });
    return { ...report };
  }

  private decide(promptTokens: number, names: readonly string[], have: number): Route {
    const { engine, loop } = this.o;
    this.state = { ...this.state, local: { ...this.state.local, value: loop.prefillRate } };
    const s = engine.stats();
    const now = Date.now();
    const unknown = names.slice(0, have).filter((name) => !this.known.has(name)).length;
    return route(
      this.state,
      {
        promptTokens,
        cachedTokens: have * PAGE,
        kvBytesPerToken: engine.kv.pageBytes / PAGE,
        uploadBytes: unknown * engine.kv.pageBytes,
        queueMs: Math.max(0, this.queue.ms - (now - this.queue.at)),
        pagesUsed: s.pages.referenced,
        pages: s.pages.total,
        pagesNeeded: names.length - have,
        decoding: s.running,
        stepTokens: engine.plan.maxTokens,
        sameNumerics: engine.backend.numerics === this.o.numerics,
      },
      now,
    );
  }

  private async fetchPages(
    report: RouteReport,
    ids: readonly number[],
    names: readonly string[],
    have: number,
    salt: string,
    signal: AbortSignal,
  ): Promise<void> {
    const { binding: npu, secret, engine, pack } = this.o;
    const began = Date.now();
    this.state = routeSent(this.state, began);
    this.show();
    const wait = Math.max(this.o.minWaitMs ?? MIN_WAIT_MS, Math.min(MAX_WAIT_MS, PATIENCE * report.predicted.local));
    const head = { pack, kv: engine.plan.kv, numerics: engine.backend.numerics, salt, have, deadlineMs: wait };
    try {
      const answer = await npuPrefill({
        ...{ npu, secret, head, ids, names, hash: sha256, page: { version: PAGE_VERSION, bytes: engine.kv.pageBytes } },
        pageOf: (name) => engine.exportPage(name),
        onPage: (name, bytes) => {
          report.bytes += bytes.length;
          this.remember(name);
          if (!engine.importPage(name, bytes)) throw new NpuError('status', 'no page is free here', 429);
        },
        signal: AbortSignal.any([signal, AbortSignal.timeout(wait)]),
      });
      report.took = Date.now() - began;
      report.bytes += answer.uploaded;
      for (const name of names) this.remember(name);
      this.queue = { ms: answer.queueMs, at: Date.now() };
      const compute = answer.hostMs;
      const total = Math.max(compute, report.took - answer.queueMs);
      const sample = { tokens: answer.tokens, bytes: answer.received, computeMs: compute, transferMs: total - compute, totalMs: total };
      this.state = learnNpu(this.state, sample, Date.now());
      this.calls.add(1, { result: 'ok' });
    } catch (error) {
      if (signal.aborted) {
        this.calls.add(1, { result: 'left' });
        throw error;
      }
      report.took = Date.now() - began;
      report.place = 'local';
      report.why = 'failed';
      report.error = error instanceof Error ? error.message : String(error);
      this.failed(error, (names.length - have) * PAGE, report.took);
    }
    this.show();
  }

  private failed(error: unknown, tokens: number, took: number): void {
    const now = Date.now();
    const fault = error instanceof NpuError ? error.fault : 'unreachable';
    const refused = error instanceof NpuError && error.refused;
    this.calls.add(1, { result: refused ? 'refused' : 'failed' });
    this.faults.add(1, { fault });
    if (refused) {
      if (error.retryMs > 0) this.queue = { ms: error.retryMs, at: now };
    } else this.state = routeFailed(this.state, now, fault === 'timeout' ? tokens / Math.max(1, took) : undefined);
  }

  private remember(name: string): void {
    if (this.known.size >= MAX_KNOWN) this.known.clear();
    this.known.add(name);
  }

  /** Brings the breaker's metrics up to now: it half-opens by the clock, not by a request. */
  show(): void {
    const now = breakerShown(this.state.breaker, Date.now());
    if (now !== this.shown) this.transitions.add(1, { to: now });
    this.shown = now;
    for (const state of STATES) this.breaker.set(state === now ? 1 : 0, { state });
  }
}

export interface NpuVars {
  NPU?: NpuOptions['binding'];
  NPU_URL?: string;
  NPU_SECRET?: string;
  NPU_ROUTE?: string;
  NPU_NUMERICS?: string;
  NPU_WAIT_MS?: string;
}

/** The adapter that the Worker's variables describe; undefined where there is no accelerator. Throws naming a variable that is wrong. */
export function npuOf(env: NpuVars, about: Pick<NpuOptions, 'engine' | 'loop' | 'pack' | 'registry'>): NpuAdapter | undefined {
  const { NPU, NPU_URL, NPU_SECRET: secret, NPU_ROUTE } = env;
  const binding = NPU_URL ? elsewhere(NPU_URL) : NPU;
  if (!binding || !secret) return undefined;
  return new NpuAdapter({
    ...about,
    ...{ binding, secret, numerics: env.NPU_NUMERICS || 'exact-1' },
    force: NPU_ROUTE === 'npu' || NPU_ROUTE === 'local' ? NPU_ROUTE : undefined,
    minWaitMs: readNumber('NPU_WAIT_MS', env),
  });
}

/** An accelerator that is reached over the network; the secret goes to that origin alone. */
function elsewhere(origin: string): NpuOptions['binding'] {
  if (!/^https?:\/\/[^/?#@]+\/?$/.test(origin)) throw new Error(`NPU_URL is "${origin}", must be an origin such as https://gpu.example`);
  return { fetch: (url, init) => fetch(new URL(new URL(url).pathname, origin).href, { ...init, redirect: 'manual' }) };
}

/** The report as the header `x-turnstone-route`. `pending`: the answer began before the accelerator was done. */
export const routeHeader = (r: RouteReport, pending = false): string =>
  `${r.place}; why=${r.why}; local=${r.predicted.local}; npu=${r.predicted.npu}; ${pending ? 'pending' : `took=${r.took}; bytes=${r.bytes}`}`;

const round = (ms: number): number => Math.round(ms * 10) / 10;

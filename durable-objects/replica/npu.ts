import { sha256 } from '@noble/hashes/sha2.js';
import type { Engine } from '../../engine/index.ts';
import { LAYOUT, PAGE } from '../../engine/layout.ts';
import type { Counter, Gauge, Registry } from '../../openai/prometheus.ts';
import { breakerState } from '../../policy/breaker.ts';
import { observe } from '../../policy/ewma.ts';
import { learnNpu, newRoute, type Place, type Route, type RouteState, route, routeFailed, routeSent } from '../../policy/route.ts';
import { NpuError, npuPrefill } from '../npu-client.ts';
import type { EngineLoop } from './loop.ts';

/** What an answer can say of where its prompt was computed. Times in ms of this host's clock. */
export interface RouteReport {
  place: Place;
  why: Route['why'] | 'forced' | 'failed';
  predicted: { local: number; npu: number };
  /** Prompt tokens whose pages were here before. */
  cached: number;
  /** Of KV pages, both ways. */
  bytes: number;
  /** From the decision to the last page; 0 when the prompt is computed here. */
  took: number;
  error?: string;
}

export interface NpuOptions {
  binding: { fetch(url: string, init: RequestInit): Promise<Response> };
  secret: string;
  /** `npu` or `local` instead of the estimate. */
  force?: Place;
  engine: Engine;
  loop: EngineLoop;
  pack: string;
  registry: Registry;
}

const PATIENCE = 2; // times the local estimate, then the rest of the prompt is computed here
const MIN_WAIT_MS = 1_000;
const RATE = { alpha: 0.2, min: 1e-3, max: 1e5 }; // tokens a ms
const MAX_WAIT_MS = 60_000;

/**
 * Sends heavy prefill to the accelerator and puts the pages it computes under their names; the engine then finds them as
 * it finds any cached page. Whatever goes wrong, the rest of the prompt is computed here, with the same tokens.
 */
export class NpuAdapter {
  private readonly o: NpuOptions;
  private state: RouteState = newRoute(1, 1, 20_000, 5); // tokens/ms, tokens/ms, bytes/ms, ms: until measured
  private queueMs = 0;
  private readonly routes: Counter;
  private readonly calls: Counter;
  private readonly breaker: Gauge;

  constructor(o: NpuOptions) {
    this.o = o;
    this.routes = o.registry.counter('turnstone_prefill_routes_total', 'Prompts by where they were sent to be computed, and why.');
    this.calls = o.registry.counter('turnstone_npu_requests_total', 'Requests to the accelerator, by result.');
    this.breaker = o.registry.gauge('turnstone_npu_breaker', 'The circuit breaker: 1 at the state it is in.');
    for (const result of ['ok', 'refused', 'failed']) this.calls.add(0, { result });
    this.showBreaker();
  }

  /** Decides, and when the accelerator is chosen waits for its pages. Never rejects, unless the client is gone. */
  async prefill(prompt: readonly number[], salt: string, signal: AbortSignal): Promise<RouteReport> {
    const { engine, force } = this.o;
    const whole = Math.floor((prompt.length - 1) / PAGE); // the last 1..16 tokens are computed here, for the logits
    const names = engine.names.chain(prompt, salt).slice(0, whole);
    let have = 0;
    while (have < whole && engine.pool.has(names[have])) have++;
    const decision = this.decide(prompt.length, have * PAGE, whole - have);
    const place = force ?? decision.place;
    const report: RouteReport = {
      place,
      why: force ? 'forced' : decision.why,
      predicted: { local: round(decision.localMs), npu: round(decision.npuMs) },
      cached: have * PAGE,
      bytes: 0,
      took: 0,
    };
    if (place === 'npu' && have < whole) await this.fetchPages(report, prompt.slice(0, whole * PAGE), names, have, salt, signal);
    this.routes.add(1, { place: report.place, why: report.why });
    return report;
  }

  private decide(promptTokens: number, cachedTokens: number, pagesNeeded: number): Route {
    const { engine, loop } = this.o;
    this.state = { ...this.state, local: { ...this.state.local, value: loop.prefillRate } };
    const s = engine.stats();
    return route(
      this.state,
      {
        promptTokens,
        cachedTokens,
        kvBytesPerToken: engine.kv.pageBytes / PAGE,
        uploadBytes: 0,
        queueMs: this.queueMs,
        pagesUsed: s.pages.referenced,
        pages: s.pages.total,
        pagesNeeded,
        decoding: s.running,
        stepTokens: engine.plan.maxTokens,
        sameNumerics: engine.backend.numerics === 'exact-1',
      },
      Date.now(),
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
    const wait = Math.min(MAX_WAIT_MS, Math.max(MIN_WAIT_MS, PATIENCE * report.predicted.local));
    const head = { pack, kv: engine.plan.kv, numerics: engine.backend.numerics, salt, have, deadlineMs: wait };
    try {
      const answer = await npuPrefill({
        ...{ npu, secret, head, ids, names, hash: sha256, page: { version: LAYOUT, bytes: engine.kv.pageBytes } },
        pageOf: (name) => engine.exportPage(name),
        onPage: (name, bytes) => {
          report.bytes += bytes.length;
          if (!engine.importPage(name, bytes)) throw new NpuError('no page is free here', 429);
        },
        signal: AbortSignal.any([signal, AbortSignal.timeout(wait)]),
      });
      report.took = Date.now() - began;
      report.bytes += answer.uploaded;
      this.queueMs = answer.queueMs;
      const compute = answer.hostMs;
      const total = Math.max(compute, report.took - answer.queueMs);
      this.state = learnNpu(this.state, {
        ...{ tokens: answer.tokens, bytes: answer.received, computeMs: compute, transferMs: total - compute, totalMs: total },
      });
      this.calls.add(1, { result: 'ok' });
    } catch (error) {
      if (signal.aborted) throw error;
      report.took = Date.now() - began;
      report.place = 'local';
      report.why = 'failed';
      report.error = error instanceof Error ? error.message : String(error);
      const refused = error instanceof NpuError && error.refused;
      this.calls.add(1, { result: refused ? 'refused' : 'failed' });
      if (!refused) {
        // what came until then is a measurement too: a service that is merely slow is not asked again for the same reason
        const tokens = (report.bytes / engine.kv.pageBytes) * PAGE;
        const npuRate = observe(this.state.npu, tokens / Math.max(1, report.took), RATE);
        this.state = routeFailed({ ...this.state, npu: npuRate }, Date.now());
      }
    }
    this.showBreaker();
  }

  private showBreaker(): void {
    const now = breakerState(this.state.breaker, Date.now());
    for (const state of ['closed', 'open', 'half-open'] as const) this.breaker.set(state === now ? 1 : 0, { state });
  }
}

/** The report as the header `x-turnstone-route`. */
export const routeHeader = (r: RouteReport): string =>
  `${r.place}; why=${r.why}; local=${r.predicted.local}; npu=${r.predicted.npu}; took=${r.took}; bytes=${r.bytes}`;

const round = (ms: number): number => Math.round(ms * 10) / 10;

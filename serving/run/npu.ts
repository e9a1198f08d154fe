import { sha256 } from '@noble/hashes/sha2.js';
import { FAULTS, type NpuAnswer, type NpuCall, NpuError, npuPrefill } from '../../accelerator/client.ts';
import type { Engine } from '../../engine/index.ts';
import { PAGE, PAGE_VERSION } from '../../engine/layout.ts';
import type { Counter, Gauge, Registry } from '../../openai/prometheus.ts';
import { breakerShown } from '../../policy/breaker.ts';
import {
  learnAtMost,
  learnNpu,
  newRoute,
  type Place,
  patience,
  ROUTE,
  type Route,
  type RouteState,
  route,
  routeFailed,
  routeSent,
  settled,
} from '../../policy/route.ts';
import { readChoice, readNumber, readText, type Variables } from '../../policy/settings.ts';
import { either } from '../either.ts';
import { sleep } from '../sleep.ts';
import type { EngineLoop } from './loop.ts';

/** What an answer can say of where its prompt was computed. Times in ms of this host's clock. */
export interface RouteReport {
  place: Place;
  why: Route['why'] | 'forced' | 'failed' | 'several';
  /** null: nothing was measured that would say. `device`: in a simulated device's own time, what a real one would take. */
  predicted: { local: number | null; npu: number | null; device: number | null };
  /** Prompt tokens whose pages were here before. */
  cached: number;
  /** Of KV pages, both ways. */
  bytes: number;
  /** From the decision to the last page; 0 when the accelerator was not asked. */
  took: number;
  /** What the accelerator's part would have taken on a real device: its own time where ours counts what simulating took. Known when it has answered. */
  device?: number;
  /** From the decision to the first token; known once there is one. */
  ttft?: number;
  error?: string;
}

export interface NpuOptions {
  binding: { fetch(url: string, init: RequestInit): Promise<Response> };
  /** What it computes. */
  numerics: string;
  secret: string;
  /** `npu` or `local` instead of the estimate; `device-time`: as if a simulated device were real, its own time decides, and it is waited for. */
  force?: Place | 'device-time';
  /** Waited for at least, ms. */
  minWaitMs?: number;
  engine: Engine;
  loop: EngineLoop;
  pack: string;
  registry: Registry;
}

const PATIENCE = 2; // times the local estimate where the route is forced, then the rest of the prompt is computed here
const MIN_WAIT_MS = 1_000; // where it is forced
const MAX_WAIT_MS = 60_000;
const DEVICE_WAIT_MS = 600_000; // where the device's time decides
const PROBE_PAGES = 32; // of a prompt that nobody waits for
const PROBE_TIMES = 4; // the local estimate, so long a probe may take
const MIN_PROBE_MS = 2_000;
const MAX_PROBE_MS = 10_000;
const TAIL_PAGES = 2; // left to this host now and then, so that it is measured too
const POLL_MS = 50;
const MAX_KNOWN = 16_384; // names remembered of pages that the accelerator was seen to hold
const STATES = ['closed', 'open', 'half-open'] as const;

/** A time after which a signal aborts; it may be set anew. */
class Limit {
  private readonly controller = new AbortController();
  private timer?: ReturnType<typeof setTimeout>;
  readonly signal = this.controller.signal;

  constructor(ms: number) {
    this.set(ms);
  }

  set(ms: number): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.controller.abort(), Math.max(0, ms));
  }

  clear(): void {
    clearTimeout(this.timer);
  }
}

/**
 * Sends heavy prefill to the accelerator and puts the pages it computes under their names; the engine then finds them as
 * it finds any cached page. Whatever goes wrong, the rest of the prompt is computed here, with the same tokens.
 */
export class NpuAdapter {
  private readonly o: NpuOptions;
  private state: RouteState = newRoute();
  /** What the accelerator said of its queue, and when. */
  private queue = { ms: 0, at: 0 };
  private readonly known = new Set<string>();
  private probing = false;
  private probes = 0;
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
    this.updateMetrics();
  }

  /** Decides, and when the accelerator is chosen tells `asked` and waits for its pages. Never rejects, unless the client is gone. */
  async prefill(prompt: readonly number[], salt: string, signal: AbortSignal, asked?: (report: RouteReport) => void): Promise<RouteReport> {
    const { engine, loop, force } = this.o;
    const stale = Date.now() - loop.prefillAt > ROUTE.believeMs && !force;
    // the last 1..16 tokens are computed here, for the logits
    const whole = Math.max(0, Math.floor((prompt.length - 1) / PAGE) - (stale ? TAIL_PAGES : 0));
    const names = engine.names.chain(prompt, salt).slice(0, whole);
    const have = engine.pool.prefix(names, whole);
    this.updateMetrics();
    const decision = this.decide(prompt.length, names, have);
    const place = force === 'npu' || force === 'local' ? force : decision.place;
    const report: RouteReport = {
      place,
      why: force === 'npu' || force === 'local' ? 'forced' : decision.why,
      predicted: predictions(decision),
      cached: have * PAGE,
      bytes: 0,
      took: 0,
    };
    if (place === 'npu' && have < whole) {
      asked?.(report);
      await this.fetchPages(report, decision, prompt.slice(0, whole * PAGE), names, have, salt, signal);
    } else {
      if (report.why === 'probe') void this.probe(prompt.slice(0, Math.min(whole, PROBE_PAGES) * PAGE), names[whole - 1], decision);
      if (decision.localMs !== undefined) this.state = settled(this.state, decision.localMs, 0);
    }
    this.routes.add(1, { place: report.place, why: report.why });
    return report;
  }

  /** The report of a request of several prompts: they share the loop here, as they are. */
  several(prompts: readonly (readonly number[])[]): RouteReport {
    const report = {
      place: 'local',
      why: 'several',
      predicted: predictions(this.decide(prompts.flat().length, [], 0)),
      cached: 0,
      bytes: 0,
      took: 0,
    } as const;
    this.routes.add(1, { place: report.place, why: report.why });
    return { ...report };
  }

  private decide(promptTokens: number, names: readonly string[], have: number): Route {
    const { engine, loop } = this.o;
    this.state = { ...this.state, local: loop.prefill };
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
        byDeviceTime: this.o.force === 'device-time',
      },
      now,
    );
  }

  private async fetchPages(
    report: RouteReport,
    { localMs }: Route,
    ids: readonly number[],
    names: readonly string[],
    have: number,
    salt: string,
    signal: AbortSignal,
  ): Promise<void> {
    const { engine, force } = this.o;
    const began = Date.now();
    this.state = routeSent(this.state, began);
    this.updateMetrics();
    const tokens = (names.length - have) * PAGE;
    /** What the pages that have come would have taken here, ms. */
    let saved = 0;
    const perPage = localMs === undefined ? 0 : (localMs * PAGE) / tokens;
    // the estimate may wait as long as the pages that come make up for it; a forced route is waited for
    const wait = force ? forcedWait(force, localMs, this.o.minWaitMs) : Math.max(this.o.minWaitMs ?? 0, patience(this.state, localMs ?? 0));
    const limit = new Limit(wait);
    let received = 0;
    try {
      const answer = await this.ask(ids, names, have, salt, {
        deadlineMs: Math.min(Math.ceil(wait + (localMs ?? 0)), DEVICE_WAIT_MS),
        signal: either(signal, limit.signal),
        onPage: (name, bytes) => {
          report.bytes += bytes.length;
          received += PAGE;
          saved += perPage;
          if (!force) limit.set(began + wait + saved - Date.now());
          this.remember(name);
          if (!engine.importPage(name, bytes)) throw new NpuError('status', 'no page is free here', 429);
        },
      });
      report.took = Date.now() - began;
      report.bytes += answer.uploaded;
      for (const name of names) this.remember(name);
      this.queue = { ms: answer.queueMs, at: Date.now() };
      report.device = round(Math.max(0, report.took - answer.hostMs) + answer.deviceMs);
      this.learn(answer, report.took);
      if (force === 'device-time') await sleep(Math.max(0, report.device - report.took));
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
      this.failed(error, Math.min(tokens, received + ROUTE.firstTokens), report.took);
    } finally {
      limit.clear();
    }
    if (localMs !== undefined) this.state = settled(this.state, localMs, report.took - saved);
    this.updateMetrics();
  }

  /**
   * Measures the accelerator with the beginning of a prompt, under a name of its own so that nothing is cached, once this host has computed
   * the prompt: nobody waits for it. A page first, alone: the model may have to be opened there.
   */
  private async probe(ids: readonly number[], last: string, { localMs }: Route): Promise<void> {
    if (this.probing || ids.length === 0) return;
    this.probing = true;
    const { engine, loop } = this.o;
    const limit = new Limit(2 * MAX_WAIT_MS);
    try {
      const late = Date.now() + MAX_WAIT_MS;
      while (!engine.pool.has(last) && Date.now() < late) await sleep(POLL_MS);
      this.state = routeSent(this.state, Date.now());
      this.updateMetrics();
      const salt = `probe ${this.probes++}`;
      const names = engine.names.chain(ids, salt).slice(0, ids.length / PAGE);
      limit.set(MAX_WAIT_MS);
      await this.ask(ids.slice(0, PAGE), names.slice(0, 1), 0, salt, { deadlineMs: MAX_WAIT_MS, signal: limit.signal });
      const expected = loop.prefill.samples > 0 ? ids.length / loop.prefill.value : (localMs ?? 0);
      const most = Math.max(MIN_PROBE_MS, Math.min(MAX_PROBE_MS, PROBE_TIMES * expected));
      const began = Date.now();
      limit.set(most);
      try {
        const answer = await this.ask(ids, names, 0, salt, { deadlineMs: Math.ceil(most), signal: limit.signal });
        this.learn(answer, Date.now() - began);
        this.calls.add(1, { result: 'ok' });
      } catch (error) {
        if (!(error instanceof NpuError && error.fault === 'timeout')) throw error;
        this.state = learnAtMost(this.state, ids.length / (Date.now() - began), Date.now()); // it answers, and is slow
        this.calls.add(1, { result: 'ok' });
      }
    } catch (error) {
      this.failed(error, 0, 0);
    } finally {
      limit.clear();
      this.probing = false;
      this.updateMetrics();
    }
  }

  private ask(
    ids: readonly number[],
    names: readonly string[],
    have: number,
    salt: string,
    more: { deadlineMs: number; signal: AbortSignal; onPage?: NpuCall['onPage'] },
  ): Promise<NpuAnswer> {
    const { binding: npu, secret, engine, pack } = this.o;
    const { deadlineMs, signal, onPage = () => {} } = more;
    const head = { pack, kv: engine.plan.kv, numerics: engine.backend.numerics, salt, have, deadlineMs };
    return npuPrefill({
      ...{ npu, secret, head, ids, names, hash: sha256, page: { version: PAGE_VERSION, bytes: engine.kv.pageBytes } },
      // there every page has all its parts
      ...{ pageOf: async (name) => (engine.pool.whole(name) ? engine.exportPage(name) : undefined), onPage, signal },
    });
  }

  private learn(answer: NpuAnswer, took: number): void {
    const { tokens, received, hostMs, queueMs, deviceMs } = answer;
    const total = Math.max(hostMs, took - queueMs);
    const sample = { tokens, bytes: received, computeMs: hostMs, deviceMs, transferMs: total - hostMs, totalMs: total };
    this.state = learnNpu(this.state, sample, Date.now());
  }

  private failed(error: unknown, tokens: number, took: number): void {
    const now = Date.now();
    const fault = error instanceof NpuError ? error.fault : 'unreachable';
    const refused = error instanceof NpuError && error.refused;
    this.calls.add(1, { result: refused ? 'refused' : 'failed' });
    this.faults.add(1, { fault });
    if (refused) {
      if (error.retryMs > 0) this.queue = { ms: error.retryMs, at: now };
    } else this.state = routeFailed(this.state, now, fault === 'timeout' && took > 0 ? tokens / took : undefined);
  }

  private remember(name: string): void {
    if (this.known.size >= MAX_KNOWN) this.known.clear();
    this.known.add(name);
  }

  /** Brings the breaker's metrics up to now: it half-opens by the clock, not by a request. */
  updateMetrics(): void {
    const now = breakerShown(this.state.breaker, Date.now());
    if (now !== this.shown) this.transitions.add(1, { to: now });
    this.shown = now;
    for (const state of STATES) this.breaker.set(state === now ? 1 : 0, { state });
  }
}

export interface NpuEnv extends Variables {
  NPU?: NpuOptions['binding'];
}

/** The adapter that the Worker's variables describe; undefined where there is no accelerator. Throws naming a variable that is wrong. */
export function npuOf(env: NpuEnv, about: Pick<NpuOptions, 'engine' | 'loop' | 'pack' | 'registry'>): NpuAdapter | undefined {
  const url = readText('NPU_URL', env);
  const secret = readText('NPU_SECRET', env);
  const route = readChoice('NPU_ROUTE', env);
  const binding = url ? elsewhere(url) : env.NPU;
  if (!binding || !secret) return undefined;
  return new NpuAdapter({
    ...about,
    ...{ binding, secret, numerics: readText('NPU_NUMERICS', env) ?? 'exact-1' },
    force: route === 'auto' ? undefined : route,
    minWaitMs: readNumber('NPU_WAIT_MS', env),
  });
}

/** An accelerator that is reached over the network; the secret goes to that origin alone. */
const elsewhere = (origin: string): NpuOptions['binding'] => ({
  fetch: (url, init) => fetch(new URL(new URL(url).pathname, origin).href, { ...init, redirect: 'manual' }),
});

const forcedWait = (force: string, localMs = 0, least = MIN_WAIT_MS): number =>
  force === 'device-time' ? DEVICE_WAIT_MS : Math.max(least, Math.min(MAX_WAIT_MS, PATIENCE * localMs));

const predictions = ({ localMs, npuMs, deviceMs }: Route): RouteReport['predicted'] => ({
  ...{ local: shown(localMs), npu: shown(npuMs), device: shown(deviceMs) },
});

const shown = (ms: number | undefined): number | null => (ms === undefined ? null : round(ms));

/** The report as the header `x-turnstone-route`; `?` is what nothing was measured for. `pending`: the answer began before the accelerator was done. */
export function routeHeader(r: RouteReport, pending = false): string {
  const { local, npu, device } = r.predicted;
  const of = (ms: number | null) => ms ?? '?';
  const predicted = `local=${of(local)}; npu=${of(npu)}; device=${of(r.device ?? device)}`;
  return `${r.place}; why=${r.why}; ${predicted}; ${pending ? 'pending' : `took=${r.took}; bytes=${r.bytes}`}`;
}

const round = (ms: number): number => Math.round(ms * 10) / 10;

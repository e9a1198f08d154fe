import type { Engine, GenerateRequest, StepEvent } from '../../engine/index.ts';
import { type Ewma, type EwmaRule, ewma, observe } from '../../policy/ewma.ts';
import { sleep } from '../sleep.ts';

/** Where a request's events go. A method that throws fails its own request. */
export interface Sink {
  event(event: StepEvent): void;
  /** The loop is about to yield: what events made may be sent now, in one piece. Also called when there was no event. `crowd`: how many are asked so. */
  flush(crowd: number): void;
  /** So long an isolate has computed for it, ms, as far as rates are known: a step is shared among all that are there. */
  spent?(ms: number): void;
  /** The engine failed; nothing more comes. */
  fail(error: unknown): void;
}

const STEP_MS = 50; // a step's budget: nothing waits longer behind a prefill
const YIELD_MS = 17; // decode steps between two yields may take this long together
/** Where learning starts; the first steps put it right. */
const FIRST_TOKENS_PER_MS = 0.3;
const FIRST_STEP_MS = 4;
const RATE: EwmaRule = { alpha: 0.2, min: 1e-3, max: 1e5 };
const FLOOR = 16; // tokens: below this a step's fixed cost dominates
const CLOCK_MS = 0.5; // less: the clock did not move
const ALONE = 32; // tokens of a prefill that nobody waits behind: the weights are read half as often
const IN_STAGES = 2; // steps with prompts that are under way there while others decode
const ALONE_MS = 150; // and twice as many where they take no longer than this

/**
 * Runs an engine's steps while there is work, and lets requests and aborts in between. Rates are learned between
 * yields only: in production the clock stands still while a step computes.
 */
export class EngineLoop {
  readonly engine: Engine;
  /** Sees every event of a request that still listens, before its sink. */
  watch?: (event: StepEvent) => void;
  private readonly sinks = new Map<string, Sink>();
  private readonly ended = new Set<Sink>(); // since the last yield
  private running = false;
  private arrived = false;
  /** When its last step ended, or its run began, ms. One that runs and steps no more went with its object. */
  steppedAt = 0;
  private tokensPerMs = FIRST_TOKENS_PER_MS; // of prefill, learned
  /** Prompt tokens a ms, of steps that computed little else, and when that was measured last, ms; no samples: never. */
  prefill: Ewma = ewma(FIRST_TOKENS_PER_MS);
  prefillAt = 0;
  private stepMs = FIRST_STEP_MS; // a decode step, learned

  constructor(engine: Engine) {
    this.engine = engine;
  }

  /** Steps are under way, or have just been. */
  get runs(): boolean {
    return this.running;
  }

  /** Throws RangeError when the request can never run. */
  add(request: GenerateRequest, sink: Sink): void {
    this.engine.add(request);
    this.sinks.set(request.id, sink);
    if (!this.running) void this.run();
    else void this.begins();
  }

  /** Where steps are elsewhere, those that arrived do not wait for the oldest of them to end. */
  private async begins(): Promise<void> {
    if (this.engine.together === 1 || this.arrived) return;
    this.arrived = true;
    await sleep(0); // requests that arrived together ride together
    this.arrived = false;
    try {
      this.engine.begins(this.budget());
    } catch {
      // the next step() meets it, and tells
    }
  }

  /** No event of the request comes after this. */
  abort(id: string): void {
    if (this.sinks.delete(id)) this.engine.abort(id);
  }

  private async run(): Promise<void> {
    this.running = true;
    this.steppedAt = Date.now();
    try {
      await sleep(0); // requests that arrived together ride in the first step together
      while (this.engine.busy) {
        const started = performance.now();
        let prefilled = 0;
        let steps = 0;
        const rows: number[] = []; // of each step
        let decoding = true; // and nothing else
        let first = false; // somebody's first token: it goes out at once
        const most = Math.max(1, Math.floor(YIELD_MS / this.stepMs));
        do {
          const events = await this.engine.step(this.budget());
          this.steppedAt = Date.now();
          const { tokens, sequences, prefill, ...step } = this.engine.lastStep;
          const ms = tokens > sequences * 8 ? tokens / this.tokensPerMs : this.stepMs;
          for (const sink of this.sinks.values()) sink.spent?.(ms / this.sinks.size);
          this.dispatch(events);
          first = events.some((e) => e.cachedTokens !== undefined);
          steps++;
          rows.push(step.rows);
          if (prefill) decoding = false;
          if (tokens > sequences * 8) prefilled += tokens;
        } while (steps < most && prefilled === 0 && !first && this.engine.busy);
        const listening = new Set([...this.sinks.values(), ...this.ended]);
        for (const sink of listening) this.guard(sink, () => sink.flush(listening.size));
        this.ended.clear();
        await sleep(0);
        const ms = performance.now() - started;
        this.learn(ms, steps, prefilled);
        if (decoding && ms > CLOCK_MS) this.engine.measured(ms, rows);
      }
    } catch (error) {
      // no one sequence's fault: the engine contains those
      const { sinks } = this;
      for (const sink of new Set(sinks.values())) this.fail(sink, error);
      this.engine.reset();
    } finally {
      this.running = false;
    }
  }

  /** Tokens that are under way at the most. */
  private budget(): number {
    const { alone, together, decodes } = this.engine;
    const longer = Math.min(2, (this.tokensPerMs * ALONE_MS) / ALONE);
    const steps = decodes ? IN_STAGES : Math.min(together, 2 * IN_STAGES); // nobody's next token waits behind them
    const floor = alone ? ALONE * Math.max(together, longer) : together === 1 ? FLOOR : steps * ALONE;
    return Math.floor(Math.max(floor, this.tokensPerMs * STEP_MS) / 4) * 4; // kernels take 4 tokens at a time
  }

  private dispatch(events: readonly StepEvent[]): void {
    for (const event of events) {
      const sink = this.sinks.get(event.request);
      if (!sink) continue;
      if (event.error !== undefined) {
        this.fail(sink, event.error);
        continue;
      }
      if (event.finish) {
        this.sinks.delete(event.request);
        this.ended.add(sink);
      }
      this.guard(sink, () => {
        this.watch?.(event);
        sink.event(event);
      });
    }
  }

  private guard(sink: Sink, what: () => void): void {
    try {
      what();
    } catch (error) {
      this.fail(sink, error);
    }
  }

  /** Ends a request, all its sequences. */
  private fail(sink: Sink, error: unknown): void {
    for (const [id, other] of this.sinks) if (other === sink) this.abort(id);
    try {
      sink.fail(error);
    } catch (again) {
      console.error('a request could not be told of its fault', error, again);
    }
  }

  private learn(ms: number, steps: number, prefilled: number): void {
    if (!(ms > CLOCK_MS)) return;
    const blend = (old: number, now: number) => old * 0.8 + now * 0.2;
    if (prefilled > 0) {
      this.tokensPerMs = blend(this.tokensPerMs, prefilled / ms);
      if (prefilled < FLOOR) return;
      this.prefill = observe(this.prefill, prefilled / ms, RATE);
      this.prefillAt = Date.now();
    } else this.stepMs = blend(this.stepMs, ms / steps);
  }
}

import type { StepEvent } from '../../engine/index.ts';
import type { ServingMetrics } from '../../openai/prometheus.ts';

/** What one sequence took by the replica's clock, as `turnstone.timings` says it to a request with `explain`. */
export interface Timings {
  /** Tokens of the prompt that were computed here: neither cached nor an accelerator's. */
  prefill_tokens: number;
  /** From the replica's receipt to the first token, waiting for a place in the batch included. */
  prefill_ms: number;
  /** Tokens after those that came first. */
  decode_tokens: number;
  /** From the first token to the last. */
  decode_ms: number;
}

/** Measures one sequence: its time to the first token, then between tokens. */
export class SequenceClock {
  readonly #metrics: ServingMetrics;
  readonly #arrived: number; // ms
  #last: number;
  #first?: number; // ms
  #computed = 0;
  #decoded = 0;

  constructor(metrics: ServingMetrics, arrived: number) {
    this.#metrics = metrics;
    this.#arrived = arrived;
    this.#last = arrived;
  }

  /** A step's event that came now, of a sequence of `prompt` tokens. Tokens that came together share their time. */
  observe(event: StepEvent, now: number, prompt: number): void {
    const { ttft, interToken } = this.#metrics;
    if (event.cachedTokens !== undefined) {
      ttft.observe((now - this.#arrived) / 1000);
      this.#first = now;
      this.#computed = prompt - event.cachedTokens;
    } else {
      for (const _ of event.tokens) interToken.observe((now - this.#last) / 1000 / event.tokens.length);
      this.#decoded += event.tokens.length;
    }
    this.#last = now;
  }

  /** When the first token came, ms. */
  get first(): number | undefined {
    return this.#first;
  }

  /** What it took so far; undefined before the first token. */
  get timings(): Timings | undefined {
    if (this.#first === undefined) return undefined;
    return {
      prefill_tokens: this.#computed,
      prefill_ms: this.#first - this.#arrived,
      decode_tokens: this.#decoded,
      decode_ms: this.#last - this.#first,
    };
  }
}

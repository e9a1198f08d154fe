import type { StepEvent } from '../../engine/index.ts';
import type { ServingMetrics } from '../../openai/prometheus.ts';

/** Measures one sequence: its time to the first token, then between tokens. */
export class Pace {
  readonly #metrics: ServingMetrics;
  readonly #arrived: number; // ms
  #last: number;

  constructor(metrics: ServingMetrics, arrived: number) {
    this.#metrics = metrics;
    this.#arrived = arrived;
    this.#last = arrived;
  }

  /** A step's event that came now. Tokens that came together share their time. */
  observe(event: StepEvent, now: number): void {
    const { ttft, interToken } = this.#metrics;
    if (event.cachedTokens !== undefined) ttft.observe((now - this.#arrived) / 1000);
    else for (const _ of event.tokens) interToken.observe((now - this.#last) / 1000 / event.tokens.length);
    this.#last = now;
  }
}

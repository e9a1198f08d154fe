/** Keeps what the device did for the last prompt that it computed to its end. */
import type { Launch } from '../simulator/run/machine.ts';

/** More launches than a prompt of 8,192 tokens of 32 layers has; later ones are left out. */
const LAUNCHES = 8192;

export interface Recorded {
  readonly launches: readonly Launch[];
  /** Prompt tokens that were computed. */
  readonly tokens: number;
  readonly deviceMs: number;
  readonly hostMs: number;
  /** When it ended, ms since 1970. */
  readonly at: number;
}

export class Recorder {
  private launches: Launch[] = [];
  last?: Recorded;

  /** A prompt has got the device. */
  begin(): void {
    this.launches = [];
  }

  /** To be called for each launch. */
  add(launch: Launch): void {
    if (this.launches.length < LAUNCHES) this.launches.push(launch);
  }

  /** It is done; one whose pages were all there already leaves nothing to look at. */
  end(took: Omit<Recorded, 'launches'>): void {
    if (took.tokens > 0) this.last = { launches: this.launches, ...took };
    this.launches = [];
  }
}

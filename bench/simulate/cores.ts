import type { VirtualClock } from './clock.ts';

/** Cores of one machine, shared evenly among whoever computes on them: none has more than one. */
export class Cores {
  private readonly clock: VirtualClock;
  private readonly cores: number;
  /** What is computed: how many ms of a core each lacks. */
  private running: { left: number; done(): void }[] = [];
  private at = 0;
  /** Counts changes of `running`: an end that was foreseen before the last one is not to come. */
  private changes = 0;

  constructor(clock: VirtualClock, cores: number) {
    this.clock = clock;
    this.cores = cores;
  }

  /** Resolves when a core, or its share of one, has computed so long. */
  compute(ms: number): Promise<void> {
    this.pass();
    return new Promise((done) => {
      this.running.push({ left: ms, done });
      void this.next();
    });
  }

  private get speed(): number {
    return Math.min(1, this.cores / this.running.length);
  }

  /** Takes off what was computed since the last change. */
  private pass(): void {
    const done = (this.clock.now - this.at) * this.speed;
    for (const job of this.running) job.left -= done;
    this.at = this.clock.now;
  }

  private async next(): Promise<void> {
    const change = ++this.changes;
    if (this.running.length === 0) return;
    const first = Math.min(...this.running.map((job) => job.left));
    await this.clock.until(this.clock.now + first / this.speed);
    if (change !== this.changes) return;
    this.pass();
    const ended = this.running.filter((job) => job.left <= first * 1e-9 + 1e-9);
    this.running = this.running.filter((job) => !ended.includes(job));
    for (const job of ended) job.done();
    void this.next();
  }
}

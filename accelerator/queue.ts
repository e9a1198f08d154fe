/** The device's queue: one job at a time, first come first served, bounded. */

/** Thrown when the queue is full; the caller may come again after so many ms. */
export class QueueFull extends Error {
  override name = 'QueueFull';
  readonly retryMs: number;

  constructor(waiting: number, retryMs: number) {
    super(`${waiting} prompts are waiting already`);
    this.retryMs = retryMs;
  }
}

/** Thrown when a job's deadline passes, or its caller leaves, before it is done. */
export class Gone extends Error {
  override name = 'Gone';
}

export class DeviceQueue {
  private readonly limit: number;
  private readonly now: () => number;
  private readonly waiting: { start: () => void; tokens: number }[] = [];
  private running = 0; // tokens of the job that has the device, 0 when none
  /** ms a token took lately, to say how long the queue is. */
  private msPerToken = 1;

  constructor(limit: number, now: () => number) {
    this.limit = limit;
    this.now = now;
  }

  get depth(): number {
    return this.waiting.length + (this.running > 0 ? 1 : 0);
  }

  /** What a newcomer would wait, by what prompts took lately. */
  get waitMs(): number {
    return (this.running + this.waiting.reduce((n, w) => n + w.tokens, 0)) * this.msPerToken;
  }

  /**
   * Waits for the device and returns what frees it. Rejects with QueueFull at once when too many wait, with Gone when
   * `signal` aborts first.
   */
  async take(tokens: number, signal: AbortSignal): Promise<() => void> {
    if (signal.aborted) throw new Gone('the caller left, or its deadline passed, before the prompt was queued');
    if (this.running > 0) {
      if (this.waiting.length >= this.limit) throw new QueueFull(this.waiting.length, this.waitMs);
      await new Promise<void>((resolve, reject) => {
        const job = { start: () => settle(resolve), tokens };
        const leave = (): void => {
          const at = this.waiting.indexOf(job);
          if (at >= 0) this.waiting.splice(at, 1);
          settle(() => reject(new Gone('the caller left, or its deadline passed, while the prompt waited')));
        };
        const settle = (then: () => void): void => {
          signal.removeEventListener('abort', leave);
          then();
        };
        signal.addEventListener('abort', leave);
        this.waiting.push(job);
      });
    }
    this.running = tokens;
    const began = this.now();
    let free = false;
    return () => {
      if (free) return;
      free = true;
      this.msPerToken = 0.7 * this.msPerToken + 0.3 * ((this.now() - began) / tokens);
      this.running = 0;
      const next = this.waiting.shift();
      if (!next) return;
      this.running = next.tokens; // nobody slips in between
      next.start();
    };
  }
}

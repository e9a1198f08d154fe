import { setTimeout as pause } from 'node:timers/promises';
import type { Workerd } from './process.ts';

/** Starts again within a minute after which a process is left for dead: something is wrong that a start does not mend. */
const MOST = 20;
const MINUTE = 60_000;
const PAUSE_MS = 250;

export interface KeepOptions {
  /** As it is told of: "workerd", "the accelerator". */
  name: string;
  start(): Promise<Workerd>;
  say(line: string): void;
  /** It ended by itself. */
  ended?(): Promise<void>;
  /** It listens again; `gone` aborts when it ends once more. */
  restarted?(gone: AbortSignal): Promise<void>;
  /** It is not started any more. */
  gaveUp?(error: Error): void;
}

/**
 * Keeps one process running: started again, on the same port and storage, whenever it ends without having been asked to: killed,
 * out of memory, crashed. What was stored goes on; sessions finish their answers by themselves.
 */
export class Kept {
  readonly #o: KeepOptions;
  readonly #starts: number[] = [];
  #now?: Workerd;
  #over = false;
  #starting?: Promise<unknown>;

  constructor(o: KeepOptions) {
    this.#o = o;
  }

  /** The process that runs, or ran last. */
  get process(): Workerd | undefined {
    return this.#now;
  }

  get running(): boolean {
    return this.#now !== undefined;
  }

  /** The first start. Rejects when it fails; from then on it is kept running. */
  async start(): Promise<Workerd> {
    const { signal } = await this.#launch();
    if (signal.aborted && !this.#over) throw new Error(`${this.#o.name} ended as soon as it had started`);
    return this.#now as Workerd;
  }

  /** What ends now is meant to. `graceMs`: its requests may end first. */
  async stop(graceMs = 0): Promise<void> {
    this.#over = true;
    await this.#starting?.catch(() => {});
    await this.#now?.stop(graceMs);
  }

  async #launch(): Promise<AbortController> {
    const starting = this.#o.start();
    this.#starting = starting;
    const now = await starting;
    this.#now = now;
    if (this.#over) await now.stop();
    const gone = new AbortController();
    void now.ended.then((how) => {
      gone.abort(new Error(`${this.#o.name} has ended (${how})`));
      if (this.#now === now) this.#now = undefined;
      if (!this.#over) void this.#again(how);
    });
    return gone;
  }

  async #again(how: string): Promise<void> {
    const { name, say } = this.#o;
    await this.#o.ended?.().catch((error: unknown) => this.#tell(error));
    let last = new Error(`${name} has ended (${how})`);
    while (!this.#over) {
      const now = Date.now();
      while (this.#starts.length > 0 && now - this.#starts[0] > MINUTE) this.#starts.shift();
      if (this.#starts.push(now) > MOST) {
        const error = new Error(`${name} ended or did not start ${MOST} times within a minute and is not started again: ${last.message}`);
        say(error.message);
        return this.#o.gaveUp?.(error);
      }
      say(`${name} has ended (${how}); starting it again.`);
      let gone: AbortSignal;
      try {
        gone = (await this.#launch()).signal;
      } catch (error) {
        last = error as Error;
        this.#tell(error);
        await pause(PAUSE_MS);
        continue;
      }
      try {
        await this.#o.restarted?.(gone);
      } catch (error) {
        this.#tell(error);
        if (!gone.aborted) await this.#now?.stop();
      }
      return; // where it has ended meanwhile, that end begins anew
    }
  }

  #tell(error: unknown): void {
    if (!this.#over) this.#o.say(`${this.#o.name} does not start: ${error instanceof Error ? error.message : error}`);
  }
}

import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { setTimeout as pause } from 'node:timers/promises';
import type { Miniflare, MiniflareOptions } from 'miniflare';

/** Starts again within a minute after which the runtime is left for dead: something is wrong that a start does not mend. */
const MOST = 20;
const MINUTE = 60_000;
const PAUSE_MS = 250;
const SETTLE_MS = 50;

/** What else is to be done when it has ended by itself, and when it runs again; `gone` aborts when it ends once more. */
interface Hooks {
  ended?: () => Promise<void>;
  started?: (gone: AbortSignal) => Promise<void>;
}

/**
 * Starts workerd again, on the same port and storage, whenever its process ends without having been asked to: killed, out of
 * memory, crashed. What was stored goes on; sessions finish their answers by themselves.
 */
export class Supervisor {
  readonly #starts: number[] = [];
  readonly #say: (line: string) => void;
  readonly #name: string;
  readonly #hooks: Hooks;
  #gone = new AbortController(); // of the process that runs now
  #miniflare?: Miniflare;
  #options?: MiniflareOptions;
  #over = false;
  #starting = false;

  constructor(say: (line: string) => void, name: string, hooks: Hooks = {}) {
    this.#name = name;
    this.#say = say;
    this.#hooks = hooks;
  }

  /** For Miniflare's option of that name: what workerd prints, and the sign that it has ended. */
  readonly handleRuntimeStdio = (stdout: Readable, stderr: Readable): void => {
    createInterface({ input: stdout }).on('line', (line) => console.log(line));
    createInterface({ input: stderr }).on('line', (line) => console.error(line));
    const gone = new AbortController();
    this.#gone = gone;
    stdout.once('end', () => {
      gone.abort(new Error('workerd has ended'));
      void this.#ended();
    });
  };

  /** From here on the runtime is watched. */
  watch(miniflare: Miniflare, options: MiniflareOptions): void {
    this.#miniflare = miniflare;
    this.#options = options;
    if (this.#gone.signal.aborted) void this.#ended();
  }

  /** What ends now was meant to. */
  stop(): void {
    this.#over = true;
  }

  async #ended(): Promise<void> {
    if (this.#starting) return; // a start that failed ends a process too
    this.#starting = true;
    try {
      await pause(SETTLE_MS); // Ctrl-C ends workerd before anybody says so here
      if (!this.#over) await this.#hooks.ended?.().catch((error: unknown) => this.#tell(error));
      while (!this.#over && !(await this.#start())) await pause(PAUSE_MS);
    } finally {
      this.#starting = false;
    }
  }

  /** False: try again. */
  async #start(): Promise<boolean> {
    if (!this.#miniflare || !this.#options) return true;
    const now = Date.now();
    while (this.#starts.length > 0 && now - this.#starts[0] > MINUTE) this.#starts.shift();
    if (this.#starts.push(now) > MOST) {
      this.#say(`${this.#name} has ended ${MOST} times within a minute and is not started again; look at what it printed.`);
      return true;
    }
    this.#say(`${this.#name} has ended; starting it again.`);
    try {
      await this.#miniflare.setOptions(this.#options);
      const gone = this.#gone.signal;
      await this.#hooks.started?.(gone);
      if (!gone.aborted) return true;
      await this.#hooks.ended?.(); // it ended meanwhile
      return false;
    } catch (error) {
      this.#tell(error);
      return false;
    }
  }

  #tell(error: unknown): void {
    if (!this.#over) this.#say(`${this.#name} does not start: ${error instanceof Error ? error.message : error}`);
  }
}

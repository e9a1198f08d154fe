import { Events } from './heap.ts';

/** Time that passes only when everybody waits for it: real asynchronous code runs in it, at once. */
export class VirtualClock {
  now = 0;
  private readonly events = new Events<() => void>();

  /** Resolves when it is `at` ms; at once, though after what is under way, when it is later. */
  until(at: number): Promise<void> {
    return new Promise((done) => this.events.push(Math.max(at, this.now), done));
  }

  /** Lets time pass until `work` is done. */
  async run<T>(work: Promise<T>): Promise<T> {
    let over = false;
    const done = work.finally(() => {
      over = true;
    });
    done.catch(() => {});
    for (;;) {
      await new Promise(setImmediate); // everybody goes as far as he can
      if (over) return done;
      const next = this.events.pop();
      if (!next) throw new Error('everybody waits, and for nothing');
      this.now = next.at;
      next.event();
    }
  }
}

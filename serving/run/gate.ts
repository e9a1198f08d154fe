/** Work of which so many are under way at once, the others in the order in which they came. Who has waited for so long goes on all the same: what hangs holds nobody up. */
export class Gate {
  readonly #atOnce: number;
  readonly #mostMs: number;
  readonly #waiting: (() => void)[] = [];
  #open = 0;

  constructor(atOnce: number, mostMs: number) {
    this.#atOnce = atOnce;
    this.#mostMs = mostMs;
  }

  async through<T>(work: () => Promise<T>): Promise<T> {
    if (this.#open < this.#atOnce) this.#open++;
    else await this.#turn();
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      if (next) next();
      else this.#open--;
    }
  }

  /** Settles with a place: one that another left, or one more. */
  #turn(): Promise<void> {
    return new Promise((resolve) => {
      const go = () => {
        clearTimeout(timer);
        resolve();
      };
      const timer = setTimeout(() => {
        const at = this.#waiting.indexOf(go);
        if (at >= 0) this.#waiting.splice(at, 1);
        this.#open++;
        resolve();
      }, this.#mostMs);
      this.#waiting.push(go);
    });
  }
}

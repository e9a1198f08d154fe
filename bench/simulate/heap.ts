/** Events by time; of equal times, the one added first. */
export class Events<T> {
  readonly #heap: { at: number; order: number; event: T }[] = [];
  #order = 0;

  get size(): number {
    return this.#heap.length;
  }

  push(at: number, event: T): void {
    const h = this.#heap;
    h.push({ at, order: this.#order++, event });
    for (let i = h.length - 1; i > 0; ) {
      const up = (i - 1) >> 1;
      if (!this.#before(i, up)) break;
      [h[i], h[up]] = [h[up]!, h[i]!];
      i = up;
    }
  }

  pop(): { at: number; event: T } | undefined {
    const h = this.#heap;
    const top = h[0];
    const last = h.pop();
    if (!top || h.length === 0) return top;
    h[0] = last!;
    for (let i = 0; ; ) {
      let least = i;
      for (const child of [2 * i + 1, 2 * i + 2]) if (child < h.length && this.#before(child, least)) least = child;
      if (least === i) return top;
      [h[i], h[least]] = [h[least]!, h[i]!];
      i = least;
    }
  }

  #before(a: number, b: number): boolean {
    const x = this.#heap[a]!;
    const y = this.#heap[b]!;
    return x.at < y.at || (x.at === y.at && x.order < y.order);
  }
}

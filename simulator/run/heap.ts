/** A binary heap of (time, item), earliest first, ties to the smaller item so that a run repeats exactly. */
export class Heap {
  private readonly times: number[] = [];
  private readonly items: number[] = [];

  push(time: number, item: number): void {
    const { times, items } = this;
    let i = times.length;
    times.push(time);
    items.push(item);
    while (i > 0) {
      const up = (i - 1) >> 1;
      if (!before(time, item, times[up], items[up])) break;
      times[i] = times[up];
      items[i] = items[up];
      i = up;
    }
    times[i] = time;
    items[i] = item;
  }

  pop(): { time: number; item: number } | undefined {
    const { times, items } = this;
    if (times.length === 0) return undefined;
    const top = { time: times[0], item: items[0] };
    const time = times.pop() as number;
    const item = items.pop() as number;
    const n = times.length;
    if (n === 0) return top;
    let i = 0;
    for (;;) {
      let c = 2 * i + 1;
      if (c >= n) break;
      if (c + 1 < n && before(times[c + 1], items[c + 1], times[c], items[c])) c++;
      if (!before(times[c], items[c], time, item)) break;
      times[i] = times[c];
      items[i] = items[c];
      i = c;
    }
    times[i] = time;
    items[i] = item;
    return top;
  }
}

const before = (ta: number, a: number, tb: number, b: number): boolean => ta < tb || (ta === tb && a < b);

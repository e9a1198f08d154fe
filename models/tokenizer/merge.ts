const SHIFT = 2 ** 27; // positions are below it, ranks below 2^26: a heap key is exact in a double

/**
 * Joins neighbouring symbols 0..n-1 in order of rank, leftmost first among equals, until no pair has a rank (Sennrich et
 * al.'s BPE, and SentencePiece's with ranks of scores). n log n with a heap of candidates; candidates that a join made
 * stale are recognised when they come up, because their pair has another rank by then.
 *
 * `rank(i, j)` is the rank of joining symbols i and j, -1 for none; `join(i, j)` makes i the joined symbol. `next` is left
 * as the list of those that remain, from 0, -1 at the end.
 */
export function mergeAll(n: number, next: Int32Array, rank: (i: number, j: number) => number, join: (i: number, j: number) => void): void {
  if (n >= SHIFT) throw new Error(`text of ${n} symbols is too long to tokenize at once`);
  const prev = new Int32Array(n);
  const heap = new Heap(n);
  for (let i = 0; i < n; i++) {
    next[i] = i + 1 < n ? i + 1 : -1;
    prev[i] = i - 1;
    const r = i + 1 < n ? rank(i, i + 1) : -1;
    if (r >= 0) heap.push(r * SHIFT + i);
  }
  const GONE = -2;
  while (heap.size > 0) {
    const key = heap.pop();
    const i = key % SHIFT;
    const j = next[i];
    if (j < 0 || rank(i, j) !== (key - i) / SHIFT) continue;
    join(i, j);
    const after = next[j];
    next[i] = after;
    next[j] = GONE;
    if (after >= 0) {
      prev[after] = i;
      const r = rank(i, after);
      if (r >= 0) heap.push(r * SHIFT + i);
    }
    const before = prev[i];
    if (before >= 0) {
      const r = rank(before, i);
      if (r >= 0) heap.push(r * SHIFT + before);
    }
  }
}

/** Smallest first. */
class Heap {
  size = 0;
  #keys: Float64Array;

  constructor(capacity: number) {
    this.#keys = new Float64Array(Math.max(16, capacity));
  }

  push(key: number): void {
    if (this.size === this.#keys.length) {
      const grown = new Float64Array(this.size * 2);
      grown.set(this.#keys);
      this.#keys = grown;
    }
    const keys = this.#keys;
    let i = this.size++;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (keys[parent] <= key) break;
      keys[i] = keys[parent];
      i = parent;
    }
    keys[i] = key;
  }

  pop(): number {
    const keys = this.#keys;
    const top = keys[0];
    const last = keys[--this.size];
    const n = this.size;
    let i = 0;
    for (let child = 1; child < n; child = 2 * i + 1) {
      if (child + 1 < n && keys[child + 1] < keys[child]) child++;
      if (keys[child] >= last) break;
      keys[i] = keys[child];
      i = child;
    }
    keys[i] = last;
    return top;
  }
}

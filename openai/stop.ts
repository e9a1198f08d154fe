/**
 * Finds stop strings in text that arrives in pieces. The stop string that is complete first wins; of several complete at the same
 * character, the longest. So the result depends on the text alone, not on where the pieces were cut. Only what may still become a
 * stop string is held back.
 */

export class StopMatcher {
  readonly #stops: readonly string[];
  /** Knuth-Morris-Pratt tables: after j matched characters, where to go on after a mismatch. */
  readonly #fail: readonly number[][];
  /** Matched characters of each stop string. */
  readonly #at: number[];
  #held = '';
  #stopped = false;
  #found?: string;
  /** What came after the stop string. */
  #after = '';

  /** `stops` must not be empty strings. */
  constructor(stops: readonly string[]) {
    this.#stops = stops;
    this.#fail = stops.map(failTable);
    this.#at = stops.map(() => 0);
  }

  /** The stop string that was found. */
  get found(): string | undefined {
    return this.#found;
  }

  get stopped(): boolean {
    return this.#stopped;
  }

  /** Text that is safe to show. Once stopped, nothing more. */
  push(text: string): string {
    if (this.#stopped) return '';
    if (this.#stops.length === 0) return text;
    const all = this.#held + text;
    for (let i = this.#held.length; i < all.length; i++) {
      const found = this.#step(all.charCodeAt(i));
      if (found > 0) {
        this.#stopped = true;
        this.#found = all.slice(i + 1 - found, i + 1);
        this.#held = '';
        this.#after = all.slice(i + 1);
        return all.slice(0, i + 1 - found);
      }
    }
    const keep = Math.max(...this.#at);
    this.#held = all.slice(all.length - keep);
    return all.slice(0, all.length - keep);
  }

  /** Goes on after a stop string that was found and does not count: the text that it was, and what may be shown of the rest. */
  resume(): [stop: string, rest: string] {
    const stop = this.#found as string;
    this.#stopped = false;
    this.#found = undefined;
    this.#at.fill(0);
    return [stop, this.push(this.#after)];
  }

  /** At the end of the text: what was held back for nothing. */
  flush(): string {
    const text = this.#held;
    this.#held = '';
    this.#at.fill(0);
    return text;
  }

  /** The length of the longest stop string that this character completes, or 0. */
  #step(c: number): number {
    let found = 0;
    for (let s = 0; s < this.#stops.length; s++) {
      const stop = this.#stops[s];
      let j = this.#at[s];
      while (j > 0 && stop.charCodeAt(j) !== c) j = this.#fail[s][j];
      if (stop.charCodeAt(j) === c) j++;
      this.#at[s] = j;
      if (j === stop.length && j > found) found = j;
    }
    return found;
  }
}

/** table[j]: length of the longest proper prefix of stop[0..j) that is also its suffix. */
function failTable(stop: string): number[] {
  const table = [0, 0];
  for (let i = 1, j = 0; i < stop.length; i++) {
    while (j > 0 && stop[i] !== stop[j]) j = table[j];
    if (stop[i] === stop[j]) j++;
    table.push(j);
  }
  return table;
}

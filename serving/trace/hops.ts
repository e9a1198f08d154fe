/** Calls of a model's stages, for whoever traces a generation meanwhile: a step takes all that are there, so a call is everybody's. */

export interface Hop {
  stage: string;
  calls: number;
  /** Their time together, ms, and when the first began and the last ended. */
  ms: number;
  start: number;
  end: number;
}

interface Watch {
  traceparent: string;
  hops: Map<string, Hop>;
  told: Set<string>;
}

export class Hops {
  readonly #watches = new Set<Watch>();

  /** From now on; the result ends it and says what there was. */
  watch(traceparent: string): () => Hop[] {
    const watch: Watch = { traceparent, hops: new Map(), told: new Set() };
    this.#watches.add(watch);
    return () => {
      this.#watches.delete(watch);
      return [...watch.hops.values()];
    };
  }

  /** A stage is about to be called: the `traceparent` that it is to be told, once for each that watches. */
  tell(stage: string): string | undefined {
    for (const w of this.#watches) {
      if (w.told.has(stage)) continue;
      w.told.add(stage);
      return w.traceparent;
    }
    return undefined;
  }

  called(stage: string, start: number, end: number): void {
    for (const { hops } of this.#watches) {
      const hop = hops.get(stage) ?? { stage, calls: 0, ms: 0, start, end };
      hops.set(stage, { ...hop, calls: hop.calls + 1, ms: hop.ms + end - start, end });
    }
  }
}

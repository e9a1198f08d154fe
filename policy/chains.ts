/** One step of a prompt's hashed chain: after the tenant, model and tools, and after each message. */
export interface Link {
  /** Names this link and all before it. */
  hash: string;
  /** Estimated tokens of the prompt up to and including this link. */
  tokens: number;
}

/** Links kept of one request: the last ones, a deep link implies those before it. */
export const MAX_LINKS = 256;
/** Links of one replica: at 100 bytes each, 64 replicas' take 13 MB of the queue's isolate at most, whatever clients send. */
const MAX_CACHE_LINKS = 2_048;

/**
 * What one replica probably holds: an LRU of links, bounded by the tokens its KV pages hold. A guess, never a promise:
 * the replica's own page tree decides what is computed. Every touch of a link touches its ancestors after it, so a
 * link never outlives them.
 */
export class ChainCache {
  readonly #own = new Map<string, number>(); // hash → tokens of this link alone, least recently used first
  #tokens = 0;
  #capacity: number;

  constructor(capacity: number, saved: readonly (readonly [string, number])[] = []) {
    this.#capacity = capacity;
    for (const [hash, tokens] of saved) {
      this.#own.set(hash, tokens);
      this.#tokens += tokens;
    }
    this.#trim();
  }

  get tokens(): number {
    return this.#tokens;
  }

  set capacity(tokens: number) {
    this.#capacity = tokens;
    this.#trim();
  }

  /** Tokens of the longest prefix held. */
  match(chain: readonly Link[]): number {
    for (let i = chain.length - 1; i >= 0; i--) if (this.#own.has(chain[i]!.hash)) return chain[i]!.tokens;
    return 0;
  }

  /** Notes that the replica now holds the whole chain, evicting what was used least recently. */
  add(chain: readonly Link[]): void {
    for (let i = chain.length - 1; i >= 0; i--) {
      const { hash, tokens } = chain[i]!;
      const own = this.#own.get(hash) ?? -1;
      if (own >= 0) {
        this.#own.delete(hash);
        this.#own.set(hash, own);
      } else {
        const size = Math.max(0, tokens - (i > 0 ? chain[i - 1]!.tokens : 0));
        this.#own.set(hash, size);
        this.#tokens += size;
      }
    }
    this.#trim();
  }

  clear(): void {
    this.#own.clear();
    this.#tokens = 0;
  }

  /** Least recently used first. */
  save(): [string, number][] {
    return [...this.#own];
  }

  #trim(): void {
    for (const [hash, size] of this.#own) {
      if (this.#tokens <= this.#capacity && this.#own.size <= MAX_CACHE_LINKS) return;
      this.#own.delete(hash);
      this.#tokens -= size;
    }
  }
}

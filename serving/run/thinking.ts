import type { Constraint } from '../../engine/index.ts';
import { THINKING } from '../../openai/reasoning.ts';
import type { Served } from './runtime.ts';
import { opened } from './text.ts';

export interface Followed extends Constraint {
  clone(): Followed;
}

/** Any text. */
export const FREE: Followed = { mask: () => null, accept: () => {}, clone: () => FREE };

/**
 * A constraint that begins when the model has stopped thinking, where it thinks: when the prompt opened a block of it, or the answer,
 * free as far as that, opens one. While it thinks every token may come, and where an answer of some form is still to be given, no end. `budget`: tokens
 * that it may think, after which the tag that ends it is all that may come.
 */
export function afterThinking(
  served: Pick<Served, 'tokenizer' | 'config' | 'stopIds'>,
  prompt: readonly number[],
  begin: () => Followed,
  budget = Number.POSITIVE_INFINITY,
): Followed {
  return new AfterThinking(served, begin, budget, opened(served, prompt)?.[1]);
}

class AfterThinking implements Followed {
  readonly #served: Pick<Served, 'tokenizer' | 'config' | 'stopIds'>;
  readonly #begin: () => Followed;
  #inner: Followed;
  readonly #budget: number;
  /** Tokens thought so far. */
  #thought = 0;
  /** What ends the thinking; undefined: it is not thinking. */
  #close?: string;
  /** Text that may still open a block of thinking, or holds the beginning of what ends it; undefined: the answer has begun. */
  #text?: string = '';

  constructor(served: Pick<Served, 'tokenizer' | 'config' | 'stopIds'>, begin: () => Followed, budget: number, close?: string) {
    this.#served = served;
    this.#begin = begin;
    this.#budget = budget;
    this.#inner = begin();
    this.#close = close;
  }

  mask(): Uint32Array | null {
    if (this.#close === undefined) return this.#inner.mask();
    const words = (this.#served.config.vocab + 31) >> 5;
    if (this.#thought >= this.#budget) {
      const bits = new Uint32Array(words);
      const id = this.#closing(this.#close)[this.#thought - this.#budget];
      bits[id >> 5] = 1 << (id & 31);
      return bits;
    }
    if (this.#inner === FREE) return null;
    const bits = new Uint32Array(words).fill(0xffffffff);
    for (const id of this.#served.stopIds) if (id < this.#served.config.vocab) bits[id >> 5] &= ~(1 << (id & 31));
    return bits;
  }

  /** The tokens of the tag that ends the thinking. */
  #closing(tag: string): readonly number[] {
    const { tokenizer } = this.#served;
    const id = tokenizer.idOf(tag);
    return id === undefined ? tokenizer.encode(tag, { bos: false }) : [id];
  }

  accept(id: number): void {
    if (this.#close !== undefined) this.#thought++;
    if (this.#close === undefined) this.#inner.accept(id);
    if (this.#text === undefined) return;
    this.#text += String.fromCharCode(...this.#served.tokenizer.bytesOf(id)); // tags are ASCII
    if (this.#close === undefined) {
      const said = this.#text.trimStart();
      const block = THINKING.find(([open]) => said.startsWith(open));
      if (block) this.#close = block[1];
      else if (!THINKING.some(([open]) => open.startsWith(said))) this.#text = undefined;
    }
    if (this.#close === undefined || this.#text === undefined) return;
    if (this.#text.includes(this.#close)) {
      this.#inner = this.#begin();
      this.#close = undefined;
      this.#text = undefined;
    } else this.#text = this.#text.slice(-this.#close.length);
  }

  clone(): Followed {
    const copy = new AfterThinking(this.#served, this.#begin, this.#budget, this.#close);
    copy.#inner = this.#inner.clone();
    copy.#thought = this.#thought;
    copy.#text = this.#text;
    return copy;
  }
}

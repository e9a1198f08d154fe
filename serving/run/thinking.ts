import type { Constraint } from '../../engine/index.ts';
import { THINKING } from '../../openai/reasoning.ts';
import type { Served } from './runtime.ts';
import { opened } from './text.ts';

export interface Followed extends Constraint {
  clone(): Followed;
}

/**
 * A constraint that begins when the model has stopped thinking, where it thinks: when the prompt opened a block of it, or the answer,
 * free as far as that, opens one. While it thinks every token may come but an end: the answer is still to be given.
 */
export function afterThinking(
  served: Pick<Served, 'tokenizer' | 'config' | 'stopIds'>,
  prompt: readonly number[],
  begin: () => Followed,
): Followed {
  return new AfterThinking(served, begin, opened(served, prompt)?.[1]);
}

class AfterThinking implements Followed {
  readonly #served: Pick<Served, 'tokenizer' | 'config' | 'stopIds'>;
  readonly #begin: () => Followed;
  #inner: Followed;
  /** What ends the thinking; undefined: it is not thinking. */
  #close?: string;
  /** Text that may still open a block of thinking, or holds the beginning of what ends it; undefined: the answer has begun. */
  #text?: string = '';

  constructor(served: Pick<Served, 'tokenizer' | 'config' | 'stopIds'>, begin: () => Followed, close?: string) {
    this.#served = served;
    this.#begin = begin;
    this.#inner = begin();
    this.#close = close;
  }

  mask(): Uint32Array | null {
    if (this.#close === undefined) return this.#inner.mask();
    const bits = new Uint32Array((this.#served.config.vocab + 31) >> 5).fill(0xffffffff);
    for (const id of this.#served.stopIds) if (id < this.#served.config.vocab) bits[id >> 5] &= ~(1 << (id & 31));
    return bits;
  }

  accept(id: number): void {
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
    const copy = new AfterThinking(this.#served, this.#begin, this.#close);
    copy.#inner = this.#inner.clone();
    copy.#text = this.#text;
    return copy;
  }
}

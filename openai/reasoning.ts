/** What a model thinks before it answers, split off as it streams: a block of tags at the very beginning of its text. */

export const THINKING: readonly (readonly [open: string, close: string])[] = [
  ['<think>', '</think>'],
  ['<thinking>', '</thinking>'],
  ['[THINK]', '[/THINK]'],
];

/** `reasoning` and `text` in the order they come in. What comes out does not depend on how the text was cut into pieces. */
export interface Split {
  reasoning: string;
  text: string;
}

export class ReasoningSplitter {
  #mode: 'begin' | 'inside' | 'after' | 'text' = 'begin';
  #buffer = '';
  #close = '';
  /** Something of the reasoning has been given out: white space before that is none of it. */
  #begun = false;

  /** Whether what comes next is reasoning. */
  get inside(): boolean {
    return this.#mode === 'inside';
  }

  push(piece: string): Split {
    this.#buffer += piece;
    let reasoning = '';
    if (this.#mode === 'begin') this.#begin();
    if (this.#mode === 'inside') reasoning = this.#inside();
    if (this.#mode === 'after') {
      this.#buffer = this.#buffer.trimStart();
      if (this.#buffer !== '') this.#mode = 'text';
    }
    return { reasoning, text: this.#mode === 'text' ? this.#take() : '' };
  }

  /** At the text's end: what was held back. Reasoning that never ended is reasoning; its tags are nobody's. */
  flush(): Split {
    const { text, reasoning } = {
      text: this.#mode === 'begin' ? this.#buffer : '',
      reasoning: this.#mode === 'inside' ? this.#buffer : '',
    };
    this.#buffer = '';
    return { reasoning: reasoning.trim() === '' || this.#close.startsWith(reasoning.trim()) ? '' : reasoning.trimEnd(), text };
  }

  #take(): string {
    const text = this.#buffer;
    this.#buffer = '';
    return text;
  }

  #begin(): void {
    const said = this.#buffer.trimStart();
    const block = THINKING.find(([open]) => said.startsWith(open));
    if (block) {
      this.#mode = 'inside';
      this.#close = block[1];
      this.#buffer = said.slice(block[0].length);
    } else if (!THINKING.some(([open]) => open.startsWith(said))) this.#mode = 'text';
  }

  #inside(): string {
    if (!this.#begun) this.#buffer = this.#buffer.trimStart();
    const end = this.#buffer.indexOf(this.#close);
    if (end >= 0) {
      const reasoning = this.#buffer.slice(0, end).trimEnd();
      this.#buffer = this.#buffer.slice(end + this.#close.length);
      this.#mode = 'after';
      return reasoning;
    }
    let held = Math.min(this.#close.length - 1, this.#buffer.length);
    while (held > 0 && !this.#close.startsWith(this.#buffer.slice(-held))) held--;
    const safe = this.#buffer.slice(0, this.#buffer.length - held).trimEnd();
    this.#buffer = this.#buffer.slice(safe.length);
    this.#begun ||= safe !== '';
    return safe;
  }
}

/** A stretch of ordinary text, or a token found in it. */
export type Fragment = { text: string } | { id: number };

interface Node {
  id: number;
  next: Map<number, Node>;
}

/** Finds tokens that are matched as whole texts: the longest at the leftmost place. Linear but for the length of a token. */
export class SpecialMatcher {
  readonly #root: Node = { id: -1, next: new Map() };
  readonly #lstrip: ReadonlySet<number>;
  readonly #rstrip: ReadonlySet<number>;

  constructor(tokens: Iterable<readonly [text: string, id: number]>, lstrip: Iterable<number> = [], rstrip: Iterable<number> = []) {
    this.#lstrip = new Set(lstrip);
    this.#rstrip = new Set(rstrip);
    for (const [text, id] of tokens) {
      if (text === '') continue;
      let node = this.#root;
      for (let i = 0; i < text.length; i++) {
        const code = text.charCodeAt(i);
        let child = node.next.get(code);
        if (!child) {
          child = { id: -1, next: new Map() };
          node.next.set(code, child);
        }
        node = child;
      }
      if (node.id < 0) node.id = id;
    }
  }

  split(text: string): Fragment[] {
    const out: Fragment[] = [];
    let from = 0;
    for (let i = 0; i < text.length; ) {
      let node = this.#root.next.get(text.charCodeAt(i));
      let end = -1;
      let id = -1;
      for (let j = i + 1; node; j++) {
        if (node.id >= 0) {
          id = node.id;
          end = j;
        }
        node = j < text.length ? node.next.get(text.charCodeAt(j)) : undefined;
      }
      if (id < 0) {
        i++;
        continue;
      }
      let to = i;
      if (this.#lstrip.has(id)) while (to > from && /\s/.test(text[to - 1])) to--;
      if (this.#rstrip.has(id)) while (end < text.length && /\s/.test(text[end])) end++;
      if (to > from) out.push({ text: text.slice(from, to) });
      out.push({ id });
      from = end;
      i = end;
    }
    if (from < text.length) out.push({ text: text.slice(from) });
    return out;
  }
}

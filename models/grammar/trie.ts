import { ALPHABET, FIRST_TAG, OTHER } from './net.ts';

/** What a grammar must know of a tokenizer. */
export interface GrammarVocab {
  /** Width of the logits; ids beyond the tokenizer's have no bytes. */
  size: number;
  /** A token's bytes; a special token's are its name in UTF-8. */
  bytesOf(id: number): Uint8Array;
  /** Ids that end a generation: allowed exactly when the text may end. */
  stopIds: readonly number[];
  /** Special tokens are no text: a grammar allows them only as tags, or in free text. */
  isSpecial(id: number): boolean;
}

/** Every token as a path of symbols, nodes in depth-first order, so that a walk is one loop and a dead end is one jump. */
export interface TokenTrie {
  readonly size: number; // V
  readonly symbol: Uint16Array; // [nodes]
  readonly depth: Uint8Array; // [nodes], the root is 0
  /** First node after this one's subtree. */
  readonly after: Int32Array; // [nodes]
  /** Deepest node of the subtree. */
  readonly reach: Uint8Array; // [nodes]
  /** The tokens in the order of the nodes that they end at: those of a node come before those of the nodes below it. */
  readonly order: Int32Array; // [count]
  /** Where in `order` a node's own tokens begin; those of the next node follow. */
  readonly first: Int32Array; // [nodes + 1]
  /** Which groups of symbols occur below a node: bit `groupOf(symbol)`. */
  readonly groups: Uint16Array; // [nodes]
  /** Groups of a token's symbols. */
  readonly kinds: Uint16Array; // [V]
  /** The tokens by their number of symbols, and where those of each number begin. */
  readonly byLength: Int32Array; // [count]
  readonly ofLength: Int32Array; // [longest + 2]
  /** Longest token, symbols. */
  readonly longest: number;
  /** Tokens in the trie: all but stops and empty ones. */
  readonly count: number;
  /** Special tokens by the symbol they became. */
  readonly specials: ReadonlyMap<number, number>;
}

const MAX_DEPTH = 255;

/** Symbols that texts treat alike, as a number below 16. */
const PUNCTUATION = ['"', '\\', '\n', '{}[]', ',:', '<>/', "_-.'"];
export function groupOf(symbol: number): number {
  if (symbol >= 256) return 15;
  if (symbol >= 128) return 14;
  const c = String.fromCharCode(symbol);
  if (c >= 'a' && c <= 'z') return 0;
  if (c >= 'A' && c <= 'Z') return 1;
  if (c >= '0' && c <= '9') return 2;
  if (c === ' ') return 3;
  const own = PUNCTUATION.findIndex((p) => p.includes(c));
  return own >= 0 ? 4 + own : symbol < 32 || symbol === 127 ? 12 : 13;
}

export const GROUPS = 16;
export const GROUP = Uint8Array.from({ length: ALPHABET }, (_, symbol) => groupOf(symbol));

/** Builds the trie; special tokens named in `tags` become the symbols FIRST_TAG + index. About 18 bytes a node. */
export function buildTrie(vocab: GrammarVocab, tags: readonly string[]): TokenTrie {
  if (!Number.isInteger(vocab.size) || vocab.size < 1 || vocab.size > 1 << 20)
    throw new Error(`grammar: a vocabulary of ${vocab.size} tokens, must be 1..1048576`);
  if (tags.length > ALPHABET - FIRST_TAG) throw new Error(`grammar: ${tags.length} tags, at most ${ALPHABET - FIRST_TAG}`);
  const stops = new Set(vocab.stopIds);
  const specials = new Map<number, number>();
  const starts = new Int32Array(vocab.size + 1);
  const lengths = new Uint16Array(vocab.size);
  let total = 0;
  for (let id = 0; id < vocab.size; id++)
    lengths[id] = stops.has(id) ? 0 : vocab.isSpecial(id) ? 1 : Math.min(vocab.bytesOf(id).length, MAX_DEPTH + 1);
  for (let id = 0; id < vocab.size; id++) {
    if (lengths[id] > MAX_DEPTH) lengths[id] = 0; // too long to be worth a deeper walk: never offered
    starts[id] = total;
    total += lengths[id];
  }
  starts[vocab.size] = total;
  const symbols = new Uint16Array(total);
  for (let id = 0; id < vocab.size; id++) {
    if (lengths[id] === 0) continue;
    const bytes = vocab.bytesOf(id);
    if (vocab.isSpecial(id)) {
      const tag = tags.indexOf(String.fromCharCode(...bytes.subarray(0, 64)));
      specials.set(id, tag < 0 ? OTHER : FIRST_TAG + tag);
      symbols[starts[id]] = tag < 0 ? OTHER : FIRST_TAG + tag;
    } else symbols.set(bytes, starts[id]);
  }
  const order = Array.from({ length: vocab.size }, (_, id) => id).filter((id) => lengths[id] > 0);
  const keys = new Float64Array(vocab.size); // the first five symbols as one number
  for (const id of order) for (let i = 0; i < 5; i++) keys[id] = keys[id] * 512 + (i < lengths[id] ? symbols[starts[id] + i] + 1 : 0);
  const compare = (a: number, b: number): number => {
    if (keys[a] !== keys[b]) return keys[a] - keys[b];
    const n = Math.min(lengths[a], lengths[b]);
    for (let i = 0; i < n; i++) {
      const d = symbols[starts[a] + i] - symbols[starts[b] + i];
      if (d !== 0) return d;
    }
    return lengths[a] - lengths[b] || a - b;
  };
  order.sort(compare);

  const symbol = new Uint16Array(total + 1);
  const depth = new Uint8Array(total + 1);
  const after = new Int32Array(total + 1);
  const first = new Int32Array(total + 2);
  const open = [0]; // node at each depth of the current path
  let nodes = 1;
  let longest = 1;
  const close = (keep: number) => {
    while (open.length > keep) after[open.pop() as number] = nodes;
  };
  let previous = -1;
  order.forEach((id, rank) => {
    let shared = 0;
    if (previous >= 0)
      while (shared < lengths[previous] && shared < lengths[id] && symbols[starts[previous] + shared] === symbols[starts[id] + shared])
        shared++;
    close(shared + 1);
    for (let d = shared; d < lengths[id]; d++) {
      symbol[nodes] = symbols[starts[id] + d];
      depth[nodes] = d + 1;
      first[nodes] = rank;
      open.push(nodes++);
    }
    longest = Math.max(longest, lengths[id]);
    previous = id;
  });
  first[nodes] = order.length;
  close(0);
  const groups = new Uint16Array(nodes);
  const reach = depth.slice(0, nodes);
  const parents = new Int32Array(longest + 1);
  for (let n = 1; n < nodes; n++) {
    const bit = 1 << GROUP[symbol[n]];
    parents[depth[n]] = n;
    for (let d = depth[n] - 1; d >= 0 && (groups[parents[d]] & bit) === 0; d--) groups[parents[d]] |= bit;
    for (let d = depth[n] - 1; d >= 0 && reach[parents[d]] < depth[n]; d--) reach[parents[d]] = depth[n];
  }
  const kinds = new Uint16Array(vocab.size);
  for (const id of order) for (let i = 0; i < lengths[id]; i++) kinds[id] |= 1 << GROUP[symbols[starts[id] + i]];
  const ofLength = new Int32Array(longest + 2);
  for (const id of order) ofLength[lengths[id] + 1]++;
  for (let n = 1; n < ofLength.length; n++) ofLength[n] += ofLength[n - 1];
  return {
    size: vocab.size,
    symbol: symbol.slice(0, nodes),
    depth: depth.slice(0, nodes),
    after: after.slice(0, nodes),
    reach,
    order: Int32Array.from(order),
    first: first.slice(0, nodes + 1),
    groups,
    kinds,
    byLength: Int32Array.from(order).sort((a, b) => lengths[a] - lengths[b]),
    ofLength,
    longest,
    count: order.length,
    specials,
  };
}

/**
 * Symbols that have a token of their own. A text of these alone can go on from wherever a token has left it: a grammar made of them has
 * no state in which a mask is empty.
 */
export function spellable(trie: TokenTrie): Uint8Array {
  const alone = new Uint8Array(ALPHABET);
  for (let n = 1; n < trie.symbol.length; n = trie.after[n]) if (trie.first[n] < trie.first[n + 1]) alone[trie.symbol[n]] = 1;
  return alone;
}

/** Which texts are computed together: those of the same padded length, up to a number of tokens. */

export interface Batch {
  /** Indices of the texts. */
  texts: number[];
  /** Padded length T. */
  tokens: number;
}

/** Lengths are padded to a multiple of it, so that texts of nearly the same length share a batch. */
const STEP = 16;

export interface BatchRules {
  /** B·T at most; a longer text goes alone. */
  batchTokens: number;
  /** Each text alone and unpadded: for models whose arithmetic depends on the batch. */
  alone: boolean;
}

/** Batches of texts with these lengths (1 or more each). Every text is in exactly one. Shortest first. */
export function makeBatches(lengths: readonly number[], { batchTokens, alone }: BatchRules): Batch[] {
  if (alone) return lengths.map((tokens, i) => ({ texts: [i], tokens }));
  const byLength = new Map<number, number[]>();
  lengths.forEach((n, i) => {
    const padded = Math.ceil(n / STEP) * STEP;
    const group = byLength.get(padded);
    if (group) group.push(i);
    else byLength.set(padded, [i]);
  });
  return [...byLength]
    .sort(([a], [b]) => a - b)
    .flatMap(([padded, all]) => {
      const size = Math.max(1, Math.floor(batchTokens / padded));
      const tokens = all.length === 1 ? lengths[all[0]] : padded; // nothing to pad for
      return Array.from({ length: Math.ceil(all.length / size) }, (_, k) => ({ texts: all.slice(k * size, (k + 1) * size), tokens }));
    });
}

/** ids, mask and types [B, T] of a batch; a row is of the second type from `second` on. */
export function fill(
  batch: Batch,
  rows: readonly (readonly number[])[],
  padId: number,
  second?: readonly number[],
): { ids: Int32Array; mask: Int32Array; types: Int32Array } {
  const ids = new Int32Array(batch.texts.length * batch.tokens).fill(padId);
  const [mask, types] = [new Int32Array(ids.length), new Int32Array(ids.length)];
  batch.texts.forEach((text, b) => {
    const [from, to] = [b * batch.tokens, b * batch.tokens + rows[text].length];
    ids.set(rows[text], from);
    mask.fill(1, from, to);
    if (second) types.fill(1, from + second[text], to);
  });
  return { ids, mask, types };
}

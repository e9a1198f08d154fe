import type { Sequence } from './sequence.ts';

const NGRAM = 3;
const LONGEST = 7; // drafted tokens
const PROBE_AFTER = 32; // tokens without a draft before a sequence whose drafts failed may try one token again

/** What one more row adds to a decode step, in steps: measured on the shipped model and on SmolLM2's shape, 0.5 to 0.65. */
export const ROW_COST = 0.6;

/**
 * Prompt-lookup drafting (Saxena 2023): the tokens that followed the last earlier occurrence of the sequence's last
 * n-gram. Draws depend on (seed, token index) alone and drafted tokens are verified in the same step, so that the
 * tokens are the same with or without; only time differs.
 *
 * `rowCost` is what one more row adds to a decode step, in steps. The length that pays best under the sequence's own
 * acceptance rate is taken, none when nothing pays.
 */
export function draftTokens(seq: Sequence, room: number, rowCost: number): readonly number[] {
  if (rowCost === Infinity) return [];
  seq.sinceDraft++;
  const left = seq.request.maxTokens - seq.generated - 1;
  const most = Math.min(LONGEST, room, left);
  if (most < 1) return [];
  const pays = bestLength(seq.acceptance, rowCost);
  const length = Math.min(most, pays === 0 && seq.sinceDraft > PROBE_AFTER ? 1 : pays);
  if (length === 0) return [];
  const at = lastOccurrence(seq.ids, NGRAM);
  if (at < 0) return [];
  seq.sinceDraft = 0;
  return seq.ids.slice(at, at + length);
}

/** Learns from a verified draft. */
export function learn(seq: Sequence, drafted: number, accepted: number): void {
  // tokens after the first miss say nothing about acceptance
  const tried = Math.min(drafted, accepted + 1);
  seq.acceptance = seq.acceptance * 0.75 + (accepted / tried) * 0.25;
}

/** The k that maximises (expected tokens) / (cost) of a step, 0 when plain decoding is best. */
function bestLength(p: number, rowCost: number): number {
  let best = 0;
  let bestRate = 1;
  let tokens = 1;
  let chance = 1;
  for (let k = 1; k <= LONGEST; k++) {
    chance *= p;
    tokens += chance;
    const rate = tokens / (1 + k * rowCost);
    if (rate > bestRate) {
      bestRate = rate;
      best = k;
    }
  }
  return best;
}

/** Index after the last earlier occurrence of the final n ids, or -1. */
function lastOccurrence(ids: readonly number[], n: number): number {
  const end = ids.length - n;
  const last = ids[ids.length - 1];
  for (let i = end - 1; i >= 0; i--) {
    if (ids[i + n - 1] !== last) continue;
    let k = 0;
    while (k < n - 1 && ids[i + k] === ids[end + k]) k++;
    if (k === n - 1) return i + n;
  }
  return -1;
}

/** The drafted tokens that a sequence's constraint lets pass, up to the first that it does not. */
export function allowed(seq: Sequence, draft: readonly number[]): readonly number[] {
  const { constraint } = seq.request;
  if (!constraint || draft.length === 0) return draft;
  try {
    const ahead = constraint.clone?.();
    if (!ahead) return [];
    for (const [i, id] of draft.entries()) {
      const mask = ahead.mask();
      if (mask && !((mask[id >> 5] >>> (id & 31)) & 1)) return draft.slice(0, i);
      ahead.accept(id);
    }
    return draft;
  } catch {
    return []; // it will fail by itself when it gets there
  }
}

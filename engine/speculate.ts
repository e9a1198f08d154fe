import type { Sequence } from './sequence.ts';

const NGRAM = 3;
const LONGEST = 7; // drafted tokens
const FAR = 8; // ids that a match is looked at beyond its n-gram, to tell how likely it is
const PROBE_AFTER = 32; // tokens without a draft before a sequence whose drafts failed may try one token again

/** What one more row adds to a decode step of one sequence, in such steps, before that was measured. */
export const ROW_COST = 0.6;

/** Share of drafted tokens that a sequence's first draft is expected to get accepted, by how long it matches beyond the n-gram. */
const FIRST_ACCEPTANCE = 0.65;
const SURER = 0.04; // for each id more

const MOST_ROWS = 16; // of a step whose time is kept; beyond, time grows as from half of that to there
const LEARNS = 0.2;
/** What drafts may lose: of all decode steps, and at once; and what earlier drafts won is kept for, in steps. */
const MAX_LOSS = 0.01;
const FIRST_CREDIT = 1;
const MOST_CREDIT = 3;
/** A draft must be expected to give so many times a plain step's tokens in the same time. */
const WORTH = 1.02;

/**
 * How much to draft, by what was measured: the time of a step by its rows, and what drafts won and lost so far. Over any answers drafts cost
 * at most a hundredth of the steps and `FIRST_CREDIT` more, whatever the model and the machine: where they do not pay, they end by themselves.
 */
export class Speculation {
  /** ms of a step of so many rows; in steps of one row while nothing was measured. */
  private readonly ms: number[];
  private readonly known = new Set<number>();
  private readonly guess: number;
  private readonly fixed: boolean;
  /** Something was drafted in a step of so many rows as were never measured: that comes first. */
  private unknown = false;
  private credit = FIRST_CREDIT;

  /** Without `rowCost` it is measured. Infinity: nothing is ever drafted. */
  constructor(rowCost?: number) {
    this.fixed = rowCost !== undefined;
    this.guess = rowCost ?? ROW_COST;
    this.ms = Array.from({ length: MOST_ROWS + 1 }, (_, rows) => 1 + this.guess * (rows - 1));
  }

  /** Time of a step, in steps of one row. */
  costOf(rows: number): number {
    const { ms } = this;
    const half = MOST_ROWS / 2;
    const of = rows <= MOST_ROWS ? ms[rows] : ms[MOST_ROWS] + ((ms[MOST_ROWS] - ms[half]) / half) * (rows - MOST_ROWS);
    return of / ms[1];
  }

  /** Steps of nothing but decoding took so long together: rows of logits of each. */
  measure(took: number, rows: readonly number[]): void {
    if (this.fixed || rows.length === 0 || !(took > 0) || rows.some((r) => r > MOST_ROWS)) return;
    const plain = rows.every((r) => r === 1);
    if (this.known.size === 0) {
      if (!plain) return;
      this.ms[1] = took / rows.length;
      this.known.add(1);
    }
    const counts = new Map<number, number>();
    for (const r of rows) counts.set(r, (counts.get(r) ?? 0) + 1);
    const expected = rows.reduce((n, r) => n + this.ms[r], 0);
    // something else ran in between, or the clock is coarse: a wild sample says little
    const error = Math.min(2 * expected, Math.max(expected / 2, took)) - expected;
    // the error is of what was never measured, if there is such; it is shared by how often each was (Kaczmarz), and counts the more the less else was there
    const fresh = [...counts].filter(([r]) => !this.known.has(r));
    const shared = fresh.length > 0 ? fresh : [...counts];
    const squares = shared.reduce((n, [, c]) => n + c * c, 0);
    for (const [r, c] of shared) {
      const learns = fresh.length > 0 ? Math.max(LEARNS, c / rows.length) : LEARNS;
      const ms = this.ms[r] + (learns * error * c) / squares;
      // of many sizes at once a plain step's share of the error may be more than all that it takes
      this.ms[r] = r === 1 ? Math.max(ms, this.ms[1] / 2) : Math.min(this.ms[1] * 1.5 * r, Math.max(this.ms[1], ms));
      this.known.add(r);
    }
    this.extrapolate();
    this.unknown = false;
  }

  /** What was never measured costs as much more a row as what was. */
  private extrapolate(): void {
    const { ms, known } = this;
    let row = this.guess * ms[1];
    for (let r = 2; r <= MOST_ROWS; r++) {
      if (known.has(r)) row = Math.max(0, (ms[r] - ms[1]) / (r - 1));
      else ms[r] = ms[r - 1] + row;
    }
  }

  /** A decode step of so many sequences begins: it earns what drafts may lose. */
  earn(sequences: number): void {
    this.credit = Math.min(MOST_CREDIT, this.credit + MAX_LOSS * this.costOf(sequences));
  }

  /** A draft of `drafted` tokens, of which so many were accepted, rode in a step of `rows` rows, itself included, of so many sequences. */
  settle(drafted: number, accepted: number, rows: number, sequences: number): void {
    const extra = this.costOf(rows) - this.costOf(rows - drafted);
    this.credit = Math.min(MOST_CREDIT, this.credit + (accepted * this.costOf(sequences)) / sequences - extra);
  }

  /**
   * The number of tokens to draft for one of `sequences`, of which each is accepted with probability `p`, in a step that has `rows` rows so far: what gives
   * most tokens in the time; 0 when plain decoding does, or when no more may be lost.
   */
  length(p: number, most: number, rows: number, sequences: number, probe = false): number {
    if (this.guess === Infinity || (!this.fixed && (this.known.size === 0 || this.unknown))) return 0;
    const now = this.costOf(rows);
    let best = 0;
    let bestRate = WORTH * (sequences / now);
    let tokens = sequences;
    let chance = 1;
    for (let k = 1; k <= most; k++) {
      chance *= p;
      tokens += chance;
      const cost = this.costOf(rows + k);
      if (cost - now > this.credit) break;
      const rate = tokens / cost;
      if (rate <= bestRate) continue;
      bestRate = rate;
      best = k;
    }
    if (best === 0 && probe && most > 0 && this.costOf(rows + 1) - now <= this.credit) best = 1;
    this.unknown = best > 0 && rows + best <= MOST_ROWS && !this.known.has(rows + best);
    return best;
  }
}

/**
 * Prompt-lookup drafting (Saxena 2023): the tokens that followed the last earlier occurrence of the sequence's last
 * n-gram. Draws depend on (seed, token index) alone and drafted tokens are verified in the same step, so that the
 * tokens are the same with or without; only time differs.
 */
export function draftTokens(seq: Sequence, room: number, s: Speculation, rows: number, sequences: number): readonly number[] {
  seq.sinceDraft++;
  const left = seq.request.maxTokens - seq.generated - 1;
  const most = Math.min(LONGEST, room, left);
  if (most < 1) return [];
  const at = lastOccurrence(seq.ids, NGRAM);
  if (at < 0) return [];
  const p = seq.acceptance ?? FIRST_ACCEPTANCE + SURER * further(seq.ids, at - NGRAM);
  const length = s.length(p, most, rows, sequences, seq.sinceDraft > PROBE_AFTER);
  if (length === 0) return [];
  seq.sinceDraft = 0;
  return seq.ids.slice(at, at + length);
}

/** Learns from a verified draft. */
export function learn(seq: Sequence, drafted: number, accepted: number): void {
  // tokens after the first miss say nothing about acceptance
  const tried = Math.min(drafted, accepted + 1);
  seq.acceptance = (seq.acceptance ?? FIRST_ACCEPTANCE) * 0.75 + (accepted / tried) * 0.25;
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

/** Ids before the n-gram at `at` that are those before the final one, `FAR` at most. */
function further(ids: readonly number[], at: number): number {
  const end = ids.length - NGRAM;
  let n = 0;
  while (n < FAR && ids[at - 1 - n] === ids[end - 1 - n]) n++; // before the first id is none
  return n;
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

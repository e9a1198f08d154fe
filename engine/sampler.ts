import { exp, log } from './math.ts';
import { uniform } from './random.ts';
import type { Sequence } from './sequence.ts';
import type { Sampling, ScoredToken, TokenLogprob } from './types.ts';

/** What topk read back of one row: ids and scaled logits of its best K, and the softmax's maximum and sum. */
export interface Row {
  ids: Uint32Array; // [K]
  vals: Float32Array; // [K], descending
  max: number;
  sum: number;
}

export interface Edit {
  id: number;
  rep: number;
  add: number;
}

export const inverseTemperature = (s: Sampling): number => (s.temperature > 0 ? Math.fround(1 / s.temperature) : 1);

/** Ids that `minTokens` bans from a sequence's next token after `drafted` more tokens. */
export const bannedOf = (seq: Sequence, drafted: readonly number[]): readonly number[] =>
  seq.generated + drafted.length < seq.request.sampling.minTokens ? seq.request.stopIds : [];

/** Penalties, bias and bans of a sequence's next token after `drafted` more tokens, ascending by id. */
export function editsOf(seq: Sequence, drafted: readonly number[], banned: readonly number[]): Edit[] {
  const s = seq.request.sampling;
  if (!seq.counts && s.logitBias.length === 0 && banned.length === 0) return [];
  const edits = new Map<number, Edit>();
  const edit = (id: number): Edit => {
    const e = edits.get(id) ?? { id, rep: 1, add: 0 };
    edits.set(id, e);
    return e;
  };
  if (seq.counts) {
    const counts = new Map(seq.counts);
    for (const id of drafted) counts.set(id, (counts.get(id) ?? 0) + 1);
    for (const [id, n] of counts) {
      const e = edit(id);
      e.rep = Math.fround(s.repetition);
      e.add = Math.fround(-(s.frequency * n + s.presence));
    }
    for (const id of seq.promptIds ?? []) edit(id).rep = Math.fround(s.repetition);
  }
  for (const [id, add] of s.logitBias) {
    const e = edit(id);
    e.add = Math.fround(e.add + add);
  }
  for (const id of banned) edit(id).add = Number.NEGATIVE_INFINITY;
  return [...edits.values()].sort((a, b) => a.id - b.id);
}

/** The chosen id; that the best K do not decide and more of the row must be asked; or that the draw lies beyond them (`drawRest`). */
type Pick = { id: number } | 'row' | 'rest';

/**
 * Chooses token number `index` of a sequence from a row. Candidates go from the best down, ties to the lowest id:
 * top_k, then top_p of what is left, then min_p, then one draw.
 */
export function choose(s: Sampling, index: number, row: Row, vocab: number): Pick {
  if (s.temperature <= 0) return { id: row.ids[0] };
  const K = row.ids.length;
  const whole = K >= vocab;
  const limit = s.topK > 0 ? Math.min(s.topK, vocab) : vocab;
  if (limit > K && !whole) {
    if (limit < vocab) return 'row'; // top_k's mass is not known
    if (s.topP >= 1 && s.minP <= 0) return drawOpen(s, index, row);
    if (s.topP >= 1 && Math.fround(exp(row.vals[K - 1] - row.max)) >= s.minP) return 'row';
  }

  const weights = new Float64Array(Math.min(limit, K));
  let kept = 0;
  let total = 0;
  for (let i = 0; i < weights.length; i++) {
    if (row.vals[i] === Number.NEGATIVE_INFINITY) break; // banned, like all after it
    weights[i] = exp(row.vals[i] - row.max);
    total += weights[i];
    kept++;
  }
  const mass = limit < vocab ? total : row.sum; // of the candidates that top_k left
  if (s.topP < 1) {
    let cum = 0;
    let n = 0;
    while (n < kept && cum < s.topP * mass) cum += weights[n++];
    if (cum < s.topP * mass && limit > K && !whole) return 'row';
    kept = Math.max(1, n);
  }
  if (s.minP > 0) while (kept > 1 && weights[kept - 1] < s.minP * weights[0]) kept--;
  let sum = 0;
  for (let i = 0; i < kept; i++) sum += weights[i];
  const at = uniform(s.seed, index) * sum;
  let cum = 0;
  for (let i = 0; i < kept; i++) {
    cum += weights[i];
    if (at < cum) return { id: row.ids[i] };
  }
  return { id: row.ids[kept - 1] };
}

/** A draw from the whole distribution whose best K are known: 'rest' when it lands beyond them. */
function drawOpen(s: Sampling, index: number, row: Row): Pick {
  const at = uniform(s.seed, index) * row.sum;
  let cum = 0;
  for (let i = 0; i < row.ids.length; i++) {
    cum += exp(row.vals[i] - row.max);
    if (at < cum) return { id: row.ids[i] };
  }
  return 'rest';
}

/**
 * The end of `drawOpen` for a draw beyond the best K: the other ids follow in ascending order. `logits` is the whole row,
 * unscaled.
 */
export function drawRest(s: Sampling, index: number, row: Row, logits: Float32Array): number {
  const at = uniform(s.seed, index) * row.sum;
  const best = new Uint8Array(logits.length);
  for (const id of row.ids) best[id] = 1;
  const invTemp = inverseTemperature(s);
  let cum = 0;
  for (const v of row.vals) cum += exp(v - row.max);
  let last = row.ids[0];
  for (let id = 0; id < logits.length; id++) {
    if (logits[id] === Number.NEGATIVE_INFINITY || best[id] === 1) continue;
    cum += exp(Math.fround(logits[id] * invTemp) - row.max);
    last = id;
    if (at < cum) break;
  }
  return last; // when rounding left the draw above the whole sum, the last id that is not banned
}

const f32 = new Float32Array(1);
const u32 = new Uint32Array(f32.buffer);
const IDS = 1 << 20;

/**
 * Those of a whole row that are not below `from`, as `Row`: sorted by value, ties to the lowest id. `max` and `sum` stay topk's, so that the
 * draw is the same. Only they are sorted.
 */
export function bestOf(logits: Float32Array, invTemp: number, stats: Row, from: number): Row {
  // value and id in one integer below 2⁵², so that a plain numeric sort orders by value, then by id
  const keys = new Float64Array(logits.length);
  let n = 0;
  for (let id = 0; id < logits.length; id++) {
    const v = Math.fround(logits[id] * invTemp);
    if (!(v >= from)) continue;
    f32[0] = v + 0; // + 0: no negative zero
    const bits = u32[0];
    const order = bits >>> 31 ? ~bits >>> 0 : (bits | 0x80000000) >>> 0; // ascending with the value
    keys[n++] = (0xffffffff - order) * IDS + id;
  }
  const best = keys.subarray(0, n).sort();
  const ids = new Uint32Array(n);
  const vals = new Float32Array(n);
  for (let i = 0; i < n; i++) {
    ids[i] = best[i] % IDS;
    vals[i] = logits[ids[i]] * invTemp;
  }
  return { ids, vals, max: stats.max, sum: stats.sum };
}

/** Log-probabilities under the unscaled distribution (after penalties, bias and bans). `row` must be unscaled. */
export function logprobs(row: Row, chosen: number, best: number): { logprob: number; top: readonly TokenLogprob[] } | 'row' {
  const lse = row.max + log(row.sum);
  const at = row.ids.indexOf(chosen);
  if (at < 0) return 'row';
  const top = Array.from({ length: Math.min(best, row.ids.length) }, (_, i) => ({ id: row.ids[i], logprob: floor(row.vals[i] - lse) }));
  return { logprob: floor(row.vals[at] - lse), top };
}

/** A given token's log-probability and rank, and the `best` likeliest; undefined where it is none of the row's and the whole row of logits must be asked. `row` must be unscaled. */
export function scored(row: Row, id: number, best: number, whole?: Float32Array): ScoredToken | undefined {
  const known = logprobs(row, id, best);
  if (known !== 'row') return { id, logprob: known.logprob, rank: row.ids.indexOf(id) + 1, top: known.top };
  if (!whole) return undefined;
  const of = logprobs({ ...row, ids: Uint32Array.of(id), vals: whole.subarray(id, id + 1) }, id, 0);
  const first = logprobs(row, row.ids[0], best);
  if (of === 'row' || first === 'row') throw new Error(`token ${id} is not in its own row`);
  let rank = 1;
  for (let i = 0; i < whole.length; i++) if (whole[i] > whole[id] || (whole[i] === whole[id] && i < id)) rank++;
  return { id, logprob: of.logprob, rank, top: first.top };
}

/** JSON has no -Infinity. */
const floor = (x: number): number => Math.max(-9999, x);

/** Softmax statistics of an unscaled row, when topk's were of a scaled one. */
export function unscaledStats(logits: Float32Array): { max: number; sum: number } {
  let max = Number.NEGATIVE_INFINITY;
  for (const x of logits) if (x > max) max = x;
  let sum = 0;
  for (const x of logits) sum += exp(x - max);
  return { max, sum };
}

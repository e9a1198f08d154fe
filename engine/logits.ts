import { type Allocator, type Backend, type Buf, EDIT_BYTES, SUM_BLOCK, type TopkOut } from './backend.ts';
import { mergeSums } from './numeric.ts';
import type { Best, Landing } from './runner.ts';
import {
  bannedOf,
  bestOf,
  choose,
  drawRest,
  type Edit,
  editsOf,
  inverseTemperature,
  logprobs,
  type Row,
  scored,
  unscaledStats,
} from './sampler.ts';
import type { Slice } from './scheduler.ts';
import type { Sequence } from './sequence.ts';
import type { Constraint, ScoredToken, StepEvent } from './types.ts';

/** Best tokens that are read back of a row: the contract's most; a draw that wants more reads the whole row. */
const K = 64;
/** How far below the last of these one that does is searched, in nats: a little, more, everywhere. */
const FARTHER = [1, 4, Number.POSITIVE_INFINITY];
/**
 * Edits that are applied at once: 300 biases (what a request may give) and 20 bans for each row, and room for penalties of some 2,000 ids;
 * more go in several passes.
 */
const EDITS = 2048;
const ROW_EDITS = 320;
/** In place of a token's id: the constraint allows none, the generation ends. */
export const END = -1;
type Token = StepEvent['tokens'][number];
type WholeRow = (r: number) => Promise<Float32Array>;

/** What a slice's rows came to: tokens that were drawn, and what they tell of the prompt. */
export interface Told {
  tokens: Token[];
  prompt: ScoredToken[];
}

/** A row of logits: what its sequence has drafted before it, and what may be drawn from it. */
interface LogitsRow {
  seq: Sequence;
  drafted: readonly number[];
  /** It tells of the prompt: nothing is drawn, and it stays as it is. */
  scores: boolean;
  /** Nothing may be drawn. */
  ends: boolean;
}

/** From logits to tokens: edits and masks, top-k on the backend, one read, the draw. */
export class LogitsStage {
  private readonly be: Backend;
  private readonly vocab: number;
  private readonly logits: Buf;
  private readonly edits: Buf;
  private readonly masks: Buf;
  private readonly invTemp: Buf;
  private readonly out: Buf;
  private readonly maskWords: number;

  constructor(be: Backend, buffers: LogitsBuffers, logits: Buf, vocab: number) {
    this.be = be;
    this.vocab = vocab;
    this.logits = logits;
    this.maskWords = Math.ceil(vocab / 32);
    this.edits = buffers.edits;
    this.masks = buffers.masks;
    this.invTemp = buffers.invTemp;
    this.out = buffers.out;
  }

  /** Tokens of each slice, in order; none where there are no logits, more than one where a draft was accepted. */
  async sample(slices: readonly Slice[]): Promise<Told[]> {
    const rows: LogitsRow[] = slices.flatMap(({ seq, draft, logits, scores }) =>
      Array.from({ length: logits }, (_, i) => ({ seq, drafted: draft.slice(0, i), scores: i < scores, ends: false })),
    );
    const R = rows.length;
    await this.applyEdits(rows, R);
    this.be.write(this.invTemp, bytesOf(Float32Array.from(rows, (r) => (r.scores ? 1 : inverseTemperature(r.seq.request.sampling)))));
    const k = Math.min(K, this.vocab, rows.every((r) => greedy(r.seq) && !r.scores) ? 1 : K);
    const top: TopkOut = { K: k, data: this.out };
    this.be.topk(top, this.logits, this.invTemp, R, this.vocab);
    const back = await this.be.read(this.out, 0, R * rowBytes(k));
    return this.draw(slices, (r) => (rows[r].ends ? undefined : readRow(back, r, k)), this.readLogits);
  }

  /** The same where the best tokens of each row are here already (`bestOnly`). */
  sampleBest(slices: readonly Slice[], { rows, whole }: Extract<Landing, { rows: unknown }>): Promise<Told[]> {
    return this.draw(slices, (r) => rows[r], whole);
  }

  /** Draws from rows; there is none where nothing may be drawn. `whole`: all logits of one. */
  private async draw(slices: readonly Slice[], rowOf: (r: number) => Row | undefined, whole: WholeRow): Promise<Told[]> {
    const all: Told[] = [];
    let r = 0;
    for (const { seq, start, count, logits, scores, draft } of slices) {
      const told: Told = { tokens: [], prompt: [] };
      for (let i = 0; i < scores; i++) {
        const of = seq.ids[start + count - logits + i + 1];
        told.prompt.push(await this.score(of, seq.request.promptLogprobs ?? 0, rowOf(r + i), () => whole(r + i)));
      }
      r += scores;
      for (let i = 0; i < logits - scores && seq.error === undefined; i++) {
        const row = rowOf(r + i);
        const token = row ? await this.pick(seq, seq.generated + i, row, () => whole(r + i)) : { id: END };
        told.tokens.push(token);
        if (token.id !== draft[i]) break;
      }
      r += logits - scores;
      all.push(told);
    }
    return all;
  }

  /** Log-probability and rank of a token in row r, and the n best; the softmax's statistics are topk's, as for a token that was drawn. */
  private async score(id: number, n: number, row: Row | undefined, all: () => Promise<Float32Array>): Promise<ScoredToken> {
    if (!row) throw new Error('a row that tells of a prompt is not here');
    return scored(row, id, n) ?? (scored(row, id, n, await all()) as ScoredToken);
  }

  private async pick(seq: Sequence, index: number, row: Row, all: () => Promise<Float32Array>): Promise<Token> {
    const s = seq.request.sampling;
    const invTemp = inverseTemperature(s);
    let whole: Float32Array | undefined;
    let picked = choose(s, index, row, this.vocab);
    if (typeof picked === 'string') {
      whole = await all();
      if (picked === 'rest') picked = { id: drawRest(s, index, row, whole) };
      const least = row.vals[row.vals.length - 1];
      for (const nats of FARTHER)
        if (typeof picked === 'string') picked = choose(s, index, bestOf(whole, invTemp, row, least - nats), this.vocab);
      if (typeof picked === 'string') throw new Error('a whole row of logits did not decide a draw');
    }
    if (!(picked.id >= 0 && picked.id < this.vocab)) throw new Error('no token can be drawn: the logits are no numbers, or all banned');
    if (s.logprobs === undefined) return { id: picked.id };
    let lp = invTemp === 1 ? logprobs(row, picked.id, s.logprobs) : 'row';
    if (lp === 'row' || (lp.top.length < s.logprobs && row.ids.length < this.vocab)) {
      const logits = (whole ??= await all());
      const stats = { ...row, ...(invTemp === 1 ? {} : unscaledStats(logits)) };
      // so many of the scaled row's best bound the unscaled row's best
      const bound = row.ids.length < s.logprobs ? [] : row.ids.subarray(0, Math.max(1, s.logprobs));
      const least =
        bound.length > 0 && bound.every((id) => id < this.vocab) ? Math.min(...Array.from(bound, (id) => logits[id])) : -Infinity;
      lp = scored(bestOf(logits, 1, stats, least), picked.id, s.logprobs, logits) ?? 'row';
    }
    if (lp === 'row') throw new Error(`token ${picked.id} is not in its own row`);
    return { id: picked.id, logprob: lp.logprob, top: lp.top };
  }

  private readonly readLogits: WholeRow = async (r) => {
    const bytes = await this.be.read(this.logits, r * this.vocab * 4, this.vocab * 4);
    return new Float32Array(bytes.buffer, bytes.byteOffset, this.vocab);
  };

  private async applyEdits(rows: LogitsRow[], R: number): Promise<void> {
    const list: (Edit & { row: number })[] = [];
    const masks = rows.some((r) => r.seq.request.constraint) ? new Uint32Array(R * this.maskWords).fill(0xffffffff) : undefined;
    rows.forEach((r, row) => {
      try {
        const { seq, drafted } = r;
        if (r.scores) return;
        let banned = bannedOf(seq, drafted);
        const allowed = ahead(seq.request.constraint, drafted)?.mask();
        if (allowed) {
          masks?.set(allowed.subarray(0, this.maskWords), row * this.maskWords);
          if (!offers(allowed, banned)) banned = []; // the constraint's end comes before minTokens
          r.ends = !offers(allowed, banned);
        }
        for (const e of editsOf(seq, drafted, banned)) list.push({ ...e, row });
      } catch (error) {
        r.seq.fail(error); // the step goes on for the others
      }
    });
    if (masks) this.be.write(this.masks, bytesOf(masks));
    const mask = masks ? this.masks : null;
    const capacity = Math.floor(this.edits.bytes / EDIT_BYTES);
    for (let from = 0; from < list.length; from += capacity) {
      const part = list.slice(from, from + capacity);
      const view = new DataView(new ArrayBuffer(part.length * EDIT_BYTES));
      part.forEach((e, i) => {
        view.setUint32(i * EDIT_BYTES, e.row, true);
        view.setUint32(i * EDIT_BYTES + 4, e.id, true);
        view.setFloat32(i * EDIT_BYTES + 8, e.rep, true);
        view.setFloat32(i * EDIT_BYTES + 12, e.add, true);
      });
      if (from > 0) await this.be.submit(); // the buffer is about to be written again
      this.be.write(this.edits, new Uint8Array(view.buffer));
      this.be.editLogits(this.logits, R, this.vocab, this.edits, part.length, null);
    }
    if (mask) this.be.editLogits(this.logits, R, this.vocab, null, 0, mask);
  }
}

/** Whether a mask allows an id that is not banned. */
function offers(mask: Uint32Array, banned: readonly number[]): boolean {
  return mask.some((word, w) => word !== 0 && banned.reduce((left, id) => (id >> 5 === w ? left & ~(1 << (id & 31)) : left), word) !== 0);
}

/** The constraint as it would be after the drafted tokens. */
function ahead(c: Constraint | undefined, drafted: readonly number[]): Constraint | undefined {
  if (!c || drafted.length === 0) return c;
  const copy = c.clone?.();
  for (const id of drafted) copy?.accept(id);
  return copy;
}

export interface LogitsBuffers {
  edits: Buf;
  masks: Buf;
  invTemp: Buf;
  out: Buf;
}

export function allocLogits(be: Allocator, R: number, vocab: number): LogitsBuffers {
  return {
    edits: be.alloc((EDITS + ROW_EDITS * R) * EDIT_BYTES, 'edits'),
    masks: be.alloc(R * Math.ceil(vocab / 32) * 4, 'masks'),
    ...allocBest(be, R),
  };
}

/** What topk of R rows needs. `rows`: of the head's part, whose sums go on elsewhere. */
export const allocBest = (be: Allocator, R: number, rows = 0): { invTemp: Buf; out: Buf; blocks?: Buf } => ({
  invTemp: be.alloc(R * 4, 'invTemp'),
  out: be.alloc(R * rowBytes(K), 'topk'),
  ...(rows > 0 && { blocks: be.alloc(R * blockBytes(rows), 'sums') }),
});

/** Bytes of the sums of a row's part. */
export const blockBytes = (rows: number): number => Math.ceil(rows / SUM_BLOCK) * 8;

/**
 * Whether the best tokens of each row and its sum decide all draws of a step, so that whole rows need not be at hand; and how many do. A draw
 * without top_k may still want a row: one beyond the best, or top_p or min_p that reach beyond them.
 */
export function bestOnly(slices: readonly Slice[], vocab: number): Best | undefined {
  const rows = slices.filter((s) => s.logits > 0);
  const decided = rows.every(({ seq, draft, scores }) => {
    const { topK, logprobs, logitBias } = seq.request.sampling;
    if (scores > 0) return false;
    const plain = !seq.request.constraint && !seq.counts && logitBias.length === 0 && bannedOf(seq, []).length === 0;
    const told = logprobs === undefined || inverseTemperature(seq.request.sampling) === 1; // else they are of another sum
    return plain && told && (topK <= Math.min(K, vocab) || topK >= vocab) && draft.length < K;
  });
  if (!decided || rows.length === 0) return undefined;
  const invTemp = rows.flatMap(({ seq, logits }) => new Array<number>(logits).fill(inverseTemperature(seq.request.sampling)));
  return { k: rows.every((r) => greedy(r.seq)) ? 1 : Math.min(K, vocab), invTemp: Float32Array.from(invTemp) };
}

/** Bytes of a row that topk answers. */
export const rowBytes = (k: number): number => (2 * k + 2) * 4;

/** A part's answer of a row: its best, with ids from its first token's id on, and max and sum of each of its blocks. */
interface PartRow {
  row: Row;
  from: number;
  blocks: Float32Array;
}

/** A row from those of its parts, in their order: the best k, and the sum as one piece has it. */
export function mergeRows(parts: readonly PartRow[], k: number): Row {
  const ids = new Uint32Array(k).fill(NONE);
  const vals = new Float32Array(k).fill(Number.NEGATIVE_INFINITY);
  const at = parts.map(() => 0);
  for (let i = 0; i < k; i++) {
    let best = -1; // ties to the first part, whose ids are lower
    parts.forEach(({ row }, p) => {
      const better = at[p] < k && row.ids[at[p]] !== NONE && (best < 0 || row.vals[at[p]] > parts[best].row.vals[at[best]]);
      if (better) best = p;
    });
    if (best < 0) break;
    const { row, from } = parts[best];
    ids[i] = row.ids[at[best]] + from;
    vals[i] = row.vals[at[best]++];
  }
  return { ids, vals, ...mergeSums(parts.flatMap(({ blocks }) => [...blocks])) };
}

/** In place of an id where there is no winner. */
const NONE = 0xffffffff;

/** Greedy without logprobs needs the best token only. */
const greedy = (seq: Sequence): boolean => seq.request.sampling.temperature <= 0 && seq.request.sampling.logprobs === undefined;

export const bytesOf = (a: Float32Array | Uint32Array): Uint8Array => new Uint8Array(a.buffer, a.byteOffset, a.byteLength);

/** Row r of what topk answered. */
export function readRow(bytes: Uint8Array, r: number, k: number): Row {
  const at = bytes.byteOffset + r * rowBytes(k);
  const stats = new Float32Array(bytes.buffer, at + 2 * k * 4, 2);
  return { ids: new Uint32Array(bytes.buffer, at, k), vals: new Float32Array(bytes.buffer, at + k * 4, k), max: stats[0], sum: stats[1] };
}

/** Row r of what a part of the head answered to `best` (Stage.head): R rows of topk, then their sums. `rows`: of the part. */
export function readPart(
  bytes: Uint8Array,
  r: number,
  { R, k, rows }: { R: number; k: number; rows: number },
): Pick<PartRow, 'row' | 'blocks'> {
  const own = k > 1 ? blockBytes(rows) : 0;
  return { row: readRow(bytes, r, k), blocks: new Float32Array(bytes.buffer, bytes.byteOffset + R * rowBytes(k) + r * own, own / 4) };
}

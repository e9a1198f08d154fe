/**
 * A model in stages: what of it each isolate holds when it is larger than one. A token goes through embedding, layers and head in order; which
 * isolates these are in changes no bit. Ranges are half open; those of layers cover all layers in the order of the list, those of `embed` and
 * `head` all of the vocabulary, ascending.
 */

/** Bytes of one isolate, as `Plan.bytes` of the engine has them. */
export interface StageBytes {
  limit: number;
  js: number;
  weights: number;
  scratch: number;
  kv: number;
}

/** What one isolate holds. */
export interface StagePart {
  /** Its layers, with their part of every KV page; from = to: none. */
  layers: readonly [from: number, to: number];
  /** Rows of the embedding that it looks up, whole groups of 8 but for the last. Absent: none. */
  embed?: readonly [from: number, to: number];
  /** Rows of the head whose logits it makes, likewise. In a tied model the same rows as `embed` are held once. Absent: none. */
  head?: readonly [from: number, to: number];
}

export interface Stage extends StagePart {
  /** The replica's own isolate, beside tokenizer, scheduler and sampler: the first of the list, or none. */
  replica?: boolean;
  bytes: StageBytes;
}

/** How a model is served by several isolates. Sizes of a step and pages are the same in all: a page has one number, and a part in each that has layers. */
export interface StagesPlan {
  stages: readonly Stage[];
  /** The replica's isolate, whether or not it is also a stage: tokenizer, page table, logits of a step. */
  replica: StageBytes;
  pages: number;
  /** Pages of which layers that slide keep their part; all unless given. */
  windowPages?: number;
  /** Tokens a sequence. */
  context: number;
  /** Tokens a step. */
  maxTokens: number;
  /** Sequences a step. */
  maxSequences: number;
  /** Cores that the isolates have together, where whoever starts them knows it: as many groups of sequences decode at once. */
  cores?: number;
}

/** Isolates that a plan takes. */
export const isolatesOf = (p: StagesPlan): number => p.stages.length + (p.stages.some((s) => s.replica) ? 0 : 1);

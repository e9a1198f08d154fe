import type { Allocator, KvFormat } from './backend.ts';
import type { ModelConfig } from './config.ts';
import { PAGE, pageBytes } from './layout.ts';
import { allocLogits } from './logits.ts';
import type { Formats } from './model.ts';
import { allocRunner, kvShape, poolShapes, type RunnerSize } from './runner.ts';
import { windowPages } from './windows.ts';

export interface PlanInput {
  config: ModelConfig;
  formats: Formats;
  kv: KvFormat;
  /** Bytes of all weights on the backend. */
  weightBytes: number;
  /** What the isolate may hold in all. */
  memoryBytes: number;
  /** What JavaScript needs of it: heap, tokenizer, code. */
  jsBytes: number;
  /** Adds up what `build` allocates on this backend (alignment, static data and all). */
  measure: (build: (be: Allocator) => void) => number;
  /** Engines that share the weights and this memory, 1 unless given: each gets its own scratch and an equal share of the pages. */
  engines?: number;
  /** Wishes; the plan gives what fits. */
  context?: number;
  maxTokens?: number;
  maxSequences?: number;
  pages?: number;
  /** Bytes for adapters in each engine; none unless given. */
  adapterBytes?: number;
}

export interface Plan extends RunnerSize {
  pages: number;
  kv: KvFormat;
  bytes: { limit: number; js: number; weights: number; scratch: number; kv: number };
}

export class MemoryPlanError extends Error {
  override name = 'MemoryPlanError';
}

/** Sequences a step, unless asked for otherwise: as many as logits of LOGITS_BYTES allow, within this and LEAST_ROWS. */
const SEQUENCES = 64;
/** What a step's logits may take, 2.3 % of an isolate of 128 MB. */
const LOGITS_BYTES = 3 << 20;
/** Rows of logits at least, so that one sequence alone can check drafted tokens (engine/speculate.ts); where they are, as many sequences may use them. */
const LEAST_ROWS = 8;
/** Tokens a step, unless asked for otherwise: the size that docs/performance.md measures prefill at. */
const STEP_TOKENS = 128;
/** A context below which a step is made smaller, and the sizes that are tried then. */
const WORTH_SMALLER_STEPS = 1024;
const SMALLER_STEPS = [
  { maxTokens: 64, maxSequences: 8 },
  { maxTokens: 32, maxSequences: LEAST_ROWS },
];
/** Pages that one sequence must be able to have: 256 tokens, less is of no use. */
const USEFUL_PAGES = 16;
/** Pages beyond which more would hardly be hit: eight whole contexts, or 8,192 tokens. */
const CONTEXTS = 8;
const ENOUGH_PAGES = 512;

const MB = (n: number): string => `${(n / 1048576).toFixed(1)} MB`;

type Wishes = Pick<PlanInput, 'maxTokens' | 'maxSequences'>;

/** What a step takes, for contexts of a length: as wished, else as the vocabulary allows. */
export function stepSize(c: ModelConfig, wishes: Wishes, context: number): RunnerSize {
  const maxSequences = wishes.maxSequences ?? Math.max(LEAST_ROWS, Math.min(SEQUENCES, Math.floor(LOGITS_BYTES / (c.vocab * 4))));
  return {
    context,
    maxTokens: Math.max(wishes.maxTokens ?? STEP_TOKENS, maxSequences),
    maxSequences,
    maxRows: Math.max(maxSequences, LEAST_ROWS),
    maxBlocks: Math.ceil(context / PAGE),
  };
}

/** Bytes of so many pages, and of how many of them layers that slide keep their part (undefined: of all). */
export function kvBytes(c: ModelConfig, kv: KvFormat, size: Pick<RunnerSize, 'context' | 'maxTokens'>, pages: number) {
  const seen = windowPages(c, size, pages);
  if (seen === undefined) return { bytes: pages * pageBytes(kvShape(c, kv)) };
  const { kept, slid } = poolShapes(c, kv);
  return { bytes: pages * pageBytes(kept) + seen * pageBytes(slid), windowPages: seen };
}

/** The most pages of which `bytes` does not exceed what there is. */
export function mostPages(free: number, bytes: (pages: number) => number): number {
  let [fits, not] = [0, 1];
  if (bytes(1) === 0) return Number.POSITIVE_INFINITY;
  while (bytes(not) <= free) [fits, not] = [not, not * 2];
  while (not - fits > 1) {
    const middle = (fits + not) >> 1;
    if (bytes(middle) <= free) fits = middle;
    else not = middle;
  }
  return fits;
}

/** Pages for contexts of a length beyond which more would hardly be hit. */
export const enoughPages = (context: number): number => Math.max(Math.ceil(context / PAGE) * CONTEXTS, ENOUGH_PAGES);

/**
 * Divides the isolate's memory: weights and JavaScript as given, scratch for a step, and pages from what is left.
 * Throws MemoryPlanError with the arithmetic when not even one sequence of useful length fits.
 */
export function planMemory(input: PlanInput): Plan {
  const { config: c, formats, kv, weightBytes, memoryBytes, jsBytes, engines = 1, adapterBytes = 0 } = input;
  const wanted = Math.min(c.context, input.context ?? c.context);
  const planFor = (context: number, wishes: Wishes) => {
    const size = { ...stepSize(c, wishes, context), kv, ...(adapterBytes > 0 && { adapters: adapterBytes }) };
    const { windowPages } = kvBytes(c, kv, size, 1);
    const p = { ...size, ...(windowPages !== undefined && { windowPages }) };
    const scratch =
      engines *
      input.measure((be) => {
        allocRunner(be, c, formats, p);
        allocLogits(be, p.maxRows, c.vocab);
      });
    const free = (memoryBytes - jsBytes - weightBytes - scratch) / engines;
    return { p, scratch, fit: mostPages(free, (n) => kvBytes(c, kv, p, n).bytes) };
  };
  // tables grow with the context, and a context longer than all pages is of no use: the longest whose pages fit
  const longest = (wishes: Wishes) => {
    const whole = planFor(wanted, wishes);
    if (whole.fit * PAGE >= wanted) return whole;
    let [most, none] = [Math.min(USEFUL_PAGES, Math.ceil(wanted / PAGE)), Math.ceil(wanted / PAGE)];
    while (none - most > 1) {
      const middle = (most + none) >> 1;
      if (planFor(middle * PAGE, wishes).fit >= middle) most = middle;
      else none = middle;
    }
    return planFor(Math.min(wanted, most * PAGE), wishes);
  };
  let { p: plan, scratch, fit } = longest(input);
  // where memory binds, smaller steps leave room for a longer conversation
  for (const smaller of SMALLER_STEPS) {
    if (plan.context >= Math.min(wanted, WORTH_SMALLER_STEPS)) break;
    const { maxTokens = smaller.maxTokens, maxSequences = smaller.maxSequences } = input;
    ({ p: plan, scratch, fit } = longest({ maxTokens, maxSequences }));
  }
  const useful = Math.min(plan.maxBlocks, USEFUL_PAGES);
  if (fit < useful) {
    const least = kvBytes(c, kv, plan, useful).bytes;
    throw new MemoryPlanError(
      `the model does not fit: weights ${MB(weightBytes)} + JavaScript ${MB(jsBytes)} + scratch ${MB(scratch)}${ofAdapters(adapterBytes * engines)} + ` +
        `${useful} KV pages of ${(least / useful / 1024).toFixed(1)} KB = ${MB(weightBytes + jsBytes + scratch + least)}, ` +
        `but the isolate has ${MB(memoryBytes)}. Use a smaller model or format, or set MEMORY_MB where the host allows more.`,
    );
  }
  const pages = Math.min(fit, input.pages ?? enoughPages(plan.context));
  const held = kvBytes(c, kv, plan, pages);
  const bytes = { limit: memoryBytes, js: jsBytes, weights: weightBytes, scratch, kv: engines * held.bytes };
  return { ...plan, ...(held.windowPages !== undefined && { windowPages: held.windowPages }), pages, bytes };
}

const ofAdapters = (bytes: number): string => (bytes > 0 ? ` (adapters ${MB(bytes)} of it)` : '');

/** The plan in a line, for logs and /ready. */
export function describePlan(p: Pick<Plan, 'bytes' | 'pages'>): string {
  const b = p.bytes;
  const total = b.js + b.weights + b.scratch + b.kv;
  return (
    `${MB(total)} of ${MB(b.limit)}: weights ${MB(b.weights)}, KV ${MB(b.kv)} (${p.pages} pages, ${p.pages * PAGE} tokens), ` +
    `scratch ${MB(b.scratch)}, JavaScript ${MB(b.js)}`
  );
}

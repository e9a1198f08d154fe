import type { Allocator, KvFormat } from './backend.ts';
import { BatchBuffers } from './batch.ts';
import type { ModelConfig } from './config.ts';
import { PAGE, pageBytes } from './layout.ts';
import { allocLogits } from './logits.ts';
import { allocScratch, type Formats } from './model.ts';

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
}

export interface Plan {
  context: number; // tokens a sequence may have
  maxTokens: number; // T
  maxSequences: number; // S
  maxRows: number; // R
  maxBlocks: number;
  pages: number;
  kv: KvFormat;
  bytes: { limit: number; js: number; weights: number; scratch: number; kv: number };
}

export class MemoryPlanError extends Error {
  override name = 'MemoryPlanError';
}

const MB = (n: number): string => `${(n / 1048576).toFixed(1)} MB`;

/** Allocates everything of an engine but weights and pages; the same code counts for the plan and runs for real. */
export function allocState(be: Allocator, c: ModelConfig, formats: Formats, p: Omit<Plan, 'bytes' | 'pages'>) {
  const { maxTokens: T, maxRows: R, maxSequences: S, maxBlocks } = p;
  return {
    scratch: allocScratch(be, c, formats, T, R),
    batch: new BatchBuffers(be, { T, S, R, maxBlocks }),
    logits: allocLogits(be, R, c.vocab),
    table: be.alloc(p.context * c.headDim * 4, 'rope'),
  };
}

/**
 * Divides the isolate's memory: weights and JavaScript as given, scratch for a step, and pages from what is left.
 * Throws MemoryPlanError with the arithmetic when not even one sequence of useful length fits.
 */
export function planMemory(input: PlanInput): Plan {
  const { config: c, formats, kv, weightBytes, memoryBytes, jsBytes, engines = 1 } = input;
  const shape = { format: kv, layers: c.layers, kvHeads: c.kvHeads, headDim: c.headDim };
  const page = pageBytes(shape);
  const logitsRow = c.vocab * 4;
  const wish = input.maxSequences ?? 64;
  const maxSequences = input.maxSequences ?? Math.max(4, Math.min(wish, Math.floor((3 << 20) / logitsRow)));
  const wanted = Math.min(c.context, input.context ?? c.context);
  const planFor = (context: number) => {
    const p = {
      context,
      maxTokens: Math.max(input.maxTokens ?? 128, maxSequences),
      maxSequences,
      maxRows: Math.max(maxSequences, 8),
      maxBlocks: Math.ceil(context / PAGE),
      kv,
    };
    const scratch = engines * input.measure((be) => void allocState(be, c, formats, p));
    return { p, scratch, fit: Math.floor((memoryBytes - jsBytes - weightBytes - scratch) / page / engines) };
  };
  // tables grow with the context, and a context longer than all pages is of no use
  let { p: plan, scratch, fit } = planFor(wanted);
  if (fit * PAGE < wanted) ({ p: plan, scratch, fit } = planFor(Math.min(wanted, Math.max(fit, 16) * PAGE)));
  const useful = Math.min(plan.maxBlocks, 16); // 256 tokens
  if (fit < useful) {
    throw new MemoryPlanError(
      `the model does not fit: weights ${MB(weightBytes)} + JavaScript ${MB(jsBytes)} + scratch ${MB(scratch)} + ` +
        `${useful} KV pages of ${(page / 1024).toFixed(1)} KB = ${MB(weightBytes + jsBytes + scratch + useful * page)}, ` +
        `but the isolate has ${MB(memoryBytes)}. Use a smaller model or format, or set MEMORY_MB where the host allows more.`,
    );
  }
  const pages = Math.min(fit, input.pages ?? Math.max(plan.maxBlocks * 8, 512));
  return { ...plan, pages, bytes: { limit: memoryBytes, js: jsBytes, weights: weightBytes, scratch, kv: engines * pages * page } };
}

/** The plan in a line, for logs and /ready. */
export function describePlan(p: Plan): string {
  const b = p.bytes;
  const total = b.js + b.weights + b.scratch + b.kv;
  return (
    `${MB(total)} of ${MB(b.limit)}: weights ${MB(b.weights)}, KV ${MB(b.kv)} (${p.pages} pages, ${p.pages * PAGE} tokens), ` +
    `scratch ${MB(b.scratch)}, JavaScript ${MB(b.js)}`
  );
}

/** What an embedder's isolate holds, planned before ONNX Runtime starts. */
import { ModelFileError } from '../models/error.ts';
import type { EmbeddingManifest } from './manifest.ts';

const MB = 1 << 20;

/** JavaScript before any model: the bundle, Hono's share, V8's own. */
const JS_BASE = 16 * MB;
/** A token of the vocabulary in JavaScript: its text, its place in two maps. */
const TOKEN_BYTES = 200;

export interface MemoryPlan {
  limit: number;
  /** ONNX Runtime's memory with the model, after the largest batch. */
  heap: number;
  /** The model's file while it is read. */
  file: number;
  /** JavaScript: itself, and the tokenizer. */
  js: number;
}

/** Throws ModelFileError with the arithmetic when the model does not fit into `limitMb`. */
export function planMemory(m: EmbeddingManifest, limitMb: number, vocabulary: number): MemoryPlan {
  // not measured: what loading takes is near three times the file (its bytes, the parsed graph, the weights)
  const heap = m.heapBytes || 32 * MB + 3 * m.model.bytes;
  const plan = { limit: limitMb * MB, heap, file: m.model.bytes, js: JS_BASE + vocabulary * TOKEN_BYTES };
  const need = plan.heap + plan.file + plan.js;
  if (need > plan.limit) {
    const mb = (n: number) => `${(n / MB).toFixed(1)} MB`;
    throw new ModelFileError(
      `model "${m.name}"`,
      `needs ${mb(need)} of ${mb(plan.limit)}: ONNX Runtime with the model ${mb(plan.heap)}, the file while it is read ${mb(plan.file)}, ` +
        `JavaScript and a tokenizer of ${vocabulary} tokens ${mb(plan.js)}. Take a smaller model, quantize it to int8, lower batchTokens or ` +
        'maxTokens in its pack, or raise EMBED_MEMORY_MB where the host allows.',
    );
  }
  return plan;
}

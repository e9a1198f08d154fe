/** What a model did not expect: the negative log-likelihood of every token of a text, through the forward pass as the engine runs it. */
import type { Backend, KvFormat, ModelConfig, ModelWeights } from '../../engine/index.ts';
import { PAGE } from '../../engine/layout.ts';
import { Runner } from '../../engine/runner.ts';

export interface Runnable {
  config: ModelConfig;
  backend: Backend;
  weights: ModelWeights;
}

/** What a runner for sequences of at most T tokens takes. */
export const sizeOf = (T: number) => ({ maxTokens: T, maxSequences: 1, maxRows: T, maxBlocks: Math.ceil(T / PAGE), context: T });

/** −log p, in nats, of every token after the first of each sequence, one after the other. Sequences share nothing. */
export async function surprises(
  { config, backend: be, weights }: Runnable,
  kv: KvFormat,
  sequences: readonly (readonly number[])[],
  progress: (done: number) => void = () => {},
): Promise<number[]> {
  const size = sizeOf(Math.max(...sequences.map((s) => s.length)));
  const runner = new Runner({ backend: be, config, weights, size, kv, pages: size.maxBlocks });
  const pages = Array.from({ length: size.maxBlocks }, (_, i) => i);
  const row = config.vocab * 4;
  const out: number[] = [];
  for (const [n, s] of sequences.entries()) {
    const count = s.length - 1;
    runner.run([{ seq: { ids: s, pages }, start: 0, count, logits: count, draft: [] }]);
    for (let i = 0; i < count; i++) {
      const raw = await be.read(runner.logits, i * row, row);
      out.push(surprise(new Float32Array(raw.buffer, raw.byteOffset, config.vocab), s[i + 1]));
    }
    progress(n + 1);
  }
  return out;
}

/** −log softmax(row)[id]. */
export function surprise(row: Float32Array, id: number): number {
  let top = -Infinity;
  for (const x of row) if (x > top) top = x;
  let sum = 0;
  for (const x of row) sum += Math.exp(x - top);
  return Math.log(sum) + top - row[id];
}

export const perplexityOf = (nats: readonly number[]): number => Math.exp(nats.reduce((a, x) => a + x, 0) / nats.length);

/** By how much `b`'s perplexity is above `a`'s on the same tokens, in percent, and the standard error of that. */
export function difference(a: readonly number[], b: readonly number[]): { percent: number; error: number } {
  const d = b.map((x, i) => x - a[i]);
  const mean = d.reduce((s, x) => s + x, 0) / d.length;
  const deviation = Math.sqrt(d.reduce((s, x) => s + (x - mean) ** 2, 0) / d.length);
  return { percent: 100 * (Math.exp(mean) - 1), error: (100 * deviation) / Math.sqrt(d.length) };
}

/** The engine alone: prefill and decode at several lengths, depths and batch sizes, in workerd and in Node. */
import { type Batcher, type Contender, inNode, inWorkerd } from '../contenders.ts';
import { randomIds } from '../engine/runner.ts';
import { packOf, randomModel } from '../model.ts';
import type { Bench } from '../report.ts';
import { alternate, median, spread } from '../stats.ts';
import type { BenchWorker } from '../workerd/host.ts';

export const CONTEXT = 2048;
export const BATCHES = [1, 2, 4, 8, 16] as const;
const VOCAB = 49152;
let seed = 1000;

/** A prompt that nobody has seen. */
export const fresh = (n: number): number[] => randomIds(n, VOCAB, seed++);
/** A prompt that is seen again and again. */
export const deep = (n: number): number[] => randomIds(n, VOCAB, 7);

const slow = (contenders: readonly Contender[]) => contenders.filter((c) => c.slow).map((c) => c.name);

/** tokens/s of prefill (n tokens, never cached) by contender, in alternating runs. */
export function prefillRates(bench: Bench, contenders: readonly Contender[], n: number, rounds = bench.rounds, warm = true) {
  const prompts = Array.from({ length: rounds + 1 }, () => fresh(n)); // the first to warm up
  const run = (c: Contender) => async (round: number) => (1000 * n) / (await c.prefill(prompts[round + 1]));
  const runs = Object.fromEntries(contenders.map((c) => [c.name, run(c)]));
  return alternate(runs, rounds, {
    warm,
    once: slow(contenders),
    onRun: (name, r, value) => bench.progress(`pp${n} round ${r + 1} of ${rounds}: ${name} ${value.toFixed(1)}/s`),
  });
}

/** tokens/s of decode at a depth by contender, in alternating runs. */
export function decodeRates(bench: Bench, contenders: readonly Contender[], depth: number, steps = 64, rounds = bench.rounds) {
  const prompt = deep(Math.max(1, depth));
  const runs = Object.fromEntries(contenders.map((c) => [c.name, async () => (1000 * steps) / (await c.decode(prompt, steps))]));
  return alternate(runs, rounds, {
    warm: true,
    once: slow(contenders),
    onRun: (name, r, value) => bench.progress(`tg${steps} at depth ${depth}, round ${r + 1} of ${rounds}: ${name} ${value.toFixed(1)}/s`),
  });
}

/** tokens/s of all sequences together, by batch size, in alternating runs. */
export async function batchRates(bench: Bench, contender: Batcher, steps = 32): Promise<Record<string, number[]>> {
  const rates: Record<string, number[]> = Object.fromEntries(BATCHES.map((b) => [b, []]));
  for (let round = -1; round < bench.rounds; round++) {
    for (const batch of BATCHES) {
      const prompts = Array.from({ length: batch }, (_, i) => randomIds(16, VOCAB, 50 + i));
      const { ms, tokens } = await contender.batch(prompts, steps);
      if (round >= 0) rates[batch].push((1000 * tokens) / ms);
      bench.progress(`batch ${batch}: ${((1000 * tokens) / ms).toFixed(1)}/s`);
    }
  }
  return rates;
}

export async function engine(bench: Bench, worker: BenchWorker): Promise<void> {
  const gguf = await randomModel('smollm2-135m', 'Q4_0', bench.progress);
  const pack = await packOf(gguf, bench.progress);
  await worker.upload(pack);
  await worker.load({ id: pack.id, context: CONTEXT, sequences: 16 });
  const node = await inNode(pack.folder, { context: CONTEXT, sequences: 16 });
  bench.note(`Node runs the ${node.variant} build (it has relaxed SIMD from Node 22 on).`);
  const both = [inWorkerd(worker), node];
  for (const n of [32, 128, 512]) {
    const rates = await prefillRates(bench, both, n);
    for (const [name, value] of Object.entries(rates)) bench.figure({ name: `pp${n} ${name}`, unit: 'tokens/s', value });
  }
  for (const depth of [0, 1024]) {
    const rates = await decodeRates(bench, both, depth);
    for (const [name, value] of Object.entries(rates)) bench.figure({ name: `tg64 at depth ${depth} ${name}`, unit: 'tokens/s', value });
  }
  for (const contender of both) {
    const batches = await batchRates(bench, contender);
    const one = median(batches[1]);
    for (const batch of BATCHES) {
      const value = spread(batches[batch]);
      const note = `${(value.median / one).toFixed(2)}× of one`;
      bench.figure({ name: `decode of ${batch} together, ${contender.name}`, unit: 'tokens/s', value, note });
    }
  }
  await node.close();
}

/** Real models as their files have them, beside native llama.cpp on the same files: one thread each, alternating runs. */
import { inWorkerd, llamaCpp } from '../contenders.ts';
import { packOf } from '../model.ts';
import { installPeers } from '../peers/install.ts';
import { REAL_MODELS, type RealName, realModel } from '../real-models.ts';
import type { Bench } from '../report.ts';
import { median, spread } from '../stats.ts';
import type { BenchWorker } from '../workerd/host.ts';
import { BATCHES, batchRates } from './engine.ts';
import { columnFigures, columns, NATIVE, TURNSTONE } from './peers.ts';

const MODELS: readonly RealName[] = ['smollm2', 'qwen-coder', 'gemma3'];
/** Those whose figures are held to targets. */
const HELD: readonly RealName[] = ['smollm2', 'qwen-coder'];
const CONTEXT = 1280;
/** Column, wanted against native llama.cpp. */
const RATIOS = [
  ['pp128', 1],
  ['pp512', 1],
  ['tg64 at depth 0', 1.15],
  ['tg64 at depth 1024', 1.15],
] as const;

export async function real(bench: Bench, worker: BenchWorker): Promise<void> {
  installPeers(bench.progress);
  for (const model of MODELS) {
    if (bench.only && !bench.only.includes(model)) continue;
    const { path, missing } = realModel(model);
    const { name } = REAL_MODELS[model];
    if (missing) {
      bench.note(`${name}: skipped, ${missing}`);
      continue;
    }
    const pack = await packOf(path, bench.progress);
    bench.progress(`loading ${name}`);
    await worker.upload(pack);
    await worker.load({ id: pack.id, context: CONTEXT, sequences: BATCHES.at(-1)!, verify: false });
    const native = await llamaCpp(path, CONTEXT);
    try {
      const list = await columns(bench, [inWorkerd(worker), native]);
      columnFigures(bench, `${name}: `, list);
      for (const [column, want] of HELD.includes(model) ? RATIOS : []) {
        const { rates } = list.find((c) => c.name === column)!;
        const got = rates[TURNSTONE].median / rates[NATIVE].median;
        bench.target({ name: `${name}: ${column} against native llama.cpp`, got, want, unit: '×' });
      }
    } finally {
      await native.close();
    }
    const batches = await batchRates(bench, inWorkerd(worker));
    const one = median(batches[1]);
    for (const b of BATCHES) {
      const note = `${(median(batches[b]) / one).toFixed(2)}× of one`;
      bench.figure({ name: `${name}: decode of ${b} together`, unit: 'tokens/s', value: spread(batches[b]), note });
    }
    if (!HELD.includes(model)) continue;
    for (const [b, want] of [
      [2, 1.7],
      [8, 3],
    ] as const) {
      bench.target({ name: `${name}: ${b} streams together, of one`, got: median(batches[b]) / one, want, unit: '×' });
    }
  }
}

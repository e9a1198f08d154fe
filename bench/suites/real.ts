/** Real models as their files have them, beside native llama.cpp on the same files: one thread each, alternating runs. */
import type { Server } from '../../cli/start.ts';
import { inWorkerd, llamaCpp } from '../contenders.ts';
import { randomIds } from '../engine/runner.ts';
import { complete, rate } from '../http.ts';
import { packOf } from '../model.ts';
import { installPeers } from '../peers/install.ts';
import { REAL_MODELS, type RealName, realModel } from '../real-models.ts';
import type { Bench } from '../report.ts';
import { alternate, median, spread } from '../stats.ts';
import type { BenchWorker } from '../workerd/host.ts';
import { BATCHES, batchRates } from './engine.ts';
import { columnFigures, columns, NATIVE, TURNSTONE } from './peers.ts';
import { isolated } from './serving.ts';

const MODELS: readonly RealName[] = ['smollm2', 'qwen-coder', 'gemma3'];
/** Those whose figures are held to targets. */
const HELD: readonly RealName[] = ['smollm2', 'qwen-coder'];
const CONTEXT = 1280;
/** Ids of prompts are below this; tokens of a stream over HTTP. */
const [VOCAB, STREAM] = [49_152, 48];
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
    if (model === 'qwen-coder') await apart(bench, name, path);
  }
}

/** Two streams of two processes, each of which has a core, beside one stream of one process: over HTTP, on the wall's clock. */
export async function apart(bench: Bench, name: string, path: string): Promise<void> {
  const vars = { SPECULATE: '0', MEMORY_MB: '1024', CONTEXT: '1024' };
  let seed = 700_000;
  const stream = (s: Server) => complete(s.url, s.pack.id, randomIds(16, VOCAB, seed++), STREAM);
  const of = async (s: Server, n: number) =>
    (await Promise.all(Array.from({ length: n }, () => stream(s)))).reduce((sum, x) => sum + rate(x), 0);
  await isolated(path, vars, (one) =>
    isolated(
      path,
      vars,
      async (two) => {
        const rates = await alternate({ one: () => of(one, 1), two: () => of(two, 2) }, bench.rounds, {
          warm: true,
          onRun: (what, round, value) => bench.progress(`${name}: ${what}, round ${round + 1}: ${value.toFixed(1)} tokens/s`),
        });
        bench.figure({ name: `${name}: one stream over HTTP, one process`, unit: 'tokens/s', value: rates.one });
        bench.figure({ name: `${name}: two streams over HTTP, PROCESSES=2`, unit: 'tokens/s', value: rates.two });
        const got = rates.two.median / rates.one.median;
        bench.target({ name: `${name}: 2 streams of two processes, of one stream of one`, got, want: 1.8, unit: '×' });
      },
      2,
    ),
  );
}

/** The targets, in one run of under five minutes. Ratios are of medians of alternating runs. */

import type { Server } from '../../cli/start.ts';
import { useClock } from '../clock.ts';
import { inWorkerd, llamaCpp, wllama } from '../contenders.ts';
import { packOf, randomModel } from '../model.ts';
import { installPeers } from '../peers/install.ts';
import { resident, workerds } from '../process.ts';
import type { Bench } from '../report.ts';
import { median, spread } from '../stats.ts';
import type { BenchWorker } from '../workerd/host.ts';
import { BATCHES, batchRates, CONTEXT, deep, fresh } from './engine.ts';
import { columnFigures, columns, NATIVE, products, TURNSTONE } from './peers.ts';
import { coldStarts, crowd, isolated, overhead, replicaMemory } from './serving.ts';
import { speculation, wantedOf } from './speculation.ts';

/** Column, against wllama at its best version, against native llama.cpp on one thread: what a core with AVX-VNNI is to reach. */
const RATIOS = [
  ['pp128', 5, 0.68],
  ['pp512', 5, 0.7],
  ['tg64 at depth 0', 2.2, 1.5],
  ['tg64 at depth 1024', 4, 2],
] as const;
const BEST_WLLAMA = '2.3.1';
const MB = 1e6;

export async function gate(bench: Bench, worker: BenchWorker): Promise<void> {
  installPeers(bench.progress);
  const gguf = await randomModel('smollm2-135m', 'Q4_0', bench.progress);
  const pack = await packOf(gguf, bench.progress);
  await worker.upload(pack);

  const loads: number[] = [];
  for (let i = 0; i <= bench.rounds; i++) {
    bench.progress('loading the pack');
    const { ms, value } = await worker.load({ id: pack.id, context: CONTEXT, sequences: 16 });
    if (i > 0) loads.push(value.weightBytes / MB / (ms / 1000));
  }
  bench.figure({ name: 'pack of 76 MB from local R2, hashes checked', unit: 'MB/s', value: spread(loads) });
  bench.target({ name: 'a pack loads from local storage', got: median(loads), want: 500, unit: ' MB/s' });

  const native = await llamaCpp(gguf, CONTEXT);
  const web = await wllama(gguf, BEST_WLLAMA, CONTEXT);
  const list = await columns(bench, [inWorkerd(worker), native, web]);
  await web.close();
  await native.close();
  columnFigures(bench, '', list);
  for (const [column, wanted, wantedNative] of RATIOS) {
    const { rates } = list.find((c) => c.name === column)!;
    const over = (other: string) => rates[TURNSTONE].median / rates[other].median;
    bench.target({ name: `${column} against wllama ${BEST_WLLAMA}`, got: over(`wllama ${BEST_WLLAMA}`), want: wanted, unit: '×' });
    bench.target({ name: `${column} against native llama.cpp`, got: over(NATIVE), want: wantedNative, unit: '×' });
  }

  const batches = await batchRates(bench, inWorkerd(worker));
  for (const b of BATCHES) bench.figure({ name: `decode of ${b} together`, unit: 'tokens/s', value: spread(batches[b]) });
  for (const [b, want] of [
    [8, 2],
    [16, 2.3],
  ] as const) {
    bench.target({ name: `decode of ${b} together against one`, got: median(batches[b]) / median(batches[1]), want, unit: '×' });
  }

  await http(bench, worker, gguf);

  const cold = await coldStarts(bench, Math.min(3, bench.rounds));
  bench.figure({ name: 'shipped model: request to first token, fresh process', unit: 'ms', value: spread(cold) });
  bench.target({ name: 'first token after a fresh start, shipped model', got: median(cold), want: 200, most: true, unit: ' ms' });

  await together64(bench);

  const clock = useClock(process.platform === 'linux' ? 'cpu' : 'wall'); // an answer takes milliseconds: on the wall's clock it is noise
  const ratios = await speculation({ ...bench, rounds: 1 }, worker); // five runs of every answer
  useClock(clock);
  await worker.calibrate();
  for (const [task, ratio] of ratios) bench.target({ name: `speculation on ${task}`, got: ratio, want: wantedOf(task), unit: '×' });

  const list4 = await products({ ...bench, rounds: Math.min(2, bench.rounds) }, worker);
  for (const p of list4) bench.target({ name: `4-bit product ${p.name} against ONNX Runtime Web`, got: p.ratio, want: 4, unit: '×' });
}

/** 64 streams of the shipped model at once, on the wall's clock: in one process and in two. */
async function together64(bench: Bench): Promise<void> {
  for (const processes of [1, 2]) {
    const name = processes > 1 ? `${processes} processes` : 'one process';
    const use = (server: Server) => crowd(server, 64, Math.max(3, bench.rounds));
    bench.progress(`64 streams, ${name}`);
    const { alone, together } = await isolated(undefined, {}, use, processes);
    const where = `shipped model, ${name}: 64 streams of 40 tokens`;
    bench.figure({ name: `${where}, one after the other`, unit: 'ms', value: spread(alone) });
    bench.figure({ name: `${where}, at once`, unit: 'ms', value: spread(together) });
    const target = `64 streams at once, of one after the other, ${name}`;
    bench.target({ name: target, got: median(together) / median(alone), want: processes > 1 ? 0.5 : 0.45, most: true, unit: '×' });
  }
}

/** What serving adds to the engine, on the server that `npm start` runs. Always on the wall's clock: waiting is what serving adds. */
async function http(bench: Bench, worker: BenchWorker, gguf: string): Promise<void> {
  const clock = useClock('wall');
  try {
    await serve(bench, worker, gguf);
  } finally {
    useClock(clock);
  }
}

async function serve(bench: Bench, worker: BenchWorker, gguf: string): Promise<void> {
  const engine = { decode: [] as number[], prefill: [] as number[] };
  const contender = inWorkerd(worker);
  const before = new Set(workerds());
  await isolated(gguf, { SPECULATE: '0' }, async (server) => {
    const pid = workerds().find((p) => !before.has(p));
    const empty = pid === undefined ? 0 : resident(pid).now;
    const o = await overhead(server, bench.rounds, async (round) => {
      bench.progress(`over HTTP, round ${round + 1} of ${bench.rounds}`);
      const decode = (1000 * 64) / (await contender.decode(deep(64), 64));
      const prefill = await contender.prefill(fresh(64));
      if (round < 0) return;
      engine.decode.push(decode);
      engine.prefill.push(prefill);
    });
    bench.figure({ name: 'decode over HTTP, one client', unit: 'tokens/s', value: spread(o.http) });
    bench.figure({ name: 'decode in the engine alone, same depth', unit: 'tokens/s', value: spread(engine.decode) });
    bench.figure({ name: 'TTFT over HTTP, 64 tokens', unit: 'ms', value: spread(o.ttft) });
    bench.figure({ name: 'prefill of 64 tokens and the first token, engine alone', unit: 'ms', value: spread(engine.prefill) });
    const step = `a decode step takes ${o.step.toFixed(1)} ms`;
    bench.figure({ name: 'TTFT of 1,000 cached tokens and a new one', unit: 'ms', value: spread(o.cached), note: step });
    bench.figure({ name: 'TTFT of 1,000 cached tokens and 16 new ones', unit: 'ms', value: spread(o.cached16), note: step });
    const cost = 100 * (1 - median(o.http) / median(engine.decode));
    bench.target({ name: 'HTTP costs of the engine’s tokens/s', got: cost, want: 5, most: true, unit: ' %' });
    bench.target({ name: 'TTFT over prefill', got: median(o.ttft) - median(engine.prefill), want: 5, most: true, unit: ' ms' });
    bench.target({
      name: 'first token of a cached 1,000-token prefix, in decode steps',
      got: median(o.cached) / o.step,
      want: 1.8,
      most: true,
      unit: '',
    });
    if (pid === undefined) return;
    const memory = await replicaMemory(server, pid, empty);
    for (const f of memory) bench.figure(f);
    const [{ value }] = memory;
    bench.target({ name: 'memory of an isolate with the SmolLM2 shape', got: value.median, want: 128, most: true, unit: ' MiB' });
  });
}

/** Turnstone beside what one would otherwise take, on the same files, in alternating runs. */
import { shapes } from '../../cli/random-gguf.ts';
import { type Contender, inWorkerd, llamaCpp, wllama } from '../contenders.ts';
import { packOf, randomModel } from '../model.ts';
import { installPeers } from '../peers/install.ts';
import { type Accuracy, OnnxPeer } from '../peers/onnx.ts';
import type { Bench } from '../report.ts';
import { median, type Spread, spread } from '../stats.ts';
import type { BenchWorker } from '../workerd/host.ts';
import { CONTEXT, decodeRates, prefillRates } from './engine.ts';
import { matrices, timeKernel } from './kernels.ts';

/** One column of the comparison: what was measured, by contender. */
export interface Column {
  name: string;
  rates: Record<string, Spread>;
}

export const COLUMNS = ['pp128', 'pp512', 'tg64 at depth 0', 'tg64 at depth 1024'] as const;

/** All columns, the long prompt two rounds at most and right after the short one, which has warmed everything up: wllama takes 10 to 20 s a run. */
export async function columns(bench: Bench, contenders: readonly Contender[]): Promise<Column[]> {
  const out: Column[] = [];
  out.push({ name: 'pp128', rates: await prefillRates(bench, contenders, 128) });
  out.push({ name: 'pp512', rates: await prefillRates(bench, contenders, 512, Math.min(2, bench.rounds), false) });
  for (const depth of [0, 1024]) out.push({ name: `tg64 at depth ${depth}`, rates: await decodeRates(bench, contenders, depth) });
  return out;
}

export const TURNSTONE = 'turnstone (workerd)';
export const NATIVE = 'llama.cpp (native)';

export function columnFigures(bench: Bench, prefix: string, list: readonly Column[]): void {
  for (const { name, rates } of list) {
    for (const [contender, value] of Object.entries(rates)) {
      const ratio = rates[TURNSTONE].median / value.median;
      const note = contender === TURNSTONE ? '' : `Turnstone ${ratio.toFixed(2)}× of it`;
      bench.figure({ name: `${prefix}${name} ${contender}`, unit: 'tokens/s', value, note });
    }
  }
}

export interface ProductRatio {
  name: string;
  ours: Spread;
  theirs: Spread;
  ratio: number;
}

/** The 4-bit product in the model's shapes: ours in workerd against the better of ONNX Runtime Web's two ways. */
export async function products(bench: Bench, worker: BenchWorker, rows: readonly number[] = [1, 128]): Promise<ProductRatio[]> {
  const peer = await OnnxPeer.open();
  const out: ProductRatio[] = [];
  try {
    for (const { layer, N, K } of matrices(shapes['smollm2-135m'])) {
      for (const T of rows) {
        if (layer === 'head' && T > 1) continue;
        bench.progress(`4-bit product ${layer} M=${T}`);
        const theirs: number[][] = [];
        const ours: number[] = [];
        for (const accuracy of [0, 4] as Accuracy[]) {
          await peer.prepare({ N, K, T }, accuracy);
          const times: number[] = [];
          for (let i = 0; i < bench.rounds; i++) {
            const once = await peer.time({ K, N, T }, 1);
            times.push(await peer.time({ K, N, T }, Math.max(1, Math.min(50, Math.floor(40 / once)))));
            const { values } = await timeKernel(worker, { kind: 'matmul', shape: { format: 'w4', N, K, T, real: true } }, 1);
            ours.push(...values);
          }
          theirs.push(times);
        }
        const best = theirs.sort((a, b) => median(a) - median(b))[0];
        out.push({ name: `${layer} ${N}×${K} M=${T}`, ours: spread(ours), theirs: spread(best), ratio: median(best) / median(ours) });
      }
    }
  } finally {
    await peer.close();
  }
  return out;
}

export async function peers(bench: Bench, worker: BenchWorker): Promise<void> {
  installPeers(bench.progress);
  for (const type of ['Q4_0', 'Q8_0'] as const) {
    const gguf = await randomModel('smollm2-135m', type, bench.progress);
    const pack = await packOf(gguf, bench.progress);
    await worker.upload(pack);
    await worker.load({ id: pack.id, context: CONTEXT, sequences: 1 });
    const others: Contender[] = [];
    try {
      const native = await llamaCpp(gguf, CONTEXT);
      others.push(native);
      if (type === 'Q4_0') bench.note(`native llama.cpp uses ${native.info.replace(/ = 1 \|/g, ',')}`);
      others.push(await wllama(gguf, '2.3.1', CONTEXT));
      if (type === 'Q4_0') others.push(await wllama(gguf, '3.8.1', CONTEXT));
      columnFigures(bench, `${type} `, await columns(bench, [inWorkerd(worker), ...others]));
    } finally {
      for (const c of others) await c.close();
    }
  }
  for (const p of await products(bench, worker, [1, 8, 128])) {
    const ms = (s: Spread): Spread => ({ ...s, median: s.median * 1000, low: s.low * 1000, high: s.high * 1000 });
    bench.figure({ name: `w4 product ${p.name}, Turnstone`, unit: 'µs', value: ms(p.ours) });
    bench.figure({
      name: `w4 product ${p.name}, ONNX Runtime Web`,
      unit: 'µs',
      value: ms(p.theirs),
      note: `Turnstone ${p.ratio.toFixed(1)}× as fast`,
    });
  }
}

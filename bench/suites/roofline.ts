/** What one core can do at most: every other figure is to be read beside these. */
import type { Bench } from '../report.ts';
import { spread } from '../stats.ts';
import type { BenchWorker } from '../workerd/host.ts';

const MIB = 2 ** 20;
const CALLS = 400; // short ones: a call stays in the code that it began in

export interface Roofline {
  /** GB/s read from memory that no cache holds, from one as large as a small model, from the second-level cache. */
  memory: number;
  model: number;
  cache: number;
  /** G multiply-adds a second; of i8 with and without the sums that a product needs, and with both in one instruction. */
  i8: number;
  i8sum: number;
  i8dot: number;
  f32: number;
}

const NAMES = {
  i8: 'i8 products in pairs, 128-bit SIMD',
  i8sum: 'i8 multiply-adds: the same, each added to a sum',
  i8dot: 'i8 multiply-adds by dot-add',
  f32: 'f32 multiply-adds, 128-bit SIMD',
};

const READS = [
  ['memory', 1024 * MIB, 1],
  ['model', 80 * MIB, 8],
  ['cache', MIB / 4, 8192],
] as const;

export async function roofline(bench: Bench, worker: BenchWorker): Promise<Roofline> {
  const out: Partial<Roofline> = {};
  for (const [name, bytes, iterations] of READS) {
    const values: number[] = [];
    for (let i = -1; i < bench.rounds; i++) {
      bench.progress(`roofline: ${bytes / MIB} MiB`);
      const { ms } = await worker.probe({ kind: 'read', bytes, iterations });
      if (i >= 0) values.push((bytes * iterations) / ms / 1e6);
    }
    const value = spread(values);
    bench.figure({ name: `read ${bytes >= MIB ? `${bytes / MIB} MiB` : '256 KiB'}`, unit: 'GB/s', value });
    out[name] = value.median;
  }
  for (const [kind, macs, n] of [
    ['i8', 128, 50_000],
    ['i8sum', 128, 50_000],
    ['i8dot', 128, 50_000],
    ['f32', 32, 50_000],
  ] as const) {
    const values: number[] = [];
    for (let i = -2; i < bench.rounds; i++) {
      bench.progress(`roofline: ${kind}`);
      const { ms } = await worker.probe({ kind, bytes: n, iterations: CALLS });
      if (i >= 0) values.push((n * CALLS * macs) / ms / 1e6);
    }
    const value = spread(values);
    bench.figure({ name: NAMES[kind], unit: 'G/s', value });
    out[kind] = value.median;
  }
  return out as Roofline;
}

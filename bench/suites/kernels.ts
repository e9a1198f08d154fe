/** Kernels alone, on the cases that the tests compare, in the layer shapes of real models; each beside what the machine could do. */
import { shapes } from '../../cli/random-gguf.ts';
import type { ModelConfig } from '../../engine/config.ts';
import { fits, isPlanes, WEIGHT_FORMATS } from '../../engine/formats.ts';
import type { Bench } from '../report.ts';
import { median, spread } from '../stats.ts';
import type { BenchWorker } from '../workerd/host.ts';
import type { KernelBody } from '../workerd/protocol.ts';
import { roofline } from './roofline.ts';

export interface MatrixShape {
  layer: string;
  N: number;
  K: number;
}

/** The matrices of one layer, and the head. */
export function matrices(c: ModelConfig): MatrixShape[] {
  return [
    { layer: 'qkv', N: (c.heads + 2 * c.kvHeads) * c.headDim, K: c.hidden },
    { layer: 'o', N: c.hidden, K: c.heads * c.headDim },
    { layer: 'gateUp', N: 2 * c.ffn, K: c.hidden },
    { layer: 'down', N: c.hidden, K: c.ffn },
    { layer: 'head', N: c.vocab, K: c.hidden },
  ];
}

/** What a format may be slower than w4 (Q4_0's numbers), of one size: bytes a second at one token, and products at 128. */
const BESIDE_W4 = { bytes: 0.85, products: 0.8 };

const WANTED_MS = 60; // of work in one request

/** Times of one run of a kernel, ms: prepared and compiled first, then as many iterations a request as give a long enough time. */
export async function timeKernel(worker: BenchWorker, body: Omit<KernelBody, 'iterations'>, rounds: number) {
  await worker.kernel({ ...body, iterations: 2 });
  const warm: number[] = [];
  let iterations = 2;
  for (let i = 0; i < 4; i++) {
    const { ms } = await worker.kernel({ ...body, iterations });
    warm.push(ms / iterations);
    iterations = Math.min(4096, Math.max(1, Math.ceil(WANTED_MS / Math.max(ms / iterations, 1e-3))));
  }
  const values: number[] = [];
  let work = { macs: 0, bytes: 0 };
  for (let i = 0; i < rounds; i++) {
    const { ms, value } = await worker.kernel({ ...body, iterations });
    values.push(ms / iterations);
    work = value;
  }
  return { values, ...work };
}

export async function kernels(bench: Bench, worker: BenchWorker): Promise<void> {
  const limits = await roofline(bench, worker);
  for (const model of ['smollm2-135m', 'qwen2.5-0.5b'] as const) {
    const speeds = new Map<string, { bytes: number; products: number }>();
    for (const format of WEIGHT_FORMATS) {
      for (const { layer, N, K } of matrices(shapes[model])) {
        for (const T of [1, 8, 32, 128, 512]) {
          // the head runs on the few rows that want logits; its f32 copy is no use to anybody
          if (layer === 'head' && (T > 8 || format !== 'w4')) continue;
          // formats of planes: one long and one wide matrix tell what there is to tell
          if (isPlanes(format) && (!fits(format, K) || !(layer === 'gateUp' || layer === 'down') || ![1, 8, 128].includes(T))) continue;
          bench.progress(`${model} ${layer} ${format} M=${T}`);
          const { values, macs, bytes } = await timeKernel(
            worker,
            { kind: 'matmul', shape: { format, N, K, T, real: true } },
            bench.rounds,
          );
          // bound by arithmetic, or by the weights' way from memory
          const peak = format === 'f32' ? limits.f32 : Math.max(limits.i8sum, limits.i8dot);
          const source = bytes > 2 ** 24 ? limits.model : limits.cache;
          const limit = Math.min(peak, (macs / bytes) * source);
          bench.figure({
            name: `${model} ${layer} ${N}×${K} ${format} M=${T}`,
            unit: 'G/s',
            value: spread(values.map((ms) => macs / ms / 1e6)),
            limit,
            note: `${(bytes / median(values) / 1e6).toFixed(1)} GB/s of weights`,
          });
          speeds.set(`${layer} ${format} ${T}`, { bytes: bytes / median(values), products: macs / median(values) });
        }
      }
    }
    besideW4(bench, model, speeds);
  }
  const { heads: H, kvHeads: G, headDim: d } = shapes['smollm2-135m'];
  for (const depth of [128, 512, 1024, 2048, 4096, 8192]) {
    for (const count of [1, 32]) {
      bench.progress(`attention at ${depth}`);
      const shape = { format: 'i8', out: 'i8', H, G, d, spans: [[depth - count, count]] };
      const { values, macs } = await timeKernel(worker, { kind: 'attention', shape }, bench.rounds);
      bench.figure({
        name: `attention ${H}/${G} heads of ${d}, ${count} tokens at depth ${depth}`,
        unit: 'G/s',
        value: spread(values.map((ms) => macs / ms / 1e6)),
        note: `${(median(values) * 1000).toFixed(0)} µs`,
      });
    }
  }
  for (const V of [49152, 151936]) {
    for (const K of [1, 64]) {
      const { values } = await timeKernel(worker, { kind: 'topk', shape: [K, 1, V] }, bench.rounds);
      bench.figure({ name: `topk K=${K} of ${V}`, unit: 'µs', value: spread(values.map((ms) => ms * 1000)) });
    }
  }
}

/** Targets of each format beside w4, on the wide and the long matrix of a layer. */
function besideW4(bench: Bench, model: string, speeds: ReadonlyMap<string, { bytes: number; products: number }>): void {
  for (const format of WEIGHT_FORMATS.filter(isPlanes)) {
    for (const layer of ['gateUp', 'down']) {
      for (const [what, T, unit] of [
        ['bytes', 1, 'bytes a second at one token'],
        ['products', 128, 'products at 128 tokens'],
      ] as const) {
        const [own, w4] = [format, 'w4'].map((f) => speeds.get(`${layer} ${f} ${T}`)?.[what]);
        if (own && w4)
          bench.target({ name: `${model} ${layer} ${format}: ${unit}, of w4`, got: own / w4, want: BESIDE_W4[what], unit: '×' });
      }
    }
  }
}

import type { WeightFormat } from '../../../engine/backend.ts';
import { weightBytes } from '../../../engine/formats.ts';
import { PLANES, type PlaneName } from '../../../engine/planes.ts';
import { type Case, f32Act, quantizedAct, randomWeight, readF32, upload } from './case.ts';
import { activations, normals } from './data.ts';

export interface MatmulShape {
  format: WeightFormat;
  N: number;
  K: number;
  T: number;
  bias?: boolean;
  accumulate?: boolean;
  /** Scales as files have them, for the clock. */
  real?: boolean;
  /** Another pair of a format and a shape that are both in other cases. */
  pair?: true;
}

/** y[T, N] from random activations and weights, timed alone: the activations are prepared before. */
export function matmulCase({ format, N, K, T, bias, accumulate, real, pair }: MatmulShape): Case {
  const seed = N * 7 + K * 3 + T;
  return {
    op: 'matmul',
    pair,
    name: `${format} N=${N} K=${K} T=${T}${bias ? ' bias' : ''}${accumulate ? ' accumulate' : ''}`,
    // i8 activations are made by norm: a step of the quantizer in some of them
    tolerance: format === 'f32' ? 1e-5 : 3e-3,
    memoryBytes: (1 << 20) + weightBytes(format, N, K) + T * (N * 8 + K * 12),
    macs: T * N * K,
    bytes: weightBytes(format, N, K),
    prepare(b) {
      const x = activations(T * K, seed);
      const act = format === 'f32' ? f32Act(b, x, T, K) : quantizedAct(b, x, T, K);
      const w = randomWeight(b, format, N, K, seed + 1, real);
      const opts = { bias: bias ? upload(b, normals(N, seed + 2), 'bias') : undefined, accumulate };
      const y = b.alloc(T * N * 4, 'y');
      b.write(y, new Uint8Array(normals(T * N, seed + 3).buffer));
      return { run: () => b.matmul(y, act, w, T, opts), read: async () => [await readF32(b, 'y', y, 0, T * N)] };
    },
  };
}

const Ts = [1, 2, 3, 4, 5, 6, 7, 8, 33];
const Ks = [32, 192, 576, 896];
const shapes: MatmulShape[] = [];
for (const format of ['w4', 'w8'] as const) {
  for (const T of Ts) for (const K of Ks) shapes.push({ format, N: K === 32 ? 7 : 24, K, T });
  shapes.push({ format, N: 9, K: 4864, T: 1 }, { format, N: 6, K: 4864, T: 3 }, { format, N: 4, K: 4864, T: 17 });
  for (const T of [1, 3, 20]) {
    shapes.push({ format, N: 13, K: 64, T, bias: true }, { format, N: 10, K: 64, T, accumulate: true });
    shapes.push({ format, N: 15, K: 96, T, bias: true, accumulate: true }, { format, N: 1, K: 32, T });
  }
}
for (const format of Object.keys(PLANES) as PlaneName[]) {
  const { block } = PLANES[format];
  // w4 and w8 have met every shape: of these formats a row alone, a tile, and a long row with several tokens are new
  for (const T of Ts) shapes.push({ format, N: 24, K: block === 32 ? 576 : 768, T, pair: T === 1 || T === 33 ? undefined : true });
  shapes.push({ format, N: 9, K: block, T: 1, bias: true, pair: true }, { format, N: 13, K: 1536, T: 5, accumulate: true, pair: true });
  shapes.push({ format, N: 3, K: 4864, T: 1, pair: true }, { format, N: 15, K: 4864, T: 6, bias: true, accumulate: true });
}
// rows that go on together, 64 at a time, and those that are left; tokens in tiles of one, 3 and 2, 4 and 3, 4 twice and 3 twice
for (const format of ['w4', 'w8', ...(Object.keys(PLANES) as PlaneName[])] as const) {
  const K = format in PLANES ? 2 * PLANES[format as PlaneName].block : 64;
  shapes.push({ format, N: 75, K, T: 1, accumulate: true }, { format, N: 133, K, T: 5, bias: true }, { format, N: 64, K, T: 7 });
}
// two such groups a stream, blocks that are no multiple of those unpacked at a time; more tokens than a call takes
for (const [format, K] of [
  ['w4', 96],
  ['q4_1', 96],
  ['q6_k', 768],
  ['q2_k', 768],
] as const)
  shapes.push({ format, N: 128, K, T: 14 }, { format, N: 65, K, T: 67, accumulate: true });
for (const T of Ts) shapes.push({ format: 'f32', N: 21, K: 172, T }, { format: 'f32', N: 64, K: 64, T });
for (const T of [1, 6])
  shapes.push({ format: 'f32', N: 19, K: 8, T, bias: true }, { format: 'f32', N: 3, K: 33, T, bias: true, accumulate: true });

export const matmulCases: Case[] = shapes.map(matmulCase);

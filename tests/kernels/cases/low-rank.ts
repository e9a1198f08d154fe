import { type Case, f32Act, quantizedAct, readF32, upload } from './case.ts';
import { activations, normals } from './data.ts';

interface Shape {
  format: 'f32' | 'i8';
  rank: number;
  /** Outputs that change, of `stride`, from `row` on. */
  N: number;
  row: number;
  stride: number;
  K: number;
  T: number;
  /** Tokens that have the adapter. */
  from: number;
  to: number;
}

/** y[T, stride] of which tokens [from, to) and outputs [row, row + N) change; the rest is read, too. */
export function lowRankCase({ format, rank, N, row, stride, K, T, from, to }: Shape): Case {
  const seed = N + K + rank + T;
  const bytes = rank * (N + K) * 4;
  return {
    op: 'addLowRank',
    name: `${format} rank=${rank} N=${N} at ${row} of ${stride} K=${K} tokens ${from} to ${to} of ${T}`,
    tolerance: format === 'f32' ? 1e-5 : 3e-3,
    memoryBytes: (1 << 20) + 2 * bytes + T * (stride * 8 + K * 12),
    macs: (to - from) * rank * (N + K),
    bytes,
    prepare(b) {
      const x = activations(T * K, seed);
      const act = format === 'f32' ? f32Act(b, x, T, K) : quantizedAct(b, x, T, K);
      const data = upload(b, normals(64 + rank * (N + K), seed + 1, 0.1), 'adapters');
      const y = b.alloc(T * stride * 4, 'y');
      b.write(y, new Uint8Array(normals(T * stride, seed + 2).buffer));
      const w = { data, at: 256, rank, row, N, K };
      return { run: () => b.addLowRank?.(y, stride, act, w, from, to), read: async () => [await readF32(b, 'y', y, 0, T * stride)] };
    },
  };
}

const whole = { N: 64, row: 0, stride: 64, T: 5, from: 0, to: 5 };
const shapes: Shape[] = [
  ...[1, 2, 3, 4, 5, 8, 16].map((rank): Shape => ({ ...whole, format: 'i8', rank, K: 96 })),
  { ...whole, format: 'f32', rank: 8, K: 36 },
  { format: 'i8', rank: 8, N: 27, row: 64, stride: 96, K: 576, T: 33, from: 3, to: 31 },
  { format: 'f32', rank: 6, N: 3, row: 5, stride: 9, K: 4, T: 3, from: 1, to: 2 },
  { format: 'i8', rank: 1024, N: 32, row: 0, stride: 32, K: 64, T: 40, from: 0, to: 40 },
];

export const lowRankCases: Case[] = shapes.map(lowRankCase);

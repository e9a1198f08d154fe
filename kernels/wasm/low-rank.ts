import type { Act, Buf, LowRank } from '../../engine/backend.ts';
import { CALL_MACS } from './matmul.ts';
import { actStride, SCRATCH, SCRATCH_BYTES } from './memory.ts';
import type { Kernels } from './module.ts';
import { need, ptr } from './pointers.ts';

export function addLowRank(k: Kernels, y: Buf, stride: number, x: Act, w: LowRank, from: number, to: number): void {
  const { data, at, rank, row, N, K } = w;
  if (x.K !== K || K % 4 !== 0)
    throw new Error(`addLowRank: activations have K ${x.K}, ${data.label} has ${K}, must be the same and a multiple of 4`);
  if (row + N > stride) throw new Error(`addLowRank: rows ${row} to ${row + N} of ${stride}`);
  if ((rank + 4 + K) * 4 > SCRATCH_BYTES)
    throw new Error(`addLowRank: rank ${rank} and K ${K} need more than ${SCRATCH_BYTES} bytes of scratch`);
  const step = actStride(x.format, K);
  need('addLowRank', y, to * stride * 4);
  need('addLowRank', x.data, to * step);
  need('addLowRank', data, at + rank * (K + N) * 4);
  const tokens = Math.max(1, Math.floor(CALL_MACS / (rank * (K + N))));
  for (let t = from; t < to; t += tokens) {
    const T = Math.min(tokens, to - t);
    const out = ptr(y) + (t * stride + row) * 4;
    k.addLowRank(out, stride * 4, ptr(x.data) + t * step, step, x.format === 'i8' ? 1 : 0, T, ptr(data) + at, rank, K, N, SCRATCH);
  }
}

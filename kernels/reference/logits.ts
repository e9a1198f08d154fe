import { type Buf, EDIT_BYTES, SUM_BLOCK, type TopkOut } from '../../engine/backend.ts';
import { mergeSums } from '../../engine/numeric.ts';
import { f32, u32 } from './buffers.ts';
import { exp, f, lane4, max } from './numeric.ts';

/** Penalties and biases in place, then bans. */
export function editLogits(logits: Buf, R: number, V: number, edits: Buf | null, E: number, mask: Buf | null): void {
  const x = f32(logits);
  for (let e = 0; edits && e < E; e++) {
    const at = (e * EDIT_BYTES) / 4;
    const [row, id] = u32(edits).subarray(at, at + 2);
    const [rep, add] = f32(edits).subarray(at + 2, at + 4);
    if (row >= R || id >= V) throw new Error(`editLogits: edit ${e} is for row ${row}, id ${id}, outside [${R}, ${V}]`);
    const v = x[row * V + id];
    x[row * V + id] = f(f(v > 0 ? v / rep : v * rep) + add);
  }
  if (!mask) return;
  const words = Math.ceil(V / 32);
  const bits = u32(mask);
  for (let r = 0; r < R; r++) {
    for (let id = 0; id < V; id++) {
      if (!((bits[r * words + (id >> 5)] >>> (id & 31)) & 1)) x[r * V + id] = -Infinity;
    }
  }
}

/** Top K of logits[R, V] · invTemp[R], ties to the lowest id, and softmax statistics. −inf and NaN never win. */
export function topk(out: TopkOut, logits: Buf, invTemp: Buf, R: number, V: number): void {
  const { K } = out;
  for (let r = 0; r < R; r++) {
    const v = f32(logits)
      .subarray(r * V, (r + 1) * V)
      .map((x) => f(x * f32(invTemp)[r]));
    const ids: number[] = [];
    for (let id = 0; id < V; id++) {
      if (!(v[id] > (ids.length < K ? -Infinity : v[ids[K - 1]]))) continue;
      let at = ids.length;
      while (at > 0 && v[id] > v[ids[at - 1]]) at--;
      ids.splice(at, 0, id);
      if (ids.length > K) ids.pop();
    }
    const blocks = Array.from({ length: Math.ceil(V / SUM_BLOCK) }, (_, b) => {
      const own = v.subarray(b * SUM_BLOCK, (b + 1) * SUM_BLOCK);
      const m = own.reduce(max, -Infinity);
      return [m, m === -Infinity ? 0 : lane4(own.length, (i) => exp(f(own[i] - m)))];
    });
    if (out.blocks) f32(out.blocks).set(blocks.flat(), r * blocks.length * 2);
    const { max: m, sum } = mergeSums(blocks.flat());
    const at = r * (2 * K + 2);
    for (let i = 0; i < K; i++) {
      u32(out.data)[at + i] = i < ids.length ? ids[i] : 0xffffffff;
      f32(out.data)[at + K + i] = i < ids.length ? v[ids[i]] : -Infinity;
    }
    f32(out.data).set([m, sum], at + 2 * K);
  }
}

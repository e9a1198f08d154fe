import type { Buf, Weight } from '../../engine/backend.ts';
import { f32, u32 } from './buffers.ts';
import { f } from './numeric.ts';
import { rowOf } from './weights.ts';

/** x[T, D] = rows ids[T] of w[V, D], times `scale`. */
export function embed(x: Buf, w: Weight, ids: Buf, T: number, scale = 1): void {
  const out = f32(x);
  const id = u32(ids);
  for (let t = 0; t < T; t++) {
    if (id[t] >= w.N) throw new Error(`embed: token id ${id[t]} is not below the vocabulary's ${w.N}`);
    const row = rowOf(w, id[t]).values();
    out.set(scale === 1 ? row : row.map((v) => f(v * f(scale))), t * w.K);
  }
}

import type { Buf, Weight } from '../../engine/backend.ts';
import { f32, u32 } from './buffers.ts';
import { rowOf } from './weights.ts';

/** x[T, D] = rows ids[T] of w[V, D]. */
export function embed(x: Buf, w: Weight, ids: Buf, T: number): void {
  const out = f32(x);
  const id = u32(ids);
  for (let t = 0; t < T; t++) {
    if (id[t] >= w.N) throw new Error(`embed: token id ${id[t]} is not below the vocabulary's ${w.N}`);
    out.set(rowOf(w, id[t]).values(), t * w.K);
  }
}

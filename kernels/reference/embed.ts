import type { Buf, Weight } from '../../engine/backend.ts';
import { BLOCK } from '../../engine/layout.ts';
import { f32, u32 } from './buffers.ts';
import { f32Row, quantizedRow } from './weights.ts';

/** x[T, D] = rows ids[T] of w[V, D]. */
export function embed(x: Buf, w: Weight, ids: Buf, T: number): void {
  const out = f32(x);
  const id = u32(ids);
  for (let t = 0; t < T; t++) {
    if (id[t] >= w.N) throw new Error(`embed: token id ${id[t]} is not below the vocabulary's ${w.N}`);
    if (w.format === 'f32') {
      out.set(f32Row(w, id[t]), t * w.K);
    } else {
      const { q, d } = quantizedRow(w, id[t]);
      for (let k = 0; k < w.K; k++) out[t * w.K + k] = q[k] * d[Math.floor(k / BLOCK)]; // exact
    }
  }
}

import type { Batch, Buf, KvPool } from '../../engine/backend.ts';
import { PAGE } from '../../engine/layout.ts';
import { f32, u32 } from './buffers.ts';
import { rmsNorm } from './norm.ts';
import { f } from './numeric.ts';
import { pageHead } from './pages.ts';

/** y = x rotated by the angles of a position (Su et al., 2021; the halves are paired). table: d/2 cosines, d/2 sines. */
function rotate(y: Float32Array, x: Float32Array, table: Float32Array): void {
  const half = x.length / 2;
  for (let i = 0; i < half; i++) {
    const c = table[i];
    const s = table[half + i];
    y[i] = f(f(x[i] * c) - f(x[i + half] * s));
    y[i + half] = f(f(x[i + half] * c) + f(x[i] * s));
  }
}

/** qkv[T, (H+2G)·d] → q[T, H·d] rotated, and the keys (rotated) and values of `layer` into their pages. */
export function ropeStore(
  q: Buf,
  kv: KvPool,
  qkv: Buf,
  table: Buf,
  batch: Batch,
  layer: number,
  heads: number,
  qkNorm?: { q: Buf; k: Buf; eps: number },
  balance?: Buf,
): void {
  const { headDim: d, kvHeads: G } = kv.shape;
  const input = f32(qkv);
  const out = f32(q);
  const angles = f32(table);
  const pos = u32(batch.pos);
  const slot = u32(batch.slot);
  const offsets = balance && f32(balance).subarray(0, G * d);
  const scales = balance && f32(balance).subarray(G * d, 2 * G * d);
  const normed = new Float32Array(d);
  const rotated = new Float32Array(d);
  for (let t = 0; t < batch.T; t++) {
    const row = angles.subarray(pos[t] * d, (pos[t] + 1) * d);
    const head = (h: number) => input.subarray((t * (heads + 2 * G) + h) * d, (t * (heads + 2 * G) + h + 1) * d);
    const turn = (h: number, gain?: Buf) => {
      if (gain && qkNorm) rmsNorm(normed, head(h), f32(gain).subarray(0, d), qkNorm.eps);
      rotate(rotated, gain ? normed : head(h), row);
      return rotated;
    };
    for (let h = 0; h < heads; h++) {
      const y = turn(h, qkNorm?.q);
      const g = Math.floor(h / (heads / G));
      if (scales) for (let k = 0; k < d; k++) y[k] = f(y[k] * scales[g * d + k]);
      out.set(y, (t * heads + h) * d);
    }
    for (let g = 0; g < G; g++) {
      const page = pageHead(kv, Math.floor(slot[t] / PAGE), layer, g);
      const key = turn(heads + g, qkNorm?.k);
      if (offsets && scales) for (let k = 0; k < d; k++) key[k] = f(f(key[k] - offsets[g * d + k]) / scales[g * d + k]);
      page.store(slot[t] % PAGE, key, head(heads + G + g));
    }
  }
}

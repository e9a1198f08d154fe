import type { Act, Batch, Buf, KvPool } from '../../engine/backend.ts';
import { BLOCK } from '../../engine/formats.ts';
import { attentionBytes, convTokenBytes, PAGE } from '../../engine/layout.ts';
import { f32, i8, storeAct, u32 } from './buffers.ts';
import { f, quantize } from './numeric.ts';

/** What a convolution keeps of the token in a slot. */
interface Kept {
  at(k: number): number;
  /** Quantized in blocks of 32 when the page is i8. */
  store(u: Float32Array): void;
}

/** Opens a token of a convolution in the layout of engine/layout.ts. */
function kept(kv: KvPool, slot: number, layer: number): Kept {
  const { shape } = kv;
  const { layers, width: D } = shape.convs ?? { layers: 0, width: 0 };
  const page = Math.floor(slot / PAGE);
  if (page >= kv.pages || layer >= layers) throw new Error(`convolution ${layer} of page ${page} is outside the pool`);
  const bytes = convTokenBytes(shape, D);
  const start = page * kv.pageBytes + attentionBytes(shape) + (layer * PAGE + (slot % PAGE)) * bytes;
  if (shape.format === 'f32') {
    const words = f32(kv.data).subarray(start / 4, start / 4 + D);
    return { at: (k) => words[k], store: (u) => words.set(u) };
  }
  const q = i8(kv.data).subarray(start, start + D);
  const scales = f32(kv.data).subarray((start + D) / 4, (start + bytes) / 4);
  return {
    at: (k) => f(q[k] * scales[Math.floor(k / BLOCK)]),
    store(u) {
      for (let b = 0; b < D / BLOCK; b++) {
        const block = [b * BLOCK, (b + 1) * BLOCK] as const;
        scales[b] = quantize(q.subarray(...block), u.subarray(...block), 127);
      }
    },
  };
}

/** Gated short convolution (LFM2): see the contract. What is before a token comes from pages, also inside the chunk. */
export function shortConv(out: Act, kv: KvPool, bcx: Buf, taps: Buf, batch: Batch, layer: number, L: number): void {
  const D = out.K;
  const [pos, slot, seqOf, blocks] = [u32(batch.pos), u32(batch.slot), u32(batch.seqOf), u32(batch.blocks)];
  const w = f32(taps);
  const y = new Float32Array(D);
  const u = new Float32Array(D);
  for (let t = 0; t < batch.T; t++) {
    const row = f32(bcx).subarray(t * 3 * D, (t + 1) * 3 * D);
    for (let k = 0; k < D; k++) u[k] = f(row[k] * row[2 * D + k]);
    kept(kv, slot[t], layer).store(u);
    y.fill(0);
    for (let j = Math.max(0, L - 1 - pos[t]); j < L - 1; j++) {
      const p = pos[t] - (L - 1) + j;
      const before = kept(kv, blocks[seqOf[t] * batch.maxBlocks + Math.floor(p / PAGE)] * PAGE + (p % PAGE), layer);
      for (let k = 0; k < D; k++) y[k] = f(y[k] + f(w[j * D + k] * before.at(k)));
    }
    for (let k = 0; k < D; k++) y[k] = f(row[D + k] * f(y[k] + f(w[(L - 1) * D + k] * u[k])));
    storeAct(out, t, y);
  }
}

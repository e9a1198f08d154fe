import type { Act, Batch, Buf, KvPool } from '../../engine/backend.ts';
import { attentionBytes, convTokenBytes, PAGE } from '../../engine/layout.ts';
import { actStride, SCRATCH, SCRATCH_BYTES } from './memory.ts';
import type { Kernels } from './module.ts';
import { need, ptr } from './pointers.ts';

/** Tokens a call. */
const CALL_TOKENS = 64;

export function shortConv(
  k: Kernels,
  words: Uint32Array,
  out: Act,
  kv: KvPool,
  bcx: Buf,
  taps: Buf,
  batch: Batch,
  layer: number,
  L: number,
): void {
  const { format, convs } = kv.shape;
  const { T, maxBlocks } = batch;
  const D = out.K;
  if (!convs || layer >= convs.layers || convs.width !== D)
    throw new Error(`shortConv: convolution ${layer} of ${D} is not in these pages`);
  if (T > out.rows) throw new Error(`shortConv: ${T} tokens, ${out.data.label} has room for ${out.rows}`);
  if (D * 8 > SCRATCH_BYTES) throw new Error(`shortConv: rows of ${D} values are more than scratch holds`);
  need('shortConv', bcx, T * 3 * D * 4);
  need('shortConv', taps, L * D * 4);
  const [slots, positions, rows, blocks] = [batch.slot, batch.pos, batch.seqOf, batch.blocks].map((b) => ptr(b) >>> 2);
  for (let t = 0; t < T; t++) {
    const p = words[positions + t];
    if (words[slots + t] >= kv.pages * PAGE)
      throw new Error(`shortConv: slot ${words[slots + t]} is outside the pool of ${kv.pages} pages`);
    for (let i = Math.max(0, p - L + 1) >>> 4; i <= p >>> 4; i++) {
      const page = i < maxBlocks ? words[blocks + words[rows + t] * maxBlocks + i] : kv.pages;
      if (page >= kv.pages) throw new Error(`shortConv: page ${page} is outside the pool of ${kv.pages} pages`);
    }
  }
  const tokenBytes = convTokenBytes(kv.shape, D);
  const layerPool = ptr(kv.data) + attentionBytes(kv.shape) + layer * PAGE * tokenBytes;
  for (let from = 0; from < T; from += CALL_TOKENS) {
    k.shortConv(
      ptr(out.data),
      actStride(out.format, D),
      out.format === 'i8' ? 1 : 0,
      layerPool,
      kv.pageBytes,
      tokenBytes,
      format === 'f32' ? 0 : 1,
      ptr(bcx),
      ptr(taps),
      ptr(batch.pos),
      ptr(batch.slot),
      ptr(batch.seqOf),
      ptr(batch.blocks),
      maxBlocks,
      from,
      Math.min(T, from + CALL_TOKENS),
      D,
      L,
      SCRATCH,
    );
  }
}

import type { Batch, Buf, KvPool } from '../../engine/backend.ts';
import { kvHeadBytes, PAGE } from '../../engine/layout.ts';
import { SCRATCH } from './memory.ts';
import type { Kernels } from './module.ts';
import { need, ptr } from './pointers.ts';

/** Tokens a call. */
const CALL_TOKENS = 64;
/** Formats of pages as the kernel knows them. */
const STORED = { f32: 0, i8: 1, i8v4: 2 } as const;

export function ropeStore(
  k: Kernels,
  words: Uint32Array,
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
  const { headDim: d, kvHeads: G, format, layers } = kv.shape;
  const { T } = batch;
  if (layer >= layers) throw new Error(`ropeStore: layer ${layer} of ${layers}`);
  need('ropeStore', q, T * heads * d * 4);
  if (balance) need('ropeStore', balance, 2 * G * d * 4);
  need('ropeStore', qkv, T * (heads + 2 * G) * d * 4);
  const [slots, positions] = [ptr(batch.slot) >>> 2, ptr(batch.pos) >>> 2];
  for (let t = 0; t < T; t++) {
    if (words[slots + t] >= kv.pages * PAGE)
      throw new Error(`ropeStore: slot ${words[slots + t]} is outside the pool of ${kv.pages} pages`);
    if ((words[positions + t] + 1) * d * 4 > table.bytes)
      throw new Error(`ropeStore: position ${words[positions + t]} is outside the table`);
  }
  const headBytes = kvHeadBytes(kv.shape);
  const layerPool = ptr(kv.data) + layer * G * headBytes;
  for (let from = 0; from < T; from += CALL_TOKENS) {
    k.ropeStore(
      ptr(q),
      layerPool,
      kv.pageBytes,
      headBytes,
      STORED[format],
      ptr(qkv),
      ptr(table),
      ptr(batch.pos),
      ptr(batch.slot),
      from,
      Math.min(T, from + CALL_TOKENS),
      heads,
      G,
      d,
      qkNorm ? ptr(qkNorm.q) : 0,
      qkNorm ? ptr(qkNorm.k) : 0,
      qkNorm ? qkNorm.eps : 0,
      SCRATCH,
      balance ? ptr(balance) : 0,
    );
  }
}

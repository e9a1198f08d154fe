import type { Act, AttentionOptions, Batch, Buf, KvPool } from '../../engine/backend.ts';
import { kvHeadBytes, PAGE } from '../../engine/layout.ts';
import { actStride, SCRATCH, SCRATCH_BYTES } from './memory.ts';
import type { Kernels } from './module.ts';
import { need, ptr } from './pointers.ts';

/** Multiply-adds a call (see matmul.ts). */
const CALL_MACS = 1 << 21;
/** A window that no position leaves. */
const ALL = 0x7fffffff;

/** Throws unless every page number of the batch's tables and slots is in the pool, and every row in the block table. */
function checkBatch(words: Uint32Array, kv: KvPool, batch: Batch): void {
  const at = (buf: Buf) => ptr(buf) >>> 2;
  const [pos, seqOf, blocks] = [at(batch.pos), at(batch.seqOf), at(batch.blocks)];
  for (let t = 0; t < batch.T; t++) {
    const row = words[seqOf + t];
    const pages = Math.floor(words[pos + t] / PAGE) + 1;
    if (row >= batch.S || pages > batch.maxBlocks) {
      throw new Error(`attention: token ${t} reads ${pages} pages of sequence ${row}; the table is [${batch.S}, ${batch.maxBlocks}]`);
    }
    const first = blocks + row * batch.maxBlocks;
    // the earlier pages of a sequence were checked with its earlier tokens or steps, when they were the last
    if (words[first + pages - 1] >= kv.pages)
      throw new Error(`attention: page ${words[first + pages - 1]} is outside the pool of ${kv.pages}`);
  }
}

export function attention(
  k: Kernels,
  words: Uint32Array,
  out: Act,
  q: Buf,
  kv: KvPool,
  batch: Batch,
  layer: number,
  heads: number,
  { scale, window = ALL }: AttentionOptions = {},
): void {
  const { headDim: d, kvHeads: G, format } = kv.shape;
  const { T } = batch;
  const i8 = out.format === 'i8';
  const stride = actStride(out.format, out.K);
  if (out.K !== heads * d) throw new Error(`attention: out has K ${out.K}, ${heads} heads of ${d} need ${heads * d}`);
  need('attention', q, T * heads * d * 4);
  need('attention', out.data, T * stride);
  const rows = 2 * (heads / G) * (224 + 8 * d);
  const unpacked = format === 'i8v4' ? 2 * PAGE * (d + 4) : 0; // a head of a page
  if (rows + unpacked > SCRATCH_BYTES) throw new Error(`attention: ${heads / G} heads of ${d} a group do not fit the scratch`);
  checkBatch(words, kv, batch);

  const headBytes = kvHeadBytes(kv.shape);
  const run = format === 'f32' ? k.attentionF32 : k.attentionI8;
  const layerPool = ptr(kv.data) + layer * G * headBytes;
  const base = ptr(out.data);
  const row = i8 ? base + out.rows * stride : 0;
  const positions = ptr(batch.pos) >>> 2;
  for (let from = 0; from < T; ) {
    let to = from;
    for (let macs = 0; to < T && (to === from || macs < CALL_MACS); to++)
      macs += 2 * Math.min(window, words[positions + to] + 1) * heads * d;
    run(
      base,
      stride,
      i8 ? 1 : 0,
      row,
      ptr(q),
      layerPool,
      kv.pageBytes,
      headBytes,
      ptr(batch.blocks),
      batch.maxBlocks,
      ptr(batch.seqOf),
      ptr(batch.pos),
      from,
      to,
      heads,
      G,
      d,
      SCRATCH,
      scale ?? 1 / Math.fround(Math.sqrt(d)),
      window,
      format === 'i8v4' ? 1 : 0,
    );
    from = to;
  }
}

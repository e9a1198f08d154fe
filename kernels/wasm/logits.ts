import { type Buf, EDIT_BYTES, SUM_BLOCK, type TopkOut } from '../../engine/backend.ts';
import type { Kernels } from './module.ts';
import { need, ptr } from './pointers.ts';

export function editLogits(k: Kernels, logits: Buf, R: number, V: number, edits: Buf | null, E: number, mask: Buf | null): void {
  need('editLogits', logits, R * V * 4);
  if (edits && E > 0) {
    need('editLogits', edits, E * EDIT_BYTES);
    const bad = k.editLogits(ptr(logits), R, V, ptr(edits), E);
    if (bad >= 0) throw new Error(`editLogits: edit ${bad} is outside [${R}, ${V}]`);
  }
  if (mask) {
    const words = Math.ceil(V / 32);
    need('editLogits', mask, R * words * 4);
    for (let r = 0; r < R; r++) k.maskLogits(ptr(logits) + r * V * 4, V, ptr(mask) + r * words * 4);
  }
}

export function topk(k: Kernels, floats: Float32Array, out: TopkOut, logits: Buf, invTemp: Buf, R: number, V: number): void {
  const { K } = out;
  if (!(K >= 1 && K <= 64)) throw new Error(`topk: K is ${K}, must be in 1..64`);
  const row = (2 * K + 2) * 4;
  need('topk', out.data, R * row);
  need('topk', logits, R * V * 4);
  need('topk', invTemp, R * 4);
  const own = Math.ceil(V / SUM_BLOCK) * 8;
  if (out.blocks) need('topk', out.blocks, R * own);
  for (let r = 0; r < R; r++) {
    const blocks = out.blocks ? ptr(out.blocks) + r * own : 0;
    k.topk(ptr(out.data) + r * row, K, ptr(logits) + r * V * 4, V, floats[(ptr(invTemp) >>> 2) + r], blocks);
  }
}

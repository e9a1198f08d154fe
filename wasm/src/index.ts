// What kernels/wasm calls. Pointers are byte offsets into the imported memory; every function works on a range of
// rows or tokens, so that the caller decides how long a call lasts.
export { attentionF32 } from './attention-f32';
export { attentionI8 } from './attention-i8';
export { dotAdd } from './dot-add';
export { embedF32 } from './embed';
export { geglu, swiglu } from './glu';
export { editLogits, maskLogits, topk } from './logits';
export * from './generated';
export { addLowRank } from './low-rank';
export { matmulF32 } from './matmul-f32';
export { matmulW4, matmulW4One, rowsW4, spreadW4, wideW4 } from './matmul-w4';
export { matmulW8, matmulW8One, rowsW8, spreadW8, wideW8 } from './matmul-w8';
export { addNorm, norm } from './norm';
export { ropeStore } from './rope-store';
export { shortConv } from './short-conv';

/** Zeroes [from, to). */
export function clear(from: usize, to: usize): void {
  memory.fill(from, 0, to - from);
}

/** x[n] *= by. */
export function scale(x: usize, n: i32, by: f32): void {
  for (const end = x + (<usize>n << 2); x < end; x += 4) f32.store(x, f32.load(x) * by);
}

// A row of attention over i8 pages, a query head of a token: softmax state, then σ · query scale f32, weight scale f32, where sums of a query's
// upper bytes begin i32, then the weights u, then the query, both as their products want them (./attention-pairs, ./attention-bytes).
import { STATE } from './softmax';

export const QSCALE: usize = STATE;
export const WSCALE: usize = STATE + 4;
export const QSTART: usize = STATE + 8;
export const U: usize = STATE + 16;
export const QUERY: usize = U + 128;

/** Bytes of a row for head size d. */
@inline
export function rowBytes(d: i32): usize {
  return QUERY + (<usize>d << 3);
}

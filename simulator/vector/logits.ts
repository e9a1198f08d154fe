import { SUM_BLOCK } from '../../engine/backend.ts';
import { exp, f, lane4, max } from '../../kernels/reference/numeric.ts';
import type { Sram } from '../run/memory.ts';
import type { Params } from './rows.ts';

/** Edits and bans of ids lo .. lo + n of a row, in place. `edits` holds E edits of this row and range; `mask` its words or −1. */
export function edit(s: Sram, p: Params): void {
  const x = p.x >> 2;
  for (let e = 0; e < p.E; e++) {
    const at = (p.edits >> 2) + e * 4;
    const i = x + s.u32[at + 1] - p.lo;
    const v = s.f32[i];
    const rep = s.f32[at + 2];
    s.f32[i] = f(f(v > 0 ? v / rep : v * rep) + s.f32[at + 3]);
  }
  if (p.mask < 0) return;
  for (let i = 0; i < p.n; i++) {
    const id = p.lo + i;
    const word = s.u32[(p.mask >> 2) + (id >> 5) - (p.lo >> 5)];
    if (!((word >>> (id & 31)) & 1)) s.f32[x + i] = -Infinity;
  }
}

/** State of a row's top-k: ids u32[K], vals f32[K], max f32, sum f32. */
export const topkStateBytes = (K: number): number => (2 * K + 2) * 4;

export function topkStart(s: Sram, p: Params): void {
  const at = p.state >> 2;
  s.u32.fill(0xffffffff, at, at + p.K);
  s.f32.fill(-Infinity, at + p.K, at + 2 * p.K + 1);
  s.f32[at + 2 * p.K + 1] = 0;
}

/** First pass over ids lo .. lo + n: the best K and the maximum of x · invTemp. */
export function topkScan(s: Sram, p: Params): void {
  const ids = p.state >> 2;
  const vals = ids + p.K;
  const top = ids + 2 * p.K;
  const t = s.f32[p.invTemp >> 2];
  for (let i = 0; i < p.n; i++) {
    const v = f(s.f32[(p.x >> 2) + i] * t);
    s.f32[top] = max(s.f32[top], v);
    if (!(v > s.f32[vals + p.K - 1])) continue;
    let at = p.K - 1;
    for (; at > 0 && v > s.f32[vals + at - 1]; at--) {
      s.f32[vals + at] = s.f32[vals + at - 1];
      s.u32[ids + at] = s.u32[ids + at - 1];
    }
    s.f32[vals + at] = v;
    s.u32[ids + at] = p.lo + i;
  }
}

/** Second pass, over whole blocks of ids: exp(v − the block's own max) by id mod 4; their sum, times exp(that max − max), is added to the row's. */
export function topkSum(s: Sram, p: Params): void {
  const top = (p.state >> 2) + 2 * p.K;
  const t = s.f32[p.invTemp >> 2];
  for (let from = 0; from < p.n; from += SUM_BLOCK) {
    const n = Math.min(SUM_BLOCK, p.n - from);
    const v = (i: number) => f(s.f32[(p.x >> 2) + from + i] * t);
    let m = -Infinity;
    for (let i = 0; i < n; i++) m = max(m, v(i));
    if (m === -Infinity) continue;
    const own = lane4(n, (i) => exp(f(v(i) - m)));
    s.f32[top + 1] = f(s.f32[top + 1] + f(own * exp(f(m - s.f32[top]))));
  }
}

/** What the vector unit can be told to do, by name. */
import type { Sram } from '../run/memory.ts';
import { attendEnd, attendStart } from './attention.ts';
import { embed } from './embed.ts';
import { edit, topkScan, topkStart, topkSum } from './logits.ts';
import { rope } from './rope.ts';
import { addNorm, finish, geglu, norm, type Params, swiglu } from './rows.ts';

export const vectorFunctions: Readonly<Record<string, (s: Sram, p: Params) => void>> = {
  norm,
  addNorm,
  swiglu,
  geglu,
  finish,
  embed,
  rope,
  edit,
  topkStart,
  topkScan,
  topkSum,
  attendStart,
  attendEnd,
};

/**
 * Operations an element, as instructions of a binary32 vector unit without fused multiply-add. An exponential is 20:
 * clamp 2, scale and round 2, reduce 4, polynomial 10, end 2 (NUMERICS.md); quantizing is 5: magnitude, maximum, scale, clamp, convert.
 */
export const OPS = { exp: 20, quantize: 5, norm: 6, swiglu: 26, rope: 4, embed: 2, edit: 1, scan: 3, sum: 23, score: 30 } as const;

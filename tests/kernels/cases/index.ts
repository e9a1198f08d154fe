/** Every case of every op. They import neither node nor a test runner, so that a browser can run them too. */
import { attentionCases, attentionV4Cases, largestCases } from './attention.ts';
import type { Case } from './case.ts';
import { copyPagesCases } from './copy-pages.ts';
import { embedCases } from './embed.ts';
import { gluCases } from './glu.ts';
import { editLogitsCases, topkCases } from './logits.ts';
import { lowRankCases } from './low-rank.ts';
import { matmulCases } from './matmul.ts';
import { addNormCases, normCases } from './norm.ts';
import { ropeStoreCases, ropeStoreV4Cases } from './rope-store.ts';
import { shortConvCases } from './short-conv.ts';

export type { Case, Output, Prepared } from './case.ts';
export { type Comparison, compareCase } from './compare.ts';
/** Of the op that only backends with adapters have. */
/** Of backends that are held to bits. */
export { largestCases, lowRankCases };

/** Of pages with values of 4 bits, which the reference and wasm have. */
export const v4Cases: Case[] = [...ropeStoreV4Cases, ...attentionV4Cases];

export const cases: Case[] = [
  ...embedCases,
  ...normCases,
  ...addNormCases,
  ...matmulCases,
  ...ropeStoreCases,
  ...attentionCases,
  ...shortConvCases,
  ...gluCases,
  ...editLogitsCases,
  ...topkCases,
  ...copyPagesCases,
];

import type { Arr } from './frames.ts';

/** What is answered to a call: a value as JSON, and arrays. */
export interface Answer {
  readonly value?: unknown;
  readonly arrays?: readonly Arr[];
}

export type Call = (args: Record<string, unknown>, arrays: readonly Arr[]) => Answer | Promise<Answer>;

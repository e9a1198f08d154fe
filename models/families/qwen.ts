import { type Family, ggufNames, hfNames } from './family.ts';

/** A window only where the file turns it on: these files name one that they do not use. */
const hf: Family['hf'] = {
  names: hfNames,
  window: (f) => (f.bool('use_sliding_window', false) ? f.int('sliding_window', 16, 2 ** 31) : undefined),
};

/** Qwen2 and 2.5: a bias on queries, keys and values. */
export const qwen2: Family = { name: 'qwen2', gguf: { names: ggufNames }, hf };

/** Qwen3: a norm on every query and key head. */
export const qwen3: Family = { name: 'qwen3', gguf: { names: ggufNames }, hf };

import type { Case } from './case.ts';
import { fillPages, readPages } from './kv.ts';

export const copyPagesCases: Case[] = (['i8', 'f32'] as const).map((format) => ({
  op: 'copyPages',
  name: format,
  tolerance: 0,
  memoryBytes: 1 << 20,
  prepare(b) {
    const kv = b.kvPool({ format, layers: 2, kvHeads: 3, headDim: 8 }, 6);
    fillPages(b, kv, 800);
    return { run: () => b.copyPages(kv, Uint32Array.of(0, 5, 3, 1, 5, 2)), read: async () => [await readPages(b, kv)] };
  },
}));

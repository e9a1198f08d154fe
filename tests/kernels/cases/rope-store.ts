import { type Case, makeBatch, readF32, scatter, upload } from './case.ts';
import { normals } from './data.ts';
import { type KvCase, readPages, shapeOf } from './kv.ts';

const shapes: (KvCase & { qkNorm?: boolean; balance?: boolean })[] = [
  { format: 'i8', H: 9, G: 3, d: 64 },
  { format: 'i8', H: 4, G: 4, d: 8 },
  { format: 'i8', H: 14, G: 2, d: 32, qkNorm: true },
  { format: 'i8', H: 4, G: 2, d: 128, qkNorm: true },
  { format: 'i8', H: 14, G: 2, d: 64, balance: true },
  { format: 'i8', H: 4, G: 4, d: 8, balance: true },
  { format: 'f32', H: 8, G: 4, d: 8 },
  { format: 'f32', H: 3, G: 1, d: 64, qkNorm: true },
];

// two sequences: one crosses from its first page into the second, one starts in the middle of its second page
const tokens = [...Array.from({ length: 20 }, (_, p) => [0, p] as const), ...Array.from({ length: 3 }, (_, p) => [1, 21 + p] as const)];

const ropeStoreCase = (s: (typeof shapes)[number], i: number): Case => ({
  op: 'ropeStore',
  name: `${s.format} H=${s.H} G=${s.G} d=${s.d}${s.qkNorm ? ' qkNorm' : ''}${s.balance ? ' balance' : ''}`,
  tolerance: s.format === 'f32' ? 1e-5 : 1.2 / 127,
  memoryBytes: 4 << 20,
  prepare(b) {
    const width = (s.H + 2 * s.G) * s.d;
    const T = tokens.length;
    const kv = b.kvPool(shapeOf(s), 5);
    const q = b.alloc(T * s.H * s.d * 4, 'q');
    const qkv = upload(b, normals(T * width, 300 + i), 'qkv');
    // any table will do: the op does not ask where its numbers come from
    const table = upload(b, normals(32 * s.d, 310 + i), 'table');
    const batch = makeBatch(b, tokens, scatter([20, 24], kv.pages));
    const gain = (seed: number) => upload(b, normals(s.d, seed), 'gain');
    const qkNorm = s.qkNorm ? { q: gain(320 + i), k: gain(330 + i), eps: 1e-6 } : undefined;
    // offsets, then scales: some near a key's size, some far above it, as Qwen2.5's biases give them
    const numbers = normals(2 * s.G * s.d, 340 + i).map((x, k) => (k < s.G * s.d ? x : 4 + (k % 7 === 0 ? 90 : 1) * Math.abs(x)));
    const balance = s.balance ? upload(b, numbers, 'balance') : undefined;
    return {
      run: () => b.ropeStore(q, kv, qkv, table, batch, 1, s.H, qkNorm, balance),
      read: async () => [await readF32(b, 'q', q, 0, T * s.H * s.d), await readPages(b, kv)],
    };
  },
});

export const ropeStoreCases: Case[] = shapes.map(ropeStoreCase);

/** Of pages with values of 4 bits, which not every backend has. */
export const ropeStoreV4Cases: Case[] = [
  ropeStoreCase({ format: 'i8v4', H: 9, G: 3, d: 64 }, 8),
  ropeStoreCase({ format: 'i8v4', H: 4, G: 4, d: 8, balance: true }, 9),
];

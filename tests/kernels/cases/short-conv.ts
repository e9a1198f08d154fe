import { actReader, type Case, makeBatch, scatter, upload } from './case.ts';
import { normals } from './data.ts';
import { readPages } from './kv.ts';

interface Shape {
  format: 'i8' | 'f32';
  out: 'i8' | 'f32';
  D: number;
  L: number;
  /** Per sequence: position of its first token in the batch, number of tokens. */
  spans: readonly (readonly [first: number, count: number])[];
}

// chunks that begin a sequence, in the middle of a page, at its first tokens, and single tokens
const shapes: Shape[] = [
  { format: 'i8', out: 'i8', D: 64, L: 3, spans: [[0, 40]] },
  { format: 'i8', out: 'i8', D: 96, L: 3, spans: [[15, 2], [0, 1], [33, 1], [16, 17], [1, 1]] }, // biome-ignore format: a row
  { format: 'i8', out: 'f32', D: 128, L: 4, spans: [[30, 20]] },
  { format: 'f32', out: 'f32', D: 32, L: 3, spans: [[0, 20], [47, 3]] }, // biome-ignore format: a row
  { format: 'f32', out: 'i8', D: 64, L: 16, spans: [[3, 30]] },
  { format: 'i8', out: 'i8', D: 32, L: 1, spans: [[5, 3]] },
];

export const shortConvCases: Case[] = shapes.map((s, i) => ({
  op: 'shortConv',
  name: `${s.format} → ${s.out} D=${s.D} L=${s.L} ${s.spans.map(([f, c]) => `${f}+${c}`).join(' ')}`,
  tolerance: s.out === 'i8' ? 1.5 / 127 : s.format === 'i8' ? 2e-2 : 1e-5,
  memoryBytes: 4 << 20,
  prepare(b) {
    const lengths = s.spans.map(([first, count]) => first + count);
    const tokens = s.spans.flatMap(([first, count], seq) => Array.from({ length: count }, (_, k) => [seq, first + k] as const));
    const T = tokens.length;
    const pages = lengths.reduce((sum, n) => sum + Math.ceil(n / 16), 1);
    const shape = { format: s.format, layers: 1, kvHeads: 1, headDim: 8, convs: { layers: 2, width: s.D } };
    const kv = b.kvPool(shape, pages);
    const tables = scatter(lengths, pages);
    const taps = upload(b, normals(s.L * s.D, 510 + i), 'taps');
    const made = (list: (readonly [number, number])[], seed: number) => ({
      batch: makeBatch(b, list, tables),
      bcx: upload(b, normals(list.length * 3 * s.D, seed), 'bcx'),
      out: b.act(s.out, list.length, s.D, 'out'),
    });
    // what is before the chunks is there already
    const before = s.spans.flatMap(([first], seq) => Array.from({ length: first }, (_, p) => [seq, p] as [number, number]));
    const [earlier, now] = [before.length > 0 ? made(before, 520 + i) : undefined, made([...tokens], 530 + i)];
    const reader = actReader(b, now.out, T);
    return {
      run() {
        if (earlier) b.shortConv?.(earlier.out, kv, earlier.bcx, taps, earlier.batch, 1, s.L);
        b.shortConv?.(now.out, kv, now.bcx, taps, now.batch, 1, s.L);
      },
      async read() {
        reader.run();
        return [...(await reader.read()), await readPages(b, kv)];
      },
    };
  },
}));

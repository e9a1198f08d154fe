import type { AttentionOptions } from '../../../engine/backend.ts';
import { kvHeadBytes, pageBytes } from '../../../engine/layout.ts';
import { actReader, type Case, makeBatch, scatter, upload } from './case.ts';
import { normals } from './data.ts';
import { fillPages, type KvCase, shapeOf } from './kv.ts';

export interface AttentionShape extends KvCase {
  out: 'f32' | 'i8';
  /** Per sequence: position of its first token in the batch, number of tokens. */
  spans: readonly (readonly [first: number, count: number])[];
  opts?: AttentionOptions;
  /** All integers of pages and queries as large as they can be, so that sums are too. */
  largest?: boolean;
}

export function attentionCase(s: AttentionShape): Case {
  const shape = shapeOf({ ...s, layers: s.layers ?? 1 });
  const lengths = s.spans.map(([first, count]) => first + count);
  const pages = lengths.reduce((sum, n) => sum + Math.ceil(n / 16), 1);
  const T = s.spans.reduce((sum, [, count]) => sum + count, 0);
  const tokens = s.spans.flatMap(([first, count], seq) => Array.from({ length: count }, (_, i) => [seq, first + i] as const));
  const depth = tokens.reduce((sum, [, pos]) => sum + pos + 1, 0);
  return {
    op: 'attention',
    name: `${s.format} → ${s.out} H=${s.H} G=${s.G} d=${s.d} ${s.spans.map(([f, c]) => `${f}+${c}`).join(' ')}${s.opts ? ` ${JSON.stringify(s.opts)}` : ''}${s.largest ? ' largest' : ''}`,
    tolerance: s.out === 'i8' ? 1.5 / 127 : s.format === 'f32' ? 1e-5 : 2e-4,
    memoryBytes: (2 << 20) + pages * pageBytes(shape) + T * s.H * s.d * 64,
    macs: 2 * depth * s.H * s.d,
    bytes: (depth / 16) * s.G * kvHeadBytes(shape),
    prepare(b) {
      const kv = b.kvPool(shape, pages);
      fillPages(b, kv, 400 + s.d, s.largest);
      const K = s.H * s.d;
      const values = s.largest
        ? Float32Array.from({ length: T * K }, (_, i) => 1 - 2 * (Math.floor(i / s.d) & 1))
        : normals(T * K, 410 + s.d, 2);
      const q = upload(b, values, 'q');
      const out = b.act(s.out, T, K, 'out');
      const batch = makeBatch(b, tokens, scatter(lengths, pages));
      const reader = actReader(b, out, T);
      return {
        run: () => b.attention(out, q, kv, batch, shape.layers - 1, s.H, s.opts),
        async read() {
          reader.run();
          return reader.read();
        },
      };
    },
  };
}

const i8 = { format: 'i8', out: 'i8' } as const;
const shapes: AttentionShape[] = [
  { ...i8, H: 9, G: 3, d: 64, spans: [[0, 40]] },
  { ...i8, H: 9, G: 3, d: 64, layers: 2, spans: [[100, 3], [15, 2], [0, 1], [700, 1]] }, // biome-ignore format: a row
  { ...i8, H: 14, G: 2, d: 64, spans: [[31, 2], [511, 1]] }, // biome-ignore format: a row
  { ...i8, H: 8, G: 8, d: 32, spans: [[17, 5]] },
  { ...i8, H: 4, G: 2, d: 128, spans: [[40, 9]] },
  { ...i8, out: 'f32', H: 8, G: 4, d: 8, spans: [[0, 33]] },
  { ...i8, out: 'f32', H: 3, G: 1, d: 256, spans: [[14, 4]] },
  { ...i8, out: 'f32', H: 9, G: 3, d: 64, spans: [[2047, 1]] },
  { format: 'f32', out: 'f32', H: 8, G: 4, d: 8, layers: 2, spans: [[0, 33], [100, 1]] }, // biome-ignore format: a row
  { format: 'f32', out: 'f32', H: 6, G: 2, d: 64, spans: [[15, 3]] },
  { format: 'f32', out: 'i8', H: 3, G: 3, d: 32, spans: [[47, 2]] },
  { ...i8, H: 9, G: 3, d: 64, spans: [[0, 70]], opts: { window: 21 } },
  { ...i8, H: 4, G: 1, d: 256, spans: [[500, 40], [3, 2], [1023, 1]], opts: { window: 512, scale: 0.0625 } }, // biome-ignore format: a row
  { ...i8, out: 'f32', H: 8, G: 4, d: 8, spans: [[30, 20]], opts: { window: 1, scale: 0.3 } },
  { ...i8, out: 'f32', H: 2, G: 2, d: 32, spans: [[100, 40], [15, 1]], opts: { window: 16 } }, // biome-ignore format: a row
  { format: 'f32', out: 'f32', H: 8, G: 4, d: 8, spans: [[0, 33], [100, 1]], opts: { window: 18, scale: 0.25 } }, // biome-ignore format: a row
];

export const attentionCases: Case[] = shapes.map(attentionCase);

const v4 = { format: 'i8v4', out: 'i8' } as const;
/** Of pages with values of 4 bits, which not every backend has. */
export const attentionV4Cases: Case[] = [
  attentionCase({ ...v4, H: 9, G: 3, d: 64, layers: 2, spans: [[100, 3], [15, 2], [0, 1], [700, 1]] }), // biome-ignore format: a row
  attentionCase({ ...v4, H: 4, G: 1, d: 256, spans: [[500, 40], [3, 2]], opts: { window: 512, scale: 0.0625 } }), // biome-ignore format: a row
  attentionCase({ ...v4, out: 'f32', H: 8, G: 4, d: 8, spans: [[0, 33]] }),
];

/** Sums as large as they can be. */
export const largestCases: Case[] = [attentionCase({ ...i8, out: 'f32', H: 5, G: 1, d: 256, spans: [[70, 2]], largest: true })];

import { type Case, readF32, upload } from './case.ts';
import { normals, random } from './data.ts';

/** Edits: row, id, rep, add; sorted, each pair once. */
function edits(R: number, V: number, every: number): Uint8Array {
  const rows: ArrayBuffer[] = [];
  for (let r = 0; r < R; r++) {
    for (let id = r; id < V; id += every) {
      const entry = new ArrayBuffer(16);
      new Uint32Array(entry, 0, 2).set([r, id]);
      new Float32Array(entry, 8, 2).set([1 + (id % 5) / 10, (id % 3) - 1.25]);
      rows.push(entry);
    }
  }
  const out = new Uint8Array(rows.length * 16);
  rows.forEach((e, i) => {
    out.set(new Uint8Array(e), i * 16);
  });
  return out;
}

const editShapes = [
  [1, 512, true, false],
  [3, 101, true, true],
  [2, 64, false, true],
  [2, 33, false, false],
] as const;

export const editLogitsCases: Case[] = editShapes.map(([R, V, withEdits, withMask], i) => ({
  op: 'editLogits',
  name: `R=${R} V=${V}${withEdits ? ' edits' : ''}${withMask ? ' mask' : ''}`,
  tolerance: 1e-6,
  memoryBytes: 1 << 20,
  prepare(b) {
    const start = normals(R * V, 600 + i, 4);
    const logits = b.alloc(R * V * 4, 'logits');
    const list = edits(R, V, 7);
    const next = random(610 + i);
    const words = Uint32Array.from({ length: R * Math.ceil(V / 32) }, (_, w) => (w === 1 ? 0xffffffff : next() * 2 ** 32));
    const editBuf = withEdits ? upload(b, list, 'edits') : null;
    const mask = withMask ? upload(b, words, 'mask') : null;
    return {
      run() {
        b.write(logits, new Uint8Array(start.buffer));
        b.editLogits(logits, R, V, editBuf, withEdits ? list.length / 16 : 0, mask);
      },
      read: async () => [await readF32(b, 'logits', logits, 0, R * V)],
    };
  },
}));

type LogitShape = 'random' | 'ties' | 'ascending' | 'masked';

function reshape(x: Float32Array, V: number, shape: LogitShape): Float32Array {
  if (shape === 'ties') return x.map(Math.round);
  if (shape === 'ascending') return x.sort();
  if (shape === 'masked') return x.map((v, i) => (i % V < 3 ? v : i % 5 === 0 ? Number.NaN : -Infinity));
  return x;
}

export function topkCase(K: number, R: number, V: number, shape: LogitShape = 'random'): Case {
  return {
    op: 'topk',
    name: `K=${K} R=${R} V=${V} ${shape}`,
    tolerance: 1e-5,
    memoryBytes: (1 << 20) + R * V * 4,
    bytes: R * V * 4,
    prepare(b) {
      const x = reshape(normals(R * V, 700 + V, 5), V, shape);
      const logits = upload(b, x, 'logits');
      const invTemp = upload(
        b,
        Float32Array.from({ length: R }, (_, r) => 1 / (0.7 + r)),
        'invTemp',
      );
      const out = { K, data: b.alloc(R * (2 * K + 2) * 4, 'top') };
      return {
        run: () => b.topk(out, logits, invTemp, R, V),
        async read() {
          const all = await b.read(out.data, 0, R * (2 * K + 2) * 4);
          const words = new Uint32Array(all.slice().buffer);
          const isId = (i: number) => i % (2 * K + 2) < K;
          const pick = (ids: boolean) => words.filter((_, i) => isId(i) === ids);
          const bytes = (w: Uint32Array) => new Uint8Array(w.buffer);
          return [
            { name: 'ids', bytes: bytes(pick(true)), values: Float32Array.from(pick(true)) },
            { name: 'values', bytes: bytes(pick(false)), values: new Float32Array(pick(false).buffer) },
          ];
        },
      };
    },
  };
}

export const topkCases: Case[] = [
  topkCase(1, 2, 512),
  topkCase(20, 1, 1001),
  topkCase(64, 3, 4096),
  topkCase(64, 1, 10, 'ties'),
  topkCase(8, 2, 999, 'ties'),
  topkCase(32, 1, 2050, 'ascending'),
  topkCase(8, 2, 64, 'masked'),
  topkCase(8, 2, 700, 'masked'), // two of its blocks have nothing to add
];

import { actReader, type Case, readF32, upload } from './case.ts';
import { activations, normals } from './data.ts';

const shapes = [
  ['f32', 64, 3, false],
  ['f32', 172, 2, true],
  ['f32', 576, 5, false],
  ['i8', 32, 1, false],
  ['i8', 192, 3, true],
  ['i8', 576, 8, false],
  ['i8', 896, 2, true],
  ['i8', 576, 1, false],
] as const;

export const normCases: Case[] = shapes.map(([format, D, n, gather], i) => ({
  op: 'norm',
  name: `${format} D=${D} n=${n}${gather ? ' gathered' : ''}`,
  // i8: one step of the quantizer where a value lies between two
  tolerance: format === 'f32' ? 1e-5 : 1.2 / 127,
  memoryBytes: 8 << 20,
  prepare(b) {
    const total = n + 5;
    const out = b.act(format, n, D, 'out');
    const x = upload(b, activations(total * D, 200 + i), 'x');
    const g = upload(b, normals(D, 210 + i), 'gain');
    const rows = gather
      ? upload(
          b,
          Uint32Array.from({ length: n }, (_, j) => (j * 3 + 4) % total),
          'rows',
        )
      : undefined;
    const reader = actReader(b, out, n);
    return {
      run() {
        b.norm(out, x, g, 1e-5, n, D, rows);
        reader.run();
      },
      read: reader.read,
    };
  },
}));

export const addNormCases: Case[] = (
  [
    [64, 3],
    [172, 2],
    [640, 5],
    [1152, 1],
  ] as const
).map(([D, T], i) => ({
  op: 'addNorm',
  name: `D=${D} T=${T}`,
  tolerance: 1e-5,
  memoryBytes: 4 << 20,
  prepare(b) {
    const first = activations(T * D, 220 + i);
    const x = upload(b, first, 'x');
    const y = upload(b, normals(T * D, 230 + i, 3), 'y');
    const g = upload(b, normals(D, 240 + i), 'gain');
    return {
      run() {
        b.write(x, new Uint8Array(first.buffer)); // it adds to what is there
        b.addNorm(x, y, g, 1e-6, T, D);
      },
      read: async () => [await readF32(b, 'x', x, 0, T * D)],
    };
  },
}));

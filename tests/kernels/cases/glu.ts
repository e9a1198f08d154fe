import { actReader, type Case, upload } from './case.ts';
import { normals } from './data.ts';

const shapes = [
  ['silu', 'f32', 172, 3],
  ['silu', 'f32', 64, 1],
  ['silu', 'i8', 32, 2],
  ['silu', 'i8', 1536, 3],
  ['silu', 'i8', 4864, 1],
  ['gelu', 'f32', 172, 3],
  ['gelu', 'i8', 32, 2],
  ['gelu', 'i8', 2048, 3],
] as const;

export const gluCases: Case[] = shapes.map(([activation, format, F, T], i) => ({
  op: 'glu',
  name: `${activation} ${format} F=${F} T=${T}`,
  tolerance: format === 'f32' ? 1e-5 : 1.2 / 127,
  memoryBytes: 16 << 20,
  prepare(b) {
    const x = normals(T * 2 * F, 500 + i, 3);
    x.set([200, -200, 90, -90, 0, -0], 4); // beyond what exp takes
    const gateUp = upload(b, x, 'gateUp');
    const out = b.act(format, T, F, 'out');
    const reader = actReader(b, out, T);
    return {
      run() {
        b.glu(out, gateUp, T, F, activation);
        reader.run();
      },
      read: reader.read,
    };
  },
}));

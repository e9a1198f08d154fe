import { actReader, type Case, upload } from './case.ts';
import { normals } from './data.ts';

const shapes = [
  ['f32', 172, 3],
  ['f32', 64, 1],
  ['i8', 32, 2],
  ['i8', 1536, 3],
  ['i8', 4864, 1],
] as const;

export const swigluCases: Case[] = shapes.map(([format, F, T], i) => ({
  op: 'swiglu',
  name: `${format} F=${F} T=${T}`,
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
        b.swiglu(out, gateUp, T, F);
        reader.run();
      },
      read: reader.read,
    };
  },
}));

import { PLANES, type PlaneName } from '../../../engine/planes.ts';
import { type Case, randomWeight, readF32, upload } from './case.ts';

const shapes = [
  ['f32', 33, 172],
  ['f32', 8, 64],
  ['w8', 33, 64],
  ['w8', 18, 576],
  ['w4', 33, 32],
  ['w4', 35, 192],
  ['w4', 18, 576],
  ...(Object.keys(PLANES) as PlaneName[]).map((format) => [format, 19, PLANES[format].block === 32 ? 576 : 768] as const),
] as const;

const scaled = [
  ['f32', 33, 172, 25.298221588134766],
  ['w8', 18, 640, 25.298221588134766],
] as const;

export const embedCases: Case[] = [...shapes.map((s) => [...s, undefined] as const), ...scaled].map(([format, V, D, scale], i) => ({
  op: 'embed',
  name: `${format} V=${V} D=${D}${scale ? ` × ${scale}` : ''}`,
  tolerance: 1e-6,
  memoryBytes: 4 << 20,
  prepare(b) {
    const ids = [V - 1, 0, 1, 2, 3, 4, 6, 0];
    const x = b.alloc(ids.length * D * 4, 'x');
    const w = randomWeight(b, format, V, D, 100 + i);
    const buf = upload(b, Uint32Array.from(ids), 'ids');
    return { run: () => b.embed(x, w, buf, ids.length, scale), read: async () => [await readF32(b, 'x', x, 0, ids.length * D)] };
  },
}));

import { expect, test } from 'vitest';
import { packWeight, ROWS, rowGroupBytes, unpackWeight, weightBytes } from '../../engine/formats.ts';
import { emptyPlanes, PLANES, type PlaneName } from '../../engine/planes.ts';
import { normals, w4, w8 } from './cases/data.ts';

test.each([
  [1, 32],
  [8, 64],
  [13, 96],
  [24, 576],
])('packing [%i, %i] and unpacking gives the parts back', (N, K) => {
  const four = w4(N, K, 1);
  expect(unpackWeight('w4', N, K, packWeight('w4', N, K, four))).toEqual(four);
  const eight = w8(N, K, 2);
  expect(unpackWeight('w8', N, K, packWeight('w8', N, K, eight))).toEqual(eight);
  const floats = normals(N * K, 3);
  expect(unpackWeight('f32', N, K, packWeight('f32', N, K, floats))).toEqual(floats);
});

test('w4 takes 4.5 bits a weight, w8 8.5', () => {
  expect(weightBytes('w4', 49152, 576) / (49152 * 576)).toBe(4.5 / 8);
  expect(weightBytes('w8', 49152, 576) / (49152 * 576)).toBe(8.5 / 8);
});

test('pieces of whole row groups, one after the other, are the packed matrix', () => {
  const [N, K] = [21, 64];
  const { q, d } = w4(N, K, 4);
  const whole = packWeight('w4', N, K, { q, d });
  const pieces = new Uint8Array(whole.length);
  for (let from = 0; from < N; from += ROWS) {
    const to = Math.min(N, from + ROWS);
    const out = pieces.subarray((from / ROWS) * rowGroupBytes('w4', K), (Math.ceil(to / ROWS) * rowGroupBytes('w4', K)) | 0);
    packWeight('w4', to - from, K, { q: q.subarray(from * K, to * K), d: d.subarray((from * K) / 32, (to * K) / 32) }, out);
  }
  expect(pieces).toEqual(whole);
});

test('wrong sizes and values are refused by name', () => {
  expect(() => weightBytes('w4', 8, 172)).toThrow('w4 needs K to be a multiple of 32, got 172');
  expect(() => packWeight('f32', 2, 4, new Float32Array(7))).toThrow('f32 source has 7 elements, must have 8');
  expect(() => packWeight('w4', 1, 32, { q: new Uint8Array(32).fill(16), d: new Uint16Array(1) })).toThrow('w4 q is 16 at row 0, column 0');
  expect(() => packWeight('q4_k', 1, 256, { ...emptyPlanes(PLANES.q4_k, 1, 256), minima: new Uint8Array(7) })).toThrow(
    'minima has 7 elements, must have 8',
  );
  expect(() => weightBytes('q4_k', 8, 288)).toThrow('q4_k needs K to be a multiple of 256, got 288');
  expect(() => unpackWeight('w8', 1, 32, new Uint8Array(3))).toThrow('packed matrix has 3 elements, must have 272');
});

test.each(Object.keys(PLANES) as PlaneName[])('%s is the same wherever its integers lie in memory', (name) => {
  const f = PLANES[name];
  const [N, K] = [16, 2 * f.block];
  const planes = emptyPlanes(f, N, K);
  const bits = f.q.reduce((a, b) => a + b, 0);
  for (const [i] of planes.q.entries()) planes.q[i] = (i * 37 + (i >> 5)) & ((1 << bits) - 1);
  const packed = packWeight(name, N, K, planes);
  const shifted = new Uint8Array(planes.q.length + 1).subarray(1);
  shifted.set(planes.q);
  expect(packWeight(name, N, K, { ...planes, q: shifted })).toEqual(packed);
  const moved = new Uint8Array(packed.length + 1).subarray(1);
  moved.set(packed);
  expect(unpackWeight(name, N, K, moved)).toEqual(planes);
  expect(unpackWeight(name, N, K, packed)).toEqual(planes);
});

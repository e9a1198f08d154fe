/** Cells: which queue a tenant's requests go to, and which replicas a queue has. */
import { expect, test } from 'vitest';
import { cellNamed } from '../../durable-objects/scheduler/port.ts';
import { cellOf, cellOfReplica, cellsFor, FILL, OBJECT_CALLS, replicasOf } from '../../policy/cells.ts';
import { replicaNames } from '../../serving/scheduler.ts';

const names = Array.from({ length: 20_000 }, (_, i) => `tenant-${i}`);

test('tenants fall evenly into cells, the same every time, and one cell more moves no more of them than it must', () => {
  const cells = (n: number) => names.map((name) => cellOf(name, 'whatever', { CELLS: String(n) }));
  expect(new Set(cells(1))).toEqual(new Set([0]));
  const ten = cells(10);
  expect(cells(10)).toEqual(ten);
  const counts = Array.from({ length: 10 }, (_, c) => ten.filter((x) => x === c).length);
  for (const n of counts) expect(Math.abs(n - 2_000)).toBeLessThan(5 * Math.sqrt(2_000 * 0.9)); // five standard deviations
  const eleven = cells(11);
  const moved = names.filter((_, i) => ten[i] !== eleven[i]);
  expect(eleven.filter((c, i) => c !== ten[i]).every((c) => c === 10)).toBe(true); // only into the new one
  expect(moved.length / names.length).toBeCloseTo(1 / 11, 2);
});

test('who has no name is of the cell of each request, so that a public server is spread too', () => {
  const v = { CELLS: '8' };
  expect(new Set(names.slice(0, 200).map((id) => cellOf('public', id, v))).size).toBe(8);
  expect(new Set(names.slice(0, 200).map((id) => cellOf('a', id, v))).size).toBe(1);
});

test("replicas are numbered through, and each knows whose it is, as a queue's name does", () => {
  const v = { CELLS: '3', REPLICAS: '4' };
  expect(replicasOf(2, v)).toEqual(['8', '9', '10', '11']);
  expect(replicaNames(v)).toEqual(Array.from({ length: 12 }, (_, i) => String(i)));
  for (const cell of [0, 1, 2]) for (const r of replicasOf(cell, v)) expect(cellOfReplica(r, v)).toBe(cell);
  expect(['scheduler', 'scheduler~2', 'scheduler/other~11', undefined].map(cellNamed)).toEqual([0, 2, 11, 0]);
  expect(cellOfReplica('nonsense', v)).toBe(0);
  expect(replicaNames({})).toEqual(['0']);
});

test('so many cells as calls and replicas take', () => {
  expect(cellsFor(10, 4)).toBe(1);
  expect(cellsFor(OBJECT_CALLS * FILL, 64)).toBe(1);
  expect(cellsFor(OBJECT_CALLS * FILL + 1, 64)).toBe(2);
  expect(cellsFor(1, 65)).toBe(2);
});

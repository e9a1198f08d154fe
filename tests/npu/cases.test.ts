import { expect, test } from 'vitest';
import { createNpu } from '../../simulator/backend.ts';
import { device } from '../../simulator/device/index.ts';
import { cases, compareCase } from '../kernels/cases/index.ts';

test.each(cases.map((c) => [`${c.op} ${c.name}`, c] as const))('edge-npu gives the reference its bits: %s', async (_, c) => {
  const { failure } = await compareCase(c, createNpu(device('edge-npu')));
  expect(failure).toBeNull();
});

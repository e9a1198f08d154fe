import { expect, test } from 'vitest';
import { createNpu } from '../../simulator/backend.ts';
import { device } from '../../simulator/device/index.ts';
import { cases, compareCase } from '../kernels/cases/index.ts';

// which the simulated device lacks: models that need it are refused by name (tests/engine/runner.test.ts)
const known = cases.filter((c) => c.op !== 'shortConv');

test.each(known.map((c) => [`${c.op} ${c.name}`, c] as const))('edge-npu gives the reference its bits: %s', async (_, c) => {
  const { failure } = await compareCase(c, createNpu(device('edge-npu')));
  expect(failure).toBeNull();
});

import { expect, test } from 'vitest';
import relaxed from '../../.build/wasm/turnstone-npu-relaxed.wasm';
import simd from '../../.build/wasm/turnstone-npu-simd.wasm';
import { createNpu } from '../../simulator/backend.ts';
import { device } from '../../simulator/device/index.ts';
import { cases, compareCase } from '../kernels/cases/index.ts';

// tests/npu/cases.test.ts runs every pair of a format and a shape on the same modules
test.each(cases.filter((c) => c.op !== 'shortConv' && !c.pair).map((c) => [`${c.op} ${c.name}`, c] as const))(
  'tiles with relaxed and plain SIMD give the reference its bits: %s',
  async (_, c) => {
    for (const modules of [{ relaxed, simd }, { simd }]) {
      const { failure } = await compareCase(c, createNpu(device('edge-npu'), { modules }));
      expect(failure).toBeNull();
    }
  },
);

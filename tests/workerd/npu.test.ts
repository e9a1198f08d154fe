import { expect, test } from 'vitest';
import relaxed from '../../.build/wasm/turnstone-npu-relaxed.wasm';
import simd from '../../.build/wasm/turnstone-npu-simd.wasm';
import { createNpu } from '../../simulator/backend.ts';
import { device } from '../../simulator/device/index.ts';
import { cases, compareCase } from '../kernels/cases/index.ts';

test.each(cases.filter((c) => c.op !== 'shortConv').map((c) => [`${c.op} ${c.name}`, c] as const))(
  'tiles with relaxed and plain SIMD give the reference its bits: %s',
  async (_, c) => {
    for (const modules of [{ relaxed, simd }, { simd }]) {
      const { failure } = await compareCase(c, createNpu(device('edge-npu'), { modules }));
      expect(failure).toBeNull();
    }
  },
);

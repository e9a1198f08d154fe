import { expect, test } from 'vitest';
import relaxed from '../../.build/wasm/turnstone-relaxed.wasm';
import simd from '../../.build/wasm/turnstone-simd.wasm';
import { createWasm, detectRelaxed } from '../../kernels/wasm/index.ts';
import { compareCase, largestCases, cases as shared } from '../kernels/cases/index.ts';

test('workerd has relaxed SIMD', () => {
  expect(detectRelaxed()).toBe(true);
  expect(createWasm({ modules: { relaxed, simd }, memoryBytes: 1 << 20 }).variant).toBe('relaxed');
});

// tests/kernels/wasm.test.ts runs every pair of a format and a shape on the same modules
test.each([...shared, ...largestCases].filter((c) => !c.pair).map((c) => [`${c.op} ${c.name}`, c] as const))(
  'relaxed and plain SIMD give the reference its bits: %s',
  async (_, c) => {
    const { memoryBytes } = c;
    for (const modules of [{ relaxed, simd }, { simd }]) {
      const { failure } = await compareCase(c, createWasm({ modules, memoryBytes }));
      expect(failure).toBeNull();
    }
    // where dot-add is what the probe chose, its other ways; where it is not, the one that any machine can take
    if (c.op !== 'matmul') return;
    const modules = { relaxed, simd };
    const { way } = createWasm({ modules, memoryBytes });
    for (const other of way === 'pair' ? (['i7'] as const) : (['i7', 'pair'] as const)) {
      const { failure } = await compareCase(c, createWasm({ modules, memoryBytes, way: other }));
      expect(failure).toBeNull();
    }
  },
);

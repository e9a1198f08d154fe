import { expect, test } from 'vitest';
import relaxed from '../../.build/wasm/turnstone-relaxed.wasm';
import simd from '../../.build/wasm/turnstone-simd.wasm';
import { createWasm, detectRelaxed } from '../../kernels/wasm/index.ts';
import { cases, compareCase } from '../kernels/cases/index.ts';

test('workerd has relaxed SIMD', () => {
  expect(detectRelaxed()).toBe(true);
  expect(createWasm({ modules: { relaxed, simd }, memoryBytes: 1 << 20 }).variant).toBe('relaxed');
});

test.each(cases.map((c) => [`${c.op} ${c.name}`, c] as const))('relaxed and plain SIMD give the reference its bits: %s', async (_, c) => {
  for (const modules of [{ relaxed, simd }, { simd }]) {
    const { failure } = await compareCase(c, createWasm({ modules, memoryBytes: c.memoryBytes }));
    expect(failure).toBeNull();
  }
});

import { expect, test } from 'vitest';
import { cases, compareCase } from './cases/index.ts';
import { wasmBackend, wasmModules } from './modules.ts';

const modules = wasmModules();

test.each(cases.map((c) => [`${c.op} ${c.name}`, c] as const))('wasm gives the reference its bits: %s', async (_, c) => {
  const { failure } = await compareCase(c, wasmBackend(modules, c.memoryBytes));
  expect(failure).toBeNull();
});

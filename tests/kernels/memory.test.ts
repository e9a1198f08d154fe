import { expect, test } from 'vitest';
import type { Allocator } from '../../engine/backend.ts';
import { createReference } from '../../kernels/reference/index.ts';
import { countWasm } from '../../kernels/wasm/index.ts';
import { wasmBackend, wasmModules } from './modules.ts';

const modules = wasmModules();

function allocate(b: Allocator): void {
  b.alloc(1000, 'x');
  b.act('i8', 5, 96, 'act');
  b.act('f32', 5, 7, 'act');
  b.kvPool({ format: 'i8', layers: 2, kvHeads: 3, headDim: 64 }, 9);
  b.alloc(1, 'byte');
}

test('the counter knows to the byte what the backend needs', () => {
  const counter = countWasm();
  allocate(counter);
  const exact = wasmBackend(modules, counter.used);
  allocate(exact);
  expect(exact.memory()).toEqual({ used: counter.used, capacity: counter.used });
  expect(() => exact.alloc(1, 'more')).toThrow(`wasm: more needs 1 bytes, ${counter.used} of ${counter.used} are taken`);
  expect(() => allocate(wasmBackend(modules, counter.used - 64))).toThrow('plan a memory of at least');
});

test('the reference keeps a limit too', () => {
  const b = createReference({ memoryBytes: 100 });
  b.alloc(60, 'x');
  expect(() => b.alloc(60, 'y')).toThrow('reference: y needs 60 bytes, 60 of 100 are taken');
});

test('memory starts as zeros and is written and read in place', async () => {
  const b = wasmBackend(modules, 1 << 20);
  const x = b.alloc(8, 'x');
  b.write(x, Uint8Array.of(1, 2, 3), 2);
  expect([...(await b.read(x, 0, 8))]).toEqual([0, 0, 1, 2, 3, 0, 0, 0]);
  expect(() => b.write(x, new Uint8Array(9))).toThrow('write: x has 8 bytes, 9 are needed');
  await expect(b.read(x, 4, 5)).rejects.toThrow('read: x has 8 bytes, 9 are needed');
});

test('what would read or write outside its buffers is refused by name', () => {
  const b = wasmBackend(modules, 1 << 20);
  const w = { format: 'w4', N: 8, K: 64, data: b.alloc(288, 'w') } as const;
  const y = b.alloc(32, 'y');
  const act = b.act('i8', 1, 64, 'act');
  const ids = b.alloc(4, 'ids');
  expect(() => b.matmul(y, act, w, 2)).toThrow('matmul: y has 32 bytes, 64 are needed');
  expect(() => b.matmul(y, b.act('f32', 1, 64, 'a'), w, 1)).toThrow('f32 activations do not go with w4 weights');
  expect(() => b.matmul(y, b.act('i8', 1, 32, 'a'), w, 1)).toThrow('activations have K 32, w has 64');
  expect(() => b.matmul(b.alloc(64, 'z'), act, { ...w, N: 16 }, 1)).toThrow('w has 288 bytes, 576 are needed');
  b.write(ids, Uint8Array.of(8, 0, 0, 0));
  expect(() => b.embed(b.alloc(256, 'x'), w, ids, 1)).toThrow("token id 8 is not below the vocabulary's 8");
  expect(() => b.norm(act, y, b.alloc(256, 'g'), 1e-5, 1, 64)).toThrow('norm: y has 32 bytes');
  expect(() => b.alloc(-1, 'x')).toThrow('asks for -1 bytes');
  expect(() => b.act('i8', 1, 33, 'a')).toThrow('multiple of 32');
  expect(() => b.matmul(y, act, w, 1, { bias: createReference().alloc(32, 'elsewhere') })).toThrow('not a buffer of the wasm backend');
});

test('warming up leaves what is allocated alone', async () => {
  const b = wasmBackend(modules, 1 << 20);
  const x = b.alloc(b.memory().capacity - b.memory().used, 'all that is left');
  const bytes = new Uint8Array(x.bytes).map((_, i) => i * 7);
  b.write(x, bytes);
  b.warmup();
  expect(await b.read(x, 0, x.bytes)).toEqual(bytes);
});

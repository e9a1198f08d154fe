import { expect, test } from 'vitest';
import { type Backend, SUM_BLOCK } from '../../engine/backend.ts';
import { packWeight } from '../../engine/formats.ts';
import { mergeSums } from '../../engine/numeric.ts';
import { createReference } from '../../kernels/reference/index.ts';
import { countWasm } from '../../kernels/wasm/index.ts';
import { upload } from './cases/case.ts';
import { compareCase, largestCases, lowRankCases, cases as shared, v4Cases } from './cases/index.ts';
import { wasmBackend, wasmModules } from './modules.ts';

const modules = wasmModules();
const cases = [...shared, ...lowRankCases, ...v4Cases, ...largestCases];

test.each(cases.map((c) => [`${c.op} ${c.name}`, c] as const))('wasm gives the reference its bits: %s', async (_, c) => {
  const { failure } = await compareCase(c, wasmBackend(modules, c.memoryBytes));
  expect(failure).toBeNull();
});

/** Almost all that 32 bits address; what is allocated next lies across 2 GiB, the rest beyond. */
const large = wasmBackend(modules, 65535 * 65536);
large.alloc(2 ** 31 - 8192 - large.memory().used, 'below 2 GiB');

test.each(cases.map((c) => [`${c.op} ${c.name}`, c] as const))('beyond 2 GiB the same: %s', async (_, c) => {
  const { failure } = await compareCase(c, large);
  expect(failure).toBeNull();
  expect(large.memory().used).toBeGreaterThan(2 ** 31);
});

test('the last bytes that can be addressed are written, read and computed with', async () => {
  const b = wasmBackend(modules, 65535 * 65536);
  const [N, K] = [64, 128];
  b.alloc(b.memory().capacity - b.memory().used - (N * K * 4 + N * 4 + K * 4), 'all but the end');
  const x = b.act('f32', 1, K, 'x');
  const y = b.alloc(N * 4, 'y');
  const w = { format: 'f32', N, K, data: b.alloc(N * K * 4, 'w') } as const; // ends where the memory does
  expect(b.memory().used).toBe(b.memory().capacity);
  b.write(x.data, new Uint8Array(new Float32Array(K).fill(1).buffer));
  b.write(
    w.data,
    packWeight(
      'f32',
      N,
      K,
      Float32Array.from({ length: N * K }, (_, i) => Math.floor(i / K)),
    ),
  );
  b.matmul(y, x, w, 1);
  expect([...new Float32Array((await b.read(y, 0, N * 4)).buffer)]).toEqual(Array.from({ length: N }, (_, n) => n * K));
});

test('a row that is cut between blocks has the maximum and the sum of one piece, on the reference too', async () => {
  const V = 1100;
  const row = Float32Array.from({ length: V }, (_, i) => (i >= 512 && i < 768 ? -Infinity : Math.sin(i * i) * 9)); // a block has nothing to add
  const stats = async (b: Backend, from: number, to: number) => {
    const logits = upload(b, row.subarray(from, to), 'logits');
    const invTemp = upload(b, Float32Array.of(1.25), 'invTemp');
    const blocks = b.alloc(Math.ceil((to - from) / SUM_BLOCK) * 8, 'sums');
    const out = b.alloc(4 * 4, 'top');
    b.topk({ K: 1, data: out, blocks }, logits, invTemp, 1, to - from);
    const [, , max, sum] = new Float32Array((await b.read(out, 0, 16)).buffer);
    return { max, sum, blocks: [...new Float32Array((await b.read(blocks, 0, blocks.bytes)).buffer)] };
  };
  const all: object[] = [];
  for (const b of [wasmBackend(modules, 1 << 20), createReference()]) {
    const { max, sum, blocks } = await stats(b, 0, V);
    expect(sum).toBeGreaterThan(1);
    for (const cut of [256, 512, 1024]) {
      const parts = [await stats(b, 0, cut), await stats(b, cut, V)].flatMap((p) => p.blocks);
      expect(parts).toEqual(blocks);
      expect(mergeSums(parts)).toEqual({ max, sum });
    }
    all.push({ max, sum, blocks });
  }
  expect(all[0]).toEqual(all[1]);
});

test('what no address reaches is refused with the arithmetic', () => {
  const counter = countWasm();
  counter.alloc(3 * 2 ** 30, 'weights');
  expect(() => counter.alloc(2 ** 30, 'kv pages')).toThrow(
    /kv pages needs 1073741824 bytes, \d+ of 4294901760 are taken; a wasm memory has at most 4294901760 \(4 GiB less a page\)/,
  );
  expect(() => wasmBackend(modules, 2 ** 32)).toThrow('memoryBytes is 4294967296, must be between');
});

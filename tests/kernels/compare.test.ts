import { expect, test } from 'vitest';
import type { Backend } from '../../engine/backend.ts';
import { createReference } from '../../kernels/reference/index.ts';
import { type Case, cases, compareCase } from './cases/index.ts';

/** One case an op is enough: the comparison is the same for all. */
const ops = [...new Map(cases.map((c) => [c.op, c])).values()];

/** The reference with one change to every byte string that it answers. */
function altered(numerics: string, change: (bytes: Uint8Array) => void): Backend {
  const b = createReference();
  const read = b.read;
  return {
    ...b,
    numerics,
    read: async (...args) => {
      const bytes = await read(...args);
      change(bytes);
      return bytes;
    },
  };
}

const lowestBit = (bytes: Uint8Array) => {
  bytes[0] ^= 1;
};

const largestByAThird = (bytes: Uint8Array) => {
  const values = new Float32Array(bytes.buffer);
  let at = 0;
  values.forEach((v, i) => {
    if (Number.isFinite(v) && Math.abs(v) > Math.abs(values[at])) at = i;
  });
  values[at] *= 1.3;
};

const run = (c: Case, b: Backend) => compareCase(c, b).then(({ failure }) => failure);

test.each(ops.map((c) => [c.op, c] as const))('%s: one wrong bit is seen where bits count', async (_, c) => {
  expect(await run(c, createReference())).toBeNull();
  expect(await run(c, altered('exact-1', lowestBit))).toContain('byte 0 ');
});

const inexact = ops.filter((c) => c.tolerance > 0 && !['topk', 'ropeStore'].includes(c.op));

test.each(inexact.map((c) => [c.op, c] as const))('%s: the tolerance lets one bit pass and a third not', async (_, c) => {
  expect(await run(c, altered('other', lowestBit))).toBeNull();
  expect(await run(c, altered('other', largestByAThird))).toContain('exceeds');
});

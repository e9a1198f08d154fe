import { expect, test } from 'vitest';
import { filesThatBreak } from './compile.ts';

// each list would be longer if the sources did not compile as they are
test('a weight format without its row in the table and in each backend does not compile', { timeout: 120_000 }, async () => {
  expect(await filesThatBreak('engine/backend.ts', "'f32' | 'w8' | 'w4'", "'f32' | 'w8' | 'w4' | 'q9'")).toEqual([
    'engine/formats.ts', // the row
    'kernels/reference/weights.ts',
    'kernels/wasm/matmul.ts',
    'kernels/wasm/rows.ts',
    'kernels/webgpu/programs.ts',
    'models/quantize/convert.ts', // how a file's tensors become it
    'simulator/run/costs.ts', // what unpacking it costs
    'simulator/run/multiply.ts',
    'simulator/vector/embed.ts',
  ]);
});

test('a tensor of a layer without its names in the files does not compile', { timeout: 120_000 }, async () => {
  expect(await filesThatBreak('engine/anatomy.ts', '  ffnNorm: vector(D),', '  ffnNorm: vector(D),\n  more: vector(D),')).toEqual([
    'models/families/family.ts',
  ]);
});

test('what a layer may be does not compile before everybody knows it: an activation, a kind of layer', { timeout: 120_000 }, async () => {
  expect(await filesThatBreak('engine/backend.ts', "'silu' | 'gelu';", "'silu' | 'gelu' | 'relu';")).toEqual([
    'kernels/reference/glu.ts',
    'kernels/wasm/rows.ts',
    'kernels/webgpu/programs.ts',
    'simulator/ops/rows.ts',
  ]);
  expect(
    await filesThatBreak('engine/config.ts', "'full' | 'sliding' | 'nope' | 'conv';", "'full' | 'sliding' | 'nope' | 'conv' | 'other';"),
  ).toEqual([
    'engine/anatomy.ts', // which rotation
  ]);
});

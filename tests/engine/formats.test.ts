import { beforeAll, expect, test } from 'vitest';
import { errorsAfter } from './compile.ts';

/** By what is new: the files that do not compile for want of it, sorted. One compilation shows all: each error names what is missing. */
const lacking = new Map<string, Set<string>>();
const others: string[] = [];
beforeAll(async () => {
  const errors = await errorsAfter([
    ['engine/backend.ts', "'f32' | 'w8' | 'w4'", "'f32' | 'w8' | 'w4' | 'q9'"],
    ['engine/backend.ts', "'silu' | 'gelu';", "'silu' | 'gelu' | 'relu';"],
    ['engine/anatomy.ts', '  ffnNorm: vector(D),', '  ffnNorm: vector(D),\n  more: vector(D),'],
    ['engine/config.ts', "'full' | 'sliding' | 'nope' | 'conv';", "'full' | 'sliding' | 'nope' | 'conv' | 'other';"],
  ]);
  for (const { file, message } of errors) {
    const what = /Property '(\w+)' is missing/.exec(message)?.[1];
    if (what === undefined) others.push(file);
    else lacking.set(what, (lacking.get(what) ?? new Set()).add(file));
  }
}, 120_000);
const filesLacking = (what: string) => [...(lacking.get(what) ?? [])].sort();

test('the sources compile but for what is new', () => {
  expect([...lacking.keys()].sort()).toEqual(['more', 'other', 'q9', 'relu']);
  expect([...new Set(others)], 'a row is looked up by its format').toEqual(['engine/formats.ts']);
});

test('a weight format without its row in the table and in each backend does not compile', () => {
  expect(filesLacking('q9')).toEqual([
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

test('a tensor of a layer without its names in the files does not compile', () => {
  expect(filesLacking('more')).toEqual(['models/families/family.ts']);
});

test('what a layer may be does not compile before everybody knows it: an activation, a kind of layer', () => {
  expect(filesLacking('relu')).toEqual([
    'kernels/reference/glu.ts',
    'kernels/wasm/rows.ts',
    'kernels/webgpu/programs.ts',
    'simulator/ops/rows.ts',
  ]);
  expect(filesLacking('other')).toEqual(['engine/anatomy.ts']); // which rotation
});

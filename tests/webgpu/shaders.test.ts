/** What every kernel's file promises, read from the files: no adapter is needed. */
import { expect, it } from 'vitest';
import { readShaders } from '../../cli/gpu/shaders.ts';
import { programs, sourceOf, UNPACK } from '../../kernels/webgpu/programs.ts';

const shaders = readShaders();

it.each(Object.entries(shaders))('%s begins with its ladder of versions', (_, text) => {
  const comment = text.slice(0, text.search(/^[^/]/m));
  expect(comment).toMatch(/^\/\/ Ladder: 1\./m);
  expect(comment).toMatch(/\(here\)/);
});

it('every file is part of a kernel, with and without each feature', () => {
  const used = new Set<string>();
  for (const on of [true, false]) {
    const make = programs({ packed: on, f16: on, subgroups: on });
    const all = [
      ...Object.values(UNPACK).map((unpack) => make.embed(unpack)),
      ...(['f32', 'i8'] as const).flatMap((a) => [make.norm(a), make.glu(a, 'silu'), make.glu(a, 'gelu'), make.ropeStore(a)]),
      ...(['f32', 'i8'] as const).flatMap((kv) => (['f32', 'i8'] as const).map((a) => make.attention(kv, a))),
      ...(['f32', 'i8'] as const).flatMap((kv) => [make.convStore(kv), ...(['f32', 'i8'] as const).map((a) => make.shortConv(kv, a))]),
      ...Object.values(UNPACK).flatMap((unpack) => (unpack === null ? [] : [make.matmulVec(unpack, 8, 1), make.matmulTile(unpack)])),
      ...[make.matmulF32(8, 1), make.quantize(), make.addNorm(), make.editLogits(), make.maskLogits(), make.topk(), make.copyPage()],
    ];
    for (const program of all) {
      const code = sourceOf(program, shaders);
      expect(code.includes('enable f16;')).toBe(program.files.includes('half-f16'));
      expect(code.includes('enable subgroups;')).toBe(program.files.includes('reduce-subgroup'));
      for (const file of program.files) used.add(file);
    }
  }
  expect([...used].sort()).toEqual(Object.keys(shaders).sort());
});

import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { createReference } from '../../kernels/reference/index.ts';
import { relativeError } from './cases/compare.ts';
import { wasmBackend, wasmModules } from './modules.ts';
import { onnxCases } from './onnx/cases.ts';
import { readTar } from './onnx/proto.ts';

const archive = fileURLToPath(new URL('../../../shared/data/numeric/onnx-node-tests.tar.gz', import.meta.url));
const present = existsSync(archive);

describe.skipIf(!present)(`ONNX operator cases${present ? '' : ' (skipped: shared/data/numeric is not here)'}`, () => {
  const cases = present ? onnxCases(readTar(gunzipSync(readFileSync(archive)))) : [];
  const modules = wasmModules();
  const backends = { reference: () => createReference(), wasm: () => wasmBackend(modules, 8 << 20) };

  for (const c of cases) {
    for (const [name, make] of Object.entries(backends)) {
      test.skipIf(c.outside)(`${name}: ${c.name}${c.outside ? ` (outside the contract: ${c.outside})` : ''}`, async () => {
        const { got, want } = await c.run(make());
        expect(got.length).toBe(want.length);
        expect(relativeError(got, want)).toBeLessThanOrEqual(c.tolerance);
      });
    }
  }

  test('no case is lost: what is outside the contract is so for a known reason', () => {
    const reasons = new Map<string, number>();
    for (const { outside } of cases) if (outside) reasons.set(outside, (reasons.get(outside) ?? 0) + 1);
    expect(cases.length).toBe(76 + 8 + 19);
    expect(Object.fromEntries(reasons)).toEqual({
      'an attention mask': 43,
      softcap: 6,
      'values of another size than keys': 6,
      'queries that see no key': 1,
      'head size 4, no multiple of 8': 1,
      'interleaved pairs': 3,
      'a rotated part of the head': 2,
      'rows of 5 values, no multiple of 4': 5,
      'rows of 15 values, no multiple of 4': 2,
      'rows of 30 values, no multiple of 4': 2,
    });
  });

  test('the comparison can fail: keys of one sequence given to another', async () => {
    const c = cases.find((c) => c.name === 'attention_4d_gqa');
    const wrong = createReference();
    const attention = wrong.attention;
    wrong.attention = (out, q, kv, batch, layer, heads) => {
      wrong.copyPages(kv, Uint32Array.of(1, 0));
      attention(out, q, kv, batch, layer, heads);
    };
    const { got, want } = (await c?.run(wrong)) ?? { got: new Float32Array(1), want: new Float32Array(1) };
    expect(relativeError(got, want)).toBeGreaterThan(1e-2);
  });
});

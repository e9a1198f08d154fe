import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { packWeight, unpackWeight, weightBytes } from '../../engine/formats.ts';
import { PLANES, type PlaneName, planeNumbers } from '../../engine/planes.ts';
import { decoders } from '../../models/gguf/blocks.ts';
import { keptAs, readPlanes } from '../../models/gguf/planes.ts';
import { typeNamed } from '../../models/gguf/types.ts';
import { formatOf, Loss, packedPieces } from '../../models/quantize/convert.ts';
import { keeping, keptBlocks } from '../../models/quantize/kept.ts';
import { dequantize } from '../../models/quantize/rtn.ts';
import type { ModelTensor } from '../../models/tensors.ts';

/** Random blocks of every type, and what the `gguf` package says they are (tests/fixtures/ggml-types.py). */
const recorded = new Map(
  Object.entries(
    JSON.parse(readFileSync(new URL('../fixtures/ggml-types.json', import.meta.url), 'utf8')) as Record<
      string,
      { blocks: string; values: string }
    >,
  ).map(([type, { blocks, values }]) => {
    const bytes = new Uint8Array(Buffer.from(blocks, 'base64'));
    return [type, { bytes, values: new Float32Array(new Uint8Array(Buffer.from(values, 'base64')).buffer) }] as const;
  }),
);
const of = (type: string) => recorded.get(type) as { bytes: Uint8Array; values: Float32Array };

/** A matrix of the recorded blocks of some types, one after the other, [2 rows each, 256]. */
function matrix(types: readonly string[]): ModelTensor {
  const parts = types.map((type) => {
    const { bytes } = of(type);
    return {
      name: type,
      type,
      rows: 2,
      K: 256,
      read: async (from: number, to: number) => bytes.slice((from * bytes.length) / 2, (to * bytes.length) / 2),
    };
  });
  return { name: 'layers.0.qkv', kind: 'qkv', layer: 0, vector: false, N: 2 * types.length, K: 256, parts };
}

/** What a matrix becomes by `auto`, as values. */
async function converted(types: readonly string[]): Promise<{ format: string; values: Float32Array; loss: number }> {
  const t = matrix(types);
  const format = formatOf(t, 'auto');
  const loss = new Loss();
  const packed = new Uint8Array(weightBytes(format, t.N, t.K));
  let at = 0;
  for await (const piece of packedPieces(t, format, loss)) {
    packed.set(piece, at);
    at += piece.length;
  }
  const source = unpackWeight(format, t.N, t.K, packed);
  const values =
    format === 'f32'
      ? (source as Float32Array)
      : format === 'w4' || format === 'w8'
        ? dequantize(format, source as { q: Int8Array; d: Uint16Array })
        : planeNumbers(PLANES[format], source as ReturnType<typeof readPlanes>);
  return { format, values, loss: loss.relative };
}

const together = (types: readonly string[]) => Float32Array.from(types.flatMap((type) => [...of(type).values]));

describe('formats that keep', () => {
  it.each([...recorded.keys()])('%s: values as the gguf package has them', (type) => {
    const { bytes, values } = of(type);
    const out = new Float32Array(values.length);
    decoders.get(type)?.(bytes, out, out.length);
    expect(out).toEqual(values);
  });

  it.each([...recorded.keys()])('%s goes through its format without loss', async (type) => {
    const { values, loss } = await converted([type]);
    expect(values).toEqual(of(type).values);
    expect(loss).toBe(0);
  });

  it.each([...keptAs])('%s in kernel layout takes the bytes of the file and gives its integers back', (type, name) => {
    const format = PLANES[name];
    const planes = readPlanes(name, of(type).bytes, 512);
    const K = 512 / (512 / format.block === 2 ? 2 : 16);
    const N = 512 / K;
    expect(unpackWeight(name, N, K, packWeight(name, N, K, planes))).toEqual(planes);
    const { block, bytes } = typeNamed(type);
    expect(weightBytes(name, 8, K)).toBe(8 * (K / block) * bytes);
  });

  it.each([
    [['Q5_0', 'Q5_0', 'Q8_0'], 'w8'],
    [['Q4_0', 'Q5_0'], 'q5_0'],
    [['Q4_1', 'Q5_1'], 'q5_1'],
    [['Q4_K', 'Q5_K'], 'q5_k'],
    [['IQ4_NL', 'Q4_0', 'Q5_0'], 'w8'],
    [['Q4_K', 'Q4_K', 'Q6_K'], 'any_k'],
    [['Q2_K', 'Q3_K', 'Q5_K'], 'any_k'],
    [['Q4_K', 'Q8_0'], 'f32'],
  ])('rows of %j together become %s, without loss', async (types, want) => {
    const { format, values, loss } = await converted(types);
    expect(format).toBe(want);
    const unsigned = (x: Float32Array) => x.map((v) => v + 0); // −0 is 0
    expect(unsigned(values)).toEqual(unsigned(together(types)));
    expect(loss).toBe(0);
  });

  it('refuses what a format cannot hold', () => {
    expect(keeping(['F16'])).toBe('f32');
    expect(() =>
      readPlanes(
        'q4_1',
        Uint8Array.from({ length: 20 }, (_, i) => (i === 1 ? 0x7c : 0)),
        32,
      ),
    ).toThrow('not finite');
    expect(keptBlocks('w8', 'Q8_0', new Uint8Array(34).fill(128, 2), 32).q[5]).toBe(-128);
  });
});

const names: PlaneName[] = [...keptAs.values()];
it('every format of planes has a type but the one that joins several', () =>
  expect(new Set([...names, 'any_k'])).toEqual(new Set(Object.keys(PLANES))));

import { describe, expect, it } from 'vitest';
import { createReference } from '../../kernels/reference/index.ts';
import { createWasm } from '../../kernels/wasm/index.ts';
import { wasmModules } from '../kernels/modules.ts';
import { biased, convolving, digests, gemma, model, sabotaged, shortDigest } from './determinism.ts';

const modules = wasmModules();
const wasm = () => createWasm({ modules, memoryBytes: 32 << 20 });

describe('one digest over tokens and logits', () => {
  it('on wasm, whatever the batch, chunk, cache, preemption or speculation', async () => {
    const all = await digests(wasm, 100);
    expect(Object.keys(all)).toHaveLength(9);
    for (const [way, digest] of Object.entries(all)) expect(digest, way).toBe(all.alone);
  });

  it('with layers that differ, too: windows, two rotations, norms behind branches, gelu, scales', async () => {
    const all = await digests(wasm, 60, gemma);
    expect(Object.keys(all)).toHaveLength(9);
    for (const [way, digest] of Object.entries(all)) expect(digest, way).toBe(all.alone);
    // each of them makes another model
    const short = await shortDigest(wasm, gemma);
    const plain = [
      ...[{ window: 20 }, { slidingTheta: undefined }, { layerKinds: undefined }, { attentionScale: undefined }, { activation: undefined }],
      ...[{ embedScale: undefined }, { postNorms: undefined }, { layerKinds: ['nope', 'full', 'sliding'] as const }],
    ];
    for (const change of plain) expect(await shortDigest(wasm, { ...gemma, ...change }), JSON.stringify(change)).not.toBe(short);
    expect(await shortDigest(createReference, gemma)).toBe(short);
  });

  it('with keys that have a bias, too', async () => {
    const all = await digests(wasm, 60, biased);
    expect(Object.keys(all)).toHaveLength(9);
    for (const [way, digest] of Object.entries(all)) expect(digest, way).toBe(all.alone);
    expect(await shortDigest(createReference, biased)).toBe(await shortDigest(wasm, biased));
    expect(await shortDigest(wasm, biased)).not.toBe(await shortDigest(wasm));
  });

  it('with values of 4 bits, too', async () => {
    const kv = 'i8v4';
    const short = await shortDigest(wasm, model, { kv });
    expect(await shortDigest(createReference, model, { kv })).toBe(short);
    expect(short).not.toBe(await shortDigest(wasm));
  });

  it('with layers that convolve, too', async () => {
    const all = await digests(wasm, 60, convolving);
    expect(Object.keys(all)).toHaveLength(9);
    for (const [way, digest] of Object.entries(all)) expect(digest, way).toBe(all.alone);
    const short = await shortDigest(wasm, convolving);
    expect(await shortDigest(wasm, { ...convolving, convTaps: 4 })).not.toBe(short);
    expect(await shortDigest(wasm, { ...convolving, layerKinds: ['conv', 'conv', 'full'] })).not.toBe(short);
    expect(await shortDigest(createReference, convolving)).toBe(short);
  });

  it('on the reference, the same as on wasm', async () => {
    expect(await shortDigest(createReference)).toBe(await shortDigest(wasm));
  });

  it('and another one when two pages are exchanged', async () => {
    const { right, wrong } = await sabotaged(wasm);
    expect(wrong).not.toBe(right);
  });
});

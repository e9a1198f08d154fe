import { describe, expect, it } from 'vitest';
import relaxed from '../../.build/wasm/turnstone-relaxed.wasm';
import simd from '../../.build/wasm/turnstone-simd.wasm';
import { createWasm } from '../../kernels/wasm/index.ts';
import { digests, shortDigest } from '../engine/determinism.ts';

const memoryBytes = 32 << 20;

describe('one digest over tokens and logits, inside workerd', () => {
  it('with relaxed SIMD, whatever the batch, chunk, cache, preemption or speculation', async () => {
    const create = () => createWasm({ modules: { relaxed, simd }, memoryBytes });
    expect(create().variant).toBe('relaxed');
    const all = await digests(create, 60);
    for (const [way, digest] of Object.entries(all)) expect(digest, way).toBe(all.alone);
  });

  it('the same with plain SIMD', async () => {
    const both = [{ relaxed, simd }, { simd }].map((modules) => shortDigest(() => createWasm({ modules, memoryBytes })));
    const [a, b] = await Promise.all(both);
    expect(a).toBe(b);
  });
});

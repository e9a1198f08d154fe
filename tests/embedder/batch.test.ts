import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fill, makeBatches } from '../../embedder/batch.ts';
import { EMBEDDING_VERSION, readEmbeddingManifest } from '../../embedder/manifest.ts';
import { planMemory } from '../../embedder/memory.ts';
import { finish, poolTokens } from '../../embedder/pool.ts';

describe('batches', () => {
  it('hold every text once, are padded by less than 16, and stay below the number of tokens', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 512 }), { maxLength: 200 }),
        fc.constantFrom(64, 512, 1024),
        (lengths, batchTokens) => {
          const batches = makeBatches(lengths, { batchTokens, alone: false });
          expect(batches.flatMap((b) => b.texts).sort((a, b) => a - b)).toEqual(lengths.map((_, i) => i));
          for (const b of batches) {
            if (b.texts.length > 1) expect(b.tokens * b.texts.length).toBeLessThanOrEqual(batchTokens);
            for (const t of b.texts) expect(b.tokens - lengths[t]).toSatisfy((pad: number) => pad >= 0 && pad < 16);
          }
        },
      ),
    );
    expect(makeBatches([5, 7, 5], { batchTokens: 1024, alone: true })).toEqual([
      { texts: [0], tokens: 5 },
      { texts: [1], tokens: 7 },
      { texts: [2], tokens: 5 },
    ]);
  });

  it('are filled with ids, padding and a mask', () => {
    const { ids, mask } = fill({ texts: [2, 0], tokens: 3 }, [[5], [1, 2, 3], [7, 8]], 9);
    expect([...ids]).toEqual([7, 8, 9, 5, 9, 9]);
    expect([...mask]).toEqual([1, 1, 0, 1, 0, 0]);
  });
});

describe('pooling', () => {
  const hidden = Float32Array.from([1, 2, 3, 4, 90, 90, 5, 6, 90, 90, 90, 90]); // [2, 3, 2], lengths 2 and 1
  it('mean leaves padding out, cls takes the first token, none takes what there is', () => {
    expect(poolTokens(hidden, 'mean', [2, 1], 3, 2).map((v) => [...v])).toEqual([
      [2, 3],
      [5, 6],
    ]);
    expect(poolTokens(hidden, 'cls', [2, 1], 3, 2).map((v) => [...v])).toEqual([
      [1, 2],
      [5, 6],
    ]);
    expect(poolTokens(hidden.slice(0, 4), 'none', [2, 1], 3, 2).map((v) => [...v])).toEqual([
      [1, 2],
      [3, 4],
    ]);
  });

  it('a prefix gets length 1 again; zeros stay zeros', () => {
    expect([...finish(Float32Array.from([3, 4, 12]), 2, true)]).toEqual([Math.fround(0.6), Math.fround(0.8)]);
    expect([...finish(Float32Array.from([3, 4, 12]), 2, false)]).toEqual([3, 4]);
    expect([...finish(new Float32Array(2), 2, true)]).toEqual([0, 0]);
  });
});

describe('model.json of an embedding pack', () => {
  const file = { name: 'model.onnx', bytes: 1000, sha256: 'a'.repeat(64) };
  const good = {
    ...{
      kind: 'embedding',
      version: EMBEDDING_VERSION,
      name: 'e',
      model: file,
      tokenizer: { ...file, name: 'tokenizer.json' },
      output: 'o',
    },
    ...{ pooling: 'mean', normalize: true, dim: 256, dimensions: [64, 256], maxTokens: 512, batchTokens: 1024, heapBytes: 60 << 20 },
  };
  const read = (change: object) => readEmbeddingManifest(new TextEncoder().encode(JSON.stringify({ ...good, ...change })));

  it('is read, and every number of it bounded', () => {
    expect(read({})).toEqual(good);
    const wrong: [object, RegExp][] = [
      [{ kind: undefined }, /kind is missing.*MODEL/],
      [{ dim: 0 }, /dim is 0/],
      [{ dimensions: [64, 128] }, /end with 256/],
      [{ dimensions: [256, 64] }, /dimensions\[1\] is 64/],
      [{ pooling: 'max' }, /pooling is "max", must be mean, cls, none/],
      [{ maxTokens: 1e9 }, /maxTokens/],
      [{ batchTokens: 0 }, /batchTokens/],
      [{ model: { ...file, name: '../secrets' } }, /a plain file name/],
      [{ model: { ...file, bytes: 2 ** 40 } }, /bytes/],
      [{ tokenizer: { ...file, sha256: 'x' } }, /sha256/],
    ];
    for (const [change, message] of wrong) expect(() => read(change), JSON.stringify(change)).toThrow(message);
  });

  it('that does not fit is refused with the arithmetic', () => {
    expect(planMemory(read({}), 128, 16_384)).toMatchObject({ limit: 128 << 20, heap: 60 << 20 });
    const large = read({ model: { ...file, bytes: 24 << 20 }, heapBytes: 100 << 20 });
    expect(() => planMemory(large, 128, 30_522)).toThrow(
      /needs 145\.8 MB of 128\.0 MB: ONNX Runtime with the model 100\.0 MB, the file while it is read 24\.0 MB/,
    );
  });
});

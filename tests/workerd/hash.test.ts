import { expect, test } from 'vitest';
import { createReference } from '../../kernels/reference/index.ts';
import { openGguf } from '../../models/gguf/open.ts';
import { defaultHasher, sha256Hex } from '../../models/pack/hash.ts';
import { loadWeights, openPack } from '../../models/pack/load.ts';
import { memoryPack } from '../../models/pack/source.ts';
import { writePack } from '../../models/pack/write.ts';
import { memorySource } from '../../models/source.ts';
import { small, smallGguf } from '../models/small-model.ts';

test("the platform's streaming hash gives the same digests as ours, over any pieces", async () => {
  expect((crypto as { DigestStream?: unknown }).DigestStream).toBeDefined(); // or this would test our own
  const bytes = Uint8Array.from({ length: 100_000 }, (_, i) => (i * 31) & 255);
  for (const pieces of [[100_000], [1, 63, 64, 65, 99_807], [0, 100_000]]) {
    const h = defaultHasher();
    let at = 0;
    for (const n of pieces) await h.update(bytes.subarray(at, (at += n)));
    expect(await h.digest()).toBe(sha256Hex(bytes));
  }
  expect(await defaultHasher().digest()).toBe(sha256Hex(new Uint8Array()));
});

test('a shard with one wrong bit is refused where Workers load it, and a hasher that says nothing verifies nothing', async () => {
  const files = new Map<string, Uint8Array>();
  const sink = { write: async (name: string, b: Uint8Array) => void files.set(name, b.slice()) };
  await writePack(await openGguf(memorySource(smallGguf(small), 'small.gguf')), sink, { format: 'w4' });
  const { manifest } = await openPack(memoryPack(files));
  await loadWeights(memoryPack(files), manifest, createReference());
  const silent = () => ({ update: () => {}, digest: () => undefined as unknown as string });
  await expect(loadWeights(memoryPack(files), manifest, createReference(), { hasher: silent })).rejects.toThrow('has SHA-256 undefined');
  files.get('weights-000.bin')![1000] ^= 4;
  await expect(loadWeights(memoryPack(files), manifest, createReference())).rejects.toThrow('it is damaged');
});

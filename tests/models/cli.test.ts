import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { inspectCommand } from '../../cli/inspect.ts';
import { packCommand } from '../../cli/pack.ts';
import { randomGguf, shapes } from '../../cli/random-gguf.ts';
import { table } from '../../cli/table.ts';
import type { Verdict } from '../../cli/verdict.ts';
import type { ModelConfig } from '../../engine/config.ts';
import { createReference } from '../../kernels/reference/index.ts';
import { fileSource, folderPack, nodeHasher, openModel } from '../../models/node/files.ts';
import { loadTokenizer, loadWeights, openPack } from '../../models/pack/load.ts';
import { createTokenizer } from '../../models/tokenizer/tokenizer.ts';
import { writeGguf } from './gguf-writer.ts';
import { ggufMetadata, ggufTensors, hfFolder, small, smallGguf } from './small-model.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'turnstone-models-'));
});
afterAll(() => rm(folder, { recursive: true }));

const lines = async (run: (say: (line: string) => void) => Promise<void>) => {
  const out: string[] = [];
  await run((l) => out.push(l));
  return out.join('\n');
};

describe('turnstone pack and inspect', () => {
  it('packs a GGUF file, prints what it cost, and shows file and pack', async () => {
    const file = join(folder, 'small.gguf');
    await writeFile(file, smallGguf());
    const out = join(folder, 'pack');
    const printed = await lines((say) => packCommand({ source: file, out, format: 'w4', head: 'w8', say, progress: () => {} }));
    expect(printed).toMatch(/^layers\.1\.qkv +F32 +w4 +128 × 64 +4\.5 KB +\d+(\.\d+)?%$/m);
    expect(printed).toMatch(/^head +F32 +w8 +264 × 64 +17\.5 KB +0\.\d+%$/m);
    expect(printed).toMatch(/digest [0-9a-f]{64}$/);

    const json = await lines((say) => packCommand({ source: file, out, format: 'w4', head: 'w8', say, progress: () => {}, json: true }));
    expect(JSON.parse(json)).toMatchObject({ out, digest: printed.match(/[0-9a-f]{64}$/)?.[0], tensors: expect.any(Array) });

    const shown = await lines((say) => inspectCommand(out, say));
    expect(shown).toMatch(/weights-000\.bin .* whole/);
    expect(shown).toMatch(/llama: 2 layers, hidden 64, 4 heads of 16 over 2, FFN 96, vocabulary 264/);
    expect(shown).toContain(printed.match(/digest [0-9a-f]{64}/)?.[0]);
    const source = folderPack(out);
    const { manifest } = await openPack(source);
    await loadWeights(source, manifest, createReference(), { hasher: nodeHasher });
    expect((await loadTokenizer(source, manifest)).vocab).toBe(264);

    expect(shown).toMatch(/^verdict: runs, in one isolate of 128 MB, with a context of 128 tokens$/m);

    const gguf = await lines((say) => inspectCommand(file, say));
    expect(gguf).toMatch(/^ {2}kept {7}F32 \(10 matrices\)$/m);
    expect(gguf).toMatch(/tokenizer\.ggml\.merges = \["h e", "l l", "he ll"\] \(3\)/);
    expect(gguf).toMatch(/^blk\.1\.ffn_down\.weight +F32 +64 × 96 +24\.0 KB +\d+$/m);

    const shard = join(out, 'weights-000.bin');
    const bytes = await readFile(shard);
    bytes[100] ^= 1;
    await writeFile(shard, bytes);
    expect(await lines((say) => inspectCommand(out, say))).toMatch(/weights-000\.bin .* DAMAGED/);
  });

  it('packs and shows a Hugging Face folder, and refuses wrong options', async () => {
    const hf = join(folder, 'hf');
    await mkdir(hf);
    for (const [name, bytes] of hfFolder()) await writeFile(join(hf, name), bytes);
    await packCommand({ source: hf, out: join(folder, 'from-hf'), format: 'w4', name: 'other', say: () => {}, progress: () => {} });
    const { manifest } = await openPack(folderPack(join(folder, 'from-hf')));
    expect(manifest).toMatchObject({ name: 'other', generation: { temperature: 0.5 }, config: { ...small } });
    expect(await lines((say) => inspectCommand(hf, say))).toMatch(
      /drawn, where a request does not say: temperature 0.5, top_k 40, top_p 0.9/,
    );
    expect(await lines((say) => inspectCommand(join(hf, 'model.safetensors'), say))).toMatch(/model\.norm\.weight +F32 +64 +256 B/);
    await expect(packCommand({ source: hf, out: hf })).rejects.toThrow(/is a Hugging Face folder; give another/);
    await expect(packCommand({ source: hf, out: join(folder, 'x'), format: 'w3' })).rejects.toThrow(
      '--format is "w3", must be one of auto, f32, w8, w4',
    );
    await expect(inspectCommand(join(folder, 'nothing'))).rejects.toThrow('there is no such file');
  });
});

describe('the verdict of inspect', () => {
  const verdict = async (bytes: Uint8Array, memoryMb?: number): Promise<Verdict> => {
    const file = join(folder, 'judged.gguf');
    await writeFile(file, bytes);
    return JSON.parse(await lines((say) => inspectCommand(file, say, { json: true, memoryMb })));
  };
  const named = (architecture: string) => {
    const metadata = { ...ggufMetadata(small), 'general.architecture': { type: 'string', value: architecture } } as const;
    return writeGguf(metadata, ggufTensors(small));
  };

  it('names what keeps a file from running', async () => {
    for (const [architecture, why] of [
      ['mamba2', 'state spaces (Mamba)'],
      ['qwen3next', 'gated delta nets (DeltaNet)'],
      ['lfm2moe', 'mixture of experts'],
      ['clip', 'mmproj'],
      ['qwen3moe', 'mixture of experts'],
      ['unheard-of', 'what runs here: llama, qwen2'],
    ]) {
      const v = await verdict(named(architecture));
      expect(v).toMatchObject({ runs: false, memoryMb: 128 });
      expect(v.why).toContain(`is "${architecture}"`);
      expect(v.why).toContain(why);
    }
    const file = join(folder, 'judged.gguf');
    expect(await lines((say) => inspectCommand(file, say))).toMatch(/^verdict: does not run\. .*"unheard-of"/m);
    await expect(inspectCommand(file, () => {}, { memoryMb: 1.5 })).rejects.toThrow('--memory-mb must be a whole number in 16..4096');
  });

  it('says what a model takes: one isolate and its context, or several, or a process of its own', async () => {
    const path = join(folder, 'shape.gguf');
    await randomGguf(path, shapes['smollm2-135m'], 'Q4_0');
    const say = async (memoryMb: number) => JSON.parse(await lines((s) => inspectCommand(path, s, { json: true, memoryMb }))) as Verdict;
    const one = await say(256);
    expect(one).toMatchObject({ runs: true, family: 'llama', tokens: 49152, chatTemplate: 'own', isolates: { count: 1 } });
    expect(one.formats).toEqual([{ stored: 'Q4_0', format: 'w4', tensors: 121, rounded: false }]);
    const { js, weights, scratch, kv, limit } = one.isolate!.bytes;
    expect(js + weights + scratch + kv).toBeLessThanOrEqual(limit);
    const several = await say(64);
    expect(several.isolate).toBeUndefined();
    expect((several.isolates as { count: number }).count).toBeGreaterThan(1);
    const whole = await say(several.whole!.memoryMb);
    expect(whole.isolate!.context).toBeGreaterThanOrEqual(several.whole!.context);
    await rm(path);
  });
});

describe('random GGUF files', () => {
  // The real widths, one layer and a small vocabulary.
  const cut = (name: string): ModelConfig => ({ ...shapes[name], layers: 1, vocab: 512 });

  it('are what they say, the same for the same seed, and quantized without loss', async () => {
    for (const [name, type, format] of [
      ['smollm2-135m', 'Q4_0', 'w4'],
      ['qwen2.5-0.5b', 'Q8_0', 'w8'],
    ] as const) {
      const config = cut(name);
      const [a, b, c] = ['a', 'b', 'c'].map((x) => join(folder, `${x}.gguf`));
      await randomGguf(a, config, type, 1);
      await randomGguf(b, config, type, 1);
      await randomGguf(c, config, type, 2);
      expect(Buffer.compare(await readFile(a), await readFile(b))).toBe(0);
      expect(Buffer.compare(await readFile(a), await readFile(c))).not.toBe(0);
      const model = await openModel(a);
      expect(model.config).toEqual({ ...config, normEps: Math.fround(config.normEps) });
      expect(new Set(model.tensors.filter((t) => !t.vector).flatMap((t) => t.parts.map((p) => p.type)))).toEqual(new Set([type]));
      const printed = await lines((say) => packCommand({ source: a, out: join(folder, type), say, progress: () => {} }));
      expect(printed).toMatch(new RegExp(`^layers\\.0\\.down +${type} +${format} .* 0$`, 'm'));
      await model.close();
    }
  });

  it('have the sizes of the real models', async () => {
    const path = join(folder, 'shape.gguf');
    await randomGguf(path, { ...shapes['smollm2-135m'], layers: 1 }, 'Q4_0');
    const source = await fileSource(path);
    expect((await stat(path)).size).toBe(source.size);
    await source.close();
    const model = await openModel(path);
    const t = createTokenizer(model.tokenizer);
    expect(t.vocab).toBe(49152);
    expect(t.decode(t.encode('hello big world'))).toBe('hello big world');
    await model.close();
  });
});

it('tables align', () => {
  expect(
    table(
      ['name', 'size'],
      [
        ['a', '10 KB'],
        ['long name', '1 B'],
      ],
    ),
  ).toEqual(['name        size', 'a          10 KB', 'long name    1 B']);
});
